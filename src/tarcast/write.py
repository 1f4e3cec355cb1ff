"""`write_tar`: trees in, an archive out, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import time

from . import outcome
from ._core import Export
from .errors import Cancelled, InputError, OptionError, os_error
from .limits import LEAST_MEMORY_LIMIT, MEMORY_LIMIT, MOST_MEMORY
from .result import Progress, Result
from .sinks import make_sink
from .tree import ENTRY_TYPES, Entry, Tree, check_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from ._core.export import MapHook, Mapped, Root
    from .sinks import Sink, Target
    from .tree import MapFunction, Path

    Trees = Path | Tree | Mapping[str, Path | Tree]

    class Cancel(Protocol):
        def is_set(self) -> bool: ...


# How often a progress callable hears of an export, in seconds.
_PROGRESS_EVERY = 0.1


def write_tar(
    trees: Trees,
    sink: Target,
    *,
    epoch: int | None = None,
    digest: Iterable[str] = (),
    align: bool = False,
    sparse: bool = False,
    threads: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: Callable[[Progress], object] | None = None,
    cancel: Cancel | None = None,
    on_error: str = "fail",
    fsync: bool = False,
) -> Result:
    """Write one archive of one tree, or of several side by side.

    The bytes are those of BuildKit's tar exporter: ustar, with pax headers only
    where an entry needs them, entries in depth-first byte order, whole seconds.

    Args:
        trees: a directory, a Tree, or a mapping of names to either: each tree then
            lies below a directory of that name, with "/" in the name replaced by "_".
        sink: a path (appears only when complete), an open descriptor, a binary file
            object (gets read-only memoryviews, valid during the call), "-" for
            standard output, or a URL that fsspec can open.
        epoch: time stamp in seconds since 1970 for trees that have none of their own.
        digest: names of hashlib algorithms to run over the archive.
        align: bodies of 64 KiB and more begin on a multiple of 4096 bytes, behind a header
            padded with libarchive's LIBARCHIVE.pad record, and a path or regular file on
            the XFS or btrfs of the tree shares their blocks instead of copying them. The
            bytes are another archive of the same entries, and the same everywhere.
        sparse: files with holes become sparse entries, in the form (pax 1.0) that GNU tar,
            bsdtar and tarfile read. Without it holes are written as zeros, but not read.
        threads: how many read and encode at once, 64 at most; 1 starts no thread. None:
            one for each core, and up to 32 as long as they wait for storage and more of
            them get more done. The bytes never depend on it.
        memory_limit: bytes of archive held in memory at once, at least 1 MiB. The trees may
            be of any size.
        progress: called about ten times a second, in the calling thread, with a
            Progress, and once more when all is written. An exception from it ends the export.
        cancel: a threading.Event, or anything with is_set(); once it is set, by any
            thread, the export ends within about 100 ms.
        on_error: "fail" ends the export at the first entry that cannot be read whole;
            "skip" leaves it out, or fills it with zeros once its header is written,
            and lists it in the result.
        fsync: flush a path or descriptor to the disk before returning; pipes and other
            sinks have nothing to flush.

    Returns:
        A Result.

    Raises:
        OptionError: an argument makes no sense; nothing was written.
        InputError: reading a tree failed (ChangedError: because it changed meanwhile).
        OutputError: writing failed.
        Cancelled: `cancel` was set.
        KeyboardInterrupt: by Ctrl-C, within about 100 ms.
        After any of them a path has its old content, if any, and a stream has no trailer;
        only a failing fsync of the directory comes after the new file is in place.
    """
    started = time.monotonic()
    named = _name_trees(trees)
    epoch = check_epoch(epoch)
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionError(f"threads must be a number from 1 up, not {threads!r}")
    if (
        isinstance(memory_limit, bool)
        or not isinstance(memory_limit, int)
        or memory_limit < LEAST_MEMORY_LIMIT
    ):
        raise OptionError(f"memory_limit must be at least {LEAST_MEMORY_LIMIT} bytes, not {memory_limit!r}")
    for name, value in (("align", align), ("sparse", sparse)):
        if not isinstance(value, bool):
            raise OptionError(f"{name} must be True or False, not {value!r}")
    if on_error not in ("fail", "skip"):
        raise OptionError(f"on_error must be 'fail' or 'skip', not {on_error!r}")
    if progress is not None and not callable(progress):
        raise OptionError(f"progress must be callable, not {type(progress).__name__}")
    hashes = _make_hashes(digest)
    output = make_sink(sink, fsync=fsync)
    with contextlib.ExitStack() as stack:
        roots = [_open_root(prefix, tree, epoch, stack) for prefix, tree in named]
        places = [(os.fsencode(tree.path), prefix) for prefix, tree in named]
        stack.callback(output.abort)  # from here on, and harmless after a commit
        output.open()
        settings = {
            "skip_errors": on_error == "skip",
            "align": align,
            "sparse": sparse,
            "threads": threads or 0,
            "memory": min(memory_limit, MOST_MEMORY),
        }
        export = _run(roots, output, hashes, settings, progress, cancel, started, places)
        if progress is not None:
            progress(Progress(export.entries, export.bytes_written, time.monotonic() - started, None, True))
        output.commit()
    return Result(
        entries=export.entries,
        bytes_written=export.bytes_written,
        bytes_cloned=export.cloned,
        skipped=export.skipped,
        dropped=export.dropped,
        warnings=[outcome.warning(note, places) for note in export.notes],
        warnings_lost=export.notes_lost,
        digests={name: h.hexdigest() for name, h in hashes.items()},
        seconds=time.monotonic() - started,
    )


def _run(
    roots: list[Root],
    output: Sink,
    hashes: dict[str, Any],
    settings: dict[str, Any],
    progress: Callable[[Progress], object] | None,
    cancel: Cancel | None,
    started: float,
    places: list[tuple[bytes, bytes]],
) -> Export:
    next_report = started

    def on_tick() -> None:
        nonlocal next_report
        if cancel is not None and cancel.is_set():
            raise Cancelled("the export was cancelled")
        now = time.monotonic()
        if progress is not None and now >= next_report:
            next_report = now + _PROGRESS_EVERY
            path = os.fsdecode(export.current_path()) or None
            progress(Progress(export.entries, export.bytes_written, now - started, path, False))

    def observer(view: memoryview) -> None:
        for h in hashes.values():
            h.update(view)

    export = Export(
        roots,
        fd=output.fd,
        write=output.write,
        observer=observer if hashes else None,
        on_tick=None if progress is None and cancel is None else on_tick,
        cores=_cores(),
        outputs=output.outputs,
        **settings,
    )
    if not export.run():
        if export.failure is not None:
            raise outcome.failure(export.failure, places, output.name)
        raise Cancelled("the export was cancelled")
    return export


def _name_trees(trees: Trees) -> list[tuple[bytes, Tree]]:
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


def _make_hashes(names: Iterable[str]) -> dict[str, Any]:
    if isinstance(names, str):
        names = (names,)
    elif not hasattr(names, "__iter__"):
        raise OptionError(f"digest must be names of algorithms, not {names!r}")
    hashes: dict[str, Any] = {}
    for name in names:
        import hashlib

        try:
            hashes[name] = hashlib.new(name, usedforsecurity=False)
        except (ValueError, TypeError):
            known = ", ".join(sorted(n for n in hashlib.algorithms_guaranteed if not n.startswith("shake")))
            raise OptionError(f"unknown digest {name!r}", hint=f"one of {known}") from None
        if not hashes[name].digest_size:
            raise OptionError(f"digest {name!r} has no length of its own")
    return hashes


def _open_root(prefix: bytes, tree: Tree, epoch: int | None, stack: contextlib.ExitStack) -> Root:
    """Open the directory (closed with `stack`) and compile the patterns."""
    try:
        fd = os.open(tree.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = {errno.ENOENT: "check the path", errno.ENOTDIR: "a tree is a directory"}.get(
            error.errno or 0, ""
        )
        raise os_error(InputError, error, path=tree.path, step="open tree", hint=hint) from error
    except ValueError as error:
        raise OptionError(str(error), path=tree.path) from error
    stack.callback(os.close, fd)
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
    return (fd, prefix, includes, excludes, uid, gid, epoch if tree.epoch is None else tree.epoch, hook)


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


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
