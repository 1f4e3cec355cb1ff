"""`Daemon`: listens, keeps the sessions of its clients, exports to them what it may."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tarcast.errors import OptionError, printable
from tarcast.exporter import TarExporter
from tarcast.limits import MEMORY_LIMIT
from tarcast.session import SessionManager
from tarcast.session.wire.address import TLS, Address
from tarcast.session.wire.library import add_health, require_grpc
from tarcast.session.wire.private import SERVER_OPTIONS, enlarge, make_private_place, start_privately
from tarcast.session.wire.relay import Relay
from tarcast.session.wire.remote import RemoteSession
from tarcast.tree import Tree

from .door import Door
from .listener import Listener
from .service import INTERNAL_ERROR, ControlService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from tarcast.exporter.source import Exportable
    from tarcast.session.wire.announce import Announcement
    from tarcast.session.wire.wires import Wire
    from tarcast.tree import Path

MAX_EXPORTS = 64

# A client has up to three calls under way, each with a thread: session, request, status.
_MOST_CALLS = 1024

# How long exports that are cancelled may take to be undone, in seconds.
_STOP_SECONDS = 10.0

# How long what gRPC has said last may take to get out, in seconds; it closes its connections behind that.
_FLUSH_SECONDS = 0.5


class Daemon:
    """Exports trees to the sessions of BuildKit's clients, and of `tarcast.session.connect`.

    It speaks BuildKit's control API (Session, Solve, Status, Info), and takes sessions by HTTP/1.1 upgrade
    too. Clients name trees, never paths of this machine.

    Args:
        exports: what clients may ask for: names to directories, Trees or references.
        session_manager: knows the clients; None: one of its own.
        session_timeout: how long a request waits for its client's session, in seconds.
        threads, memory_limit: of each export, as for `write_tar`.
        max_exports: how many exports there may be at once; further ones are refused.
        say: gets a line for the log now and then, in any thread.

    Raises:
        OptionError: an argument makes no sense, gRPC is not installed, or cannot have its private socket
            among the temporary files.
    """

    def __init__(
        self,
        exports: Mapping[str, Path | Exportable],
        *,
        session_manager: SessionManager | None = None,
        session_timeout: float = 5.0,
        threads: int | None = None,
        memory_limit: int = MEMORY_LIMIT,
        max_exports: int = MAX_EXPORTS,
        say: Callable[[str], None] | None = None,
    ) -> None:
        grpc = require_grpc()
        self._say = _by_lines(say or _say_nothing)
        self.session_manager: SessionManager = session_manager or SessionManager()
        exporter = TarExporter(
            self.session_manager,
            session_timeout=session_timeout,
            threads=threads,
            memory_limit=memory_limit,
        )
        if isinstance(max_exports, bool) or not isinstance(max_exports, int) or max_exports < 1:
            raise OptionError(f"max_exports must be a number from 1 up, not {max_exports!r}")
        self._service = ControlService(
            self.session_manager,
            exporter,
            _checked(exports),
            max_exports,
            self._say,
            lambda: enlarge(self._inside),
        )
        self._lock = threading.Lock()
        self._doors: list[tuple[Listener, Door]] = []
        self._relays: set[Relay] = set()
        self._closed = False
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(_MOST_CALLS, thread_name_prefix="tarcast-call")
        self._server = grpc.server(self._pool, options=SERVER_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        self._server.add_generic_rpc_handlers(self._service.handlers())
        add_health(self._server)
        # gRPC's connections are passed on to it, since the same address also takes upgrades.
        self._place = ""
        try:
            self._inside = make_private_place()
            self._place = os.path.dirname(self._inside)
            start_privately(self._server, self._inside)
        except BaseException:
            self._pool.shutdown()
            shutil.rmtree(self._place, ignore_errors=True)
            raise

    def listen(self, address: str, *, tls: TLS | None = None, insecure: bool = False) -> str:
        """Take clients at an address, from now on.

        Args:
            address: "unix:///path/to/socket", which gets mode 0600, or "tcp://host:port"; port 0 is any.
            tls: certificates, for tcp: clients must show one that `tls.ca` signed.
            insecure: allow tcp without: whoever can connect gets what is listed.

        Returns:
            The address, with the real port.

        Raises:
            OptionError: it is no address, or tcp without `tls` and `insecure`.
            OutputError: somebody has it, or the socket cannot be made.
        """
        where = Address(address)
        if not where.path and tls is None and not insecure:
            raise OptionError(
                "listening on TCP needs TLS certificates of both sides",
                path=address,
                hint="give tls, or insecure where nobody else can connect",
            )
        if where.path and tls is not None:
            raise OptionError("TLS is for tcp; a Unix socket has its mode", path=address)
        if tls is not None and insecure:
            raise OptionError("TLS and insecure exclude each other", path=address)
        door = Door(
            None if tls is None else tls.context(server=True),
            self._take_grpc,
            self._take_session,
            self._service.refuse,
            self._say,
        )
        listener = Listener(where, door.greet)
        with self._lock:
            if not self._closed:
                self._doors.append((listener, door))
                listener.start()
                return listener.address
        listener.close()
        raise OptionError("the daemon is closed", path=address)

    def wait(self, timeout: float | None = None) -> bool:
        """Until it is closed, or `timeout` seconds; whether it is."""
        return self._ended.wait(timeout)

    def close(self) -> None:
        """Take nobody any more, cancel what runs, wait until it is undone, end all sessions.

        May be called twice.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._close()
        finally:
            shutil.rmtree(self._place, ignore_errors=True)
            self._ended.set()

    def _close(self) -> None:
        for listener, _ in self._doors:
            listener.close()
        self._service.stopping.set()
        self._service.wait_idle(_STOP_SECONDS)
        for _, door in self._doors:
            door.close()
        for session in self.session_manager.sessions():
            session.close()
        self._server.stop(0.5).wait()
        with self._lock:
            relays = list(self._relays)
        flushed = time.monotonic() + _FLUSH_SECONDS  # gRPC's last words are on their way
        for relay in relays:
            relay.join(max(0.0, flushed - time.monotonic()))
            relay.stop("the daemon is shutting down")
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_grpc(self, wire: Wire) -> None:
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.connect(self._inside)
        except OSError:
            inner.close()
            raise

        def ended(why: str) -> None:
            with self._lock:
                self._relays.discard(relay)

        relay = Relay(inner, wire, ended)
        with self._lock:
            self._relays.add(relay)
            closed = self._closed
        try:
            relay.start()
        except RuntimeError:
            ended("")
            raise
        if closed:
            relay.stop("the daemon is shutting down")

    def _take_session(self, wire: Wire, announcement: Announcement) -> None:
        session = RemoteSession(self.session_manager, wire, announcement)
        if self._closed:
            session.close()
        self._say(f"session {announcement.id} opened")


def _checked(exports: Mapping[str, Path | Exportable]) -> dict[str, Exportable]:
    if not hasattr(exports, "items"):
        raise OptionError(f"exports are a mapping of names to trees, not {type(exports).__name__}")
    checked: dict[str, Exportable] = {}
    for name, tree in exports.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise OptionError(f"a tree cannot be named {name!r}", hint="clients must be able to ask for it")
        if isinstance(tree, (str, bytes, os.PathLike)):
            tree = Tree(tree)
        elif not isinstance(tree, Tree) and not callable(getattr(tree, "mount", None)):
            raise OptionError(f"{tree!r} is no tree", hint="give a directory, a Tree or a reference")
        checked[name] = tree
    if not checked:
        raise OptionError("there is nothing to export")
    return checked


def _by_lines(say: Callable[[str], None]) -> Callable[[str], None]:
    """So that nothing that clients say looks like a line of its own, or moves a terminal's cursor."""

    def say_lines(text: str) -> None:
        if text.startswith(INTERNAL_ERROR):
            for line in text.splitlines():
                say(printable(line))
        else:
            say(printable(text))

    return say_lines


def _say_nothing(text: str) -> None:
    pass
