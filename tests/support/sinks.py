"""Every kind of place an archive can go to, and the bytes that arrive there."""

from __future__ import annotations

import io
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Exports to the sink that it is given.
Write = Callable[[Any], object]


def through(write_end: int, read_end: int, write: Callable[[int], object]) -> bytes:
    """What arrives at `read_end` while `write` fills `write_end`; both are closed."""
    received: list[bytes] = []

    def drain() -> None:
        with open(read_end, "rb") as f:
            received.append(f.read())

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        write(write_end)
    finally:
        os.close(write_end)
        reader.join()
    return received[0]


def _path(write: Write, place: Path) -> bytes:
    write(place / "out.tar")
    return (place / "out.tar").read_bytes()


def _memory_file(write: Write, place: Path) -> bytes:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else place) as directory:
        return _path(write, Path(directory))


def _descriptor(write: Write, place: Path) -> bytes:
    with open(place / "out.tar", "wb", buffering=0) as file:
        write(file.fileno())
        assert file.tell() == os.fstat(file.fileno()).st_size  # as behind any writer: at the end
    return (place / "out.tar").read_bytes()


def _at_an_offset(write: Write, place: Path) -> bytes:
    before = b"before " * 131  # neither whole blocks nor whole pages
    with open(place / "out.tar", "wb", buffering=0) as file:
        file.write(before)
        write(file.fileno())
        file.write(b"after")
    data = (place / "out.tar").read_bytes()
    assert (data[: len(before)], data[-5:]) == (before, b"after")
    return data[len(before) : -5]


def _over_older_data(write: Write, place: Path) -> bytes:
    # Longer than any archive here: what was not written shows.
    with open(place / "out.tar", "wb", buffering=0) as file:
        file.write(b"\xa5" * (24 << 20))
        file.seek(4096)
        write(file.fileno())
        end = file.tell()
    data = (place / "out.tar").read_bytes()
    assert data[:4096].strip(b"\xa5") == data[end:].strip(b"\xa5") == b""
    return data[4096:end]


def _append(write: Write, place: Path) -> bytes:
    (place / "out.tar").write_bytes(b"before")
    with open(place / "out.tar", "ab", buffering=0) as file:
        write(file.fileno())
    data = (place / "out.tar").read_bytes()
    assert data.startswith(b"before")
    return data[6:]


def _pipe(write: Write, place: Path) -> bytes:
    read_end, write_end = os.pipe()
    return through(write_end, read_end, write)


def _nonblocking_pipe(write: Write, place: Path) -> bytes:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    return through(write_end, read_end, write)


def _socket(write: Write, place: Path) -> bytes:
    ours, theirs = socket.socketpair()
    return through(ours.detach(), theirs.detach(), write)


def _memory(write: Write, place: Path) -> bytes:
    archive = io.BytesIO()
    write(archive)
    return archive.getvalue()


class SlowFile:
    """A file object that takes its time now and then, so that everybody waits for it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, view: memoryview) -> int:
        self.parts.append(bytes(view))
        if len(self.parts) % 8 == 1:
            time.sleep(0.002)
        return len(view)


def _slow_file(write: Write, place: Path) -> bytes:
    file = SlowFile()
    write(file)
    return b"".join(file.parts)


# Each gives what arrived, and may use the empty directory that it gets.
SINKS: dict[str, Callable[[Write, Path], bytes]] = {
    "path": _path,
    "memory-file": _memory_file,
    "descriptor": _descriptor,
    "offset": _at_an_offset,
    "over": _over_older_data,
    "append": _append,
    "pipe": _pipe,
    "nonblocking": _nonblocking_pipe,
    "socket": _socket,
    "memory": _memory,
    "slow": _slow_file,
}
