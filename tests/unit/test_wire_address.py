"""Where a daemon listens, getting there, and the plain wire that this gives."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tarcast.errors import DaemonError, OptionError
from tarcast.session.wire.address import Address, wire_to
from tarcast.session.wire.wires import SocketWire
from tests.support.files import descriptors


@pytest.fixture
def no_leaks() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors().items() <= before.items()  # gRPC may close some of its own meanwhile


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(1)
        yield made


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Of somebody who does not listen, and that nobody else can get meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("tcp://localhost:1234", "localhost", 1234, "localhost:1234"),
        ("tcp://127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"),
        ("tcp://[::1]:65535", "::1", 65535, "[::1]:65535"),
        ("tcp://h:80/", "h", 80, "h:80"),
    ],
)
def test_address_of_tcp(text: str, host: str, port: int, target: str) -> None:
    address = Address(text)
    assert (address.path, address.host, address.port) == ("", host, port)
    assert (address.grpc_target, str(address), address.text) == (target, text, text)


@pytest.mark.parametrize("path", ["/run/x.sock", "relative", "/" + "x" * 106, "/" + "é" * 53])
def test_address_of_a_socket(path: str) -> None:
    address = Address(f"unix://{path}")
    assert (address.path, address.host, address.port) == (path, "", 0)
    assert str(address) == f"unix://{path}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix",
        "unix://",
        "unix:/x",
        "UNIX:///x",
        "unix:///a\0b",
        "/run/x.sock",
        "http://h:80",
        "tcp://",
        "tcp://h",
        "tcp://:80",
        "tcp://[]:80",
        "tcp://h:",
        "tcp://h:65536",
        "tcp://h:-1",
        "tcp://h:+1",
        "tcp://h: 80",
        "tcp://h:8 0",
        "tcp://h:٨٠",
        "tcp://h:²",
        "tcp://h:http",
        "tcp://h:80/path",
        "tcp://::1:80",
        "tcp://[::1]",
        "tcp://[::1:80",
    ],
)
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is no address") as caught:
        Address(text)
    assert caught.value.hint == "expected unix:///path/to/socket or tcp://host:port"


@pytest.mark.parametrize("path", ["/" + "x" * 107, "/" + "é" * 54, "/" + "\udcff" * 107])
def test_address_path_must_fit(path: str) -> None:
    with pytest.raises(OptionError, match="107 bytes at most"):
        Address(f"unix://{path}")


@given(st.text(st.characters(), max_size=20), st.sampled_from(["", "unix://", "tcp://", "tcp://h:"]))
@example("9" * 5000, "tcp://h:")
@example("/\ud800", "unix://")
def test_address_of_anything_is_an_address_or_an_option_error(text: str, kind: str) -> None:
    try:
        address = Address(kind + text)
    except OptionError:
        return
    assert bool(address.path) != bool(address.host)


@pytest.mark.parametrize("name", ["plain", "a b", "é", "a%41", "a#b", "a?b", "a:b"])
def test_address_of_a_socket_is_the_same_for_grpc(tmp_path: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / name))
        listening.listen(1)
        listening.settimeout(0.25)
        channel = grpc.insecure_channel(Address(f"unix://{tmp_path / name}").grpc_target)
        future = channel.unary_unary("/a/b").future(b"", timeout=0.25)
        try:
            listening.accept()[0].close()
        finally:
            future.cancel()
            channel.close()


@pytest.mark.usefixtures("no_leaks")
def test_connect_to_a_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        connection = Address(f"unix://{path}").connect(0.5)
        assert connection.gettimeout() == 0.5
        other, _ = listening.accept()
        connection.sendall(b"hello")
        assert other.recv(10) == b"hello"
        connection.close()
        other.close()


@pytest.mark.usefixtures("no_leaks")
def test_connect_to_a_port(listener: socket.socket) -> None:
    address = Address(f"tcp://localhost:{listener.getsockname()[1]}")
    connection = address.connect(0.5)
    assert connection.gettimeout() == 0.5
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    other, _ = listener.accept()
    assert other.getpeername() == connection.getsockname()
    connection.close()
    other.close()


@pytest.mark.usefixtures("no_leaks")
def test_connect_tries_every_address_of_a_host(
    listener: socket.socket, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(host: str, port: int, **_: Any) -> list[Any]:
        places = [("127.0.0.1", closed_port), listener.getsockname(), ("127.0.0.1", closed_port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    connection = Address("tcp://several:1").connect(0.5)
    assert connection.getpeername() == listener.getsockname()
    connection.close()


@pytest.mark.usefixtures("no_leaks")
def test_connect_where_nobody_listens(tmp_path: Path, closed_port: int) -> None:
    for text, number in (
        (f"tcp://127.0.0.1:{closed_port}", errno.ECONNREFUSED),
        (f"unix://{tmp_path}/none", errno.ENOENT),
        (f"unix://{tmp_path}", errno.ECONNREFUSED),
    ):
        with pytest.raises(DaemonError, match="cannot connect") as caught:
            Address(text).connect(0.5)
        assert (caught.value.path, caught.value.step, caught.value.errno) == (text, "connect", number)
        assert caught.value.hint == "is the daemon running?"


def test_connect_to_a_host_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(DaemonError) as caught:
        Address("tcp://nowhere:1").connect(0.5)
    assert str(caught.value) == "tcp://nowhere:1: connect: cannot find the host: not known"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(DaemonError, match="no address"):
        Address("tcp://nowhere:1").connect(0.5)


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "\udcff"])
def test_connect_to_a_host_that_cannot_be(host: str) -> None:
    with pytest.raises((DaemonError, OptionError)):
        Address(f"tcp://{host}:1").connect(0.5)


@pytest.mark.usefixtures("no_leaks")
def test_wire_to_a_port_is_limited_in_time_until_it_begins(listener: socket.socket) -> None:
    wire = wire_to(Address(f"tcp://127.0.0.1:{listener.getsockname()[1]}"), None, 0.05)
    other, _ = listener.accept()
    assert isinstance(wire, SocketWire)
    with pytest.raises(TimeoutError):
        wire.receive()
    wire.begin(b"head")
    assert bytes(wire.receive()) == b"head"
    other.sendall(b"x")
    assert bytes(wire.receive()) == b"x"
    wire.close()
    other.close()


@pytest.mark.usefixtures("no_leaks")
def test_socket_wire_gives_what_comes_and_takes_it_all() -> None:
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours)
    data = bytes(range(251)) * 20_000
    sending = threading.Thread(target=wire.send, args=(memoryview(data),))
    sending.start()
    theirs.settimeout(3)
    got = bytearray()
    while len(got) < len(data):
        got += theirs.recv(1 << 20)
    sending.join()
    assert got == data
    theirs.sendall(b"abc")
    assert bytes(wire.receive()) == b"abc"
    theirs.close()
    assert bytes(wire.receive()) == b""
    wire.close()


@pytest.mark.usefixtures("no_leaks")
def test_socket_wire_ends_for_whoever_waits() -> None:
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours)
    seen: list[object] = []

    def send() -> None:
        try:
            wire.send(memoryview(bytes(32 << 20)))
        except OSError as error:
            seen.append(type(error))

    threads = [
        threading.Thread(target=run, daemon=True)
        for run in (send, lambda: seen.append(bytes(wire.receive())))
    ]
    for thread in threads:
        thread.start()
    wire.shut()
    wire.shut()
    for thread in threads:
        thread.join(3)
    assert sorted(map(str, seen)) == ["<class 'BrokenPipeError'>", "b''"]
    wire.close()
    wire.shut()
    theirs.close()
