"""An archive as a set of members: listed, looked up, read; by an index where there is one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os

from .._core.scan import Member, ScanError, Scanner
from ..errors import InputError, OptionError
from .content import MemberFile
from .form import HEAD, SUFFIXES
from .reading import open_index
from .source import open_source, read_exactly, scan, scan_into
from .tables import TableFile
from .writing import Recorder, hash_maker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, Self

    from .reading import Index
    from .source import Source

    Path = str | bytes | os.PathLike[str]

_MOST_LINKS = 40
# Beyond this much between a member's first block and its data nothing is right: see Scanner.
_MOST_HEADERS = 64 << 20


class Archive:
    """A tar archive of anybody's, to look into; a context manager.

    An index makes a look-up one read, and a listing none at all. Without one the archive is scanned: of an
    uncompressed file the headers alone, of a compressed one (gzip, xz, bzip2 and, with the
    extra `zstd`, zstd) or a pipe everything. With a compressed archive an index saves the scan, but to read
    a member everything before it is decompressed.

    Args:
        path: the archive; "-" is standard input.
        index: where its index is. None: it is looked for beside the archive, under the archive's name with
            .sqlite, .db, .jsonl or .parquet behind it, and used if it is of this archive. False: use none.
        spool: keep what comes by a pipe in an unnamed temporary file, so that members can be read, and not
            only listed.

    Attributes:
        index: the Index in use, or None.
        unused: why an index that was found is not used, or "".

    Raises:
        InputError: the archive can't be read, or `index` is of another one.
        OptionError: a package is missing.
    """

    def __init__(self, path: Path, *, index: Path | bool | None = None, spool: bool = False) -> None:
        if index is True:
            raise OptionError("index is a path, False or None, not True")
        self._source: Source = open_source(path, spool=spool)
        self.name: str = self._source.name
        self.index: Index | None = None
        self.unused: str = ""
        self._table: dict[bytes, Member] | None = None
        try:
            if index is not None and index is not False:
                self._use(open_index(index))
            elif index is None and path != "-":
                self._look_beside(path)
        except BaseException:
            self.close()
            raise

    def _look_beside(self, path: Path) -> None:
        for suffix in SUFFIXES:
            beside = os.fsencode(path) + suffix.encode()
            if not os.path.isfile(beside):
                continue
            try:
                self._use(open_index(beside))
            except (InputError, OptionError) as error:
                self.unused = str(error)
                continue
            self.unused = ""
            return

    def _use(self, index: Index) -> None:
        """Take `index`, or raise InputError if it is not of this archive."""
        source, meta = self._source, index.meta
        try:
            size = source.size if source.compression is None else source.file_size
            told = meta.size if source.compression is None else meta.file_size
            if None not in (size, told) and size != told:
                problem = f"the archive has {size} bytes now, and had {told}"
            elif hashlib.sha256(read_exactly(source, 0, HEAD)).hexdigest() != meta.head:
                problem = "the archive begins with other bytes now"
            else:
                self.index = index
                return
        except BaseException:
            index.close()
            raise
        index.close()
        raise _stale(index.name, problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files. May be called again."""
        if self.index is not None:
            self.index.close()
        self._source.close()

    def __iter__(self) -> Iterator[Member]:
        return self.members()

    def members(self) -> Iterator[Member]:
        """All members in the archive's order; a name that is there twice comes twice."""
        if self.index is not None:
            yield from self.index
            return
        for some in scan(self._source, Scanner()):
            yield from some

    def find(self, name: str | bytes) -> Member:
        """The member of this name: as it is given, or without or with what some put before it, "./" or "/".

        Of several with one name it is the last. Without an index the first call reads all headers and keeps
        the members, some 400 bytes each.

        Raises:
            InputError: with ENOENT, there is none.
        """
        found = self._look_up(os.fsencode(name))
        if found is None:
            raise InputError(
                f"is not in the archive {self.name}", path=name, step="find member", errno=errno.ENOENT
            )
        return found

    def _look_up(self, name: bytes) -> Member | None:
        if self.index is None and self._table is None:
            self._table = {member.raw_name: member for member in self.members()}
        for candidate in names_of(name):
            if self._table is not None:
                found = self._table.get(candidate)
            else:
                assert self.index is not None
                found = self.index.find(candidate)
            if found is not None:
                return found
        return None

    def resolve_all(self, names: Iterable[str | bytes]) -> list[Member]:
        """`find` and `resolve` for each; without an index it keeps no more members than these take.

        Raises:
            InputError: as they do.
        """
        names = list(names)
        if self.index is not None or self._table is not None:
            return [self.resolve(self.find(name)) for name in names]
        self._table = found = {}
        asked: set[bytes] = set()
        wanted = {spelt for name in names for spelt in names_of(os.fsencode(name))}
        try:
            while wanted and len(asked) < _MOST_LINKS * (len(names) + 1) * 4:
                found.update({m.raw_name: m for m in self.members() if m.raw_name in wanted})
                asked |= wanted
                links = [m.raw_linkname for m in found.values() if m.type == "hardlink"]
                wanted = {spelt for link in links for spelt in names_of(link)} - asked
            return [self.resolve(self.find(name)) for name in names]
        finally:
            self._table = None

    def resolve(self, member: Member) -> Member:
        """The member that holds the data: for a hard link the one it leads to, else the same.

        Raises:
            InputError: it leads nowhere.
        """
        first = member
        for _ in range(_MOST_LINKS):
            if member.type != "hardlink":
                return member
            target = self._look_up(member.raw_linkname)
            if target is None:
                raise InputError(
                    f"is a hard link to {first.linkname!r}, which is not in the archive",
                    path=first.name,
                    step="read member",
                )
            member = target
        raise InputError("is a hard link that leads to itself", path=first.name, step="read member")

    def open(self, member: str | bytes | Member) -> BinaryIO:
        """A file object, seekable, of a member's content; holes of a sparse one are zeros.

        It reads from the archive, which has to stay open. A hard link gives the data of its target.

        Raises:
            InputError: there is no such member, it is no file, or the index is of another archive.
        """
        if not isinstance(member, Member):
            member = self.find(member)
        member = self.resolve(member)
        if member.type != "file":
            hint = f"it leads to {member.linkname!r}" if member.type == "symlink" else ""
            kind = f"is of {member.type} type" if member.type == "unknown" else f"is a {member.type}"
            raise InputError(f"{kind}, it has no data", path=member.name, step="read member", hint=hint)
        if self.index is not None:
            member = self._checked(member)
        raw = MemberFile(self._source, member)
        return io.BufferedReader(raw, 1 << 16)

    def read(self, member: str | bytes | Member) -> bytes:
        """A member's whole content; raises what `open` does."""
        with self.open(member) as file:
            return file.read()

    def _checked(self, member: Member) -> Member:
        """The member as its header in the archive says, if that is what the index says."""
        assert self.index is not None
        length = member.data_offset - member.header_offset
        seen = None
        if 0 < length <= _MOST_HEADERS:
            header = read_exactly(self._source, member.header_offset, length)
            scanner = Scanner(start=member.header_offset)
            with contextlib.suppress(ScanError):
                seen = next(iter(scanner.feed(header)), None)
        if seen is None or (seen.raw_name, seen.size, seen.data_offset) != (
            member.raw_name,
            member.size,
            member.data_offset,
        ):
            raise _stale(self.index.name, f"{member.name!r} is not where it says")
        return seen


