"""The wire inside a gRPC stream, and the relay between a wire and gRPC's private socket."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tarcast.session.wire.framing import decode, encode
from tarcast.session.wire.relay import Relay
from tarcast.session.wire.wires import SocketWire, StreamWire
from tests.support.files import descriptors

LARGE = bytes(range(251)) * 20_000


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    before, threads = descriptors(), threading.active_count()
    yield
    assert descriptors().items() <= before.items()  # gRPC may close some of its own meanwhile
    assert threading.active_count() <= threads


def start(function: Callable[..., Any], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def done(thread: threading.Thread) -> bool:
    thread.join(3)
    return not thread.is_alive()


def read(connection: socket.socket, size: int) -> bytes:
    connection.settimeout(3)
    got = bytearray()
    while len(got) < size and (data := connection.recv(1 << 20)):
        got += data
    return bytes(got)


# ---- streams ----------------------------------------------------------------------------


def test_stream_wire_sends_messages_and_waits_for_their_taking() -> None:
    wire = StreamWire()
    messages = wire.messages()
    data = bytearray(1)
    wire.send(memoryview(data))
    data[:] = b"x"  # what it was sent it has copied
    second = start(wire.send, memoryview(b"1"))
    second.join(0.05)
    assert second.is_alive()
    assert bytes(decode(next(messages))) == b"\0"
    assert done(second)
    taken: list[bytes] = []
    taking = start(lambda: taken.extend(bytes(decode(message)) for message in messages))
    taking.join(0.05)
    assert (taken, taking.is_alive()) == ([b"1"], True)
    wire.shut()
    assert done(taking)


def test_stream_wire_that_is_shut_sends_nothing() -> None:
    wire = StreamWire()
    ended: list[int] = []
    errors: list[str] = []
    wire.attach(iter(()), lambda: ended.append(1))

    def send() -> None:
        try:
            for _ in range(9):
                wire.send(memoryview(b"x"))
        except ConnectionError as error:
            errors.append(str(error))

    blocked = start(send)
    blocked.join(0.05)
    assert blocked.is_alive()
    wire.shut()
    wire.shut()
    assert done(blocked)
    assert (errors, ended) == (["the stream has ended"], [1])
    with pytest.raises(ConnectionError):
        wire.send(memoryview(b"x"))
    wire.close()


def test_stream_wire_receives_until_the_end() -> None:
    wire = StreamWire()
    assert wire.receive() == b""
    wire.attach(map(encode, (b"a", b"", b"b", b"")), lambda: None)
    assert [bytes(wire.receive()) for _ in range(4)] == [b"a", b"b", b"", b""]


class Failed(Exception):
    def details(self) -> str:
        return "told by the call"


@pytest.mark.parametrize(
    ("raised", "says"),
    [(Failed(), "told by the call"), (ValueError("plain"), "plain"), (KeyError(), "KeyError")],
)
def test_stream_wire_breaks_unless_it_was_shut(raised: Exception, says: str) -> None:
    def incoming() -> Iterator[bytes]:
        yield encode(b"a")
        raise raised

    for shut in (False, True):
        wire = StreamWire()
        wire.attach(incoming(), lambda: None)
        assert wire.receive() == b"a"
        if shut:
            wire.shut()
            assert wire.receive() == b""
        else:
            with pytest.raises(ConnectionError, match=says):
                wire.receive()


# ---- the relay ----------------------------------------------------------------------------


class Between:
    """A relay with the ends that gRPC and the other side have."""

    def __init__(self, on_end: Callable[[str], None] | None = None) -> None:
        inner, self.grpc = socket.socketpair()
        outer, self.other = socket.socketpair()
        inner.settimeout(0.05)  # which must not last
        self.ends: list[str] = []
        self.relay = Relay(inner, SocketWire(outer), on_end or self.ends.append)
        self.relay.start()

    def close(self) -> None:
        self.grpc.close()
        self.other.close()
        self.relay.stop()


@pytest.fixture
def between() -> Iterator[Between]:
    made = Between()
    yield made
    made.close()


def test_relay_moves_both_ways_and_counts(between: Between) -> None:
    sending = [start(between.grpc.sendall, LARGE), start(between.other.sendall, LARGE[::-1])]
    reading: list[bytes] = []
    other = start(lambda: reading.append(read(between.other, len(LARGE))))
    assert read(between.grpc, len(LARGE)) == LARGE[::-1]
    assert all(map(done, [*sending, other]))
    assert reading == [LARGE]
    assert between.relay.ended is None
    before = between.relay.moved
    between.other.sendall(b"more")
    between.grpc.sendall(b"back")
    assert (read(between.grpc, 4), read(between.other, 4)) == (b"more", b"back")
    between.close()
    assert before <= 2 * len(LARGE)
    assert len(LARGE) + 4 <= between.relay.moved <= 2 * len(LARGE) + 8


@pytest.mark.parametrize(
    ("end", "why"),
    [("grpc", "gRPC gave its connection up"), ("other", "the other side closed the connection")],
)
def test_relay_ends_both_when_either_ends(between: Between, end: str, why: str) -> None:
    ended, left = between.grpc, between.other
    if end == "other":
        ended, left = left, ended
    ended.sendall(b"last words")
    ended.close()
    assert read(left, 100) == b"last words"
    between.relay.stop("too late")
    assert (between.relay.ended, between.ends) == (why, [why])


def test_relay_tells_the_end_before_grpc_can_notice() -> None:
    noticed: list[object] = []

    def on_end(why: str) -> None:
        noticed.extend([why, select.select([between.grpc], [], [], 0.05)[0]])

    between = Between(on_end)
    between.other.close()
    assert read(between.grpc, 1) == b""
    between.close()
    assert noticed == ["the other side closed the connection", []]


def test_relay_stops_though_both_sends_are_blocked(between: Between) -> None:
    big = bytes(64 << 20)
    threads = []
    for end in (between.grpc, between.other):
        end.settimeout(0.15)

        def push(end: socket.socket = end) -> None:
            with pytest.raises((TimeoutError, BrokenPipeError)):
                end.sendall(big)

        threads.append(start(push))
    assert all(map(done, threads))
    stopping = start(between.relay.stop, "enough")
    assert done(stopping)
    assert (between.relay.ended, between.ends) == ("enough", ["enough"])
    between.relay.stop("again")
    assert between.ends == ["enough"]


def test_relay_tells_once_however_many_end_it(between: Between) -> None:
    barrier = threading.Barrier(6)

    def end(number: int) -> None:
        barrier.wait(3)
        if number == 0:
            between.grpc.close()
        elif number == 1:
            between.other.close()
        else:
            between.relay.stop(f"stop {number}")

    threads = [start(end, number) for number in range(6)]
    assert all(map(done, threads))
    between.relay.stop()
    assert between.ends == [between.relay.ended]


@pytest.mark.parametrize("end", ["grpc", "other"])
def test_relay_may_be_stopped_by_who_is_told_of_its_end(end: str) -> None:
    returned = threading.Event()

    def on_end(why: str) -> None:
        between.relay.stop()
        returned.set()

    between = Between(on_end)
    (between.grpc if end == "grpc" else between.other).shutdown(socket.SHUT_WR)
    in_time = returned.wait(0.3)
    between.close()
    assert in_time


class Broken:
    """A wire whose receiving fails."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def fileno(self) -> int:
        return -1

    def receive(self) -> bytes:
        raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def shut(self, why: str = "") -> None:
        self.calls.append("shut")

    def close(self) -> None:
        self.calls.append("close")


def test_relay_says_how_a_connection_broke_and_closes_the_wire_once() -> None:
    inner, grpc_end = socket.socketpair()
    ends: list[str] = []
    wire = Broken()
    relay = Relay(inner, wire, ends.append)  # type: ignore[arg-type]
    relay.start()
    assert read(grpc_end, 1) == b""
    relay.stop()
    assert ends == ["its connection broke: Connection reset by peer"]
    assert (wire.calls[0], wire.calls.count("close")) == ("shut", 1)
    assert inner.fileno() == -1
    grpc_end.close()
