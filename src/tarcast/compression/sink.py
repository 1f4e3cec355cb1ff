"""A sink before another one, with compression between them."""

from __future__ import annotations

from ..errors import OutputError, TarcastError
from .codec import DEFLATE_WINDOW
from .output import DescriptorOutput
from .pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sinks import Sink
    from .codec import Codec

# While compression or the output is slow, so often somebody may say that it is enough, in seconds.
_LOOK_EVERY = 0.04


class CompressedSink:
    """Takes the archive, gives `inner` what `codec` makes of it; compresses in threads of its own.

    Everything is written to `inner` by the thread that calls `write` and `finish`. At most
    `Encoder.waiting` blocks are held, then `write` waits.

    Args:
        inner: not open yet; opened, committed and aborted with this one.
        codec: from `choose`.
        observer: sees every compressed byte before `inner` does.

    Attributes:
        bytes_out: compressed bytes that `inner` took so far.
        while_waiting: called about every 40 ms while `write`, `finish` or `commit` wait; may raise.
    """

    fd = -1

    def __init__(
        self,
        inner: Sink,
        codec: Codec,
        *,
        observer: Callable[[memoryview], object] | None = None,
    ) -> None:
        self.name: str = inner.name
        self.outputs: list[tuple[int, int]] = inner.outputs
        self.write: Callable[[memoryview], None] | None = self._write
        self._while_waiting: Callable[[], object] | None = None
        self.bytes_out: int = 0
        self._inner = inner
        self._observer = observer
        self._encoder = codec.start()
        self._pool = Pool(self._encoder)
        self._out: Callable[[memoryview], object] = _closed
        self._block = bytearray()
        self._before = b""
        self._begun = False
        self._finished = False

    @property
    def while_waiting(self) -> Callable[[], object] | None:
        return self._while_waiting

    @while_waiting.setter
    def while_waiting(self, call: Callable[[], object] | None) -> None:
        self._while_waiting = call
        if hasattr(self._inner, "while_waiting"):
            self._inner.while_waiting = call

    @property
    def left(self) -> Exception | None:
        """What `inner` could not undo."""
        return getattr(self._inner, "left", None)

    def open(self) -> None:
        self._inner.open()
        self.outputs = self._inner.outputs  # known now
        self._out = self._inner.write or DescriptorOutput(self._inner.fd, self.name, self._look).write

    def _look(self) -> None:
        if self._while_waiting is not None:
            self._while_waiting()

    def _write(self, view: memoryview) -> None:
        size = self._encoder.block
        while view:
            room = size - len(self._block)
            self._block += view[:room]
            view = view[room:]
            if len(self._block) == size:
                self._give(last=False)

    def _give(self, *, last: bool) -> None:
        """The block is full, or the last one: have it encoded, once there is room for it."""
        if not self._begun:
            self._begun = True
            self._put(self._encoder.head())
        self._drain(self._encoder.waiting - 1)
        block, self._block = self._block, bytearray()
        self._encoder.pass_by(block)
        before, self._before = self._before, bytes(block[-DEFLATE_WINDOW:])
        self._pool.give(block, before, last)

    def _drain(self, left: int) -> None:
        """Write what is encoded, and wait until no more than `left` blocks are pending."""
        while self._pool.pending():
            try:
                out = self._pool.take(_LOOK_EVERY if self._pool.pending() > left else 0)
            except (MemoryError, TarcastError):
                raise
            except Exception as error:
                raise OutputError(str(error), path=self.name, step="compress") from error
            if out is not None:
                self._put(out)
            elif self._pool.pending() > left:
                self._look()
            else:
                return

    def _put(self, data: bytes) -> None:
        if not data:
            return
        with memoryview(data) as view:
            if self._observer is not None:
                self._observer(view)
            self._out(view)
        self.bytes_out += len(data)

    def finish(self) -> None:
        """The archive ends here: write all of it.

        Raises:
            OutputError: writing or compressing failed.
            What `while_waiting` raises.
        """
        if self._finished:
            return
        self._give(last=True)
        self._drain(0)
        self._put(self._encoder.foot())
        self._pool.close()
        self._finished = True

    def commit(self) -> None:
        self.finish()
        self._inner.commit()

    def abort(self) -> None:
        try:
            self._pool.close()
        finally:
            self._inner.abort()


def _closed(view: memoryview) -> object:
    raise ValueError("the sink is not open")
