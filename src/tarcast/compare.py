"""`verify`: an archive against the trees it should be of, member by member. The rules: docs/index.md."""

from __future__ import annotations

import array
import contextlib
import os
import queue
import stat
import threading

from ._core.scan import Member, Scanner
from .errors import Cancelled, OptionError
from .index.form import SUFFIXES
from .index.source import open_source, scan
from .index.sparse import sparse_digest
from .index.writing import hash_maker
from .roots import name_trees
from .tree import check_epoch
from .write import write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from ._core.scan import Hash
    from .roots import Trees
    from .tree import Tree

    Value = str | int | None

KINDS = (
    "missing",
    "extra",
    "duplicate",
    "type",
    "mode",
    "owner",
    "mtime",
    "size",
    "device",
    "link",
    "xattrs",
    "content",
)

_BILLION = 1_000_000_000
# Some write times as floating-point numbers, which have no more digits.
_TIME_DIGITS = 1000
# Lists of members that the tree may be ahead of the archive.
_AHEAD = 8
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")


class Difference:
    """One thing in which an archive differs from its tree.

    Attributes:
        path: path in the archive, without "./" before it or a slash behind it.
        kind: "missing" (the tree has it, the archive has not), "extra" (the other way round), "duplicate"
            (the archive has it once more), "type", "mode", "owner", "mtime" (both as seconds since 1970),
            "size", "device", "link" (target of a symlink, or what is one file under several names), "xattrs",
            "content".
        archive, tree: what either says, or None.
    """

    __slots__ = ("archive", "kind", "path", "tree")

    def __init__(self, path: str, kind: str, archive: Value = None, tree: Value = None) -> None:
        self.path: str = path
        self.kind: str = kind
        self.archive: Value = archive
        self.tree: Value = tree

    def __str__(self) -> str:
        from .errors import printable

        text = f"{printable(self.path)}: {self.kind}"
        if self.archive is None and self.tree is None:
            return text
        return f"{text}: archive {printable(str(self.archive))}, tree {printable(str(self.tree))}"

    def __repr__(self) -> str:
        return f"<Difference {self}>"


def verify(
    archive: str | bytes | os.PathLike[str],
    trees: Trees,
    *,
    epoch: int | None = None,
    content: bool = True,
    ignore: Iterable[str] = (),
    threads: int | None = None,
) -> Generator[Difference]:
    """Compare an archive, anybody's, with trees; what would be written for them now is what should be in it.

    Args:
        archive: path, compressed or not; "-" is standard input.
        trees: as for write_tar, with the options that the archive was made with.
        epoch: as for write_tar.
        content: whether the files' data is compared, by SHA-256.
        ignore: kinds of differences not to look for; see Difference.
        threads: as for write_tar.

    Returns:
        An iterator of the differences, which does the work as it is read; close it to end early. While both
        have the same order, memory is 8 bytes a member, hard links, and what only one of them has.

    Raises:
        OptionError: an argument makes no sense.
        InputError: from the iterator: archive or tree can't be read.
    """
    named = name_trees(trees)
    epoch = check_epoch(epoch)
    if isinstance(ignore, str):
        ignore = (ignore,)
    ignored = frozenset(ignore)
    for kind in sorted(ignored - set(KINDS)):
        raise OptionError(f"there is no kind of difference {kind!r}", hint=f"one of {', '.join(KINDS)}")
    disk = _Disk(named, epoch)
    digest = hash_maker("sha256") if content else None
    return _differences(archive, trees, epoch, digest, ignored, threads, disk)


def _differences(
    archive: str | bytes | os.PathLike[str],
    trees: Trees,
    epoch: int | None,
    digest: Callable[[], Hash] | None,
    ignored: frozenset[str],
    threads: int | None,
    disk: _Disk,
) -> Generator[Difference]:
    expand = digest and sparse_digest(digest)
    source = open_source(archive)
    scanners = [Scanner(digest=digest, sparse_digest=expand) for _ in range(2)]
    with contextlib.closing(source):
        left = scan(source, scanners[0])
        wanted = _Wanted(trees, epoch, threads, scanners[1], _own_files(archive))
        with contextlib.closing(wanted):
            for difference in _Comparison(disk).run(left, iter(wanted)):
                if difference.kind not in ignored:
                    yield difference


def _own_files(archive: str | bytes | os.PathLike[str]) -> list[tuple[int, int]]:
    """(device, inode) of the archive and of indexes beside it: in the tree they are not of it."""
    found = []
    for suffix in ("", *SUFFIXES):
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(os.fsencode(archive) + suffix.encode())
            found.append((status.st_dev, status.st_ino))
    return found


