"""What is drawn on standard error while an export runs.

A display is the callable that `write_tar` gets as `progress`; it keeps the last report as `last`.
"""

from __future__ import annotations

import os
import sys

from tarcast.cli.stdio import say, silence
from tarcast.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tqdm import tqdm

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
        self._bar: tqdm[Any] | None = None

    def draw(self, progress: Progress) -> None:
        try:
            if self._bar is None:
                self._bar = self._open(progress.seconds)
            self._bar.set_postfix_str(self._postfix(progress), refresh=False)
            self._bar.update(progress.bytes_written - self._bar.n)
        except (OSError, ValueError):  # the terminal is gone, the export is not
            silence(sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            try:
                self._bar.close()
            except (OSError, ValueError):
                silence(sys.stderr)
            self._bar = None

    @staticmethod
    def _open(seconds: float) -> tqdm[Any]:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no helper thread: reports come regularly
        # The total is unknown, so there is no bar and no time to go.
        bar = tqdm(
            unit="B",
            unit_scale=True,
            leave=False,
            miniters=0,
            mininterval=0.05,
            smoothing=0,  # the mean rate: the momentary one would stand still when the export does
            delay=1e-9,  # draw at the first update, not yet here
            nrows=2,  # some terminals say they have none, and tqdm would believe it
            file=sys.stderr,
            bar_format="{n_fmt}B, {rate_fmt}, {elapsed}{postfix}",
        )
        bar.start_t -= seconds
        bar.last_print_t = bar.start_t
        return bar

    @staticmethod
    def _postfix(progress: Progress) -> str:
        from tqdm.utils import disp_trim

        text = counted(progress.entries)
        if progress.path is not None:
            text += f", {printable(progress.path)}"
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        columns = columns or 80  # unknown, or a terminal that does not know itself
        return str(disp_trim(text, max(20, columns - 32)))  # 32: the longest text before it


def choose(mode: str, environment: Mapping[str, str]) -> Display:
    """The display for `--progress MODE`.

    Args:
        mode: auto, tty, plain, json or none. auto is tty on a terminal and draws nothing elsewhere;
            tty without a terminal is plain, and so are both on a terminal with TERM=dumb.
        environment: where TERM is looked up. NO_COLOR needs no look: nothing here is coloured.
    """
    if mode in ("auto", "tty"):
        terminal = sys.stderr is not None and sys.stderr.isatty()
        if terminal and environment.get("TERM") != "dumb":
            return Terminal()
        return Plain() if terminal or mode == "tty" else Display()
    return {"plain": Plain, "json": Json, "none": Silent}[mode]()


def counted(entries: int) -> str:
    """`1 entry`, `12,345 entries`."""
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def amounts(entries: int, size: int, seconds: float) -> str:
    """`12,345 entries, 1.23 GB in 0.52 s (2.37 GB/s)`."""
    rate = f" ({human(size / seconds)}/s)" if seconds > 0 else ""
    return f"{counted(entries)}, {human(size)} in {seconds:.2f} s{rate}"


def human(size: float) -> str:
    """Bytes in decimal units with three significant digits: 999 B, 1.00 kB, 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5 or unit == "PB":
            break
        size /= 1000
    if unit == "B":
        return f"{size:.0f} B"
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {unit}"


def say_json(event: str, values: dict[str, object]) -> None:
    """One JSON line on standard error; pure ASCII."""
    import json

    say(json.dumps({"event": event, **values}))


def json_text(text: str | None) -> str | None:
    r"""`text` as JSON may hold it: exact if it is valid Unicode, else with bad bytes as \xNN."""
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError:
            return printable(text)
    return text
