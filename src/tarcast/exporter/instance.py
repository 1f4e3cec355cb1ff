"""The exporter: from a request to an archive at the client, every step undone at the end."""

from __future__ import annotations

import contextlib
import copy
import os
import stat
import threading
import time

from tarcast._core.descriptor import open_file
from tarcast._core.inroot import open_in_root
from tarcast.cleanup import Cleanup
from tarcast.errors import Cancelled, InputError, OptionError, SessionError, os_error
from tarcast.limits import MEMORY_LIMIT
from tarcast.progress import one_off
from tarcast.session import file_writer
from tarcast.snapshot.mounting import mount_tree
from tarcast.snapshot.scratch import ScratchDirectory
from tarcast.tree import Opened, Tree
from tarcast.write import check_workers, write_tar

from .attributes import Attributes
from .statements import platform_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tarcast.progress import OneOff, Writer
    from tarcast.result import Progress, Result
    from tarcast.session import Session, SessionManager
    from tarcast.snapshot import Reference
    from tarcast.write import Cancel

    from .attestation import Attestation
    from .source import Exportable, Source

NAME = "exporting to client tarball"
TYPE = "tar"
SENDING = "sending tarball"


class TarExporter:
    """Makes exporters that send a tar archive to a client's session.

    Args:
        session_manager: knows the clients.
        session_timeout: how long to wait for a client's session, in seconds.
        threads, memory_limit, count_first: as for `write_tar`; without progress nothing is counted.

    Raises:
        OptionError: one of them makes no sense.
    """

    type = TYPE

    def __init__(
        self,
        session_manager: SessionManager,
        *,
        session_timeout: float = 5.0,
        threads: int | None = None,
        memory_limit: int = MEMORY_LIMIT,
        count_first: bool = False,
    ) -> None:
        if not callable(getattr(session_manager, "get", None)):
            raise OptionError(f"{session_manager!r} is no session manager", hint="make one: SessionManager()")
        if (
            isinstance(session_timeout, bool)
            or not isinstance(session_timeout, int | float)
            or not 0 <= session_timeout <= threading.TIMEOUT_MAX
        ):
            raise OptionError(f"session_timeout must be a number of seconds, not {session_timeout!r}")
        check_workers(threads, memory_limit)
        if not isinstance(count_first, bool):
            raise OptionError(f"count_first must be True or False, not {count_first!r}")
        self.session_manager = session_manager
        self.session_timeout = session_timeout
        self.threads = threads
        self.memory_limit = memory_limit
        self.count_first = count_first

    def resolve(self, id: int, attrs: Mapping[str, str] | None = None) -> ExporterInstance:
        """The exporter for one request.

        Args:
            id: which of the client's targets takes the archive.
            attrs: "source-date-epoch" (seconds since 1970; empty: keep time stamps, whatever the source
                says), "platform-split" ("false" puts the platform into the names of attestations;
                results lie side by side in any case) and "attestation-prefix" (before their names).

        Raises:
            OptionError: an attribute is unknown or malformed.
        """
        if isinstance(id, bool) or not isinstance(id, int):
            raise OptionError(f"an exporter's id is a number, not {id!r}")
        return ExporterInstance(self, id, Attributes(attrs or {}))


