"""A clock that stands still, and a terminal that remembers what is on its screen."""

from __future__ import annotations

import io
import re

import pytest

from tarcast.progress import channel


class Clock:
    """The time that a pipe sees, in seconds: `now` since whenever, and `wall` since 1970."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.wall = 5000.0
        monkeypatch.setattr(channel, "monotonic", lambda: self.now)
        monkeypatch.setattr(channel, "time", lambda: self.wall)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


class Screen(io.StringIO):
    """A terminal without a size of its own, as far as tqdm uses one."""

    def isatty(self) -> bool:
        return True

    def rows(self) -> list[str]:
        """What can be read on it now."""
        rows, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[A|[\r\n]|[^\x1b\r\n]+", self.getvalue()):
            if piece == "\x1b[A":
                row -= 1
            elif piece == "\r":
                column = 0
            elif piece == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            else:
                line = rows[row].ljust(column)
                rows[row] = line[:column] + piece + line[column + len(piece) :]
                column += len(piece)
        return [line.rstrip() for line in rows]
