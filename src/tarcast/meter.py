"""From counters to Progress: how fast it goes just now."""

from __future__ import annotations

import time
from collections import deque

from .result import Progress

# The rate is that of so many seconds: it follows what happens, and one slow file does not make it jump.
_WINDOW = 3.0


class Meter:
    """Makes the Progress of one export from its counters; one thread.

    Args:
        started: when the export began, by time.monotonic().
    """

    def __init__(self, started: float) -> None:
        self._started = started
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self.total_entries: int | None = None
        self.total_bytes: int | None = None

    def begin(self, totals: tuple[int, int] | None = None) -> None:
        """Writing begins now; `totals` are entries and bytes where they were counted."""
        self._seen = deque([(time.monotonic(), 0)])
        if totals is not None:
            self.total_entries, self.total_bytes = totals

    def read(
        self, entries: int | None, bytes_written: int, path: str | None = None, done: bool = False
    ) -> Progress:
        """How far it is now."""
        now = time.monotonic()
        if done:
            since, before = self._started, 0
        else:
            while len(self._seen) > 1 and now - self._seen[1][0] >= _WINDOW:
                self._seen.popleft()
            since, before = self._seen[0]
            self._seen.append((now, bytes_written))
        passed = now - since
        return Progress(
            entries,
            bytes_written,
            now - self._started,
            path,
            done,
            total_entries=self.total_entries,
            total_bytes=self.total_bytes,
            rate=(bytes_written - before) / passed if passed > 0 else 0.0,
        )
