"""Is the client still there? Asked of real gRPC servers, with short limits."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tarcast.session.wire import health
from tarcast.session.wire.health import HealthWatch
from tarcast.session.wire.private import SERVER_OPTIONS, open_channel, serve_on
from tarcast.session.wire.wires import SocketWire

ALIVE = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


class Client(health_pb2_grpc.HealthServicer):
    """What a client says: the answers of `script` in turn, the last one again and again.

    An answer is "yes", "hang" or a status code.
    """

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked = 0
        self.enough = threading.Event()
        self.over = threading.Event()

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.asked += 1
        if self.asked >= 5:
            self.enough.set()
        if answer == "hang":
            self.over.wait(3)
        elif answer != "yes":
            context.abort(answer, "as the test wants it")
        return ALIVE


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY", 0.01)
    monkeypatch.setattr(health, "LIMIT", 2.0)


@pytest.fixture
def short(often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LIMIT", 0.05)


Connect = Callable[[Client | None], grpc.Channel]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """connect(client) is a channel to its server; None has no health service."""
    undo: list[Callable[[], Any]] = []

    def made(client: Client | None) -> grpc.Channel:
        pool = ThreadPoolExecutor(4)
        server = grpc.server(pool)
        if client is not None:
            health_pb2_grpc.add_HealthServicer_to_server(client, server)
            undo.append(client.over.set)
        server.add_insecure_port(f"unix:{tmp_path}/health")
        server.start()
        channel = grpc.insecure_channel(f"unix:{tmp_path}/health")
        channel.unary_unary("/no/such").future(b"").exception(timeout=3)
        undo.extend([channel.close, lambda: server.stop(0).wait(), pool.shutdown])
        return channel

    yield made
    for step in undo:
        step()


class Watched:
    """A running watch, and whether it has given up."""

    def __init__(
        self, channel: Any, moved: Callable[[], int] = lambda: 0, timeout: float | None = None
    ) -> None:
        self.reasons: list[str] = []
        self.gave_up = threading.Event()
        self.watch = HealthWatch(channel, moved, self._give_up, timeout)
        self.watch.start()

    def _give_up(self, why: str) -> None:
        self.reasons.append(why)
        self.watch.stop()  # as a session does, in the watch's own thread
        self.gave_up.set()

    def stop(self) -> None:
        self.watch.stop()
        assert not any(thread.name == "tarcast-health" for thread in threading.enumerate())


@pytest.mark.usefixtures("often")
def test_health_of_a_client_that_answers(connect: Connect) -> None:
    client = Client("yes")
    watched = Watched(connect(client))
    assert client.enough.wait(3)
    watched.stop()
    assert watched.reasons == []
    asked = client.asked
    time.sleep(0.05)
    assert client.asked == asked


@pytest.mark.usefixtures("short")
def test_health_of_a_client_that_does_not_answer(connect: Connect) -> None:
    watched = Watched(connect(Client("hang")))
    assert watched.gave_up.wait(3)
    watched.stop()
    assert watched.reasons == ["it did not answer 2 health checks: DEADLINE_EXCEEDED"]


def test_health_of_a_client_with_a_timeout_of_its_own(connect: Connect) -> None:
    client = Client("hang")
    begun = time.monotonic()
    watched = Watched(connect(client), timeout=0.05)
    assert watched.gave_up.wait(3)
    assert time.monotonic() - begun >= 0.1
    watched.stop()
    assert watched.reasons == ["it did not answer 1 health check: DEADLINE_EXCEEDED"]


@pytest.mark.usefixtures("often")
def test_health_forgets_failures_that_are_not_in_a_row(connect: Connect) -> None:
    failed = grpc.StatusCode.INTERNAL
    client = Client(failed, "yes", failed, "yes", failed, "yes")
    watched = Watched(connect(client))
    assert client.enough.wait(3)
    watched.stop()
    assert watched.reasons == []


@pytest.mark.usefixtures("often")
def test_health_of_a_client_that_says_it_is_ill(connect: Connect) -> None:
    watched = Watched(connect(Client(grpc.StatusCode.INTERNAL)))
    assert watched.gave_up.wait(3)
    watched.stop()
    assert watched.reasons == ["it did not answer 2 health checks: INTERNAL"]


@pytest.mark.usefixtures("often")
def test_health_of_a_client_without_the_service(connect: Connect) -> None:
    looked = itertools.count()
    enough = threading.Event()

    def moved() -> int:
        if next(looked) > 5:
            enough.set()
        return 0

    watched = Watched(connect(None), moved)
    assert enough.wait(3)
    watched.stop()
    assert watched.reasons == []


@pytest.mark.usefixtures("short")
def test_health_of_a_busy_client_until_nothing_moves(connect: Connect) -> None:
    client = Client("hang")
    client.asked = 2  # of five
    bytes_moved = itertools.count()
    still: list[int] = []
    watched = Watched(connect(client), lambda: still[0] if still else next(bytes_moved))
    assert client.enough.wait(3)
    assert watched.reasons == []
    still.append(-1)
    assert watched.gave_up.wait(3)
    watched.stop()
    assert len(watched.reasons) == 1


@pytest.mark.usefixtures("often")
def test_health_of_a_closed_channel(connect: Connect) -> None:
    client = Client("yes")
    channel = connect(client)
    watched = Watched(channel)
    assert client.enough.wait(3)
    channel.close()
    assert watched.gave_up.wait(3)
    watched.stop()
    assert watched.reasons == ["it did not answer 2 health checks"]


def test_health_check_under_way_ends_with_the_channel(connect: Connect) -> None:
    client = Client("hang")
    client.asked = 4
    channel = connect(client)
    watched = Watched(channel, timeout=0.2)
    assert client.enough.wait(3)
    ending = threading.Thread(target=lambda: (watched.watch._stopped.set(), channel.close()))
    ending.start()
    watched.stop()
    ending.join()
    assert watched.reasons == []


class Slow:
    """A channel whose answers take a while each; notes how long was allowed."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.allowed: list[float] = []
        self.enough = threading.Event()

    def unary_unary(self, *_: Any, **__: Any) -> Callable[..., Any]:
        return self.ask

    unary_stream = unary_unary

    def ask(self, question: Any, timeout: float) -> Any:
        self.allowed.append(timeout)
        time.sleep(self.seconds.pop(0) if self.seconds else 0)
        if len(self.allowed) == 3:
            self.enough.set()
        return ALIVE


@pytest.mark.usefixtures("short")
def test_health_allows_more_time_after_a_slow_answer() -> None:
    channel = Slow(0.1, 0.001)
    watched = Watched(channel)
    assert channel.enough.wait(3)
    watched.stop()
    first, second, third = channel.allowed[:3]
    assert (first, third) == (0.05, 0.05)
    assert 0.15 <= second < 0.3


@pytest.mark.usefixtures("often")
def test_health_over_a_wire() -> None:
    """A client as it really is: a server behind a relay, asked through a relay."""
    ours, theirs = socket.socketpair()
    client = Client("yes")
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool, options=SERVER_OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(client, server)
    ends: list[str] = []
    far = serve_on(server, SocketWire(theirs), ends.append)
    channel, near = open_channel(SocketWire(ours), ends.append)
    watched = Watched(channel, lambda: near.moved)
    assert client.enough.wait(3)
    assert watched.reasons == ends == []
    near.stop("cut")
    assert watched.gave_up.wait(3)
    watched.stop()
    channel.close()
    far.stop()
    server.stop(0).wait()
    pool.shutdown()
    assert watched.reasons[0].startswith("it did not answer 2 health checks: ")
    assert "cut" in ends
    assert len(ends) == 2
