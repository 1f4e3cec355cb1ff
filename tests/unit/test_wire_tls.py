"""TLS: certificates of both sides, and the wire that speaks it in two threads at once."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tarcast.errors import DaemonError, OptionError
from tarcast.session.wire.address import TLS, Address, wire_to
from tarcast.session.wire.wires import TlsWire
from tests.support.certificates import make_certificates, openssl
from tests.support.files import descriptors

Certificates = Callable[..., TLS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of two authorities: those of "ca" for both sides, that of "stranger" for nobody."""
    made = tmp_path_factory.mktemp("certificates")
    make_certificates(made)
    return made


@pytest.fixture
def tls(folder: Path) -> Certificates:
    def of(name: str, ca: str = "ca", server_name: str = "") -> TLS:
        files = {"ca": f"{folder}/{ca}.pem", "cert": f"{folder}/{name}.pem", "key": f"{folder}/{name}.key"}
        return TLS(**files, server_name=server_name)

    return of


def at(host: str) -> Address:
    return Address(f"tcp://{host}:1")


@pytest.fixture(autouse=True)
def no_leaks(folder: Path) -> Iterator[None]:
    before, threads = descriptors(), threading.active_count()
    yield
    assert descriptors().items() <= before.items()  # gRPC may close some of its own meanwhile
    assert threading.active_count() <= threads


