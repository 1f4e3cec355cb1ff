"""The web examples, as real servers on loopback: bytes, headers, clients that leave or are slow."""

from __future__ import annotations

import http.client
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tarcast

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# What is promised is 0.1 s from when the server notices; for busy machines.
PATIENCE = 5.0

SERVERS = {
    "starlette": ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "starlette_download:app", "--port"],
    "aiohttp": [str(EXAMPLES / "aiohttp_download.py")],
    "wsgi": [str(EXAMPLES / "wsgi_download.py")],
}


class Server:
    """One of the examples in a process of its own."""

    def __init__(self, name: str, tree: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, *SERVERS[name], str(self.port)],
            env={**os.environ, "TARCAST_EXAMPLE_TREE": str(tree)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def connect(self) -> http.client.HTTPConnection:
        """A connection; the first one waits until the server is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        deadline = time.monotonic() + 20
        while True:
            try:
                connection.connect()
                return connection
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.stderr.read().decode()  # type: ignore[union-attr]
                assert time.monotonic() < deadline, "the server does not come up"
                time.sleep(0.05)

    def request(self, method: str = "GET") -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self.connect()
        connection.request(method, "/archive.tar")
        return connection, connection.getresponse()

    def state(self) -> tuple[set[str], int]:
        """(its descriptors, how many threads it has)."""
        base = Path(f"/proc/{self.process.pid}")
        found = set()
        for name in os.listdir(base / "fd"):
            try:
                found.add(f"{name} {os.readlink(base / 'fd' / name)}")
            except FileNotFoundError:
                continue
        return found, len(os.listdir(base / "task"))

    def wait_for(self, state: tuple[set[str], int]) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.state() != state and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.state() == state

    def resident(self) -> int:
        """Bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("VmRSS"))

    def stop(self) -> bytes:
        """Ends it; what it had to say on its standard error."""
        self.process.kill()
        return self.process.communicate()[1]


@pytest.fixture(params=sorted(SERVERS))
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Server]]:
    """serve(TREE) is a server; there is a test for each kind."""
    servers: list[Server] = []

    def start(tree: Path) -> Server:
        servers.append(Server(request.param, tree))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    top.mkdir()
    for i in range(30):
        (top / f"f{i:02d}").write_bytes(bytes([65 + i]) * 200_000)
    return top


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A tree whose archive takes minutes, all of it a hole."""
    top = tmp_path / "large"
    top.mkdir()
    with open(top / "hole", "wb") as file:
        file.truncate(1 << 40)
    return top


def test_bytes_and_headers(serve: Callable[[Path], Server], tree: Path) -> None:
    out = io.BytesIO()
    tarcast.write_tar(tree, out)
    server = serve(tree)
    for method, body in (("GET", out.getvalue()), ("HEAD", b"")):
        connection, response = server.request(method)
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-tar"
        assert response.headers["Content-Disposition"] == 'attachment; filename="archive.tar"'
        assert response.read() == body
        connection.close()
    connection = server.connect()
    connection.request("GET", "/nothing")
    assert connection.getresponse().status == 404
    connection.close()


def test_a_client_that_leaves_leaves_nothing(serve: Callable[[Path], Server], large: Path) -> None:
    server = serve(large)
    server.connect().close()
    time.sleep(0.3)
    idle = server.state()
    for _ in range(2):
        connection, response = server.request()
        assert len(response.read(4 << 20)) == 4 << 20
        assert any("large" in name for name in server.state()[0])  # it is at it
        response.close()
        connection.close()
        server.wait_for(idle)


def test_memory_is_flat_while_clients_are_slow(serve: Callable[[Path], Server], large: Path) -> None:
    server = serve(large)
    connection, response = server.request()
    response.read(64 << 20)
    before = server.resident()
    worst = before
    for _ in range(10):
        response.read(8 << 20)
        time.sleep(0.05)
        worst = max(worst, server.resident())
    response.close()
    connection.close()
    assert worst - before < 16 << 20


def test_a_failure_in_the_middle_is_seen_by_the_client(
    serve: Callable[[Path], Server], tmp_path: Path
) -> None:
    """Not with HTTP/1.0, where nothing but the missing trailer of the archive says so."""
    tree = tmp_path / "shrinks"
    tree.mkdir()
    with open(tree / "f", "wb") as file:
        file.truncate(1 << 30)
    server = serve(tree)
    connection, response = server.request()
    data = response.read(16 << 20)
    os.truncate(tree / "f", 1 << 20)
    if response.version == 10:
        assert len(data + response.read()) < 1 << 30
    else:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    connection.close()