class ExporterInstance:
    """One request's exporter; made by `TarExporter.resolve`. It may export more than once, in any thread.

    Attributes:
        id: which of the client's targets takes the archive.
        name: what it does, in words.
        type: "tar".
        attrs: the attributes of the request.
    """

    name = NAME
    type = TYPE

    def __init__(self, exporter: TarExporter, id: int, attributes: Attributes) -> None:
        self.id = id
        self._exporter = exporter
        self._attributes = attributes

    @property
    def attrs(self) -> dict[str, str]:
        return dict(self._attributes.values)

    def export(
        self,
        source: Source,
        session_id: str,
        progress: Writer | None = None,
        *,
        cancel: Cancel | None = None,
    ) -> Result:
        """Mount what the source has, send it to the client as one archive, and undo everything.

        Args:
            source: what to export.
            session_id: the client's session; a prefix up to ":" does not count.
            progress: gets "sending tarball" with entries and bytes, and a total with `count_first`.
            cancel: a threading.Event, or anything with is_set(): ends the export within about 100 ms.

        Returns:
            A Result, when the client has the whole archive.

        Raises:
            OptionError: the source makes no sense; nothing was mounted.
            SessionError: no such session in time, or its client refuses, or ended meanwhile.
            InputError: a reference cannot be mounted or read.
            OutputError: the client could not take the archive.
            Cancelled, KeyboardInterrupt: as for `write_tar`.
            CleanupError: all was sent, but undoing failed. After another error its `cleanup_errors`
                has such failures.
        """
        if not session_id:
            raise SessionError(
                "could not access local files without session", hint="name the client's session"
            )
        parts = [(key, ref, self._epoch(source, key)) for key, ref in source.platforms()]
        now = int(time.time())
        with Cleanup() as cleanup:
            trees: dict[str, Tree] = {}
            for key, reference, epoch in parts:
                _go_on(cancel)
                tree = _tree(reference, epoch, cleanup)
                attestations = source.attestations.get(key, ())
                if attestations:
                    _check_whole(tree)
                    platform = key if source.refs and self._attributes.platform_split is False else None
                    self._attest(tree, attestations, platform, now, cleanup, cancel)
                trees[platform_path(key)] = tree
            manager = self._exporter.session_manager
            session = manager.get(session_id, self._exporter.session_timeout, cancel=cancel)
            ended = _Ended(session, cancel)
            sink = file_writer(session, self.id, cancel=ended)
            cleanup.push("close the file to the client", sink.abort)  # harmless after its commit
            with one_off(SENDING, progress) as report:
                try:
                    return write_tar(
                        trees if source.refs else next(iter(trees.values())),
                        sink,
                        threads=self._exporter.threads,
                        memory_limit=self._exporter.memory_limit,
                        progress=_teller(report) if progress is not None else None,
                        count_first=self._exporter.count_first and progress is not None,
                        cancel=ended,
                    )
                except Cancelled as error:
                    if ended.by_session:
                        why = getattr(session, "ended_because", "")
                        raise SessionError(
                            f"session {session.id} ended during the export" + (f": {why}" if why else ""),
                            step=SENDING,
                        ) from error
                    raise

    async def export_async(self, source: Source, session_id: str, progress: Writer | None = None) -> Result:
        """`export` without blocking the event loop, in a thread of its own that ends with it.

        Cancelling the task cancels the export, and the task ends when everything is undone.

        Raises:
            asyncio.CancelledError: the task was cancelled; failures of undoing are noted on it.
            The others of `export`.
        """
        import asyncio

        cancel = threading.Event()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def work() -> None:
            try:
                result = self.export(source, session_id, progress, cancel=cancel)
            except BaseException as error:
                loop.call_soon_threadsafe(done.set_exception, error)
            else:
                loop.call_soon_threadsafe(done.set_result, result)

        thread = threading.Thread(target=work, name="tarcast-export", daemon=True)
        thread.start()
        cancelled: asyncio.CancelledError | None = None
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
                cancel.set()
        thread.join()
        if cancelled is None:
            return done.result()
        failure = done.exception()
        if failure is not None and not isinstance(failure, Cancelled):
            cancelled.add_note(f"the export failed: {failure}")
        for problem in getattr(failure, "cleanup_errors", ()):
            cancelled.add_note(f"clean-up failed: {problem}")
        raise cancelled

    def _epoch(self, source: Source, key: str) -> int | None:
        return self._attributes.epoch if self._attributes.epoch_given else source.epoch(key)

    def _attest(
        self,
        tree: Tree,
        attestations: Sequence[Attestation],
        platform: str | None,
        now: int,
        cleanup: Cleanup,
        cancel: Cancel | None,
    ) -> None:
        """Add the statements of its attestations to the tree."""
        from .attestation import exported
        from .bundle import unbundle
        from .statements import statement_files
        from .subjects import file_subjects

        wanted = unbundle(exported(attestations), _open_reference)
        if not wanted:
            return
        opened = tree.opened = tree.opened or _open(tree, cleanup)
        files = statement_files(
            wanted,
            file_subjects(opened.fd, tree.idmap, lambda: _go_on(cancel)),
            prefix=self._attributes.attestation_prefix,
            platform=platform,
            open_ref=_open_reference,
        )
        scratch = ScratchDirectory()
        cleanup.push("remove the statements", scratch.close)
        added = []
        try:
            opened.added_fd = scratch.open()
            for number, (name, data) in enumerate(files):
                _check_place(opened.fd, name)
                scratch.put(str(number), data)
                added.append((os.fsencode(name), b"%d" % number))
        except OSError as error:
            raise os_error(InputError, error, path=None, step="write attestations") from error
        opened.added = added
        opened.added_mtime = now


