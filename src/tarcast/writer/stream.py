"""One archive on its way to a sink: bytes of Python's and parts that the core writes, in turn."""

from __future__ import annotations

import time

from .. import outcome
from .._core import Export
from .._core.links import LinkTable
from ..compression.output import DescriptorOutput
from ..compression.sink import CompressedSink
from ..errors import Cancelled, OutputError
from ..limits import MOST_MEMORY
from ..result import Result, Warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.export import Root
    from ..compression.codec import Codec
    from ..digest import Digests
    from ..errors import InputError
    from ..sinks import Sink

# Pieces of so many bytes or fewer are gathered until there are so many.
SMALL = 65536
_GATHERED = 262144
# As many as the core keeps of one export.
_MOST_WARNINGS = 10000


class Stream:
    """What was written, what is to be said of it, and where it goes. One thread at a time.

    Attributes:
        offset: length of the archive so far, in bytes.
        entries: headers so far.
        links: first names of inodes with more than one link.
    """

    def __init__(
        self,
        sink: Sink,
        codec: Codec | None,
        digests: Digests,
        *,
        skip_errors: bool,
        threads: int | None,
        memory_limit: int,
        cores: int,
    ) -> None:
        self.offset: int = 0
        self.entries: int = 0
        self.links: LinkTable = LinkTable()
        self.skip_errors = skip_errors
        self._codec = codec
        self._digests = digests
        self._output_digests = digests.another()
        self._output = sink
        self._compressed: CompressedSink | None = None
        if codec is not None:
            observer = self._output_digests.update if digests else None
            self._output = self._compressed = CompressedSink(sink, codec, observer=observer)
        self._threads = threads or 0
        self._memory = min(memory_limit, MOST_MEMORY)
        self._cores = cores
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._skipped = 0
        self._dropped = 0
        self._warnings: list[Warning] = []
        self._warnings_lost = 0
        self._started = time.monotonic()
        try:
            self._output.open()
        except BaseException:
            self._output.abort()
            raise
        self.outputs: frozenset[tuple[int, int]] = frozenset(self._output.outputs)
        output = self._output
        self._write: Callable[[memoryview], object]
        self._write = output.write or DescriptorOutput(output.fd, output.name, _nothing).write

    def put(self, data: bytes) -> None:
        """Append `data`. OutputError when the sink does not take it."""
        size = len(data)
        self.offset += size
        if size > SMALL:
            self.flush()
            self._send(data)
            return
        self._held.append(data)
        self._held_bytes += size
        if self._held_bytes >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Give the sink all that was put."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
            self._send(data)

    def _send(self, data: bytes) -> None:
        with memoryview(data) as view:
            if self._digests:
                self._digests.update(view)
            self._write(view)

    def run(self, root: Root, place: tuple[bytes, bytes]) -> None:
        """Have the core append a tree. `place` is its directory and its prefix, for messages.

        Raises what `write_tar` raises while it writes.
        """
        self.flush()
        export = Export(
            [root],
            fd=self._output.fd,
            write=self._output.write,
            observer=self._digests.update if self._digests else None,
            outputs=self._output.outputs,
            part=self.links,
            named=True,
            skip_errors=self.skip_errors,
            threads=self._threads,
            memory=self._memory,
            cores=self._cores,
        )
        complete = export.run()
        self.offset += export.bytes_written
        self.entries += export.entries
        self._skipped += export.skipped
        self._dropped += export.dropped
        self._warnings_lost += export.notes_lost
        for note in export.notes:
            self._keep(outcome.warning(note, [place]))
        if not complete:
            if export.failure is None:
                raise Cancelled("the export was cancelled")
            raise outcome.failure(export.failure, [place], self._output.name)

    def warn(self, path: str, step: str, message: str) -> None:
        """Something that the result tells."""
        self._keep(Warning(path, step, message, 0, False))

    def skip(self, path: str, error: InputError) -> None:
        """An entry, or a part of one, is missing for `error`."""
        self._skipped += 1
        self._keep(Warning(path, error.step, error.message, error.errno or 0, True))

    def _keep(self, warning: Warning) -> None:
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings.append(warning)
        else:
            self._warnings_lost += 1

    def finish(self) -> Result:
        """All is there: give the sink the rest and have it publish the archive."""
        self.flush()
        self._output.commit()
        self._write = _over
        digests = self._digests.hexdigests()
        compressed = self._compressed
        return Result(
            entries=self.entries,
            bytes_written=self.offset,
            bytes_cloned=0,
            skipped=self._skipped,
            dropped=self._dropped,
            warnings=self._warnings,
            warnings_lost=self._warnings_lost,
            digests=digests,
            output_digests=digests if compressed is None else self._output_digests.hexdigests(),
            output_bytes=self.offset if compressed is None else compressed.bytes_out,
            compression=None if self._codec is None else self._codec.described,
            seconds=time.monotonic() - self._started,
        )

    def abort(self) -> None:
        """Give the archive up. Never raises; nothing after `finish`."""
        self._held.clear()
        self._write = _over
        self._output.abort()
        self._digests.close()
        self._output_digests.close()


def _over(view: memoryview) -> object:
    """For those who are in the midst of an entry when a callable of theirs ends the archive."""
    raise OutputError("the archive was closed or given up in the midst of an entry", step="write")


def _nothing() -> None:
    """While a reader is slow: signals are seen by Python itself."""
