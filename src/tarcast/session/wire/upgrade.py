"""The client's side of the upgrade by which a connection becomes a session."""

from __future__ import annotations

import contextlib
import ssl
import threading

from tarcast.errors import DaemonError, SessionError

from .address import tls_failure, wire_to
from .http1 import Head, read_head, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .address import TLS, Address
    from .announce import Announcement
    from .wires import Wire


class NoUpgrade(Exception):
    """The daemon does not speak HTTP/1.1."""


def upgraded(address: Address, announcement: Announcement, tls: TLS | None, timeout: float) -> Wire:
    """A connection to a daemon that has become the session of `announcement`.

    Args:
        timeout: for connecting, and for the answer, in seconds.

    Raises:
        NoUpgrade: there is a daemon, and it may take sessions in another way.
        DaemonError: there is none, or it refuses.
    """
    wire = wire_to(address, tls, timeout)
    late = threading.Event()

    def end() -> None:
        late.set()
        wire.shut()

    # For all of the answer, not for each piece of it.
    limit = threading.Timer(timeout, end)
    limit.start()
    try:
        try:
            wire.send(memoryview(request("/session", announcement.headers())))
            raw, rest = read_head(wire)
            head = Head(raw)
        except (OSError, SessionError, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise DaemonError(
                    f"no answer within {timeout:g} s", path=address.text, step="open session"
                ) from error
            if isinstance(error, ssl.SSLError):  # with TLS 1.3 only now: the client's handshake ends first
                raise tls_failure(error, address, "open session") from error
            raise NoUpgrade(str(error)) from error
        finally:
            limit.cancel()
            limit.join()
        if head.words[1] != "101":
            with contextlib.suppress(OSError):
                rest += bytes(wire.receive()) if not rest else b""
            text = rest.decode(errors="replace").strip()[:500]
            raise DaemonError(text or " ".join(head.words[1:]), path=address.text, step="open session")
        wire.begin(rest)
    except BaseException:
        wire.shut()
        wire.close()
        raise
    return wire
