"""Progress shown on a text stream: on a terminal, as lines of text, as JSON lines.

A renderer gets every update that a reader gives, and is closed at the end. A stream that is closed, or breaks
on the way, is no error: nothing more is shown.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys

from ..showing import resolved
from ..wording import json_text
from .outlet import Outlet
from .status import Status
from .words import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

    from .bar import Bar
    from .pipe import Reader
    from .status import Update

PLAIN_SECONDS = 2.0  # between two lines about one thing


class Renderer:
    """Shows nothing; the base of the others."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Show on `stream`; by default on standard error as it is now."""
        self._out = Outlet(sys.stderr if stream is None else stream)

    def show(self, update: Update) -> None:
        """Show one update, or leave it out if the last one is too recent."""

    def close(self) -> None:
        """Leave the stream as other lines need it; may be called twice."""

    def _say(self, text: str) -> None:
        """One line, at once."""
        self._out.write(text + "\n")
        self._out.flush()


class Plain(Renderer):
    """Lines for logs: how each thing starts, is every two seconds if there is news, and ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._told: dict[str, float] = {}  # id: time stamp of the last line

    def show(self, update: Update) -> None:
        told = self._told.get(update.id)
        done = isinstance(update.status, Status) and update.status.done
        # Below 0 when the clock was set back: then better a line too many than none for hours.
        if not done and told is not None and 0 <= update.timestamp - told < PLAIN_SECONDS:
            return
        if done:
            self._told.pop(update.id, None)
        else:
            self._told[update.id] = update.timestamp
        self._say(line(update, first=told is None))


class JsonLines(Renderer):
    """One JSON object a line, pure ASCII, for each update.

    Keys, always all of them:
        event: "progress".
        id: which thing.
        timestamp: when it was told, in seconds since 1970.
        action: what is being done, or "".
        current, total: bytes done, bytes to do; total is null if unknown.
        entries: entries done, or null.
        started, completed: seconds since 1970, or null.
        seconds: from start to completion, or to the time stamp.
        done: whether it ended, well or not.
        error: what it failed with, or null.
        message: the text of what was written if that is no Status, else null. Then the keys from action
            to error are those of an empty Status.
        metadata: what the writer was opened with; values that JSON has no plain word for are texts.

    Bytes of a name that are not valid Unicode are escaped like \\xff.
    """

    def show(self, update: Update) -> None:
        import json

        own = isinstance(update.status, Status)
        status = update.status if own else Status()
        values = {
            "event": "progress",
            "id": json_text(update.id),
            "timestamp": round(update.timestamp, 6),
            "action": json_text(status.action),
            "current": status.current,
            "total": status.total,
            "entries": status.entries,
            "started": _rounded(status.started),
            "completed": _rounded(status.completed),
            "seconds": round(status.seconds_at(update.timestamp), 6),
            "done": status.done,
            "error": json_text(status.error),
            "message": None if own else json_text(str(update.status)),
            "metadata": {json_text(key): _plain(value) for key, value in update.metadata.items()},
        }
        self._say(json.dumps(values))


class Terminal(Renderer):
    """A line for each thing that goes on, drawn over and over by tqdm; what is done stays above them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines: dict[str, str] = {}
        self._bars: list[Bar] = []  # all alike: which one shows which line is settled anew each time

    def close(self) -> None:
        self._close(0)
        self._lines = {}

    def show(self, update: Update) -> None:
        if self._out.broken:
            return
        from .bar import Bar, open_bar, size, trimmed

        text = line(update)
        try:
            text.encode(getattr(self._out, "encoding", None) or "utf-8")
        except UnicodeEncodeError:  # here and not by the outlet, as the width must be known
            text = text.encode("ascii", "backslashreplace").decode()
        if isinstance(update.status, Status) and update.status.done:
            self._lines.pop(update.id, None)
            self._close(len(self._lines))
            Bar.write(text, file=self._out)
        else:
            self._lines[update.id] = text
        columns, rows = size(self._out)
        texts = list(self._lines.values())
        most = max(1, rows - 1)  # the cursor waits in the line below
        if len(texts) > most:
            texts[most - 1 :] = [f"and {len(texts) - most + 1:,} more"]
        self._close(len(texts))
        for number, text in enumerate(texts):
            text = trimmed(text, columns - 1)  # in the last column a terminal may begin a new line
            if number == len(self._bars):
                self._bars.append(open_bar(self._out, "{desc}", desc=text))
            elif self._bars[number].desc != text:
                self._bars[number].set_description_str(text)

    def _close(self, left: int) -> None:
        """Close bars, the lowest first, until `left` are left."""
        while len(self._bars) > left:
            self._bars.pop().close()


def choose(
    mode: str = "auto", stream: TextIO | None = None, environ: Mapping[str, str] | None = None
) -> Renderer:
    """The renderer for `mode`.

    Args:
        mode: auto, tty, plain, json or none, see `tarcast.showing.resolved`.
        stream: where to show; by default standard error.
        environ: where TERM is looked up; by default the environment.

    Raises:
        OptionError: there is no such mode.
    """
    stream = sys.stderr if stream is None else stream
    kinds = {"tty": Terminal, "plain": Plain, "json": JsonLines, "none": Renderer}
    return kinds[resolved(mode, stream, os.environ if environ is None else environ)](stream)


@contextlib.contextmanager
def rendering(reader: Reader, mode: str = "auto", stream: TextIO | None = None) -> Iterator[None]:
    """Show what `reader` gives while the body of a `with` runs, from a thread of its own.

    At the end of the body it waits until the pipe ends, so all writers must be closed by then. If the body
    raises, the reader is closed instead, and what was told up to then is still shown.

    Args:
        reader: nobody else should read it.
        mode: see `choose`.
        stream: where to show; by default standard error. Nobody else should write there meanwhile.

    Raises:
        OptionError: there is no such mode.
    """
    import threading

    renderer = choose(mode, stream)

    def run() -> None:
        try:
            for update in reader:
                renderer.show(update)
        finally:
            renderer.close()

    thread = threading.Thread(target=run, name="tarcast-progress", daemon=True)
    thread.start()
    try:
        yield
        thread.join()
    finally:
        reader.close()
        thread.join()


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _plain(value: object) -> object:
    """`value` as a plain JSON value: itself, or its text."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return json_text(str(value))
