"""Where a daemon listens: whoever else is there is told, and waited for but briefly."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tarcast.daemon import listener
from tarcast.daemon.listener import Listener
from tarcast.errors import OutputError
from tarcast.session.wire.address import Address
from tests.support.faults import PATIENCE, nothing_left_behind
from tests.support.sessions import background


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[int]:
    """A descriptor by which somebody has the directory locked."""
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    yield folder
    os.close(folder)


def listen(address: str) -> Listener:
    return Listener(Address(address), socket.socket.close)


def failure(address: str) -> OutputError:
    with pytest.raises(OutputError) as caught:
        background(listen, address).result(PATIENCE)  # in a thread, since what hangs is to fail
    assert (caught.value.step, caught.value.exit_code) == ("listen", 4)
    return caught.value


def test_a_directory_that_stays_locked(tmp_path: Path, locked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_LOCK_SECONDS", 0.1)
    with nothing_left_behind(tmp_path):
        error = failure(f"unix://{tmp_path}/s")
    assert error.message == "somebody has its directory locked"
    assert error.path == f"{tmp_path}/s"


def test_a_directory_that_is_locked_for_a_moment(
    tmp_path: Path, locked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def unlock(seconds: float) -> None:
        waited.append(seconds)
        fcntl.flock(locked, fcntl.LOCK_UN)

    monkeypatch.setattr(listener, "time", SimpleNamespace(monotonic=time.monotonic, sleep=unlock))
    listening = listen(f"unix://{tmp_path}/s")
    assert len(waited) == 1
    assert (tmp_path / "s").is_socket()
    listening.close()


def test_a_place_that_somebody_has(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for address in (f"unix://{tmp_path}/s", "tcp://127.0.0.1:0"):
        first = listen(address)
        assert failure(first.address).errno == errno.EADDRINUSE
        first.close()
    error = failure(f"unix://{tmp_path}/file")
    assert (error.errno, error.message) == (errno.EEXIST, "is there already, and no socket")
