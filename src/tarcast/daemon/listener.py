"""A listening socket, and a thread that accepts."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import stat
import threading
import time

from tarcast._core.descriptor import open_file
from tarcast.errors import OutputError, os_error
from tarcast.session.wire.address import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BACKLOG = 128

# How long others who are about to listen in the same directory may take, in seconds.
_LOCK_SECONDS = 2.0


class Listener:
    """Listens at an address from `start` to `close`; every connection is given to `accepted`.

    A Unix socket has mode 0600 from its first moment, replaces one that nobody listens on any more, and is
    removed at the end.

    Raises:
        OutputError: somebody listens there, or the socket cannot be made.
    """

    def __init__(self, address: Address, accepted: Callable[[socket.socket], None]) -> None:
        self._accepted = accepted
        self._path = address.path
        self._identity: tuple[int, int] | None = None
        self._closing = threading.Event()
        try:
            self._socket = self._bound(address)
            self._socket.listen(_BACKLOG)
        except OutputError:  # an OSError too, but what it says is better
            raise
        except socket.gaierror as error:  # its number is none of the system's
            raise OutputError(
                f"cannot find the host: {error.strerror}", path=address.text, step="listen"
            ) from error
        except OSError as error:
            raise os_error(OutputError, error, path=address.text, step="listen") from error
        self.address: str = address.text
        if not address.path:
            host, port = self._socket.getsockname()[:2]
            self.address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        self._thread = threading.Thread(target=self._accept, name="tarcast-listen", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Accept nobody any more; may be called twice."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread up
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        if self._identity is not None:
            with contextlib.suppress(OSError):
                if _identity(self._path) == self._identity:
                    os.unlink(self._path)
            self._identity = None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._closing.wait(0.05):  # else out of descriptors, and some may become free
                    return
                continue
            self._accepted(connection)

    def _bound(self, address: Address) -> socket.socket:
        if address.path:
            return self._bound_unix(address)
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
        except BaseException:
            listening.close()
            raise
        return listening

    def _bound_unix(self, address: Address) -> socket.socket:
        with open_file(os.path.dirname(address.path) or ".", os.O_RDONLY | os.O_DIRECTORY) as folder:
            _lock(folder.fileno(), address)  # else two could find the place free
            _check_free(address)
            # Under another name until its mode is right and it listens: so nobody gets in who should not.
            # By way of the descriptor, since there the path may be longer than a socket's.
            temporary = f"/proc/self/fd/{folder.fileno()}/.{secrets.token_hex(4)}"
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listening.bind(temporary)
                try:
                    os.chmod(temporary, 0o600)
                    listening.listen(_BACKLOG)
                    self._identity = _identity(temporary)
                    os.rename(temporary, address.path)
                except BaseException:
                    os.unlink(temporary)
                    raise
            except BaseException:
                listening.close()
                raise
            return listening


def _lock(folder: int, address: Address) -> None:
    """Until `folder` is closed. Whoever can open a directory can lock it, so there is a limit."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise OutputError(
                    "somebody has its directory locked",
                    path=address.path,
                    step="listen",
                    hint="use a directory that others cannot open",
                ) from error
            time.sleep(0.02)
        else:
            return


def _check_free(address: Address) -> None:
    try:
        found = os.lstat(address.path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OutputError(
            "is there already, and no socket", path=address.path, step="listen", errno=errno.EEXIST
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address.path)
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left over from somebody who was killed
        except OSError:
            pass
    raise OutputError(
        "somebody listens there already", path=address.path, step="listen", errno=errno.EADDRINUSE
    )


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
