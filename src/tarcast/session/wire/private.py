"""gRPC over a wire: a private socket that nobody else can find, unlinked once it is connected."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile

from tarcast.errors import OptionError, SessionError

from .address import Address, unix_target
from .library import require_grpc
from .relay import GAVE_UP, Relay
from .wires import large_buffers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import grpc

    from .wires import Wire

HEALTH_CHECK = "/grpc.health.v1.Health/Check"

# How long gRPC, or the client behind the wire, may take to answer at all, in seconds.
HANDSHAKE_SECONDS = 10.0

# Where grpcio would be clever: it must not connect twice, share connections, or ask a proxy.
_OPTIONS = [
    ("grpc.default_authority", "localhost"),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.client_idle_timeout_ms", (1 << 31) - 1),
]

# A client that takes large messages gives the other side room for more than one.
LARGE_MESSAGES = [("grpc.http2.lookahead_bytes", 4 << 20), ("grpc.http2.max_frame_size", 1 << 20)]
SERVER_OPTIONS = [*LARGE_MESSAGES, ("grpc.so_reuseport", 0)]


def make_private_place() -> str:
    """The path of a socket to be, in a new directory that only this user can enter.

    Raises:
        OptionError: there can be none among the temporary files.
    """
    directory = None
    try:
        directory = tempfile.mkdtemp(prefix="tarcast-")
        path = os.path.join(directory, "grpc")
        Address(f"unix://{path}")  # whether it is one
    except (OSError, OptionError) as error:
        if directory is not None:
            os.rmdir(directory)
        raise _no_socket(error, directory) from error
    return path


@contextlib.contextmanager
def private_place() -> Iterator[str]:
    """As `make_private_place`; path and directory are gone at the end."""
    path = make_private_place()
    try:
        yield path
    finally:
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)


def start_privately(server: grpc.Server, path: str) -> None:
    """Have `server` listen at `path` alone.

    Raises:
        OptionError: it cannot.
    """
    try:
        server.add_insecure_port(unix_target(path))
        server.start()
    except RuntimeError as error:  # what grpcio raises
        raise _no_socket(error, path) from error


def _no_socket(error: Exception, place: str | None) -> OptionError:
    why = error.message if isinstance(error, OptionError) else error
    return OptionError(f"gRPC cannot have its socket: {why}", path=place, hint="see TMPDIR")


def enlarge(path: str) -> None:
    """Let gRPC's own end of a private connection hold more: with the default it is woken up every 200 KiB.

    gRPC does not tell its descriptor, but it is one of this process, and nobody else's has this name.
    """
    for number in map(int, os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ()):
        with contextlib.suppress(OSError):  # it is no socket, has no peer, or has been closed meanwhile
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                _enlarge(os.dup(number), path)


def _enlarge(descriptor: int, path: str) -> None:
    try:
        end = socket.socket(fileno=descriptor)
    except OSError:  # the number has become something else's
        os.close(descriptor)
        return
    with end:
        if path in (end.getpeername(), end.getsockname()):
            large_buffers(end)


def open_channel(wire: Wire, on_end: Callable[[str], None]) -> tuple[grpc.Channel, Relay]:
    """A channel to the gRPC server behind `wire`, and what moves its bytes.

    Args:
        wire: its other side has begun to serve; owned by the relay from here on, also after a failure.
        on_end: told why the connection ended, whoever ended it.

    Raises:
        SessionError: the other side does not speak HTTP/2, or has left.
        OptionError: there can be no private socket.
    """
    grpc = require_grpc()
    channel = None
    relay: Relay | None = None
    try:
        with private_place() as path, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(HANDSHAKE_SECONDS)
            channel = grpc.insecure_channel(unix_target(path), options=_OPTIONS)
            # Makes it connect; and whoever answers is there. (grpcio's own way to wait asks every 0.2 s.)
            answer = channel.unary_unary(HEALTH_CHECK).future(b"", timeout=HANDSHAKE_SECONDS)
            try:
                inner, _ = listener.accept()
                # gRPC connects anew when a client leaves early, and would wait there for nobody.
                listener.close()
                enlarge(path)
                relay = Relay(inner, wire, on_end)
                relay.start()
                _wait(answer, relay)
            finally:
                answer.cancel()
    except BaseException as error:
        if channel is not None:
            channel.close()
        if relay is None:
            wire.shut()
            wire.close()
        else:
            relay.stop(str(error) or type(error).__name__)
        if isinstance(error, OSError):
            raise SessionError(
                f"gRPC cannot be connected: {error}", step="open session", errno=error.errno
            ) from error
        raise
    return channel, relay


def _wait(answer: Any, relay: Relay) -> None:
    """Until the client has answered its first health check, in whatever way."""
    grpc = require_grpc()
    code = answer.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        why = f" within {HANDSHAKE_SECONDS:g} s"
    elif code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        if relay.ended and relay.ended != GAVE_UP:
            raise SessionError(
                f"the client left before its session was open: {relay.ended}", step="open session"
            )
        why = f": {relay.ended}" if relay.ended else ""
    else:  # also that it knows no such question
        return
    raise SessionError(f"the client does not speak HTTP/2{why}", step="open session")


def serve_on(server: grpc.Server, wire: Wire, on_end: Callable[[str], None]) -> Relay:
    """Have `server`, not started yet, serve the one client behind `wire`.

    Raises:
        SessionError: gRPC cannot be connected.
        OptionError: it cannot have its socket.
    """
    try:
        with private_place() as path:
            start_privately(server, path)
            inner = socket.socket(socket.AF_UNIX)
            try:
                inner.connect(path)
                enlarge(path)
            except BaseException:
                inner.close()
                raise
    except BaseException as error:
        wire.shut()
        wire.close()
        if isinstance(error, OSError):
            raise SessionError(f"gRPC cannot serve: {error}", step="open session") from error
        raise
    relay = Relay(inner, wire, on_end)
    relay.start()
    return relay
