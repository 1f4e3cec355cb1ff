"""gRPC's private socket."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tarcast.errors import SessionError
from tarcast.session.wire import private
from tarcast.session.wire.wires import SocketWire

SETTINGS = bytes.fromhex("000000 04 00 00000000")


def test_nobody_connects_to_the_private_socket_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC would: it connects anew when a client leaves at once, and nobody would answer it there."""
    tried: list[int] = []

    def try_again(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as second:
            tried.append(second.connect_ex(path))

    monkeypatch.setattr(private, "enlarge", try_again)
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(SessionError):
        private.open_channel(SocketWire(ours), lambda why: None)
    assert tried
    assert all(tried)


def test_a_client_that_leaves_at_once_is_noticed_at_once() -> None:
    for _ in range(40):
        ours, theirs = socket.socketpair()

        def leave(theirs: socket.socket = theirs) -> None:
            theirs.recv(1000)
            theirs.sendall(SETTINGS)
            theirs.close()

        peer = threading.Thread(target=leave)
        peer.start()
        begun = time.monotonic()
        with pytest.raises(SessionError, match="the client does not speak HTTP/2: "):
            private.open_channel(SocketWire(ours), lambda why: None)
        assert time.monotonic() - begun < 5
        peer.join()
