"""An index that is made while its archive is written: fed with the archive's bytes, published after it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

from .._core.descriptor import Descriptor, open_file
from .._core.scan import Scanner
from ..errors import OptionError
from .form import HEAD, Meta
from .sparse import sparse_digest
from .tables import TableFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.scan import Hash, Member
    from ..sinks import Sink

# Members that are written at once: more make nothing faster, fewer do not make memory smaller.
_BATCH = 1000


def hash_maker(name: str | None) -> Callable[[], Hash] | None:
    """What makes a new hash of the algorithm `name` of hashlib; None for None.

    Raises:
        OptionError: nobody knows it, or it has no length of its own.
    """
    if name is None:
        return None
    import functools
    import hashlib

    make = functools.partial(hashlib.new, name, usedforsecurity=False)
    try:
        size = make().digest_size
    except (TypeError, ValueError):
        size = 0
    if not size:
        raise OptionError(f"unknown digest {name!r} for an index", hint="sha256, for example")
    direct = getattr(hashlib, name, None)  # without a look-up each time
    return functools.partial(direct, usedforsecurity=False) if callable(direct) else make


class Recorder:
    """Gets an archive's bytes in any slices and fills a table.

    Args:
        table: open, and not finished.
        digest: the algorithm of the members' digests, or None.

    Raises, from any call: ScanError, OutputError.
    """

    def __init__(self, table: TableFile, digest: str | None) -> None:
        make = hash_maker(digest)
        self._table = table
        self._digest = digest
        self._head = b""
        self._pending: list[Member] = []
        self._entries = 0
        self.scanner: Scanner = Scanner(digest=make, sparse_digest=make and sparse_digest(make))

    def feed(self, view: memoryview) -> None:
        """The next bytes of the archive."""
        if len(self._head) < HEAD:
            self.begin(view)
        self.add(self.scanner.feed(view))

    def begin(self, view: bytes | memoryview) -> None:
        """The first bytes of the archive, where `add` gets the members."""
        self._head += view[: HEAD - len(self._head)]

    def add(self, members: list[Member]) -> None:
        self._entries += len(members)
        self._pending += members
        if len(self._pending) >= _BATCH:
            self._table.add(self._pending)
            self._pending = []

    def finish(
        self,
        *,
        size: int,
        file_size: int | None,
        compression: str | None = None,
        digests: dict[str, str] | None = None,
    ) -> None:
        """All bytes are there: write what is left, and what there is to say about the archive (see Meta)."""
        import hashlib

        self.scanner.close()
        if self._pending:
            self._table.add(self._pending)
            self._pending = []
        self._table.finish(
            Meta(
                entries=self._entries,
                size=size,
                file_size=file_size,
                compression=compression,
                head=hashlib.sha256(self._head).hexdigest(),
                digests=digests or {},
                entry_digest=self._digest,
            )
        )


class IndexOutput:
    """The index of an archive that `write_tar` writes.

    `open` it behind the sink and `abort` it in any case; `observer` is then what is to see every byte, or
    None where the index is read back from the file instead. `finish` comes before the sink's commit, `commit`
    behind it.

    Raises:
        OptionError: path or digest make no sense.
    """

    def __init__(self, path: str | bytes | os.PathLike[str], digest: str | None, *, fsync: bool) -> None:
        hash_maker(digest)
        self._table = TableFile(path, fsync=fsync)
        self._recorder: Recorder | None = None
        self._digest = digest
        self._reader = Descriptor()
        self._start = 0
        self._sink_name = ""
        self.observer: Callable[[memoryview], None] | None = None

    def open(self, sink: Sink, *, read_back: bool) -> None:
        """`read_back` says that the archive is better written without anybody seeing it, and read afterwards.

        Raises:
            OptionError: the index would take the archive's place.
            OutputError: it can't be written there.
        """
        self._sink_name = sink.name
        same = os.path.realpath(self._table.name) == os.path.realpath(sink.name)
        with contextlib.suppress(OSError):
            old = os.stat(self._table.name)
            same = same or (old.st_dev, old.st_ino) in sink.outputs
        if same:
            raise OptionError("archive and index are the same file", path=self._table.name)
        self._table.open()
        sink.outputs.extend(self._table.outputs)
        self._recorder = Recorder(self._table, self._digest)
        if not (read_back and self._open_reader(sink.fd)):
            self.observer = self._recorder.feed

    def _open_reader(self, fd: int) -> bool:
        """A descriptor to read what is written to `fd`, if that is a file and may be read."""
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return False
            appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
            self._start = status.st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)
            self._reader = open_file(f"/proc/self/fd/{fd}", os.O_RDONLY)
        except OSError:
            return False
        return True

    def finish(self, size: int, digests: dict[str, str], *, file_size: int, compression: str | None) -> None:
        """The archive is written, `size` bytes of it; what is in the file may be compressed."""
        assert self._recorder is not None
        if self.observer is None:
            from .source import FileSource, scan_into

            source = FileSource(self._reader, self._sink_name, start=self._start, size=size)
            scan_into(self._recorder, source)
        self._recorder.finish(size=size, file_size=file_size, compression=compression, digests=digests)

    def commit(self) -> None:
        self._table.commit()

    def abort(self) -> None:
        """Never raises; after a commit it does nothing."""
        self._reader.close()
        self._table.abort()