class _Ended:
    """Is the export to end, because it was cancelled or its session is gone?"""

    def __init__(self, session: Session, cancel: Cancel | None) -> None:
        self._session = session
        self._cancel = cancel
        self.by_session = False

    def is_set(self) -> bool:
        if self._cancel is not None and self._cancel.is_set():
            return True
        self.by_session = self._session.closed
        return self.by_session


def _go_on(cancel: Cancel | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("the export was cancelled")


def _tree(reference: Exportable | None, epoch: int | None, cleanup: Cleanup) -> Tree:
    """The reference mounted, or an empty directory where there is none."""
    if isinstance(reference, Tree):
        tree = copy.copy(reference)
        tree.opened = copy.copy(reference.opened)  # files may be added to it
        tree.epoch = reference.epoch if epoch is None else epoch
        return tree
    if reference is not None:
        return mount_tree(reference, cleanup, epoch=epoch)
    empty = ScratchDirectory()
    cleanup.push("remove the empty directory", empty.close)
    tree = Tree(".", epoch=epoch)
    try:
        tree.opened = Opened(empty.open(), "empty")
    except OSError as error:
        raise os_error(InputError, error, path=None, step="make an empty directory") from error
    return tree


def _check_whole(tree: Tree) -> None:
    if any(value is not None for value in (tree.include, tree.exclude, tree.follow, tree.map)):
        raise OptionError(
            "attestations speak of all files of a tree, and this one leaves some out",
            path=tree.path,
            hint="export it without patterns and map",
        )


def _open(tree: Tree, cleanup: Cleanup) -> Opened:
    """A tree that is used in place, opened."""
    path = os.fsdecode(tree.path)
    try:
        root = open_file(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise os_error(InputError, error, path=path, step="open tree") from error
    cleanup.push("close the tree", root.close)
    return Opened(root.fileno(), path)


def _check_place(fd: int, name: str) -> None:
    """A statement may take the place of a file, but not of a directory, which has entries."""
    try:
        found = open_in_root(fd, os.fsencode(name), os.O_PATH | os.O_NOFOLLOW)
    except OSError:  # nothing can be there: the walk, which follows no symlink, finds no directory either
        return
    try:
        directory = stat.S_ISDIR(os.fstat(found).st_mode)
    finally:
        os.close(found)
    if directory:
        raise OptionError(
            "an attestation would take the place of a directory", path=name, hint="use attestation-prefix"
        )


@contextlib.contextmanager
def _open_reference(reference: Reference) -> Iterator[int]:
    """The root of a reference, mounted read-only, as a descriptor."""
    with Cleanup() as cleanup:
        tree = mount_tree(reference, cleanup)
        yield (tree.opened or _open(tree, cleanup)).fd


def _teller(report: OneOff) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        report.update(progress.bytes_written, progress.total_bytes, progress.entries)

    return tell
