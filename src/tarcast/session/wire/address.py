"""Where a daemon listens: `unix:///path` or `tcp://host:port`, and how to get there."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import ssl
from urllib.parse import quote

from tarcast.errors import DaemonError, OptionError, printable

from .wires import SocketWire, TlsWire, dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MOST_PATH = 107  # bytes of sockaddr_un.sun_path, less the NUL


class Address:
    """A parsed address.

    Args:
        text: "unix:///path/to/socket" or "tcp://host:port", "[...]" around an IPv6 host.

    Raises:
        OptionError: it is neither.

    Attributes:
        text: as given.
        path: of a Unix socket, or "".
        host, port: of a TCP one.
    """

    __slots__ = ("host", "path", "port", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.path: str = ""
        self.host: str = ""
        self.port: int = 0
        kind, _, rest = text.partition("://")
        if kind == "unix" and rest and "\0" not in rest:
            self.path = rest
            try:
                length = len(os.fsencode(rest))
            except UnicodeError as error:
                raise OptionError(f"{rest!r} is no path: {error}") from error
            if length > _MOST_PATH:
                raise OptionError(f"the path of a socket has {_MOST_PATH} bytes at most", path=text)
            if "," in rest:
                raise OptionError("gRPC knows no sockets with a comma in their path", path=text)
            return
        host, colon, port = rest.rstrip("/").rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        if (
            kind != "tcp"
            or not colon
            or not host
            or not (port.isascii() and port.isdigit() and len(port) <= 5)
            or int(port) > 65535
        ):
            raise OptionError(
                f"{text!r} is no address", hint="expected unix:///path/to/socket or tcp://host:port"
            )
        self.host, self.port = host, int(port)

    @property
    def grpc_target(self) -> str:
        """As grpcio wants it."""
        if self.path:
            return unix_target(self.path)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self, timeout: float) -> socket.socket:
        """A connected socket, with `timeout` (seconds) still set.

        Raises:
            DaemonError: nobody answers there.
        """
        if self.path:
            return dial(socket.AF_UNIX, self.path, timeout, self.text)
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter of what no name of a host can be
            raise DaemonError(
                f"cannot find the host: {getattr(error, 'strerror', None) or error}",
                path=self.text,
                step="connect",
            ) from error
        for number, (family, _, _, _, where) in enumerate(found):
            try:
                connection = dial(family, where, timeout, self.text)
            except DaemonError:
                if number + 1 < len(found):
                    continue
                raise
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        raise DaemonError("the host has no address", path=self.text, step="connect")

    def __str__(self) -> str:
        return self.text


def unix_target(path: str) -> str:
    """The path of a Unix socket as grpcio wants it, which reads it as a URI."""
    return f"unix:{quote(os.fsencode(path))}"


class TLS:
    """Certificates of one side, and who signs the other's. Both sides show theirs.

    Args:
        ca: file of certificates that the other side's must be signed by (PEM).
        cert: file of the own certificate (PEM).
        key: file of its key (PEM).
        server_name: for clients: the name in the daemon's certificate, if it is not the address' host.

    Raises:
        OptionError: a file cannot be read, or does not hold what it should.
    """

    def __init__(self, *, ca: str, cert: str, key: str, server_name: str = "") -> None:
        self.server_name = server_name
        self.pem: dict[str, bytes] = {}
        for name, path in (("ca", ca), ("cert", cert), ("key", key)):
            try:
                with open(path, "rb") as file:
                    self.pem[name] = file.read()
            except OSError as error:
                raise OptionError(
                    f"cannot read the TLS {name}: {error.strerror}", path=path, errno=error.errno
                ) from error
        self._files = ca, cert, key
        self.context(server=True)  # what is wrong with the files is told now

    def context(self, *, server: bool) -> ssl.SSLContext:
        """For either side; both check the other's certificate."""
        ca, cert, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2", "http/1.1"] if server else ["http/1.1"])

        def encrypted() -> str:  # without this OpenSSL would ask at the terminal, and wait there
            raise OptionError(
                "the TLS key is encrypted",
                path=key,
                hint=f"decrypt it: openssl pkey -in {shlex.quote(key)} -out PLAIN",
            )

        with _makes_sense("the TLS ca holds no certificate", ca):
            context.load_verify_locations(ca)
        # By itself first: of certificate and key together OpenSSL does not say which makes no sense.
        with _makes_sense("the TLS cert holds no certificate", cert):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert)
        with _makes_sense(f"the TLS key does not go with {printable(cert)}", key):
            context.load_cert_chain(cert, key, encrypted)
        return context

    def wire(self, connection: socket.socket, address: Address) -> TlsWire:
        """The client's side of `connection` to the daemon at `address`, which this owns from here on.

        Raises:
            DaemonError: the two sides do not trust each other.
        """
        try:
            name = self.server_name or address.host
            wire = TlsWire(connection, self.context(server=False), server_name=name)
            wire.handshake()
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise tls_failure(error, address, "connect") from error
            if isinstance(error, ValueError) and not isinstance(error, OptionError):
                raise DaemonError(  # of what no name of a host can be
                    f"no TLS with the daemon: {error}", path=address.text, step="connect"
                ) from error
            raise
        return wire

    def credentials(self) -> Any:
        """For grpcio's own channels."""
        from .library import require_grpc

        return require_grpc().ssl_channel_credentials(self.pem["ca"], self.pem["key"], self.pem["cert"])


@contextlib.contextmanager
def _makes_sense(problem: str, path: str) -> Iterator[None]:
    """Raises OptionError with `problem` if what it is around raises ssl.SSLError or any other OSError."""
    try:
        yield
    except OSError as error:
        raise OptionError(f"{problem}: {error}", path=path) from error


def tls_failure(error: OSError, address: Address, step: str) -> DaemonError:
    """What it means for a client that TLS with the daemon at `address` failed with `error`."""
    reason = getattr(error, "reason", None) or ""
    problem, hint = "no TLS with the daemon", ""
    if "_ALERT_" in reason:
        if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
            problem = "the daemon refuses this certificate"
    elif not isinstance(error, ssl.SSLCertVerificationError):
        hint = "does the daemon speak TLS?"
    return DaemonError(f"{problem}: {error}", path=address.text, step=step, hint=hint)


def wire_to(address: Address, tls: TLS | None, timeout: float) -> SocketWire | TlsWire:
    """A connection to a daemon, as a client makes it; limited in time until it begins.

    Raises:
        DaemonError: there is none to be had.
    """
    connection = address.connect(timeout)
    if tls is not None and not address.path:
        return tls.wire(connection, address)
    return SocketWire(connection)