class _Wanted:
    """What the trees' archive would hold, made in a thread of its own: a sink that keeps members alone.

    Iterating gives lists of members, or raises what the export raised.
    """

    name = "comparison"
    fd = -1

    def __init__(
        self,
        trees: Trees,
        epoch: int | None,
        threads: int | None,
        scanner: Scanner,
        outputs: list[tuple[int, int]],
    ) -> None:
        self.outputs = outputs
        self.write: Callable[[memoryview], None] | None = self._write
        self._scanner = scanner
        self._queue: queue.Queue[list[Member] | BaseException | None] = queue.Queue(_AHEAD)
        self._given_up = threading.Event()

        def work() -> None:
            end: BaseException | None = None
            try:
                write_tar(trees, self, epoch=epoch, threads=threads, cancel=self._given_up)
            except BaseException as error:
                end = error
            with contextlib.suppress(Cancelled):
                self._put(end)

        self._thread = threading.Thread(target=work, name="tarcast verify", daemon=True)
        self._thread.start()

    def _write(self, view: memoryview) -> None:
        members = self._scanner.feed(view)
        if members:
            self._put(members)

    def _put(self, what: list[Member] | BaseException | None) -> None:
        while not self._given_up.is_set():
            try:
                return self._queue.put(what, timeout=0.05)
            except queue.Full:
                continue
        raise Cancelled("the comparison was given up")

    def open(self) -> None:
        pass

    def commit(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def __iter__(self) -> Iterator[list[Member]]:
        while True:
            what = self._queue.get()
            if what is None:
                return
            if isinstance(what, BaseException):
                raise what
            yield what

    def close(self) -> None:
        self._given_up.set()
        self._thread.join()


class _Disk:
    """What the trees say themselves, where an archive of ours says it less exactly."""

    def __init__(self, named: list[tuple[bytes, Tree]], epoch: int | None) -> None:
        self._named = named
        self._epoch = epoch
        self._tops = {prefix[:-1] for prefix, _ in named if prefix}

    def is_top(self, name: bytes) -> bool:
        """Whether it is the directory of a named tree, of which the core knows the name alone."""
        return name in self._tops

    def _status(self, name: bytes) -> tuple[Tree, os.stat_result] | None:
        for prefix, tree in self._named:
            inner = name.removeprefix(prefix)
            if not name.startswith(prefix) or not inner:
                continue
            with contextlib.suppress(OSError):
                if tree.opened is not None:
                    return tree, os.lstat(inner, dir_fd=tree.opened.fd)
                return tree, os.lstat(os.path.join(os.fsencode(tree.path), inner))
        return None

    def mtime_ns(self, name: bytes) -> int | None:
        """To the nanosecond; None where something else than the file decides."""
        found = self._status(name)
        if found is None or found[0].epoch is not None or found[0].map is not None or self._epoch is not None:
            return None
        return found[1].st_mtime_ns

    def is_socket(self, name: bytes) -> bool:
        found = self._status(name)
        return found is not None and stat.S_ISSOCK(found[1].st_mode)


class _Comparison:
    """Two runs of members, matched by name, whatever their order; of several with one name the first."""

    def __init__(self, disk: _Disk) -> None:
        self._disk = disk
        self._archive: dict[bytes, Member] = {}  # those the other side did not have yet
        self._tree: dict[bytes, Member] = {}
        self._matched = array.array("q")  # hashes of the names that both sides had
        self._links: tuple[dict[bytes, bytes], dict[bytes, bytes]] = {}, {}
        self._linked: list[tuple[bytes, Member, Member]] = []  # pairs with other first names of one file

    def run(self, archive: Iterator[list[Member]], tree: Iterator[list[Member]]) -> Iterator[Difference]:
        ahead = 0  # by how many members the archive is
        sides = {"archive", "tree"}
        while sides:
            # The one that is behind, so that few wait for each other.
            from_archive = "archive" in sides and (ahead <= 0 or "tree" not in sides)
            some = next(archive if from_archive else tree, None)
            if some is None:
                sides.remove("archive" if from_archive else "tree")
                continue
            ahead += len(some) if from_archive else -len(some)
            for member in some:
                name = plain_name(member.raw_name)
                if not name or name == b".":  # the root has no entry in ours
                    continue
                if from_archive:
                    yield from self._from_archive(name, member)
                else:
                    yield from self._from_tree(name, member)
        yield from self._rest()

    def _from_archive(self, name: bytes, member: Member) -> Iterator[Difference]:
        other = self._tree.pop(name, None)
        if other is not None:
            yield from self._pair(name, member, other)
        elif name in self._archive:
            yield Difference(os.fsdecode(name), "duplicate")
        else:
            self._archive[name] = member

    def _from_tree(self, name: bytes, member: Member) -> Iterator[Difference]:
        if member.type == "hardlink":
            self._links[1][name] = plain_name(member.raw_linkname)
        other = self._archive.pop(name, None)
        if other is None:
            self._tree[name] = member
        else:
            yield from self._pair(name, other, member)

    def _pair(self, name: bytes, archive: Member, tree: Member) -> Iterator[Difference]:
        path = os.fsdecode(name)
        self._matched.append(hash(name))
        links = (archive.type == "hardlink", tree.type == "hardlink")
        if links[0]:
            self._links[0][name] = plain_name(archive.raw_linkname)
        if archive.type != tree.type and not any(links):
            yield Difference(path, "type", archive.type, tree.type)
            return
        if self._disk.is_top(name):
            return
        if archive.type != "symlink" and archive.mode != tree.mode:  # nobody's mode of a symlink counts
            yield Difference(path, "mode", f"{archive.mode:04o}", f"{tree.mode:04o}")
        if (archive.uid, archive.gid) != (tree.uid, tree.gid):
            yield Difference(path, "owner", f"{archive.uid}:{archive.gid}", f"{tree.uid}:{tree.gid}")
        if not self._same_time(name, archive, tree):
            yield Difference(path, "mtime", _time(archive), _time(tree))
        if any(links):
            if not all(links) or self._links[0][name] != self._links[1][name]:
                self._linked.append((name, archive, tree))
            return
        yield from _same_inode(path, archive, tree)

    def _same_time(self, name: bytes, archive: Member, tree: Member) -> bool:
        if archive.mtime_ns == tree.mtime_ns:
            return True
        if abs(archive.mtime_ns - tree.mtime_ns) >= 2 * _BILLION:
            return False
        exact = self._disk.mtime_ns(name)
        if exact is None:
            return False
        if archive.mtime_nsec:
            return abs(archive.mtime_ns - exact) < _TIME_DIGITS
        return archive.mtime == exact // _BILLION  # others cut where we round

    def _rest(self) -> Iterator[Difference]:
        """What no other side had, and hard links, now that all of them are known."""
        # Those whose first member was matched. Asked here, where few are left, it takes no set of all names.
        left = {hash(name) for name in self._archive}
        again = left.intersection(self._matched) if left else left
        for name in self._archive:
            yield Difference(os.fsdecode(name), "duplicate" if hash(name) in again else "extra")
        for name in self._tree:
            if not self._disk.is_socket(name):  # others leave them out
                yield Difference(os.fsdecode(name), "missing")
        of_archive, of_tree = self._links
        first = {name: (archive, tree) for name, archive, tree in self._linked}
        compared = set()
        for name, _, _ in self._linked:
            one, two = of_archive.get(name, name), of_tree.get(name, name)
            # The same file, if each side knows the other's first name as another one of its own.
            if of_archive.get(two, two) != one or of_tree.get(one, one) != two:
                yield Difference(os.fsdecode(name), "link", *map(os.fsdecode, (one, two)))
            elif (one, two) not in compared and one in first and two in first:
                compared.add((one, two))
                yield from _same_inode(os.fsdecode(one), first[one][0], first[two][1])


def plain_name(name: bytes) -> bytes:
    """A name without what some archivers put before it."""
    while name.startswith((b"./", b"/")):
        name = name[1 if name.startswith(b"/") else 2 :]
    return name


def _same_inode(path: str, archive: Member, tree: Member) -> Iterator[Difference]:
    """What is one for all names of a file, and stands at the first of them alone."""
    if archive.type != tree.type:
        yield Difference(path, "type", archive.type, tree.type)
        return
    devices = [f"{m.devmajor}:{m.devminor}" for m in (archive, tree)]
    if devices[0] != devices[1]:
        yield Difference(path, "device", *devices)
    if archive.raw_linkname != tree.raw_linkname:
        yield Difference(path, "link", archive.linkname, tree.linkname)
    names = _other_attributes(archive, tree)
    if names and not archive.is_gnu:  # whose format has no place for them
        yield Difference(path, "xattrs", *names)
    if archive.size != tree.size:
        yield Difference(path, "size", archive.size, tree.size)
    elif archive.digest != tree.digest:
        yield Difference(path, "content")


def _time(member: Member) -> str:
    return f"{member.mtime}.{member.mtime_nsec:09d}" if member.mtime_nsec else str(member.mtime)


def _other_attributes(archive: Member, tree: Member) -> tuple[str, str] | None:
    """The names of the extended attributes that differ, on either side."""
    one, two = dict(archive.xattrs), dict(tree.xattrs)
    if archive.has_acl:  # it has them in records of another kind
        one, two = ({k: v for k, v in some.items() if k not in _ACLS} for some in (one, two))
    if one == two:
        return None
    names = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    mine, theirs = (
        ",".join(os.fsdecode(name) for name in names if name in some) or "none" for some in (one, two)
    )
    return mine, theirs