def names_of(name: bytes) -> list[bytes]:
    """How an archive may spell a name: as given first, then as others do."""
    given = name.rstrip(b"/") or name[:1]
    plain = given
    while plain.startswith((b"./", b"/")):
        plain = plain[1 if plain.startswith(b"/") else 2 :]
    return list(dict.fromkeys([given, plain, b"./" + plain, b"/" + plain]))


def _stale(index: str, problem: str) -> InputError:
    return InputError(
        f"is of another archive: {problem}",
        path=index,
        step="read index",
        hint="make it anew, or leave it out",
    )


def make_index(archive: Path, index: Path, *, digest: str | None = None) -> None:
    """Write the index of an archive that is there already; anybody's, compressed or not.

    Args:
        archive: path, or "-" for standard input.
        index: where to; the suffix says the format.
        digest: name of a hashlib algorithm to run over each file's content, or None.

    Raises:
        OptionError: an argument makes no sense.
        InputError: the archive can't be read; OutputError: the index can't be written. Nothing is left then.
    """
    hash_maker(digest)
    table = TableFile(index)
    source = open_source(archive)
    try:
        table.open()
        recorder = Recorder(table, digest)
        scan_into(recorder, source)
        recorder.finish(
            size=source.size if source.size is not None else recorder.scanner.position,
            file_size=source.file_size,
            compression=source.compression,
        )
        table.commit()
    finally:
        table.abort()
        source.close()
