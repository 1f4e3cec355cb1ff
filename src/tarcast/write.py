"""`write_tar`: trees in, an archive out, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import time

from . import outcome
from ._core import Export
from .errors import Cancelled, OptionError
from .limits import LEAST_MEMORY_LIMIT, MEMORY_LIMIT, MOST_MEMORY
from .result import Progress, Result
from .roots import label, name_trees, open_root
from .sinks import make_sink
from .tree import check_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    from ._core.export import Root
    from .roots import Trees
    from .sinks import Sink, Target

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
    named = name_trees(trees)
    epoch = check_epoch(epoch)
    check_workers(threads, memory_limit)
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
        roots = [open_root(prefix, tree, epoch, stack) for prefix, tree in named]
        places = [(label(tree), prefix) for prefix, tree in named]
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


def check_workers(threads: object, memory_limit: object) -> None:
    """Raises OptionError unless `write_tar` takes both."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionError(f"threads must be a number from 1 up, not {threads!r}")
    if (
        isinstance(memory_limit, bool)
        or not isinstance(memory_limit, int)
        or memory_limit < LEAST_MEMORY_LIMIT
    ):
        raise OptionError(f"memory_limit must be at least {LEAST_MEMORY_LIMIT} bytes, not {memory_limit!r}")


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


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
