"""What to export: a directory with its filters and mappings."""

from __future__ import annotations

import os

from .errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .idmap import IDMap

    Path = str | bytes | os.PathLike[str]
    Patterns = Sequence[str | bytes] | None
    MapFunction = Callable[["Entry"], "Entry | None"]

# Nanoseconds are a signed 64-bit number in the original; see tar-bytes 2.1 for what becomes of others.
_MAX_SECONDS = 2**63 - 1

ENTRY_TYPES = {
    ord("0"): "file",
    ord("1"): "hardlink",
    ord("2"): "symlink",
    ord("3"): "character device",
    ord("4"): "block device",
    ord("5"): "directory",
    ord("6"): "fifo",
}


class Entry:
    """One archive entry, as a `map` callable sees it; what it may change is said below.

    Attributes:
        path: path in the archive without a trailing slash; undecodable bytes are
            surrogate-escaped. Read-only.
        type: "file", "hardlink", "symlink", "directory", "fifo", "character device"
            or "block device" (a socket is an empty "file"). Read-only.
        size: bytes of data that follow; 0 for all but files. Read-only.
        linkname: target of a symlink, first name of a hard link, else "". Read-only.
        mode: permission bits, 0 to 0o7777. May be set.
        uid, gid: numeric owner after the id map, 0 to 2**32 - 1. May be set.
        mtime_ns: nanoseconds since 1970 after the epoch rule; the archive holds
            whole seconds. May be set, to any signed 64-bit number.
        xattrs: dict of extended attributes, name to bytes. May be changed.
    """

    __slots__ = (
        "gid",
        "linkname",
        "mode",
        "mtime_ns",
        "path",
        "size",
        "type",
        "uid",
        "xattrs",
    )

    path: str
    type: str
    size: int
    linkname: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[str, bytes]

    def __repr__(self) -> str:
        return f"<Entry {self.path!r} {self.type} {self.mode:04o} {self.uid}:{self.gid} {self.size} bytes>"


class Opened:
    """A tree that is not just a path: a mount that only a descriptor leads to, files added to what it holds.

    Attributes:
        fd: its directory, open.
        label: what messages call it instead of `path`.
        added: (path in the tree, name in the directory `added_fd`) of plain files, mode 0600 and root's,
            that stand beside the tree's own or in their place, in archive order.
        added_mtime: their time stamp, in seconds since 1970.
    """

    __slots__ = ("added", "added_fd", "added_mtime", "fd", "label")

    def __init__(self, fd: int, label: str) -> None:
        self.fd: int = fd
        self.label: str = label
        self.added: Sequence[tuple[bytes, bytes]] = ()
        self.added_fd: int = -1
        self.added_mtime: int = 0


class Tree:
    """A directory to export, with what to leave out and what to change.

    Args:
        path: the directory. A symlink to one is followed; symlinks below never are.
        include: patterns (Docker's language) of which an entry or one of its
            parents must match one; None for everything.
        exclude: patterns of what to leave out; `!` brings back.
        follow: paths whose symlinks are resolved, each step added to `include`.
        idmap: host to container owners; an entry whose owner has no place in it
            is dropped, its children are not.
        epoch: time stamp of every entry, in seconds since 1970, 0 or more;
            None keeps the files' own.
        map: called with every Entry that is about to be written; gives the entry
            (changed or not) to keep it or None to drop it. It runs with the GIL
            held once an entry, which costs about ten times what the entry costs
            otherwise: prefer patterns, `idmap` and `epoch` where they do.

    Raises:
        OptionError: an argument has the wrong type or an impossible value.
            Patterns are compiled, and the directory is opened, by `write_tar`.
    """

    __slots__ = ("epoch", "exclude", "follow", "idmap", "include", "map", "opened", "path")

    opened: Opened | None  # set by `tarcast.snapshot` and the exporter alone

    def __init__(
        self,
        path: Path,
        include: Patterns = None,
        exclude: Patterns = None,
        follow: Patterns = None,
        idmap: IDMap | None = None,
        epoch: int | None = None,
        map: MapFunction | None = None,
    ) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise OptionError(f"a tree is a path, not {type(path).__name__}")
        self.path: str | bytes = os.fspath(path)
        if not self.path:
            raise OptionError("the path of a tree is empty", hint="use '.' for the current directory")
        self.include: tuple[str | bytes, ...] | None = _patterns(include, "include")
        self.exclude: tuple[str | bytes, ...] | None = _patterns(exclude, "exclude")
        self.follow: tuple[str | bytes, ...] | None = _patterns(follow, "follow")
        if idmap is not None and not (hasattr(idmap, "uid") and hasattr(idmap, "gid")):
            raise OptionError(f"idmap must be an IDMap, not {type(idmap).__name__}", hint="see IDMap.parse")
        self.idmap: IDMap | None = idmap
        self.epoch: int | None = check_epoch(epoch)
        if map is not None and not callable(map):
            raise OptionError(f"map must be callable, not {type(map).__name__}")
        self.map: MapFunction | None = map
        self.opened = None

    def __repr__(self) -> str:
        given = [
            f"{k}={getattr(self, k)!r}"
            for k in self.__slots__
            if k not in ("path", "opened") and getattr(self, k) is not None
        ]
        return f"Tree({', '.join([repr(self.path), *given])})"


def check_epoch(epoch: int | None) -> int | None:
    """`epoch` as it is, if it is None or a number of seconds that an archive can hold."""
    if epoch is None:
        return None
    if isinstance(epoch, bool) or not isinstance(epoch, int):
        raise OptionError(f"epoch must be whole seconds, not {epoch!r}")
    if not 0 <= epoch <= _MAX_SECONDS:
        raise OptionError(f"epoch {epoch} is out of range", hint="give seconds since 1970, 0 or more")
    return epoch


def _patterns(patterns: Patterns, what: str) -> tuple[str | bytes, ...] | None:
    if patterns is None:
        return None
    if isinstance(patterns, (str, bytes)):
        raise OptionError(
            f"{what} must be a list of patterns, not one {type(patterns).__name__}",
            hint=f"write [{patterns!r}]",
        )
    try:
        result = tuple(patterns)
    except TypeError:
        raise OptionError(f"{what} must be a list of patterns, not {type(patterns).__name__}") from None
    for pattern in result:
        if not isinstance(pattern, (str, bytes)):
            raise OptionError(f"{what}: a pattern is text or bytes, not {pattern!r}")
    return result
