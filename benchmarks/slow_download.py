"""Does a server's memory grow while a slow client downloads? The Starlette example, and a client that pauses.

    python -m benchmarks.slow_download                      (5 GiB in about 100 seconds)
    python -m benchmarks.slow_download --gib 1 --seconds 10

The tree is holes, which are written as zeros without being read, so it takes no disk space.
Needs starlette and uvicorn.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import ROOT
from tarcast.bench.table import table

READ = 8 << 20  # bytes between two pauses of the client
HEADINGS = ("seconds", "received MiB", "server MiB resident", "above idle", "threads")
COMMAND = [
    "-m",
    "uvicorn",
    "--app-dir",
    str(ROOT / "examples"),
    "starlette_download:app",
    "--log-level",
    "error",
]


def make_tree(directory: Path, gib: int) -> None:
    """`gib` files of 1 GiB without data."""
    for number in range(gib):
        with open(directory / f"part{number}", "wb") as file:
            file.truncate(1 << 30)


def status(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field + ":"))


def connect(port: int, server: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    """Waits until the server is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        try:
            connection.connect()
            return connection
        except ConnectionRefusedError:
            if server.poll() is not None:
                raise SystemExit(f"the server ended with status {server.returncode}") from None
            time.sleep(0.1)


def download(
    port: int, server: subprocess.Popen[bytes], gib: int, seconds: float, every: float
) -> list[list[str]]:
    """The lines of the table: one each `every` seconds."""
    connection = connect(port, server)
    idle = status(server.pid, "VmRSS") / 1024
    lines: list[list[str]] = []
    start = time.monotonic()

    def sample(received: int) -> None:
        resident = status(server.pid, "VmRSS") / 1024
        lines.append(
            [
                f"{time.monotonic() - start:.0f}",
                f"{received >> 20}",
                f"{resident:.1f}",
                f"{resident - idle:.1f}",
                f"{status(server.pid, 'Threads')}",
            ]
        )

    sample(0)
    connection.request("GET", "/archive.tar")
    response = connection.getresponse()
    received, rate = 0, gib * (1 << 30) / seconds
    while data := response.read(READ):
        received += len(data)
        if time.monotonic() - start >= every * len(lines):
            sample(received)
        time.sleep(max(0.0, start + received / rate - time.monotonic()))
    sample(received)
    connection.close()
    if received < gib << 30:
        raise SystemExit(f"only {received} bytes came")
    time.sleep(0.5)
    sample(received)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.slow_download", description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=int, default=5, help="size of the download")
    parser.add_argument("--seconds", type=float, default=100, help="how long the client takes for it")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tarcast-slow-") as directory:
        make_tree(Path(directory), args.gib)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, *COMMAND, "--port", str(port)],
            env={**os.environ, "TARCAST_EXAMPLE_TREE": directory},
        )
        try:
            lines = download(port, server, args.gib, args.seconds, args.every)
        finally:
            server.terminate()
            server.wait()
        print(table(HEADINGS, lines))
        print(f"peak {max(float(line[2]) for line in lines):.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
