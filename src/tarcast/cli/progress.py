"""What is drawn on standard error while an export runs.

A display is the callable that `write_tar` gets as `progress`; it keeps the last report as `last`.
"""

from __future__ import annotations

import sys

from tarcast.cli.stdio import say, silence
from tarcast.errors import printable
from tarcast.showing import resolved
from tarcast.wording import amounts, counted, json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tarcast.progress.bar import Bar
    from tarcast.progress.outlet import Outlet
    from tarcast.result import Progress

PLAIN_SECONDS = 2.0  # between two lines
JSON_SECONDS = 0.09  # a little under the tenth of a second in which reports come, so that none is lost


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
        text = f"tarcast: {amounts(progress.entries, progress.bytes_written, progress.seconds)}"
        say(text if progress.path is None else f"{text}, at {progress.path}")


class Json(Display):
    """JSON lines: {"event": "progress", "done": false, "entries", "bytes_written", "seconds", "path"}.

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
        self._bar.set_postfix_str(self._postfix(progress, size(self._out)[0]), refresh=False)
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

        # The total is unknown, so there is no bar and no time to go.
        bar = open_bar(
            out,
            "{n_fmt}B, {rate_fmt}, {elapsed}{postfix}",
            unit="B",
            unit_scale=True,
            mininterval=0.05,
            smoothing=0,  # the mean rate: the momentary one would stand still when the export does
            delay=1e-9,  # draw at the first update, not yet here
        )
        bar.start_t -= seconds
        bar.last_print_t = bar.start_t
        return bar

    @staticmethod
    def _postfix(progress: Progress, columns: int) -> str:
        from tarcast.progress.bar import trimmed

        text = counted(progress.entries)
        if progress.path is not None:
            text += f", {printable(progress.path)}"
        return trimmed(text, max(20, columns - 32))  # 32: the longest text before it


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
