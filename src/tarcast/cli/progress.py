"""What is drawn on standard error while an export runs.

A display is the callable that `write_tar` gets as `progress`; it keeps the last report as `last`.
"""

from __future__ import annotations

import sys

from tarcast.cli.stdio import say, silence
from tarcast.errors import printable
from tarcast.showing import resolved
from tarcast.wording import counted, how_far, human, json_text, still

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tarcast.progress.bar import Bar
    from tarcast.progress.outlet import Outlet
    from tarcast.result import Progress

PLAIN_SECONDS = 2.0  # between two lines
JSON_SECONDS = 0.09  # a little under the tenth of a second in which reports come, so that none is lost

# Lines of the terminal, see tqdm's bar_format; {desc} is how much there is, the rate, and the time to go.
_WITHOUT_TOTAL = "{desc}, {elapsed}{postfix}"
_WITH_TOTAL = "{percentage:3.0f}%|{bar:12}| {desc}{postfix}"


class Display:
    """Draws nothing; the base of the others."""

    final_line = True  # whether a line of text for people ends the export
    json_lines = False

    def __init__(self) -> None:
        self.last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self.last = progress
        if not progress.done:  # the end is told by the final line
            self.draw(progress)

    def draw(self, progress: Progress) -> None:
        """Show `progress`, or leave it out if the last one is too recent."""

    def close(self) -> None:
        """Leave the terminal as other lines need it; may be called twice."""


class Silent(Display):
    """For --quiet: no final line either."""

    final_line = False


class Plain(Display):
    """One line about every two seconds, for logs."""

    def __init__(self) -> None:
        super().__init__()
        self._next = PLAIN_SECONDS

    def draw(self, progress: Progress) -> None:
        if progress.seconds < self._next:
            return
        self._next = progress.seconds + PLAIN_SECONDS
        entries = "" if progress.entries is None else f"{counted(progress.entries)}, "
        text = f"tarcast: {entries}{how_far(progress.bytes_written, progress.total_bytes)}"
        text += f" in {progress.seconds:.2f} s ({human(progress.rate)}/s){still(progress.eta)}"
        say(text if progress.path is None else f"{text}, at {progress.path}")


class Json(Display):
    """JSON lines: {"event": "progress", "done": false, "entries", "bytes_written", "seconds", "path",
    "total_entries", "total_bytes", "rate", "eta"}; what is not known is null.

    At most about ten a second. The lines for warnings and for the end are of `tarcast.cli.report`.
    """

    final_line = False
    json_lines = True

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def draw(self, progress: Progress) -> None:
        if progress.seconds < self._next:
            return
        self._next = progress.seconds + JSON_SECONDS
        say_json(
            "progress",
            {
                "done": False,
                "entries": progress.entries,
                "bytes_written": progress.bytes_written,
                "seconds": round(progress.seconds, 6),
                "path": json_text(progress.path),
                "total_entries": progress.total_entries,
                "total_bytes": progress.total_bytes,
                "rate": round(progress.rate),
                "eta": None if progress.eta is None else round(progress.eta, 1),
            },
        )


class Terminal(Display):
    """One line that is drawn over and over, by tqdm."""

    def __init__(self) -> None:
        super().__init__()
        self._out: Outlet | None = None
        self._bar: Bar | None = None

    def draw(self, progress: Progress) -> None:
        from tarcast.progress.bar import size
        from tarcast.progress.outlet import Outlet

        if self._out is None:
            self._out = Outlet(sys.stderr)
        if self._out.broken:
            return
        if self._bar is None:
            self._bar = self._open(self._out, progress.seconds)
        columns = size(self._out)[0]
        amount = human(progress.bytes_written)
        if progress.total_bytes is not None:
            amount += f" of {human(progress.total_bytes)}"
            # A tree that grew meanwhile is no reason for tqdm to take the bar away.
            self._bar.total = max(progress.total_bytes, progress.bytes_written)
            self._bar.bar_format = _WITH_TOTAL
        text = f"{amount}, {human(progress.rate)}/s{still(progress.eta)}"
        # Beside it there are a bar, or the time so far, and the comma before what follows.
        beside = 12 if progress.total_bytes is None else 21
        self._bar.set_description_str(text, refresh=False)
        self._bar.set_postfix_str(self._postfix(progress, columns - len(text) - beside), refresh=False)
        self._bar.update(progress.bytes_written - self._bar.n)
        self._silence_if_broken()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._silence_if_broken()

    def _silence_if_broken(self) -> None:
        if self._out is not None and self._out.broken:  # the terminal is gone, the export is not
            silence(sys.stderr)

    @staticmethod
    def _open(out: Outlet, seconds: float) -> Bar:
        from tarcast.progress.bar import open_bar

        bar = open_bar(
            out,
            _WITHOUT_TOTAL,
            mininterval=0.05,
            delay=1e-9,  # draw at the first update, not yet here
        )
        bar.start_t -= seconds
        bar.last_print_t = bar.start_t
        return bar

    @staticmethod
    def _postfix(progress: Progress, columns: int) -> str:
        from tarcast.progress.bar import trimmed

        text = "receiving" if progress.entries is None else counted(progress.entries)
        if progress.path is not None:
            text += f", {printable(progress.path)}"
        return trimmed(text, max(8, columns))


def choose(mode: str, environment: Mapping[str, str]) -> Display:
    """The display for `--progress MODE`, as `tarcast.showing.resolved` reads it.

    Silent only where it was asked for: auto without a terminal still has its final line.
    """
    kind = resolved(mode, sys.stderr, environment)
    if kind == "none" and mode != "none":
        return Display()
    return {"tty": Terminal, "plain": Plain, "json": Json, "none": Silent}[kind]()


def say_json(event: str, values: dict[str, object]) -> None:
    """One JSON line on standard error; pure ASCII."""
    import json

    say(json.dumps({"event": event, **values}))
