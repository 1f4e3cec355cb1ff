"""Ends of a session that break the protocol, take an id that is taken, or leave a stream half open."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import Source, TarExporter
from tarcast.daemon import door
from tarcast.session import FILE_SEND, connect
from tarcast.session.wire import private
from tarcast.session.wire.address import Address
from tarcast.session.wire.announce import ID, METHOD
from tarcast.session.wire.control import SESSION
from tarcast.session.wire.http1 import request
from tarcast.session.wire.library import require_grpc
from tarcast.session.wire.sending import StreamSink
from tests.support.faults import wait_until
from tests.support.sessions import (
    PATIENCE,
    VIAS,
    Export,
    Gate,
    GoClient,
    Serving,
    Trees,
    background,
    hand_made,
    record,
    slowly,
    solve,
    upgraded,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EITHER_WAY = pytest.mark.parametrize("via", VIAS)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return Trees(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def daemon(trees: Trees) -> Iterator[Serving]:
    with trees.serving() as serving:
        yield serving


@pytest.fixture
def serving(daemon: Serving) -> Iterator[Serving]:
    """The daemon; behind the test nothing is left of its fault, and it serves new clients."""
    with daemon.fault():
        yield daemon


# ---- whoever connects ----------------------------------------------------


def headers(**changes: str) -> bytes:
    """The head that opens session "x", with some of it changed."""
    head = request("/session", [(ID, "x"), (METHOD, FILE_SEND)])
    for old, new in changes.items():
        words = {
            "method": b"POST",
            "path": b" /session ",
            "upgrade": b"Upgrade: h2c",
            "id": f"{ID}: x".encode(),
        }
        assert words[old] in head
        head = head.replace(words[old], new.encode())
    return head


REFUSED = {
    "garbage": (b"\x15\x03\x01\r\n\r\n", "400", "no HTTP/1.1"),
    "TLS": (b"\x16\x03\x01", "400", "the client wants TLS, and there is none here"),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", "400", "no HTTP/1.1"),
    "a head without an end": (
        b"POST / HTTP/1.1\r\nX: " + b"x" * 70000,
        "400",
        "more than 65536 bytes",
    ),
    "no header": (b"POST /session HTTP/1.1\r\nword\r\n\r\n", "400", "no header: 'word'"),
    "a wrong method": (headers(method="GET"), "400", "not GET /session"),
    "a wrong path": (headers(path=" /build "), "400", "not POST /build"),
    "no upgrade": (headers(upgrade="X: y"), "400", "expected Connection: Upgrade and Upgrade: h2c"),
    "an upgrade to something else": (headers(upgrade="Upgrade: tcp"), "400", "Upgrade: h2c"),
    "no id": (headers(id="X: y"), "400", "a session needs an id, not ''"),
    "an id that is too long": (headers(id=f"{ID}: {'x' * 257}"), "400", "a session needs an id"),
    "an unprintable id": (headers(id=f"{ID}: a%00b\r\n{ID}-encoded: 1"), "400", "a session needs an id"),
}


def talk(serving: Serving, *said: bytes, shut: bool = False) -> bytes:
    """All that the daemon answers, until it closes the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(Address(serving.address).path)
        for data in said:
            connection.sendall(data)
            time.sleep(0.05)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        return rest_of(connection)


def rest_of(connection: socket.socket) -> bytes:
    got = b""
    try:
        while data := connection.recv(1 << 16):
            got += data
    except (ConnectionResetError, BrokenPipeError):
        pass
    return got


def test_what_is_no_session_is_refused(serving: Serving) -> None:
    for name, (said, status, words) in REFUSED.items():
        begun = time.monotonic()
        answer = talk(serving, said).decode()
        assert answer.startswith(f"HTTP/1.1 {status} "), (name, answer)
        assert words in answer, name
        log, when = serving.log.wait(words, begun)
        told = answer.splitlines()[-1]
        record(f"on the socket: {name}", daemon=log, client=told, seconds=when - begun)


