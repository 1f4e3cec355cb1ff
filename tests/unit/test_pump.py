"""Bytes from one socket to the next without Python."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tarcast._core.pump import Pump
from tests.support.faults import in_child, leave_descriptors, nothing_left_behind

DATA = os.urandom(1 << 20) * 9


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        return near, server.accept()[0]


PAIRS = pytest.mark.parametrize("pair", [socket.socketpair, tcp_pair])


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    with nothing_left_behind():
        yield


class Between:
    """A pump from one pair of sockets to another; `failure` is what it raised."""

    def __init__(self, pair: Any) -> None:
        self.near, self.source = pair()
        self.target, self.far = pair()
        self.pump = Pump()
        self.failure: OSError | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.pump.run(self.source.fileno(), self.target.fileno())
        except OSError as error:
            self.failure = error
        self.target.close()

    def send(self, data: bytes) -> None:
        self.near.sendall(data)
        self.near.shutdown(socket.SHUT_WR)

    def received(self) -> bytes:
        got = bytearray()
        while data := self.far.recv(1 << 16):
            got += data
        return bytes(got)

    def close(self) -> None:
        self.thread.join(3)
        assert not self.thread.is_alive()
        for end in (self.near, self.source, self.target, self.far):
            end.close()


@PAIRS
def test_pump_moves_everything_and_ends_with_its_source(pair: Any) -> None:
    between = Between(pair)
    sender = threading.Thread(target=between.send, args=(DATA,))
    sender.start()
    assert between.received() == DATA
    sender.join()
    assert between.pump.moved == len(DATA)
    between.close()
    assert between.failure is None


@PAIRS
def test_pump_without_descriptors_for_a_pipe_copies(pair: Any) -> None:
    def moved() -> bool:
        near, source = pair()
        target, far = pair()
        leave_descriptors(0)
        threading.Thread(target=near.sendall, args=(DATA,), daemon=True).start()
        threading.Thread(target=Pump().run, args=(source.fileno(), target.fileno()), daemon=True).start()
        got = bytearray()
        while len(got) < len(DATA):
            got += far.recv(1 << 16)
        return bytes(got) == DATA

    assert in_child(moved)


@PAIRS
def test_pump_whose_target_is_gone_says_so(pair: Any) -> None:
    between = Between(pair)
    between.far.close()
    end = time.monotonic() + 5
    while between.thread.is_alive() and time.monotonic() < end:  # TCP notices at the second piece
        between.near.send(b"x")
        time.sleep(0.01)
    between.source.close()
    between.close()
    assert between.failure is not None
    assert between.failure.errno in (errno.EPIPE, errno.ECONNRESET)


def test_pump_raises_no_signal() -> None:
    """Where SIGPIPE has its default action, as in many filters, it would end the process."""

    def pumped() -> int | None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        near, source = socket.socketpair()
        target, far = socket.socketpair()
        far.close()
        near.sendall(b"x")
        try:
            Pump().run(source.fileno(), target.fileno())
        except OSError as error:
            return error.errno
        return None

    assert in_child(pumped) == errno.EPIPE


@PAIRS
@pytest.mark.parametrize("which", ["source", "target"])
def test_pump_ends_when_somebody_shuts_a_socket(pair: Any, which: str) -> None:
    between = Between(pair)
    if which == "target":  # it waits for room there
        filler = threading.Thread(target=_fill, args=(between.near,), daemon=True)
        filler.start()
        while between.pump.moved < 1 << 16:
            pass
    getattr(between, which).shutdown(socket.SHUT_RDWR)
    between.thread.join(3)
    assert not between.thread.is_alive()
    between.source.close()
    if which == "target":
        filler.join(3)
    between.close()


def _fill(connection: socket.socket) -> None:
    try:
        while True:
            connection.sendall(bytes(1 << 16))
    except OSError:
        pass
