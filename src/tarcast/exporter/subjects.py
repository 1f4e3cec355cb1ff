"""The SHA-256 of every regular file of a tree: what an attestation of the tree speaks of."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
from collections import deque

from .. import outcome
from ..errors import ChangedError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future, ThreadPoolExecutor

    from ..errors import TarcastError
    from ..idmap import IDMap

_PIECE = 1 << 20  # bytes read and hashed at once, between two looks at `stop`

# A file of this size is worth handing to another thread; for smaller ones Python itself takes the time.
_LARGE = 1 << 18
_THREADS = 2
_WAIT = 0.05  # seconds between two looks at `stop` while the threads work

# Directories more levels up are closed, and opened again by way of "..": descriptors are limited.
_OPEN_LEVELS = 64

_HINT = "export a snapshot"  # that of other exports says how to skip, which cannot be done here

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def file_subjects(
    dirfd: int, idmap: IDMap | None, stop: Callable[[], object], *, directory: bytes = b"."
) -> list[tuple[str, str]]:
    """Path and SHA-256 of every regular file below a directory, hard links included.

    Args:
        dirfd: the open directory. No link is followed, and nothing outside is looked at.
        idmap: host to container owners; a file whose owner has no place in it is left out, what is below
            a directory of such an owner is not.
        stop: asked every now and then; ends the work by raising.
        directory: what error messages call the directory.

    Returns:
        path (bytes that are not UTF-8 are surrogate-escaped) and hexadecimal digest, in the order of an
        archive: depth first, the names of each directory in byte order.

    Raises:
        InputError: something cannot be read, or is a socket: like the original, which takes it for a file
            and fails to open it.
        ChangedError: something vanished, shrank, grew or was replaced meanwhile.
    """
    walk = _Walk(dirfd, idmap, stop, directory)
    with _Hashing(stop, walk.failure) as hashing, contextlib.closing(walk.files()) as files:
        for path, fd, size in files:
            hashing.add(path, fd, size)
        return hashing.results()


class _Level:
    """One directory on the way down: its entries still to come, the next at the end."""

    __slots__ = ("entries", "fd", "identity", "prefix")

    def __init__(self, fd: int, prefix: bytes) -> None:
        self.fd = fd  # -1: closed for now
        self.prefix = prefix
        self.entries: list[tuple[bytes, int]] = []  # name, and what is known of the S_IFMT part of its mode
        self.identity = (0, 0)


class _Walk:
    def __init__(self, dirfd: int, idmap: IDMap | None, stop: Callable[[], object], directory: bytes) -> None:
        self._root = dirfd
        self._idmap = idmap
        self._stop = stop
        self._directory = directory
        self._levels: list[_Level] = []

    def files(self) -> Generator[tuple[bytes, int, int]]:
        """Path, open descriptor (the caller's from then on) and size of every regular file."""
        levels = self._levels
        try:
            # Opened anew: the caller's descriptor has a position of its own.
            self._enter(self._root, b".", b"")
            while levels:
                level = levels[-1]
                if not level.entries:
                    self._leave()
                    continue
                name, kind = level.entries.pop()
                path = level.prefix + name
                kind = self._kind(level.fd, name, kind, path)
                if kind == stat.S_IFDIR:
                    self._enter(level.fd, name, path)
                elif kind == stat.S_IFREG:
                    yield self._opened(level.fd, name, path)
        finally:
            for level in levels:
                if level.fd >= 0:
                    os.close(level.fd)
            levels.clear()

    def failure(
        self, step: str, path: bytes, code: int = 0, expected: int = 0, seen: int = 0
    ) -> TarcastError:
        """The exception for trouble with an entry, in the words of every export."""
        note = (False, step, code, 0, path, b"", expected, seen)
        error = outcome.failure(note, [(self._directory, b"")], "")
        if isinstance(error, ChangedError):
            error.hint = _HINT
        return error

    def _kind(self, dirfd: int, name: bytes, kind: int, path: bytes) -> int:
        """The S_IFMT part of its mode; 0 for a file that the id map drops."""
        if kind in (stat.S_IFDIR, stat.S_IFLNK) or (kind == stat.S_IFREG and self._idmap is None):
            return kind
        try:
            status = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        except OSError as error:
            raise self.failure("stat", path, error.errno or 0) from error
        if self._idmap is not None and self._idmap.to_container(status.st_uid, status.st_gid) is None:
            return 0
        if stat.S_ISSOCK(status.st_mode):
            raise InputError(
                "is a socket: it has no content to attest",
                path=os.path.join(self._directory, path),
                step="open",
                hint="remove it, or export without attestations",
            )
        return stat.S_IFMT(status.st_mode)

    def _opened(self, dirfd: int, name: bytes, path: bytes) -> tuple[bytes, int, int]:
        try:
            fd = os.open(name, _FILE, dir_fd=dirfd)
        except OSError as error:
            raise self.failure("open", path, error.errno or 0) from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise ChangedError(
                "was replaced during the export",
                path=os.path.join(self._directory, path),
                step="open",
                hint=_HINT,
                expected=0,
                seen=0,
            )
        return path, fd, status.st_size

    def _enter(self, dirfd: int, name: bytes, path: bytes) -> None:
        try:
            level = _Level(os.open(name, _DIRECTORY, dir_fd=dirfd), path + b"/" if path else b"")
            self._levels.append(level)
            level.identity = _identity(level.fd)
            found = os.scandir(level.fd)
        except OSError as error:
            raise self.failure("read directory", path, error.errno or 0) from error
        with found:
            while True:
                try:
                    # While the directory is certainly open: where the type is not in it, this looks it up.
                    some = [(os.fsencode(e.name), _listed_kind(e)) for e in itertools.islice(found, 1024)]
                except OSError as error:
                    raise self.failure("read directory", path, error.errno or 0) from error
                if not some:
                    break
                level.entries += some
                self._stop()
        level.entries.sort(reverse=True)
        if len(self._levels) > _OPEN_LEVELS:
            above = self._levels[-1 - _OPEN_LEVELS]
            if above.fd >= 0:
                os.close(above.fd)
                above.fd = -1

    def _leave(self) -> None:
        """Back to the directory above, which must still be the one that was left."""
        left = self._levels.pop()
        try:
            if self._levels and self._levels[-1].fd < 0:
                above = self._levels[-1]
                path = above.prefix.rstrip(b"/")
                try:
                    above.fd = os.open("..", _DIRECTORY, dir_fd=left.fd)
                    identity = _identity(above.fd)
                except OSError as error:
                    raise self.failure("read directory", path, error.errno or 0) from error
                if identity != above.identity:
                    raise self.failure("replaced", path)
        finally:
            os.close(left.fd)


class _Ended(Exception):
    """Nobody waits for this digest any more."""


class _Hashing:
    """Digests in the order in which the files came; threads make those of large files meanwhile."""

    def __init__(self, stop: Callable[[], object], failure: Callable[..., TarcastError]) -> None:
        self._stop = stop
        self._failure = failure
        self._ended = False
        self._pool: ThreadPoolExecutor | None = None
        self._found: list[tuple[str, str]] = []
        self._pending: deque[tuple[int, str, Future[str]]] = deque()  # with the place in `_found`

    def __enter__(self) -> _Hashing:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        if self._pool is not None:
            self._pool.shutdown()

    def add(self, path: bytes, fd: int, size: int) -> None:
        """Take over the open file `fd`."""
        name = path.decode("utf-8", "surrogateescape")
        if size < _LARGE:
            self._found.append((name, _digest(fd, size, path, self._stop, self._failure)))
            return
        try:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(_THREADS)
            future = self._pool.submit(_digest, fd, size, path, self._check, self._failure)
        except BaseException:
            os.close(fd)
            raise
        self._pending.append((len(self._found), name, future))
        self._found.append((name, ""))
        if len(self._pending) > 2 * _THREADS:
            self._settle()

    def results(self) -> list[tuple[str, str]]:
        while self._pending:
            self._settle()
        return self._found

    def _settle(self) -> None:
        """Wait for the oldest of the threads' digests."""
        place, name, future = self._pending.popleft()
        from concurrent.futures import wait

        while not wait([future], _WAIT).done:
            self._stop()
        self._found[place] = (name, future.result())

    def _check(self) -> None:
        if self._ended:
            raise _Ended


def _digest(
    fd: int, size: int, path: bytes, stop: Callable[[], object], failure: Callable[..., TarcastError]
) -> str:
    """SHA-256 of the open file `fd`, which had `size` bytes; closes it."""
    state = hashlib.sha256()
    seen = 0
    try:
        while seen <= size:
            stop()
            wanted = min(_PIECE, size - seen + 1)  # one more than there should be tells whether it grew
            try:
                piece = os.read(fd, wanted)
            except OSError as error:
                raise failure("read data", path, error.errno or 0) from error
            state.update(piece)
            seen += len(piece)
            if not piece or (seen == size and len(piece) < wanted):
                break
    finally:
        os.close(fd)
    if seen != size:
        raise failure("grew" if seen > size else "shrank", path, 0, size, seen)
    return state.hexdigest()


def _listed_kind(entry: os.DirEntry[str]) -> int:
    """What a directory says of an entry's type: S_IFLNK, S_IFDIR, S_IFREG, or 0 for others."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return (status.st_dev, status.st_ino)
