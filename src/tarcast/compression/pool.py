"""The threads that compress: blocks in, their bytes out in the same order."""

from __future__ import annotations

import os
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .codec import Encoder


class Pool:
    """`encoder.workers` threads at most, started as there is work; they end with `close`, which must come.

    Everything but the work itself is for one thread, the caller's.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._changed = threading.Condition()
        self._todo: deque[tuple[int, bytearray, bytes, bool]] = deque()
        self._done: dict[int, bytes] = {}
        self._given = 0
        self._taken = 0
        self._idle = 0
        self._stopped = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._process = os.getpid()

    def pending(self) -> int:
        """Blocks that were given and whose bytes were not taken."""
        return self._given - self._taken

    def give(self, block: bytearray, before: bytes, last: bool) -> None:
        """Have a block encoded, which must not change any more."""
        with self._changed:
            self._todo.append((self._given, block, before, last))
            self._given += 1
            more = len(self._todo) > self._idle and len(self._threads) < self._encoder.workers
            self._changed.notify()
        if more:
            thread = threading.Thread(target=self._work, name="tarcast-compress", daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self, seconds: float) -> bytes | None:
        """What the earliest block became, waiting for it so long at most; None if it is not ready.

        Raises:
            What the library raised, for this block or another one.
        """
        with self._changed:
            if self._taken not in self._done and self._error is None and seconds > 0:
                self._changed.wait(seconds)
            if self._error is not None:
                raise self._error
            out = self._done.pop(self._taken, None)
            if out is not None:
                self._taken += 1
            return out

    def close(self) -> None:
        """End the threads, the sooner the less a block in hand takes; what was not taken is lost."""
        if self._process != os.getpid():  # the threads, and who holds the lock, stayed with the parent
            self._encoder.close(forked=True)
            return
        with self._changed:
            self._stopped = True
            self._todo.clear()
            self._done.clear()
            self._changed.notify_all()
        while self._threads:
            if self._threads[-1].ident is not None:
                self._threads[-1].join()
            self._threads.pop()
        self._encoder.close(forked=False)

    def _is_stopped(self) -> bool:
        return self._stopped

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._todo and not self._stopped:
                    self._changed.wait()
                self._idle -= 1
                if self._stopped:
                    return
                number, block, before, last = self._todo.popleft()
            try:
                out = self._encoder.encode(block, before, last, self._is_stopped)
            except BaseException as error:
                with self._changed:
                    self._error = self._error or error
                    self._changed.notify_all()
                return
            del block
            with self._changed:
                self._done[number] = out
                self._changed.notify_all()
