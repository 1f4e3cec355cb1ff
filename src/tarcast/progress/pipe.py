"""A pipe of progress: writers on one side that never wait, a reader on the other that sees the latest.

After BuildKit's util/progress. There the news of one id that nobody has read yet are one, too; the end of a
pipe, the rate limit and the start-at-once are our own: the original leaves them to contexts and displays.
"""

from __future__ import annotations

from types import MappingProxyType

from ..errors import OptionError, ProgressError
from .channel import Channel, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Self

    from .channel import Inbox
    from .oneoff import OneOff
    from .status import Update

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def pipe(interval: float = 0.1) -> tuple[Reader, Writer]:
    """A new pipe: where progress is read, and where it is written. Both may be used in any thread.

    The pipe ends when the writer, and every other one opened from it, is closed.

    Args:
        interval: seconds between two pieces of news that the reader gives, at least, unless something
            starts, completes or fails: that is told at once.

    Raises:
        OptionError: `interval` is negative or no number.
    """
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not interval >= 0:
        raise OptionError(f"interval must be a number of seconds from 0 up, not {interval!r}")
    channel = Channel()
    with channel.lock:
        inbox = channel.subscribe(interval)
    return Reader(channel, inbox, interval), Writer(channel, _NOTHING)


class Writer:
    """Where progress is written; made by `pipe` and `open`. As a context manager it is closed at the end."""

    __slots__ = ("_channel", "_closed", "_metadata")

    def __init__(self, channel: Channel, metadata: Mapping[str, Any]) -> None:
        self._channel = channel
        self._metadata = metadata
        self._closed = False
        with channel.lock:
            channel.writers += 1

    def write(self, id: str, status: Any) -> None:
        """Tell how far a thing is. Cheap; never waits for a reader, who may miss all but the latest.

        Args:
            id: which thing.
            status: a Status, or any value that is not changed afterwards.

        Raises:
            ProgressError: the writer is closed.
        """
        if self._closed:
            raise self._refusal(f"write the progress of {id!r}")
        self._channel.publish(id, status, self._metadata)

    def open(self, **metadata: Any) -> Writer:
        """A further writer on the same pipe, to be closed like this one.

        Args:
            metadata: comes with all that it writes, besides this one's metadata, and wins over it.

        Raises:
            ProgressError: the writer is closed.
        """
        with self._channel.lock:  # between the look and the new one the pipe must not end
            if self._closed:
                raise self._refusal("open another one")
            joined = MappingProxyType({**self._metadata, **metadata}) if metadata else self._metadata
            return Writer(self._channel, joined)

    def one_off(self, id: str) -> OneOff:
        """A thing that starts now and is done once: see OneOff.

        Raises:
            ProgressError: the writer is closed.
        """
        from .oneoff import OneOff

        return OneOff(id, self)

    def close(self) -> None:
        """Write no more; may be called twice. With the last writer the pipe ends."""
        with self._channel.lock:
            if not self._closed:
                self._closed = True
                self._channel.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _refusal(step: str) -> ProgressError:
        return ProgressError("the writer is closed", step=step)


class Reader:
    """Where progress is read; made by `pipe` and `MultiReader`.

    `read` gives all there is; iterating, with `for` or `async for`, gives update by update until the end.
    Threads and tasks may share a reader: each update goes to one of them. Whoever waits in a loop of
    asyncio blocks nothing and needs no thread; what a cancelled task did not take, the next one gets.
    """

    __slots__ = ("_channel", "_inbox", "_interval")

    def __init__(self, channel: Channel, inbox: Inbox, interval: float) -> None:
        self._channel = channel
        self._inbox = inbox
        self._interval = interval

    def read(self, timeout: float | None = None) -> list[Update]:
        """Wait for news and give all of it: the newest update of each id, oldest first.

        Args:
            timeout: how many seconds to wait at most.

        Returns:
            The updates, or [] when the time is out.

        Raises:
            EOFError: the pipe has ended, or the reader was closed, and everything is read.
            ProgressError: the reader belongs to a MultiReader.
        """
        with self._channel.lock:
            return self._inbox.take_all(timeout)

    def close(self) -> None:
        """Take no more news in, as if the pipe ended here; may be called twice, and by any thread.

        What is unread can still be read, so that nothing that was told before is lost.
        """
        with self._channel.lock:
            self._channel.unsubscribe(self._inbox)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Update:
        with self._channel.lock:
            try:
                while (update := self._inbox.take_one()) is None:
                    self._inbox.wait()
            except EOFError:
                raise StopIteration from None
            return update

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        from asyncio import get_running_loop

        inbox = self._inbox
        loop = get_running_loop()
        while True:
            with self._channel.lock:
                try:
                    update = inbox.take_one()
                except EOFError:
                    raise StopAsyncIteration from None
                if update is not None:  # nothing is awaited from here on, so it can't be lost by a cancel
                    return update
                seconds = inbox.patience()
                future = loop.create_future()
                inbox.waiting[future] = loop
            timer = None if seconds is None else loop.call_later(seconds, resolve, future)
            try:
                await future
            finally:
                if timer is not None:
                    timer.cancel()
                with self._channel.lock:
                    inbox.waiting.pop(future, None)

    def _claim(self) -> None:
        """For MultiReader: nobody reads here any more, so what is unread is the latest of every id."""
        with self._channel.lock:
            self._inbox.claim()

    def _another(self) -> Reader:
        """For MultiReader: a reader that sees what is unread here, and then everything."""
        with self._channel.lock:
            inbox = self._channel.subscribe(self._interval, self._inbox)
        return Reader(self._channel, inbox, self._interval)