def test_connections_that_end_too_early(serving: Serving) -> None:
    ends = {
        "an immediate close": (b"", "closed before it said anything"),
        "a close in the preface": (PREFACE[:8], "closed too early"),
        "a close in the head": (headers()[:40], "the other side closed the connection"),
    }
    for name, (said, words) in ends.items():
        begun = time.monotonic()
        talk(serving, said, shut=True)
        log, when = serving.log.wait(words, begun)
        record(f"on the socket: {name}", daemon=log, seconds=when - begun)


def test_what_is_no_http2_is_hung_up_on(serving: Serving) -> None:
    garbage = b"\xff" * 1000
    for name, said in {
        "garbage behind the preface": [PREFACE + garbage],
        "garbage behind an upgrade to gRPC": [request("/grpc", []), garbage],
    }.items():
        begun = time.monotonic()
        talk(serving, *said)
        record(f"on the socket: {name}", client="hung up", seconds=time.monotonic() - begun)
    begun = time.monotonic()
    assert talk(serving, headers(), garbage).startswith(b"HTTP/1.1 101 ")
    log, when = serving.log.wait("the client does not speak HTTP/2", begun)
    record("on the socket: a session of garbage", daemon=log, client="hung up", seconds=when - begun)
    assert serving.manager.ids() == []


def test_connections_that_say_nothing(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "GREETING_SECONDS", 0.3)
    monkeypatch.setattr(private, "HANDSHAKE_SECONDS", 0.3)
    for name, said, words in [
        ("says nothing", [b""], "nothing sensible was said within 0.3 s"),
        ("dribbles", [b"P", b"O", b"S", b"T", b" "], "a connection failed"),
        ("opens a session and says nothing", [headers()], "does not speak HTTP/2 within 0.3 s"),
    ]:
        begun = time.monotonic()
        talk(serving, *said)
        log, when = serving.log.wait(words, begun)
        assert when - begun < 2
        record(f"somebody {name}", daemon=log, client="hung up", seconds=when - begun)


def test_sessions_in_the_control_api_need_an_id(serving: Serving) -> None:
    for id in ("", "x" * 257):
        begun = time.monotonic()
        code, details = stream(serving, id)
        assert code == "INVALID_ARGUMENT"
        assert "a session needs an id" in details
        told = details[:60]
        record(f"Session with an id of {len(id)} bytes", client=told, seconds=time.monotonic() - begun)


