"""What clients may not do to a daemon, and how soon a client lets go."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarcast
from tarcast.daemon import TLS, Daemon, door
from tarcast.session import FILE_SEND, connect
from tarcast.session.wire import private
from tarcast.session.wire.announce import Announcement
from tarcast.session.wire.control import GATEWAY, SESSION, SOLVE, messages
from tarcast.session.wire.framing import encode
from tests.support.faults import wait_until
from tests.support.sessions import Serving, Trees, background, hand_made, solve

grpc = pytest.importorskip("grpc")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return Trees(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def serving(trees: Trees) -> Iterator[Serving]:
    with trees.serving() as serving:
        yield serving


def channel(serving: Serving) -> grpc.Channel:
    target = f"unix:{serving.address.removeprefix('unix://')}"
    return grpc.insecure_channel(target, options=[("grpc.default_authority", "localhost")])


def test_a_session_in_the_control_api_that_says_nothing(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "HANDSHAKE_SECONDS", 0.3)
    before = threading.active_count()
    silence = threading.Event()

    def nothing() -> Iterator[bytes]:
        silence.wait(10)
        yield from ()

    with channel(serving) as control:
        headers = Announcement("silent", methods=(FILE_SEND,)).headers()
        call = control.stream_stream(SESSION)(nothing(), metadata=headers, timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        silence.set()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "the client does not speak HTTP/2 within 0.3 s" in caught.value.details()
    calls = sum(thread.name.startswith("tarcast-call") for thread in threading.enumerate())
    wait_until(lambda: threading.active_count() <= before + calls, "the end of its threads", 5)


def test_one_id_many_times_at_once(serving: Serving) -> None:
    for _ in range(5):
        opening = [background(connect, serving.address, via="control", id="same") for _ in range(4)]
        clients = [one.result(15) for one in opening if one.exception(15) is None]
        wait_until(
            lambda clients=clients: sum(not client.closed for client in clients) <= 1, "the others' end", 5
        )
        for client in clients:
            client.close()
        wait_until(lambda: not serving.manager.ids(), "the session's end", 5)


def test_more_strangers_than_there_may_be(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_GREETINGS", 3)
    silent = []
    for _ in range(6):
        silent.append(socket.socket(socket.AF_UNIX))
        silent[-1].connect(serving.address.removeprefix("unix://"))
    serving.log.wait("3 others have not said yet what they want")
    for one in silent:
        one.close()
    wait_until(lambda: not any(t.name == "tarcast-greet" for t in threading.enumerate()), "their end")
    serving.export_well()


def test_no_more_threads(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "tarcast-greet":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(tarcast.DaemonError):
            connect(serving.address, timeout=2)
    serving.log.wait("a connection failed: can't start new thread")
    serving.export_well()


def test_long_names_are_refused_and_not_kept(serving: Serving) -> None:
    types = messages()
    exporter = types.Exporter(Type="tar")
    with channel(serving) as control:
        ask = control.unary_unary(SOLVE, types.SolveRequest.SerializeToString)
        for fields in ({"Ref": "x" * 300}, {"Session": "x" * 300}):
            wanted = {
                "Frontend": "tarcast",
                "FrontendAttrs": {"tree": "small"},
                "Exporters": [exporter],
                **fields,
            }
            with pytest.raises(grpc.RpcError) as caught:
                ask(types.SolveRequest(**wanted), timeout=10)
            assert caught.value.details() == "a name has more than 256 characters"
        gateway = control.unary_unary(f"/{GATEWAY}/Solve", types.GatewaySolveRequest.SerializeToString)
        options = {"tree": "small", "build-arg:SOURCE_DATE_EPOCH": "1" * 100_000}
        request = types.GatewaySolveRequest(Frontend="tarcast", FrontendOpt=options)
        for metadata in (
            [("buildkit-controlapi-buildid", "x")],
            [("buildkit-controlapi-buildid", "x" * 300)],
            [],
        ):
            with pytest.raises(grpc.RpcError) as caught:
                gateway(request, metadata=metadata, timeout=10)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert len(caught.value.details()) < 3000
    code, details = solve(serving.address, "me", "x" * 5000)
    assert (code, len(details) < 3000) == ("NOT_FOUND", True)


@pytest.mark.parametrize("id", ["", "a:b", " a", "a\n", "ä", "x" * 257])
def test_ids_that_no_session_may_have(serving: Serving, id: str) -> None:
    with pytest.raises(tarcast.OptionError, match="a session cannot have the id"):
        connect(serving.address, id=id)


def test_what_a_client_says_is_one_line_of_the_log(serving: Serving) -> None:
    code, _ = solve(serving.address, "x\ntarcast: \x1b[31mall is well", "small")
    assert code == "FAILED_PRECONDITION"
    line, _ = serving.log.wait("all is well")
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_client_that_answers_with_data(serving: Serving) -> None:
    def take(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in requests:
            pass
        yield encode(b"thanks")
        yield encode(b"thanks")

    with hand_made(serving.address, take, "polite"):
        wait_until(serving.manager.ids, "the session")
        begun = time.monotonic()
        _, details = solve(serving.address, "polite", "small")
        assert time.monotonic() - begun < 3
        assert "the client answered with data" in details


def test_tls_is_not_left_out_silently(tmp_path: Path) -> None:
    tls = object.__new__(TLS)
    with pytest.raises(tarcast.OptionError, match="TLS is for tcp"):
        connect(f"unix://{tmp_path}/s", tls=tls)
    with Daemon({"a": tmp_path}) as daemon:
        with pytest.raises(tarcast.OptionError, match="TLS is for tcp"):
            daemon.listen(f"unix://{tmp_path}/s", tls=tls)
        assert os.listdir(tmp_path) == []


def test_two_daemons_want_one_path(tmp_path: Path) -> None:
    for _ in range(10):
        with Daemon({"a": tmp_path}) as first, Daemon({"a": tmp_path}) as second:
            both = [background(daemon.listen, f"unix://{tmp_path}/s") for daemon in (first, second)]
            failed = [one.exception(10) for one in both]
            assert sum(error is None for error in failed) == 1
            assert any(isinstance(error, tarcast.OutputError) for error in failed)


@pytest.mark.parametrize("stalled", ["reader", "daemon"])
def test_who_cancels_does_not_wait(serving: Serving, stalled: str) -> None:
    """Neither for a reader of a pipe that does not read, nor for a daemon that goes on."""
    ours, theirs = os.pipe()
    cancel = threading.Event()
    tree = "tree" if stalled == "reader" else "slow"
    try:
        with connect(serving.address) as client:
            exporting = background(client.export, tree, theirs, cancel=cancel)
            time.sleep(0.5)
            assert not exporting.done()
            begun = time.monotonic()
            cancel.set()
            assert isinstance(exporting.exception(10), tarcast.Cancelled)
            assert time.monotonic() - begun < 1.0
    finally:
        os.close(ours)
        os.close(theirs)
