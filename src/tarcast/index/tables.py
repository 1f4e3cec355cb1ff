"""The formats of an index, written: a file that gets members in batches, and at last the archive's record."""

from __future__ import annotations

import contextlib
import json
import os

from .._core.rows import json_lines, row
from ..errors import OptionError, OutputError, os_error
from ..sinks.descriptor import named_descriptor
from ..sinks.file import FileSink
from .form import COLUMNS, format_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from .._core.scan import Member
    from .form import Meta

    class Table(Protocol):
        """An index being written into an open, empty file. Errors are those of what writes it."""

        def add(self, members: list[Member]) -> None: ...
        def finish(self, meta: Meta) -> None:
            """Write what is left, and the archive's record."""

        def close(self) -> None:
            """Let go of the file, finished or not; may be called again."""


# Room for the archive's record at the start of a file of JSON lines: its length is not known before.
_FIRST_LINE = 2048


class JsonLines:
    """The archive's record and then each member as one line of JSON."""

    def __init__(self, file: FileSink) -> None:
        self._fd = file.fd
        self._name = file.name
        self._write(b" " * (_FIRST_LINE - 1) + b"\n")

    def add(self, members: list[Member]) -> None:
        self._write(json_lines(members))

    def finish(self, meta: Meta) -> None:
        line = json.dumps(meta.as_dict()).encode()
        if len(line) >= _FIRST_LINE:
            raise OutputError(
                "the archive's record is too long",
                path=self._name,
                step="write index",
                hint="ask for fewer digests",
            )
        os.pwrite(self._fd, line, 0)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        pass


class Sqlite:
    """A table `entries` with an index of the names, and one `archive` of keys and values."""

    def __init__(self, file: FileSink) -> None:
        import sqlite3

        self._connection = sqlite3.connect(file.temporary_path, isolation_level=None)
        # Nobody sees the file before it is whole, so nothing needs to be undone in it.
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("BEGIN")
        self._connection.execute("CREATE TABLE archive (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        self._connection.execute(
            "CREATE TABLE entries (name TEXT NOT NULL, raw_name BLOB, type TEXT NOT NULL, "
            "header_offset INTEGER NOT NULL, data_offset INTEGER NOT NULL, size INTEGER NOT NULL, "
            "stored INTEGER, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, "
            "mtime INTEGER NOT NULL, mtime_nsec INTEGER, devmajor INTEGER, devminor INTEGER, link TEXT, "
            "raw_link BLOB, sparse TEXT, digest BLOB)"
        )
        self._insert = f"INSERT INTO entries VALUES ({', '.join('?' * len(COLUMNS))})"

    def add(self, members: list[Member]) -> None:
        self._connection.executemany(self._insert, map(row, members))

    def finish(self, meta: Meta) -> None:
        rows = ((key, json.dumps(value)) for key, value in meta.as_dict().items())
        self._connection.executemany("INSERT INTO archive VALUES (?, ?)", rows)
        self._connection.execute("CREATE INDEX entries_name ON entries (name)")
        self._connection.execute("COMMIT")
        self.close()

    def close(self) -> None:
        self._connection.close()


class Parquet:
    """A Parquet file with all columns, and the archive's record in its metadata, under the key `tarcast`."""

    # Rows in memory at once, so that it stays flat; a row group each.
    _ROWS = 16384

    def __init__(self, file: FileSink) -> None:
        import pyarrow as arrow
        import pyarrow.parquet

        kinds: dict[str, Any] = dict.fromkeys(COLUMNS, arrow.int64())
        kinds |= dict.fromkeys(("name", "type", "link", "sparse"), arrow.string())
        kinds |= dict.fromkeys(("raw_name", "raw_link", "digest"), arrow.binary())
        kinds |= dict.fromkeys(("mode", "mtime_nsec"), arrow.int32())
        self._schema = arrow.schema(list(kinds.items()))
        self._arrow = arrow
        self._rows: list[tuple[Any, ...]] = []
        self._file = open(os.dup(file.fd), "wb")  # noqa: SIM115
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema, compression="zstd")

    def add(self, members: list[Member]) -> None:
        self._rows += map(row, members)
        if len(self._rows) >= self._ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True)
        arrays = [self._arrow.array(c, field.type) for c, field in zip(columns, self._schema, strict=True)]
        self._rows = []
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def finish(self, meta: Meta) -> None:
        if self._rows:
            self._flush()
        self._writer.add_key_value_metadata({"tarcast": json.dumps(meta.as_dict())})
        self._writer.close()
        self._file.close()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it is given up: what does not fit any more is of no interest
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()


_TABLES: dict[str, type[JsonLines] | type[Sqlite] | type[Parquet]] = {
    "jsonl": JsonLines,
    "sqlite": Sqlite,
    "parquet": Parquet,
}


class TableFile:
    """An index under its name once it is complete, and not before.

    Args:
        path: where; the suffix says the format.
        fsync: flush it to the disk before `commit` returns.

    Raises:
        OptionError: the suffix is unknown, a package is not installed, or there is no regular file.
    """

    def __init__(self, path: str | bytes | os.PathLike[str], *, fsync: bool = False) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise OptionError(f"an index goes to a path, not to {type(path).__name__}")
        try:
            whole = b"\0" not in os.fsencode(path)
        except UnicodeEncodeError:
            whole = False
        if not whole:
            raise OptionError("no file can have this name", path=os.fsdecode(path))
        self._kind = format_of(path)
        if self._kind == "parquet":
            try:
                import pyarrow.parquet  # noqa: F401
            except ImportError as error:
                raise OptionError(
                    "an index in Parquet needs pyarrow", path=path, hint="pip install 'tarcast[parquet]'"
                ) from error
        self.name: str = os.fsdecode(path)
        special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
        if special or named_descriptor(self.name) is not None:
            raise OptionError("an index needs a regular file of its own", path=path)
        self._file = FileSink(path, fsync=fsync, named=self._kind == "sqlite")
        self._table: Table | None = None

    @property
    def outputs(self) -> list[tuple[int, int]]:
        """(device, inode) of the files that are this index, old or new, once it is open."""
        return self._file.outputs

    def open(self) -> None:
        """Raises OutputError with nothing changed."""
        self._file.open()
        with _telling(self.name):
            self._table = _TABLES[self._kind](self._file)

    def add(self, members: list[Member]) -> None:
        assert self._table is not None
        with _telling(self.name):
            self._table.add(members)

    def finish(self, meta: Meta) -> None:
        assert self._table is not None
        with _telling(self.name):
            self._table.finish(meta)

    def commit(self) -> None:
        """Give it its name, or raise OutputError and leave nothing."""
        self._file.commit()

    def abort(self) -> None:
        """Never raises; after a commit it does nothing."""
        table, self._table = self._table, None
        if table is not None:
            table.close()
        self._file.abort()


@contextlib.contextmanager
def _telling(name: str) -> Any:
    """What goes wrong while an index is written, in words."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise os_error(OutputError, error, path=name, step="write index") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlite3", "pyarrow"):
            raise
        raise OutputError(str(error), path=name, step="write index") from error
