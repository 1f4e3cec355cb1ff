"""`write_tar`: trees in, an archive out, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import time

from . import outcome
from ._core import Export
from .cleanup import tell_failures
from .compression import choose
from .digest import Digests
from .errors import Cancelled, OptionError
from .limits import LEAST_MEMORY_LIMIT, MEMORY_LIMIT, MOST_MEMORY
from .meter import Meter
from .result import Result
from .roots import label, name_trees, open_root
from .sinks import make_sink
from .tree import check_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Literal, Protocol

    from ._core.export import Root
    from .compression import CompressedSink, Compression
    from .index.writing import IndexOutput
    from .result import Progress
    from .roots import Trees
    from .sinks import Sink, Target

    OnError = Literal["fail", "skip"]

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
    compression: str | Compression | None = None,
    index: str | bytes | os.PathLike[str] | None = None,
    index_digest: str | None = None,
    align: bool = False,
    sparse: bool = False,
    threads: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: Callable[[Progress], object] | None = None,
    count_first: bool = False,
    cancel: Cancel | None = None,
    on_error: OnError = "fail",
    fsync: bool = False,
    storage_options: Mapping[str, Any] | None = None,
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
        digest: names of hashlib algorithms to run over the archive, and over what is written
            where that is compressed; each in a thread of its own, unless `threads` is 1.
        compression: "gzip", "zstd" or "xz", with a level as in "zstd:19", a Compression, or "none".
            None: by the suffix of a path or URL (.gz .tgz .zst .tzst .xz .txz; OptionError for those of
            others, such as .bz2), and none for other sinks. It has threads of its own, whatever
            `threads` says.
        index: where a table of all members and their offsets goes; .jsonl, .sqlite, .db or
            .parquet says its format (docs/index.md). It appears behind the archive.
        index_digest: a hashlib algorithm to run over each file, for the index.
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
        count_first: find out ahead how many entries and bytes it will be, so that progress
            has totals. Exact for a tree that stays as it is, but for what a map callable
            changes and what cannot be read; no data is read for it.
        cancel: a threading.Event, or anything with is_set(); once it is set, by any
            thread, the export ends within about 100 ms. (zstd finishes the 4 MiB that each of its
            threads has in hand: at level 12 a quarter of a second, at 19 many seconds.)
        on_error: "fail" ends the export at the first entry that cannot be read whole;
            "skip" leaves it out, or fills it with zeros once its header is written,
            and lists it in the result.
        fsync: flush a path or descriptor to the disk before returning; pipes and other
            sinks have nothing to flush.
        storage_options: for the back end of a URL, as in fsspec: credentials, endpoint, ...

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
    for name, value in (("align", align), ("sparse", sparse), ("count_first", count_first)):
        if not isinstance(value, bool):
            raise OptionError(f"{name} must be True or False, not {value!r}")
    if on_error not in ("fail", "skip"):
        raise OptionError(f"on_error must be 'fail' or 'skip', not {on_error!r}")
    if progress is not None and not callable(progress):
        raise OptionError(f"progress must be callable, not {type(progress).__name__}")
    if cancel is not None and not callable(getattr(cancel, "is_set", None)):
        raise OptionError(f"cancel must be an event with is_set(), not {type(cancel).__name__}")
    digests = Digests(digest, threaded=threads != 1)
    output_digests = digests.another()
    table = _index_output(index, index_digest, fsync)
    codec = choose(compression, sink)
    output = make_sink(sink, fsync=fsync, storage_options=storage_options)
    if hasattr(output, "checked"):
        output.checked()
    compressed: CompressedSink | None = None
    if codec is not None:
        from .compression.sink import CompressedSink

        observer = output_digests.update if output_digests else None
        output = compressed = CompressedSink(output, codec, observer=observer)
    with contextlib.ExitStack() as stack:
        roots = [open_root(prefix, tree, epoch, stack) for prefix, tree in named]
        places = [(label(tree), prefix) for prefix, tree in named]
        stack.callback(digests.close)
        stack.callback(output_digests.close)
        stack.push(_abort(output))  # from here on, and harmless after a commit
        output.open()
        watchers: list[Callable[[memoryview], object]] = [digests.update] if digests else []
        if table is not None:
            stack.callback(table.abort)
            # Where blocks are shared nobody may look at the bytes on their way.
            table.open(output, read_back=align and not digests and compressed is None)
            watchers += [table.observer] if table.observer else []
        settings = {
            "skip_errors": on_error == "skip",
            "align": align,
            "sparse": sparse,
            "threads": threads or 0,
            "memory": min(memory_limit, MOST_MEMORY),
        }
        meter = Meter(started)
        export = _run(roots, output, watchers, settings, progress, count_first, cancel, meter, places)
        if progress is not None:
            progress(meter.read(export.entries, export.bytes_written, done=True))
        output_bytes = export.bytes_written if compressed is None else compressed.bytes_out
        archive_digests = digests.hexdigests()
        if table is not None:
            table.finish(
                export.bytes_written,
                archive_digests,
                file_size=output_bytes,
                compression=None if codec is None else codec.name,
            )
        output.commit()
        if table is not None:
            table.commit()
    return Result(
        entries=export.entries,
        bytes_written=export.bytes_written,
        bytes_cloned=export.cloned,
        skipped=export.skipped,
        dropped=export.dropped,
        warnings=[outcome.warning(note, places) for note in export.notes],
        warnings_lost=export.notes_lost,
        digests=archive_digests,
        output_digests=archive_digests if compressed is None else output_digests.hexdigests(),
        output_bytes=output_bytes,
        compression=None if codec is None else codec.described,
        seconds=time.monotonic() - started,
    )


def _run(
    roots: list[Root],
    output: Sink,
    watchers: Sequence[Callable[[memoryview], object]],
    settings: dict[str, Any],
    progress: Callable[[Progress], object] | None,
    count_first: bool,
    cancel: Cancel | None,
    meter: Meter,
    places: list[tuple[bytes, bytes]],
) -> Export:
    next_report = 0.0

    def look() -> None:
        if cancel is not None and cancel.is_set():
            raise Cancelled("the export was cancelled")

    def on_tick() -> None:
        nonlocal next_report
        look()
        now = time.monotonic()
        if progress is not None and now >= next_report:
            next_report = now + _PROGRESS_EVERY
            path = os.fsdecode(export.current_path()) or None
            progress(meter.read(export.entries, export.bytes_written, path))

    def observer(view: memoryview) -> None:
        for watcher in watchers:
            watcher(view)

    export = Export(
        roots,
        fd=output.fd,
        write=output.write,
        observer=observer if watchers else None,
        on_tick=None if progress is None and cancel is None else on_tick,
        cores=cores(),
        outputs=output.outputs,
        **settings,
    )
    if hasattr(output, "while_waiting"):
        output.while_waiting = on_tick
    if count_first:
        totals = export.count()
        if totals is None:
            raise Cancelled("the export was cancelled")
        meter.begin(totals)
    if not export.run():
        if export.failure is not None:
            raise outcome.failure(export.failure, places, output.name)
        raise Cancelled("the export was cancelled")
    if hasattr(output, "finish"):
        output.finish()
    if hasattr(output, "while_waiting"):
        output.while_waiting = look  # the last report is still to come, and then none
    return export


def _abort(output: Sink) -> Callable[..., None]:
    """What undoes `output` at the end of a `with`; an error is told what could not be undone."""

    def undo(kind: object, error: BaseException | None, traceback: object) -> None:
        output.abort()
        left = getattr(output, "left", None)
        if error is not None and left is not None:
            tell_failures(error, [left])

    return undo


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


def _index_output(path: Any, digest: str | None, fsync: bool) -> IndexOutput | None:
    if path is None:
        if digest is not None:
            raise OptionError("index_digest is for an index", hint="say with index where it goes")
        return None
    from .index.writing import IndexOutput

    return IndexOutput(path, digest, fsync=fsync)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
