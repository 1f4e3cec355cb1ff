"""What the two ends of a pipe share: updates go to every reader's inbox and wake whoever waits there.

Everything here but `Channel.__init__` and `Channel.publish` is to be called with the channel's lock held.
"""

from __future__ import annotations

import contextlib
import threading
from time import monotonic, time

from ..errors import ProgressError
from .status import Status, Update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Mapping
    from typing import Any


class Channel:
    """From any number of writers to any number of inboxes.

    Attributes:
        lock: guards all of it. Reentrant: a signal handler or a finaliser may write in the middle of a write.
        inboxes: one for each open reader; replaced as a whole, as one may close while all are told.
        writers: how many are open; once it is back at 0 it stays there.
    """

    __slots__ = ("_running", "inboxes", "lock", "writers")

    def __init__(self) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.inboxes: tuple[Inbox, ...] = ()
        self.writers: int = 0
        self._running: set[str] = set()

    def publish(self, id: str, status: Any, metadata: Mapping[str, Any]) -> None:
        """Give news to all inboxes. Waits for nobody but a moment for the lock."""
        over = isinstance(status, Status) and status.done
        with self.lock:
            update = Update(id, time(), status, metadata)
            urgent = over or id not in self._running
            # What is over is forgotten: the set must not grow with all that ever ran.
            (self._running.discard if over else self._running.add)(id)
            for inbox in self.inboxes:
                inbox.put(update, urgent)

    def leave(self) -> None:
        """A writer closes; with the last one the pipe ends."""
        self.writers -= 1
        if self.writers == 0:
            for inbox in self.inboxes:
                inbox.end()
            self.inboxes = ()

    def subscribe(self, interval: float, like: Inbox | None = None) -> Inbox:
        """An inbox that gets everything from now on, and first what is unread in `like`, if given."""
        inbox = Inbox(self.lock, interval)
        if like is not None:
            inbox.unread = like.state()
            inbox.urgent = True
            inbox.ended = like.ended
        if not inbox.ended:
            self.inboxes += (inbox,)
        return inbox

    def unsubscribe(self, inbox: Inbox) -> None:
        """`inbox` gets nothing more and is at its end once what it has is read."""
        self.inboxes = tuple(other for other in self.inboxes if other is not inbox)
        inbox.end()


class Inbox:
    """The unread updates of one reader, one for each id, and when they may be given.

    Attributes:
        unread: the newest update of each id, in the order of writing.
        urgent: whether some of it started, completed or failed something.
        ended: nothing more will come.
        claimed: belongs to a MultiReader, whose memory it is; nobody may take anything.
        waiting: futures to set at the next news, and their loops.
    """

    __slots__ = (
        "_changed",
        "_due",
        "_granted",
        "_interval",
        "claimed",
        "ended",
        "unread",
        "urgent",
        "waiting",
    )

    def __init__(self, lock: threading.RLock, interval: float) -> None:
        self._changed = threading.Condition(lock)
        self._interval = interval
        self._due = 0.0  # when unread updates may be given though none is urgent
        # What an iteration has begun to give. It is kept here and not by the iterator, so that what a
        # cancelled task left is given to the next one.
        self._granted: dict[str, Update] = {}
        self.unread: dict[str, Update] = {}
        self.urgent: bool = False
        self.ended: bool = False
        self.claimed: bool = False
        self.waiting: dict[Future[None], AbstractEventLoop] = {}

    def put(self, update: Update, urgent: bool) -> None:
        """Take `update` in the place of an unread one of the same id."""
        # Others wait already for the time at which this one may be given, too.
        wake = not self.unread or (urgent and not self.urgent)
        self.unread.pop(update.id, None)
        self.unread[update.id] = update
        if urgent:
            self.urgent = True
        if wake:
            self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._wake()

    def state(self) -> dict[str, Update]:
        """The newest update of each id that was not taken, oldest first."""
        state = {**self._granted}
        for id, update in self.unread.items():
            state.pop(id, None)
            state[id] = update
        # The clock may have been set back; sorting is stable, so ties stay in the order of writing.
        return {update.id: update for update in sorted(state.values(), key=_timestamp)}

    def take_all(self, timeout: float | None) -> list[Update]:
        """All that may be given, oldest first, as soon as there is any; [] after `timeout` seconds.

        Raises:
            EOFError: everything was taken, and nothing more will come.
            ProgressError: the inbox is claimed.
        """
        limit = None if timeout is None else monotonic() + timeout
        while True:
            self._check()
            self._grant()
            if self._granted:
                granted, self._granted = self._granted, {}
                return list(granted.values())
            if not self.wait(limit):
                return []

    def take_one(self) -> Update | None:
        """The oldest of what may be given now; None if that is nothing.

        Raises:
            EOFError: everything was taken, and nothing more will come.
            ProgressError: the inbox is claimed.
        """
        self._check()
        # Newer ones have to queue up behind: an id that is written all the time would never get its turn.
        if not self._granted:
            self._grant()
        for id in self._granted:
            return self._granted.pop(id)
        return None

    def patience(self) -> float | None:
        """In how many seconds something may be given, if no news is; None: not before there is news."""
        return max(0.0, self._due - monotonic()) if self.unread else None

    def wait(self, limit: float | None = None) -> bool:
        """Wait, without the lock, until something may have changed.

        Args:
            limit: until when at most, by the monotonic clock in seconds.

        Returns:
            False if that time is over.
        """
        seconds = self.patience()
        if limit is not None:
            left = limit - monotonic()
            if left <= 0:
                return False
            seconds = left if seconds is None else min(left, seconds)
        self._changed.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        return True

    def claim(self) -> None:
        """Let nobody take anything any more, those that wait already included."""
        self.claimed = True
        self._wake()

    def _check(self) -> None:
        if self.claimed:
            raise ProgressError(
                "the reader belongs to a MultiReader", step="read progress", hint="use one of its readers"
            )

    def _grant(self) -> None:
        now = monotonic()
        if self.unread and (self.urgent or self.ended or now >= self._due):
            self.urgent = False  # first: a signal handler that writes from here on sets it again
            self._granted, self.unread = self.state(), {}
            self._due = now + self._interval
        if self.ended and not self._granted:
            raise EOFError("the progress has ended")

    def _wake(self) -> None:
        self._changed.notify_all()
        waiting, self.waiting = self.waiting, {}
        for future, loop in waiting.items():
            with contextlib.suppress(RuntimeError):  # a loop that was closed over its tasks
                loop.call_soon_threadsafe(resolve, future)


def resolve(future: Future[None]) -> None:
    """Wake the task that waits for `future`, unless it was cancelled meanwhile."""
    if not future.done():
        future.set_result(None)


def _timestamp(update: Update) -> float:
    return update.timestamp
