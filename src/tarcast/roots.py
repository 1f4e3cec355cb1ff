"""From trees as users name them to open directories and settings as the core takes them."""

from __future__ import annotations

import errno
import os

from ._core.descriptor import open_file
from .errors import InputError, OptionError, os_error
from .tree import ENTRY_TYPES, Entry, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping, Sequence

    from ._core.export import MapHook, Mapped, Root
    from .tree import MapFunction, Path

    Trees = Path | Tree | Mapping[str, Path | Tree]


def name_trees(trees: Trees) -> list[tuple[bytes, Tree]]:
    """(prefix of the archive paths, tree) in the order of the archive (tar-bytes 7.1, 7.2)."""
    if isinstance(trees, Tree):
        return [(b"", trees)]
    if isinstance(trees, (str, bytes, os.PathLike)):
        return [(b"", Tree(trees))]
    if not hasattr(trees, "items"):
        raise OptionError(
            f"cannot export {type(trees).__name__}", hint="give a path, a Tree, or a mapping of names to them"
        )
    named: dict[bytes, tuple[str, Tree]] = {}
    for key, value in trees.items():
        if not isinstance(key, (str, bytes)):
            raise OptionError(f"the name of a tree is text, not {key!r}")
        text = os.fsdecode(key)
        try:
            name = os.fsencode(key).replace(b"/", b"_")
        except UnicodeEncodeError as error:
            raise OptionError(f"a tree cannot be named {text!r}: {error.reason}") from error
        if not name:
            raise OptionError("the name of a tree is empty")
        if name in (b".", b"..") or b"\0" in name:
            raise OptionError(
                f"a tree cannot be named {text!r}", hint="it would not have a directory of its own"
            )
        if name in named:
            raise OptionError(
                f"two trees have one name: {named[name][0]!r} and {text!r} both become {os.fsdecode(name)!r}"
            )
        named[name] = (text, value if isinstance(value, Tree) else Tree(value))
    return [(name + b"/", named[name][1]) for name in sorted(named)]


def open_root(prefix: bytes, tree: Tree, epoch: int | None, stack: contextlib.ExitStack) -> Root:
    """Open the directory (closed with `stack`) and compile the patterns."""
    opened = tree.opened
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        root = open_file(tree.path, flags) if opened is None else open_file(".", flags, dirfd=opened.fd)
    except OSError as error:
        hint = {errno.ENOENT: "check the path", errno.ENOTDIR: "a tree is a directory"}.get(
            error.errno or 0, ""
        )
        raise os_error(InputError, error, path=_shown(tree), step="open tree", hint=hint) from error
    except ValueError as error:
        raise OptionError(str(error), path=_shown(tree)) from error
    stack.callback(root.close)
    includes = excludes = None
    if tree.include is not None or tree.exclude is not None or tree.follow is not None:
        from . import patterns

        include: Sequence[str | bytes] | None = tree.include
        if tree.follow is not None:
            include = patterns.include_with_follow(os.fsencode(tree.path), tree.include, tree.follow)
        includes = patterns.compile_patterns(include, what="include")
        excludes = patterns.compile_patterns(tree.exclude, what="exclude")
    uid = gid = None
    if tree.idmap is not None:
        uid, gid = (
            None if ranges is None else [(r.container, r.host, r.size) for r in ranges]
            for ranges in (tree.idmap.uid, tree.idmap.gid)
        )
    hook = None if tree.map is None else _map_hook(tree.map)
    epoch = epoch if tree.epoch is None else tree.epoch
    added = None
    if opened is not None and opened.added:
        seconds = opened.added_mtime if epoch is None else epoch
        added = (opened.added_fd, [(prefix + path, name) for path, name in opened.added], seconds)
    return (root.fileno(), prefix, includes, excludes, uid, gid, epoch, hook, added)


def label(tree: Tree) -> bytes:
    """What messages call the tree's directory."""
    return os.fsencode(_shown(tree))


def _shown(tree: Tree) -> str | bytes:
    return tree.path if tree.opened is None else tree.opened.label


def _attributes(entry: Entry) -> list[tuple[bytes, bytes]]:
    """The attributes that a map callable left behind, if they are names and bytes that a file could have."""
    if not isinstance(entry.xattrs, dict):
        raise _map_set(f"xattrs to {entry.xattrs!r}; it must be a dict", entry)
    attributes = []
    for name, value in entry.xattrs.items():
        try:
            key = os.fsencode(name)
        except (TypeError, UnicodeEncodeError):
            key = b""
        if not key or b"\0" in key:
            raise _map_set(f"an attribute named {name!r}", entry)
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise _map_set(f"attribute {name!r} to {value!r}; it must be bytes", entry)
        attributes.append((key, bytes(value)))
    return attributes


def _map_set(what: str, entry: Entry) -> OptionError:
    return OptionError(f"map set {what}", path=entry.path, step="map")


def _map_hook(function: MapFunction) -> MapHook:
    """What the core calls for each entry: builds the Entry, asks the user's function, checks the answer."""

    def hook(
        path: bytes,
        type_: int,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int,
        size: int,
        link: bytes,
        attributes: list[tuple[bytes, bytes]],
    ) -> Mapped | None:
        entry = Entry()
        entry.path = os.fsdecode(path.rstrip(b"/"))
        entry.type = ENTRY_TYPES[type_]
        entry.mode = mode
        entry.uid = uid
        entry.gid = gid
        entry.mtime_ns = mtime_ns
        entry.size = size
        entry.linkname = os.fsdecode(link)
        entry.xattrs = {os.fsdecode(name): value for name, value in attributes}
        answer = function(entry)
        if answer is None:
            return None
        if not isinstance(answer, Entry):
            raise OptionError(
                f"map must give an Entry or None, not {type(answer).__name__}", path=entry.path, step="map"
            )
        missing = [name for name in Entry.__slots__ if not hasattr(answer, name)]
        if missing:
            raise OptionError(
                f"map gave an Entry without {missing[0]}",
                path=entry.path,
                step="map",
                hint="change the one it gets",
            )
        for what, value, low, high in (
            ("mode", answer.mode, 0, 0o7777),
            ("uid", answer.uid, 0, 2**32 - 1),
            ("gid", answer.gid, 0, 2**32 - 1),
            ("mtime_ns", answer.mtime_ns, -(2**63), 2**63 - 1),
        ):
            if not isinstance(value, int) or not low <= value <= high:
                raise _map_set(f"{what} to {value!r}; it must be from {low} to {high}", entry)
        changed = _attributes(answer)
        return (
            answer.mode,
            answer.uid,
            answer.gid,
            answer.mtime_ns,
            None if changed == attributes else changed,
        )

    return hook
