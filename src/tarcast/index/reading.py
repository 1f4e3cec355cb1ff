"""An index read: all its members in the archive's order, or one by its name."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading

from .._core.rows import json_lines, text_and_raw
from .._core.scan import Member
from ..errors import InputError, OptionError, os_error
from .form import COLUMNS, member_of, meta_of, not_an_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, Protocol, Self

    from typing_extensions import Buffer

    from .form import Meta

    class Index(Protocol):
        """An index; also a context manager, and iterable: its members in the archive's order.

        Attributes:
            name: its path.
            meta: what it says of the archive.
        """

        name: str
        meta: Meta

        def __iter__(self) -> Iterator[Member]: ...
        def find(self, name: bytes) -> Member | None:
            """The last member of exactly this name, which is the one that counts."""

        def close(self) -> None: ...
        def __enter__(self) -> Self: ...
        def __exit__(self, *error: object) -> None: ...

else:
    Index = object


class _Closing:
    if TYPE_CHECKING:

        def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _ByLibrary(_Closing):
    """What reads its file by a library, whose errors have the base `_error`."""

    name: str
    _error: type[Exception]

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (self._error, UnicodeDecodeError) as error:
            raise not_an_index(self.name, str(error)) from error


def open_index(path: str | bytes | os.PathLike[str]) -> Index:
    """The index at `path`; what it is written in is seen by its content.

    Raises:
        InputError: it can't be read, or is none.
        OptionError: reading it needs a package.
    """
    name = os.fsdecode(path)
    try:
        with open(path, "rb") as file:
            begin = file.read(16)
        if begin == b"SQLite format 3\0":
            return _Sqlite(name)
        if begin.startswith(b"PAR1"):
            return _Parquet(name)
        if begin.startswith(b"{"):
            return _JsonLines(name)
    except InputError:
        raise
    except OSError as error:
        raise os_error(InputError, error, path=name, step="open index") from error
    raise not_an_index(name, "it is neither JSON lines nor SQLite nor Parquet")


class _From(io.RawIOBase):
    """What is in `file` from `at` on, whoever else reads it meanwhile."""

    def __init__(self, file: BinaryIO, at: int) -> None:
        self._file = file
        self._at = at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        data = os.pread(self._file.fileno(), len(view), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _JsonLines(_Closing):
    def __init__(self, name: str) -> None:
        self.name = name
        self._file = open(name, "rb")  # noqa: SIM115
        try:
            self.meta = meta_of(self._parsed(self._file.readline(1 << 20)), name)
        except BaseException:
            self._file.close()
            raise
        self._start = self._file.tell()

    def _parsed(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except (RecursionError, ValueError) as error:
            raise not_an_index(self.name, f"a line is no JSON: {error}") from None

    def _lines(self) -> Iterator[bytes]:
        try:
            yield from io.BufferedReader(_From(self._file, self._start), 1 << 16)
        except OSError as error:
            raise os_error(InputError, error, path=self.name, step="read index") from error

    def __iter__(self) -> Iterator[Member]:
        count = 0
        for line in self._lines():
            yield member_of(_mapping(self._parsed(line)), self.name)
            count += 1
        if count != self.meta.entries:
            raise not_an_index(self.name, f"it is cut: {count} of {self.meta.entries} members")

    def find(self, name: bytes) -> Member | None:
        begin = b"".join(json_lines([Member(name, "file")]).partition(b',"type":')[:2])
        found = None
        for line in self._lines():
            if line.startswith(begin):
                found = line
        return None if found is None else member_of(_mapping(self._parsed(found)), self.name)

    def close(self) -> None:
        self._file.close()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Sqlite(_ByLibrary):
    def __init__(self, name: str) -> None:
        import sqlite3
        import urllib.parse

        self.name = name
        # Threads may share it, one at a time; reentrant, for an iterator may be collected at any moment.
        self._lock = threading.RLock()
        address = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(name)))}?mode=ro&immutable=1"
        self._error = sqlite3.Error
        with self._telling():
            self._connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        try:
            with self._telling():
                rows = self._connection.execute("SELECT key, value FROM archive").fetchall()
            try:
                values = {key: json.loads(value) for key, value in rows}
            except (RecursionError, TypeError, ValueError):
                raise not_an_index(name, "the archive's record is damaged") from None
            self.meta = meta_of(values, name)
        except BaseException:
            self._connection.close()
            raise

    def _rows(self, rest: str, values: tuple[object, ...] = ()) -> Iterator[Member]:
        with self._telling():
            with self._lock:
                rows = self._connection.execute(f"SELECT {', '.join(COLUMNS)} FROM entries {rest}", values)
            try:
                while True:
                    with self._lock:
                        row = rows.fetchone()
                    if row is None:
                        return
                    yield member_of(dict(zip(COLUMNS, row, strict=True)), self.name)
            finally:
                with self._lock, contextlib.suppress(self._error):
                    rows.close()

    def __iter__(self) -> Iterator[Member]:
        return self._rows("ORDER BY rowid")

    def find(self, name: bytes) -> Member | None:
        last = "WHERE name = ? AND raw_name IS ? ORDER BY rowid DESC LIMIT 1"
        return next(self._rows(last, text_and_raw(name)), None)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class _Parquet(_ByLibrary):
    def __init__(self, name: str) -> None:
        self.name = name
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise OptionError(
                "an index in Parquet needs pyarrow", path=name, hint="pip install 'tarcast[parquet]'"
            ) from error
        self._error = pyarrow.ArrowException
        with self._telling():
            self._file = pyarrow.parquet.ParquetFile(name)
        try:
            record = (self._file.metadata.metadata or {}).get(b"tarcast")
            try:
                values = json.loads(record or b"null")
            except (RecursionError, ValueError):
                raise not_an_index(name, "the archive's record is damaged") from None
            self.meta = meta_of(values, name)
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[Member]:
        with self._telling():
            for batch in self._file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    yield member_of(row, self.name)

    def find(self, name: bytes) -> Member | None:
        import pyarrow.compute as compute

        text, raw = text_and_raw(name)
        with self._telling():
            for group in reversed(range(self._file.num_row_groups)):
                names = self._file.read_row_group(group, columns=["name", "raw_name"])
                hits = compute.indices_nonzero(compute.equal(names["name"], text)).to_pylist()
                hits = [i for i in hits if names["raw_name"][i].as_py() == raw]
                if hits:
                    row = self._file.read_row_group(group).slice(hits[-1], 1).to_pylist()[0]
                    return member_of(row, self.name)
        return None

    def close(self) -> None:
        self._file.close()