def stream(serving: Serving, id: str, *said: bytes) -> tuple[str, str]:
    """How a Session call ends of which the client's half ends at once, but for those messages."""
    grpc = require_grpc()
    options = [("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(Address(serving.address).grpc_target, options=options) as channel:
        call = channel.stream_stream(SESSION)(
            iter(said), metadata=[(ID, id), (METHOD, FILE_SEND.lower())], timeout=PATIENCE
        )
        with pytest.raises(grpc.RpcError):
            list(call)
        return call.code().name, call.details()


# ---- halves --------------------------------------------------------------


def test_half_a_session(serving: Serving) -> None:
    begun = time.monotonic()
    connection, _ = upgraded(serving.address, "half")
    with connection:
        connection.shutdown(socket.SHUT_WR)
        rest_of(connection)
    log, when = serving.log.wait("the other side closed the connection", begun)
    assert serving.manager.ids() == []
    record("half-closed upgrade", daemon=log, client="hung up", seconds=when - begun)

    begun = time.monotonic()
    code, details = stream(serving, "half")
    assert code == "FAILED_PRECONDITION"
    assert "the other side closed the connection" in details
    log, when = serving.log.wait("session half was not opened", begun)
    record("half-closed Session call", daemon=log, client=details, seconds=when - begun)


def test_half_a_connection_mid_stream(serving: Serving) -> None:
    moving = threading.Event()

    def take(requests: Iterator[memoryview], context: Any) -> Iterator[bytes]:
        for _ in requests:
            moving.set()
        return iter(())

    with hand_made(serving.address, take, "half") as connection:
        answer = background(solve, serving.address, "half", "slow")
        assert moving.wait(PATIENCE)
        fault = time.monotonic()
        connection.shutdown(socket.SHUT_WR)
        code, told = answer.result(PATIENCE)
        seconds = time.monotonic() - fault
    assert code == "FAILED_PRECONDITION"
    assert "session half ended during the export: the other side closed the connection" in told
    record("connection half-closed mid-stream", daemon=serving.log.wait()[0], client=told, seconds=seconds)


def test_a_client_that_is_done_too_early(serving: Serving) -> None:
    def take(requests: Iterator[memoryview], context: Any) -> Iterator[bytes]:
        next(requests)
        return iter(())

    for tree in ("slow", "tree"):
        with hand_made(serving.address, take, f"early-{tree}"):
            begun = time.monotonic()
            code, told = solve(serving.address, f"early-{tree}", tree)
            seconds = time.monotonic() - begun
        assert code == "ABORTED"
        assert "the client ended the file before it was complete" in told
        said, _ = serving.log.wait(since=begun)
        record("client ends the file early", daemon=said, client=told, seconds=seconds)


# ---- ids -----------------------------------------------------------------


@EITHER_WAY
def test_an_id_that_is_taken(serving: Serving, trees: Trees, via: str) -> None:
    source, archive = Source(ref=tarcast.Tree(trees.small)), Gate(1 << 30)
    size = tarcast.write_tar(trees.small, os.devnull).bytes_written
    with connect(serving.address, via=via, id="same") as first:
        wait_until(serving.manager.ids, "the session")
        refuse_second(serving, f"our second client, first by {via}")
        first.export("small", archive)
        assert archive.taken == size
    wait_until(lambda: not serving.manager.ids(), "the end of the session")
    with GoClient(
        serving.address, "-via", via, *(["-id", "same"] if via == "upgrade" else ["-id", "-"])
    ) as go:
        (id,) = wait_until(serving.manager.ids, "the session")
        refuse_second(serving, f"our second client, first is Go's by {via}", id)
        TarExporter(serving.manager).resolve(0).export(source, id)
        files = go.answer()["Files"]
    assert [file["Bytes"] for file in files] == [size]


def refuse_second(serving: Serving, what: str, id: str = "same") -> None:
    for via in VIAS:
        begun = time.monotonic()
        with pytest.raises(tarcast.DaemonError, match=f"session {id} already exists") as caught:  # noqa: SIM117
            with connect(serving.address, via=via, id=id) as second:
                second.export("small", os.devnull)
        seconds = time.monotonic() - begun
        record(f"id taken: {what}, second by {via}", client=str(caught.value), seconds=seconds)
    begun = time.monotonic()
    with GoClient(serving.address, "-via", "upgrade", "-id", id) as go:
        told = go.answer()["Error"]
    assert f"session {id} already exists" in told
    told = told.splitlines()[-1]
    record(f"id taken: Go's second client, {what}", client=told, seconds=time.monotonic() - begun)


# ---- messages and exporters ----------------------------------------------

TOO_LARGE = b"\x0a\x80\x80\xc0\x02" + bytes(5 << 20)
MALFORMED = {
    "over 4 MiB": (TOO_LARGE, "RESOURCE_EXHAUSTED|larger than max"),
    "malformed": (b"\x0a\xff\xff\xff\xff\x0f", "malformed|deserializing"),
    "of another type": (b"\x08\x01", "malformed|deserializing"),
}


@EITHER_WAY
def test_messages_that_are_none(
    serving: Serving, tmp_path: Path, via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.tar"
    target.write_bytes(b"old")
    client = connect(serving.address, via=via)
    try:
        for name, (message, words) in MALFORMED.items():
            with monkeypatch.context() as patch:
                patch.setattr(StreamSink, "_messages", lambda sink, bad=message: iter((b"\x0a\x01x", bad)))
                begun = time.monotonic()
                with pytest.raises(tarcast.SessionError, match=words) as caught:
                    client.export("small", target)
                seconds = time.monotonic() - begun
            assert target.read_bytes() == b"old"
            assert os.listdir(tmp_path) == ["x.tar"]
            log, _ = serving.log.wait(since=begun)
            record(f"message {name}, {via}", daemon=log, client=str(caught.value), seconds=seconds)
        client.export("small", target)  # the session goes on
    finally:
        background(client.close).result(PATIENCE / 3)


def test_a_session_call_with_messages_that_are_none(serving: Serving) -> None:
    for name, (message, _) in MALFORMED.items():
        for _ in range(4):
            begun = time.monotonic()
            code, told = stream(serving, "bad", message)
            assert code != "OK"
        record(f"Session call with a message {name}", client=told, seconds=time.monotonic() - begun)


@EITHER_WAY
def test_an_exporter_that_the_client_does_not_have(serving: Serving, trees: Trees, via: str) -> None:
    source = Source(ref=tarcast.Tree(trees.small))
    gate = Gate(4 << 20)
    with connect(serving.address, via=via) as client:
        wait_until(serving.manager.ids, "the session")
        with pytest.raises(tarcast.TarcastError, match="this client has not asked for a file") as caught:
            TarExporter(serving.manager).resolve(7).export(source, client.id)
        record(f"our client has not asked, {via}", daemon=str(caught.value), seconds=0)
        export = Export(client, "tree", gate)
        assert gate.full.wait(PATIENCE)
        begun = time.monotonic()
        with pytest.raises(tarcast.SessionError, match="exporter 7 not found") as caught:
            TarExporter(serving.manager).resolve(7).export(source, client.id)
        record(f"exporter 7 of our client, {via}", daemon=str(caught.value), seconds=time.monotonic() - begun)
        gate.open.set()
        assert export.result.result(PATIENCE).bytes_written == gate.taken  # what it asked for is not touched
    wait_until(lambda: not serving.manager.ids(), "the end of the session")
    with GoClient(serving.address, "-via", via, "-id", "go") as go:
        (id,) = wait_until(serving.manager.ids, "the session")
        begun = time.monotonic()
        with pytest.raises(tarcast.TarcastError, match="exporter 7 not found") as caught:
            TarExporter(serving.manager).resolve(7).export(source, id)
        record(
            f"exporter 7 of Go's client, {via}", daemon=str(caught.value), seconds=time.monotonic() - begun
        )
        TarExporter(serving.manager).resolve(0).export(source, id)  # the session goes on
        assert len(go.answer()["Files"]) == 1


@EITHER_WAY
def test_two_exports_to_one_client(serving: Serving, trees: Trees, via: str) -> None:
    slow = Source(ref=tarcast.Tree(trees.small, map=slowly))
    exporter = TarExporter(serving.manager)
    size = tarcast.write_tar(trees.small, os.devnull).bytes_written
    with GoClient(serving.address, "-via", via, "-id", "go", "-outputs", 2, "-hash") as go:
        (id,) = wait_until(serving.manager.ids, "the session")
        both: list[Future[Any]] = [background(exporter.resolve(n).export, slow, id) for n in (0, 1)]
        time.sleep(0.1)
        begun = time.monotonic()
        with pytest.raises(
            tarcast.SessionError, match=r"exporter 0 of session .* is taking another"
        ) as caught:
            exporter.resolve(0).export(slow, id)
        seconds = time.monotonic() - begun
        assert [future.result(PATIENCE).bytes_written for future in both] == [size, size]
        exporter.resolve(0).export(slow, id)
        files = go.answer()["Files"]
    assert [file["Bytes"] for file in files] == [size] * 3
    assert len({file["SHA256"] for file in files}) == 1
    record(f"two exports to one exporter id, {via}", daemon=str(caught.value), seconds=seconds)


def test_two_requests_for_one_session(serving: Serving, trees: Trees, tmp_path: Path) -> None:
    with connect(serving.address) as client:
        export = Export(client, "slow", tmp_path / "x.tar")
        export.wait_moving()
        begun = time.monotonic()
        code, told = solve(serving.address, client.id, "tree")
        seconds = time.monotonic() - begun
        with pytest.raises(tarcast.SessionError, match="this session is busy with another export"):
            client.export("tree", os.devnull)
        export.result.result(PATIENCE)
    assert code == "FAILED_PRECONDITION"
    assert f"exporter 0 of session {client.id} is taking another file" in told
    tarcast.write_tar(trees.big, tmp_path / "y.tar")
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()
    record("two requests for one session", daemon=serving.log.wait()[0], client=told, seconds=seconds)


def test_metadata_that_cannot_be_sent_keeps_no_exporter_busy(serving: Serving) -> None:
    with connect(serving.address) as client:
        session = serving.manager.get(client.id)
        for _ in range(2):
            with pytest.raises(tarcast.OptionError, match="printable ASCII"):
                session.send_file(0, {"name": "ü"})
        client.export("small", os.devnull)