class Running:
    """A function in a thread; `result` waits for what it gives or raises."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, args), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], args: Any) -> None:
        try:
            self._outcome.append(function(*args))
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(5)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._outcome[0]


class Pair:
    """A server's wire, its handshake under way, and the client's bare socket."""

    def __init__(self, server: TLS) -> None:
        ours, self.client = socket.socketpair()
        for end in (ours, self.client):
            end.settimeout(5)
        self.server = TlsWire(ours, server.context(server=True))
        self.greeting = Running(self.server.handshake)

    def close(self) -> None:
        self.server.shut()
        self.server.close()
        self.client.close()


@pytest.fixture
def pair(tls: Certificates) -> Iterator[Pair]:
    made = Pair(tls("server"))
    yield made
    made.close()


@pytest.fixture
def wires(pair: Pair, tls: Certificates) -> Iterator[tuple[TlsWire, TlsWire]]:
    """(client's, server's), greeted."""
    client = tls("client").wire(pair.client, at("daemon.test"))
    pair.greeting.result()
    for wire in (client, pair.server):
        wire.begin(b"")
    yield client, pair.server
    client.close()


# ---- the files ------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["ca", "cert", "key"])
def test_tls_file_that_is_not_there(folder: Path, which: str) -> None:
    files = {"ca": f"{folder}/ca.pem", "cert": f"{folder}/client.pem", "key": f"{folder}/client.key"}
    files[which] = f"{folder}/none"
    with pytest.raises(OptionError, match=f"cannot read the TLS {which}: No such file") as caught:
        TLS(**files)
    assert caught.value.path == f"{folder}/none"


@pytest.mark.parametrize(
    ("ca", "cert", "key", "wrong", "says"),
    [
        (
            "ca.pem",
            "client.pem",
            "server.key",
            "server.key",
            r"key does not go with .*/client\.pem: .*mismatch",
        ),
        ("ca.pem", "client.pem", "client.pem", "client.pem", r"key does not go with .*/client\.pem"),
        ("ca.pem", "client.pem", "junk", "junk", r"key does not go with .*/client\.pem"),
        ("ca.pem", "client.key", "client.key", "client.key", "cert holds no certificate"),
        ("ca.pem", "junk", "client.key", "junk", "cert holds no certificate"),
        ("ca.key", "client.pem", "client.key", "ca.key", "ca holds no certificate"),
        ("junk", "client.pem", "client.key", "junk", "ca holds no certificate"),
    ],
)
def test_tls_files_that_do_not_fit(folder: Path, ca: str, cert: str, key: str, wrong: str, says: str) -> None:
    (folder / "junk").write_text("junk")
    with pytest.raises(OptionError, match=f"the TLS {says}") as caught:
        TLS(ca=f"{folder}/{ca}", cert=f"{folder}/{cert}", key=f"{folder}/{key}")
    assert caught.value.path == f"{folder}/{wrong}"


@pytest.mark.parametrize("form", [["pkcs8", "-topk8"], ["ec", "-aes256"]], ids=["pkcs8", "traditional"])
def test_tls_key_that_is_encrypted(folder: Path, form: list[str]) -> None:
    secret = folder / "a secret.key"
    openssl(folder, *form, "-in", "client.key", "-passout", "pass:word", "-out", secret.name)
    with pytest.raises(
        OptionError, match=r"the TLS key is encrypted; decrypt it: openssl pkey -in '.* secret"
    ):
        TLS(ca=f"{folder}/ca.pem", cert=f"{folder}/client.pem", key=f"{secret}")


# ---- the handshake ----------------------------------------------------------------------


def test_tls_server_name_may_differ_from_the_host(pair: Pair, tls: Certificates) -> None:
    client = tls("client", server_name="daemon.test").wire(pair.client, at("10.0.0.1"))
    pair.greeting.result()
    client.close()


@pytest.mark.parametrize(("ca", "host"), [("stranger", "daemon.test"), ("ca", "other.test")])
def test_tls_client_does_not_trust_just_any_daemon(pair: Pair, tls: Certificates, ca: str, host: str) -> None:
    with pytest.raises(DaemonError, match="no TLS with the daemon") as caught:
        tls("client", ca).wire(pair.client, at(host))
    assert (caught.value.path, caught.value.step) == (f"tcp://{host}:1", "connect")
    assert pair.client.fileno() == -1
    with pytest.raises(ssl.SSLError, match="ALERT"):  # the alert that says why has come
        pair.greeting.result()


@pytest.mark.parametrize(("name", "says"), [("stranger", "verify failed"), ("", "did not return a cert")])
def test_tls_server_refuses_clients_it_cannot_trust(pair: Pair, folder: Path, name: str, says: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(folder / "ca.pem")
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    client = TlsWire(pair.client, context, server_name="daemon.test")
    client.handshake()  # with TLS 1.3 the client learns of it later
    with pytest.raises(ssl.SSLError, match=f"(?i){says}"):
        pair.greeting.result()
    with pytest.raises(ssl.SSLError, match="ALERT"):
        client.receive()


def test_tls_handshake_is_limited_in_time(tls: Certificates) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.05)
    with theirs, pytest.raises(DaemonError, match="timed out"):
        tls("client").wire(ours, at("daemon.test"))
    assert ours.fileno() == -1


def test_tls_with_somebody_who_speaks_none(tls: Certificates) -> None:
    for said in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        ours, theirs = socket.socketpair()
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        with (
            theirs,
            pytest.raises(DaemonError, match=r"no TLS with the daemon: .*; does the daemon speak TLS\?"),
        ):
            tls("client").wire(ours, at("daemon.test"))
        assert ours.fileno() == -1


def test_tls_with_a_host_that_cannot_be(tls: Certificates) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises((DaemonError, OptionError)):
            tls("client").wire(ours, at(".test"))
        assert ours.fileno() == -1


def test_tls_to_an_address(tls: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        greeting = Running(lambda: TlsWire(listening.accept()[0], tls("server").context(server=True)))
        place = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        dialled = Running(lambda: wire_to(Address(place), tls("client"), 5))
        server = greeting.result()
        server.handshake()
        client = dialled.result()
        assert isinstance(client, TlsWire)
        client.send(memoryview(b"hello"))
        assert bytes(server.receive()) == b"hello"
        client.close()
        server.close()


# ---- moving bytes -------------------------------------------------------------------------


def send_all(wire: TlsWire, data: bytes, piece: int) -> None:
    for at in range(0, len(data), piece):
        wire.send(memoryview(data)[at : at + piece])


def receive_all(wire: TlsWire, size: int) -> str:
    digest, got = hashlib.sha256(), 0
    while got < size and (data := wire.receive()):
        digest.update(data)
        got += len(data)
    assert got == size
    return digest.hexdigest()


@pytest.mark.parametrize("pieces", [(7 << 20, 100_003), (16384, 1 << 20)])
def test_tls_goes_both_ways_at_once(wires: tuple[TlsWire, TlsWire], pieces: tuple[int, int]) -> None:
    client, server = wires
    up, down = bytes(range(251)) * 27_000, bytes(range(1, 241)) * 28_000
    running = [
        Running(send_all, client, up, pieces[0]),
        Running(send_all, server, down, pieces[1]),
        Running(receive_all, server, len(up)),
        Running(receive_all, client, len(down)),
    ]
    results = [each.result() for each in running]
    assert results[2:] == [hashlib.sha256(data).hexdigest() for data in (up, down)]


def test_tls_receives_while_it_cannot_send(wires: tuple[TlsWire, TlsWire]) -> None:
    client, server = wires
    blocked = Running(send_all, client, bytes(24 << 20), 24 << 20)
    server.send(memoryview(b"still here"))
    assert bytes(client.receive()) == b"still here"
    client.shut()
    with pytest.raises(OSError, match="Broken pipe"):
        blocked.result()
    assert client.receive() == b""


def test_tls_ends_for_whoever_waits(wires: tuple[TlsWire, TlsWire]) -> None:
    client, server = wires
    waiting = Running(client.receive)
    client.shut()
    client.shut()
    assert waiting.result() == b""
    assert server.receive() == b""
    with pytest.raises(OSError):  # noqa: PT011 - of the socket or of TLS
        send_all(server, bytes(100), 10)


def test_tls_that_is_cut_in_a_record_ends(wires: tuple[TlsWire, TlsWire]) -> None:
    client, server = wires
    client._socket.sendall(b"\x17\x03\x03\x01\x00half of a record")
    client.shut()
    assert server.receive() == b""


def test_tls_that_was_tampered_with_breaks(wires: tuple[TlsWire, TlsWire]) -> None:
    client, server = wires
    client._socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError):
        server.receive()


def test_tls_head_comes_once_more(wires: tuple[TlsWire, TlsWire]) -> None:
    client, server = wires
    server.begin(b"read too far")
    client.send(memoryview(b"then this"))
    assert bytes(server.receive()) == b"read too far"
    assert bytes(server.receive()) == b"then this"
