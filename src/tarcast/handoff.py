"""`Handoff`: pieces of an archive from the thread that exports to whoever consumes them, one at a time."""

from __future__ import annotations

import os
from collections import deque
from queue import Empty, SimpleQueue

from .errors import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .result import Result
    from .write import Cancel

    Piece = bytes | memoryview

# How often the exporting thread, while nobody takes what it offers, looks whether to go on, in seconds.
_LOOK_EVERY = 0.04


class End:
    """What comes behind the last piece."""


END = End()


class Handoff:
    """A rendezvous: `offer` returns when the consumer is done with the piece, or with the one before.

    So the exporting thread is never ahead by more than that, and the core's workers by no more than their
    chunks. `offer` and `end` are for the exporting thread, everything else for any.

    SimpleQueue is what all of it is made of, because its `put` may be called by a destructor or a signal
    handler that interrupts another call of the same thread.

    Args:
        cancel: the user's, or None.
        ahead: a piece may wait while the next is made, which hides how long the consumer takes to wake up.

    Attributes:
        closed: the consumer wants nothing more.
        result, failure: how the export ended, once `END` was taken.
    """

    def __init__(self, cancel: Cancel | None, *, ahead: bool) -> None:
        self.closed: bool = False
        self.result: Result | None = None
        self.failure: BaseException | None = None
        self._cancel = cancel
        self._pieces: SimpleQueue[Piece | End] = (
            SimpleQueue()
        )  # at most one, or two with `ahead`, and then END
        self._done: SimpleQueue[None] = SimpleQueue()  # an item for each piece that was given back
        self._callbacks: deque[Callable[[], object]] = deque()
        self._process = os.getpid()
        if ahead:
            self.give_back()

    @property
    def forked(self) -> bool:
        """Is this a fork of the process that made it? There the thread is missing, and a lock may be held."""
        return self._process != os.getpid()

    def is_set(self) -> bool:
        """For `write_tar`, as its `cancel`: is the export to end?"""
        return self.closed or (self._cancel is not None and self._cancel.is_set())

    def offer(self, piece: Piece) -> None:
        """Returns when the consumer is done with it; with `ahead`, with the one before.

        Raises:
            Cancelled: it wants no more, or the user's `cancel` is set.
        """
        self.look()
        self._pieces.put(piece)
        self._call_back()
        while True:
            try:
                self._done.get(timeout=_LOOK_EVERY)
            except Empty:
                self.look()
            else:
                break
        self.look()

    def look(self) -> None:
        """Raises Cancelled: the export is to end."""
        if self.is_set():
            raise Cancelled("the export was cancelled")

    def end(self) -> None:
        """Nothing more comes."""
        self._pieces.put(END)
        self._call_back()

    def take(self) -> Piece | End:
        """The next piece; waits for it. After the last one END, as often as it is asked for."""
        return self._is_end(self._pieces.get())

    def take_now(self) -> Piece | End | None:
        """The next piece, or END, or None if there is nothing yet."""
        try:
            return self._is_end(self._pieces.get_nowait())
        except Empty:
            return None

    def _is_end(self, piece: Piece | End) -> Piece | End:
        if isinstance(piece, End):
            self._pieces.put(piece)  # for everybody else who waits
            self._call_back()  # also who looked in between, and found nothing
        return piece

    def give_back(self) -> None:
        """The consumer is done with the piece that it took."""
        self._done.put(None)

    def call_when_ready(self, callback: Callable[[], object]) -> None:
        """Call it once, from any thread, when there may be something to take."""
        self._callbacks.append(callback)
        if not self._pieces.empty():
            self._call_back()

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:  # another thread was quicker
                return
            callback()

    def close(self) -> None:
        """The consumer wants nothing more: the export ends, within about 40 ms if it is not waiting here."""
        if not self.forked:
            self.closed = True
            self._done.put(None)
