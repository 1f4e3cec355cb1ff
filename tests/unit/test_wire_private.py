"""gRPC's private socket."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tarcast.daemon import Daemon
from tarcast.errors import OptionError, SessionError
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
        with pytest.raises(SessionError, match="the client left before its session was open: "):
            private.open_channel(SocketWire(ours), lambda why: None)
        assert time.monotonic() - begun < 5
        peer.join()


def serve(wire: SocketWire) -> None:
    with ThreadPoolExecutor() as pool:
        private.serve_on(grpc.server(pool), wire, lambda why: None)


@pytest.mark.parametrize("name", ["x" * 100, "a,b"])
@pytest.mark.parametrize("use", [lambda wire: private.open_channel(wire, lambda why: None), serve])
def test_a_place_for_temporary_files_that_cannot_have_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, use: Callable[[SocketWire], object]
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(OptionError, match=r"gRPC cannot have its socket: .*; see TMPDIR"):
            use(SocketWire(ours))
        assert theirs.recv(1) == b""
    with pytest.raises(OptionError, match=r"gRPC cannot have its socket: .*; see TMPDIR"):
        Daemon({"tree": tmp_path})
    assert os.listdir(tmp_path / name) == []
