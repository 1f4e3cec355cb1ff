"""As much of HTTP/1.1 as it takes to leave it: the upgrade to h2c that makes a connection a session."""

from __future__ import annotations

from tarcast.errors import SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .wires import Wire

UPGRADE = "h2c"
_END = b"\r\n\r\n"
_MOST_HEAD = 64 << 10


class Head:
    """The first lines of a message: its start line and headers.

    Args:
        raw: up to the empty line, without it.

    Raises:
        ValueError: it is no HTTP/1.1.

    Attributes:
        words: the three words of the start line.
        headers: (name in lower case, value) in order.
    """

    __slots__ = ("headers", "words")

    def __init__(self, raw: bytes) -> None:
        start, *lines = raw.decode("latin-1").split("\r\n")
        self.words: list[str] = start.split(" ", 2)
        if len(self.words) < 2 or "HTTP/1.1" not in self.words:
            raise ValueError(f"no HTTP/1.1: {start[:80]!r}")
        self.headers: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or "\n" in line:
                raise ValueError(f"no header: {line[:80]!r}")
            self.headers.append((name.lower(), value.strip(" \t")))

    def tokens(self, name: str) -> set[str]:
        """The comma-separated values of a header, in lower case."""
        found = ",".join(value for key, value in self.headers if key == name)
        return {token.strip().lower() for token in found.split(",")}


def read_head(wire: Wire, begun: bytes = b"") -> tuple[bytes, bytes]:
    """(head without its empty line, what came behind it).

    Raises:
        SessionError: the other side ends first, or goes on for too long.
    """
    got = bytearray(begun)
    while (end := got.find(_END, 0, _MOST_HEAD)) < 0:
        if len(got) >= _MOST_HEAD:
            raise SessionError(f"the other side sent more than {_MOST_HEAD} bytes of headers", step="upgrade")
        data = wire.receive()
        if not data:
            raise SessionError("the other side closed the connection", step="upgrade")
        got += data
    return bytes(got[:end]), bytes(got[end + len(_END) :])


def request(path: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """What a client sends to have its connection upgraded."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", f"Upgrade: {UPGRADE}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


SWITCHING = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {UPGRADE}\r\n\r\n".encode()


def refusal(status: str, text: str) -> bytes:
    """An answer that ends the connection, such as with status "409 Conflict"."""
    body = text.encode("utf-8", "replace") + b"\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
