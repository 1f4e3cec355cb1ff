"""`iter_tar` and `aiter_tar`: an archive as an iterator of its bytes, made while it is consumed."""

from __future__ import annotations

import contextlib
import functools
from typing import Generic, TypeVar, cast, overload

from .background import BackgroundExport
from .handoff import End

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from types import TracebackType
    from typing import Literal, Self, Unpack

    from .handoff import Piece
    from .options import Options
    from .result import Result
    from .roots import Trees

CHUNK_SIZE = 1 << 20

P = TypeVar("P", bytes, memoryview)


@overload
def iter_tar(
    trees: Trees,
    *,
    chunk_size: int = CHUNK_SIZE,
    copy: Literal[True] = True,
    **options: Unpack[Options],
) -> TarIterator[bytes]: ...


@overload
def iter_tar(
    trees: Trees, *, chunk_size: int = CHUNK_SIZE, copy: Literal[False], **options: Unpack[Options]
) -> TarIterator[memoryview]: ...


def iter_tar(
    trees: Trees, *, chunk_size: int = CHUNK_SIZE, copy: bool = True, **options: Unpack[Options]
) -> TarIterator[bytes] | TarIterator[memoryview]:
    """The archive that `write_tar` would write, as an iterator of its bytes.

    It is made in a thread of its own, which the first step starts. That thread is at most two chunks
    ahead of the consumer, and the core's workers by `memory_limit` bytes: a slow consumer costs no
    memory. `progress`, `map` and `cancel.is_set` are called in that thread.

    Args:
        trees: as for `write_tar`.
        chunk_size: bytes in a chunk, 1 or more.
        copy: True gives `bytes` of exactly `chunk_size`, the last one shorter. False gives read-only
            memoryviews of the core's own memory, from 1 byte to `chunk_size` and mostly 256 KiB long
            (none is longer than a chunk of the core); each is released by the next step, so what is
            needed longer must be copied.
        **options: those of `write_tar`, for example `digest` or `on_error`.

    Returns:
        A TarIterator. Close it, or use it in a `with` block, where it may be left early.

    Raises:
        OptionError: an argument makes no sense; before the first step.
        The others of `write_tar` by the step that finds out; the archive has then no trailer.
    """
    return TarIterator(BackgroundExport(trees, chunk_size, copy, options))


@overload
def aiter_tar(
    trees: Trees,
    *,
    chunk_size: int = CHUNK_SIZE,
    copy: Literal[True] = True,
    **options: Unpack[Options],
) -> AsyncTarIterator[bytes]: ...


@overload
def aiter_tar(
    trees: Trees, *, chunk_size: int = CHUNK_SIZE, copy: Literal[False], **options: Unpack[Options]
) -> AsyncTarIterator[memoryview]: ...


def aiter_tar(
    trees: Trees, *, chunk_size: int = CHUNK_SIZE, copy: bool = True, **options: Unpack[Options]
) -> AsyncTarIterator[bytes] | AsyncTarIterator[memoryview]:
    """`iter_tar` for `async for`, under asyncio; the event loop is never blocked.

    Arguments and exceptions are those of `iter_tar`. Cancelling a task that waits for a chunk ends the
    export; the task goes on when nothing of it is left.

    Returns:
        An AsyncTarIterator. Close it, or use it in an `async with` block, where it may be left early.
    """
    return AsyncTarIterator(BackgroundExport(trees, chunk_size, copy, options))


class TarIterator(Generic[P]):
    """An archive, chunk by chunk; made by `iter_tar`.

    It may be given from thread to thread. Threads that step it at the same time get different chunks.

    Attributes:
        result: what `write_tar` gives, once the iterator is exhausted; None before, and after an error.
    """

    def __init__(self, export: BackgroundExport) -> None:
        self._export = export

    @property
    def result(self) -> Result | None:
        return self._export.result

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> P:
        export = self._export
        try:
            if export.begin_step():
                piece = export.handoff.take()
                if not isinstance(piece, End):
                    return cast(P, export.taken(piece))
                export.finish()
        except BaseException:  # Ctrl-C too
            self.close()
            raise
        raise StopIteration

    def close(self) -> None:
        """End the export if it is not over, and return when nothing of it is left. More steps give nothing.

        From a callable of the export itself, such as `progress`, it returns at once.
        """
        self._export.abandon()
        self._export.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._export.handoff.close()  # waits for nothing: a destructor may run anywhere


class AsyncTarIterator(Generic[P]):
    """An archive, chunk by chunk; made by `aiter_tar`.

    Attributes:
        result: what `write_tar` gives, once the iterator is exhausted; None before, and after an error.
    """

    def __init__(self, export: BackgroundExport) -> None:
        self._export = export

    @property
    def result(self) -> Result | None:
        return self._export.result

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> P:
        import asyncio

        export = self._export
        try:
            if export.begin_step():
                await asyncio.sleep(0)  # a chunk may always be there: let others have their turn
                piece = await self._take()
                if not isinstance(piece, End):
                    return cast(P, export.taken(piece))
                export.finish()
        except GeneratorExit:  # this very step is given up, and may not wait
            export.abandon()
            raise
        except BaseException:
            await self.aclose()
            raise
        raise StopAsyncIteration

    async def _take(self) -> Piece | End:
        import asyncio

        loop = asyncio.get_running_loop()
        handoff = self._export.handoff
        while (piece := handoff.take_now()) is None:
            ready: asyncio.Future[None] = loop.create_future()
            handoff.call_when_ready(functools.partial(_tell, loop, ready))
            await ready
        return piece

    async def aclose(self) -> None:
        """End the export if it is not over; returns when nothing of it is left. More steps give nothing."""
        self._export.abandon()
        if self._export.running:
            while not isinstance(await self._take(), End):
                pass
        self._export.join()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._export.handoff.close()


def _tell(loop: asyncio.AbstractEventLoop, ready: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
        loop.call_soon_threadsafe(_set, ready)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
