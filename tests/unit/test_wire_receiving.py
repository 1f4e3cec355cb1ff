"""The client's side of an export: the receiver, which writes to targets."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tarcast.errors import OutputError, SessionError
from tarcast.session.targets import Targets
from tarcast.session.wire.framing import encode
from tarcast.session.wire.receiving import Receiver
from tests.support.files import descriptors

CODES = grpc.StatusCode
EXPORTER_ID = "buildkit-attachable-exporter-id"


@pytest.fixture(autouse=True)
def no_leaks(tmp_path: Path) -> Iterator[None]:
    before, threads = descriptors(), threading.active_count()
    yield
    assert descriptors().items() <= before.items()  # gRPC may close some of its own meanwhile
    assert threading.active_count() <= threads
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


class Aborted(Exception):
    pass


class Context:
    """A call as a server sees it."""

    def __init__(self, *headers: tuple[str, str]) -> None:
        self.headers = headers
        self.code: Any = None
        self.details = ""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.headers

    def abort(self, code: Any, details: str) -> None:
        self.code, self.details = code, details
        raise Aborted


def views(*pieces: bytes) -> Iterator[bytes]:
    return map(encode, pieces)


def take(receiver: Receiver, *pieces: bytes, to: int = 0) -> None:
    assert list(receiver.take(views(*pieces), Context((EXPORTER_ID, str(to))))) == []  # type: ignore[arg-type]


def refusal(receiver: Receiver, requests: Iterator[bytes], *headers: tuple[str, str]) -> tuple[Any, str]:
    context = Context(*headers)
    with pytest.raises(Aborted):
        receiver.take(requests, context)  # type: ignore[arg-type]
    return context.code, context.details


class Opened(io.BytesIO):
    """A file object that counts its closing and keeps what was in it."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""
        self.closings = 0

    def close(self) -> None:
        self.closings += 1
        self.content = self.getvalue()
        super().close()


def test_receiver_publishes_a_path_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")
    receiver = Receiver(Targets(out))
    receiver.prepare()
    take(receiver, b"new ", b"", b"content")
    assert (out.read_bytes(), receiver.bytes_written, receiver.error) == (b"old", 11, None)
    receiver.publish()
    assert out.read_bytes() == b"new content"


@pytest.mark.parametrize("when", ["prepared", "taken"])
def test_receiver_leaves_nothing_of_what_is_abandoned(tmp_path: Path, when: str) -> None:
    (tmp_path / "old").write_bytes(b"old")
    opened = Opened()
    receiver = Receiver(Targets({0: tmp_path / "old", 1: tmp_path / "new", 2: lambda metadata: opened}))
    receiver.prepare()
    if when == "taken":
        take(receiver, b"data")
        take(receiver, b"data", to=1)
        take(receiver, b"data", to=2)
    assert receiver.abandon(0)
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"
    assert opened.closings == (when == "taken")
    assert refusal(receiver, views(), (EXPORTER_ID, "1"))[0] is CODES.CANCELLED


def test_receiver_prepares_all_or_nothing(tmp_path: Path) -> None:
    receiver = Receiver(Targets({0: tmp_path / "a", 1: tmp_path / "none" / "b"}))
    with pytest.raises(OutputError, match="create the directory first"):
        receiver.prepare()
    assert receiver.abandon()
    assert os.listdir(tmp_path) == []


def test_receiver_gives_metadata_to_a_callable() -> None:
    got: list[dict[str, str]] = []
    file = Opened()

    def target(metadata: dict[str, str]) -> Opened:
        got.append(metadata)
        return file

    receiver = Receiver(Targets({4: target}))
    receiver.prepare()
    context = Context(
        ("exporter-md-a", "1"),
        ("exporter-md-b", "x"),
        ("exporter-md-a", "2"),
        ("other", "y"),
        (EXPORTER_ID, "4"),
    )
    receiver.take(views(b"data"), context)  # type: ignore[arg-type]
    receiver.publish()
    assert (got, file.content) == ([{"a": "1,2", "b": "x"}], b"data")


@pytest.mark.parametrize("headers", [[], [(EXPORTER_ID, "what")], [(EXPORTER_ID, "")]])
def test_receiver_takes_exporter_0_if_none_is_named(headers: list[tuple[str, str]]) -> None:
    out = io.BytesIO()
    receiver = Receiver(Targets(out))
    receiver.take(views(b"data"), Context(*headers))  # type: ignore[arg-type]
    assert out.getvalue() == b"data"


class Failing:
    """A file object that cannot be written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def write(self, data: memoryview) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ({1: "out"}, CODES.NOT_FOUND, "exporter 0 not found"),
        (lambda metadata: None, CODES.ALREADY_EXISTS, "already exists"),
        (lambda metadata: 1.5, CODES.INVALID_ARGUMENT, "cannot write to float"),
        (lambda metadata: 1 // 0, CODES.ABORTED, "ZeroDivisionError"),
        ("/nowhere/at/all", CODES.ABORTED, "No such file"),
        (Failing(OSError(errno.ENOSPC, "x")), CODES.RESOURCE_EXHAUSTED, "No space left"),
        (Failing(OSError(errno.EDQUOT, "x")), CODES.RESOURCE_EXHAUSTED, "quota"),
        (Failing(OSError(errno.EIO, "x")), CODES.ABORTED, "Input/output error"),
        (Failing(ValueError("odd")), CODES.ABORTED, "ValueError: odd"),
    ],
)
def test_receiver_says_why_it_refuses(target: Any, code: Any, says: str) -> None:
    receiver = Receiver(Targets(target))
    got, details = refusal(receiver, views(b"data"))
    assert got is code
    assert says in details
    assert receiver.error is not None
    assert str(receiver.error) == details
    with pytest.raises(SessionError, match="sent nothing for exporter"):
        receiver.publish()
    assert receiver.abandon(0)


def test_receiver_takes_one_file_for_each_exporter() -> None:
    out = io.BytesIO()
    receiver = Receiver(Targets(out))
    take(receiver, b"first")
    code, details = refusal(receiver, views(b"second"))
    assert code is CODES.ALREADY_EXISTS
    assert "has got its file already" in details
    assert out.getvalue() == b"first"


def test_receiver_misses_what_did_not_come(tmp_path: Path) -> None:
    receiver = Receiver(Targets({0: tmp_path / "a", 1: tmp_path / "b"}))
    receiver.prepare()
    take(receiver, b"data")
    with pytest.raises(SessionError, match="sent nothing for exporter 1"):
        receiver.publish()
    assert os.listdir(tmp_path) == []
    receiver.abandon()


def test_receiver_does_not_take_a_broken_call_for_a_whole_file(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield encode(b"half")
        raise grpc.RpcError

    receiver = Receiver(Targets(tmp_path / "out"))
    receiver.prepare()
    with pytest.raises(grpc.RpcError):
        receiver.take(broken(), Context())  # type: ignore[arg-type]
    assert receiver.error is None
    with pytest.raises(SessionError, match="sent nothing"):
        receiver.publish()
    assert receiver.abandon(0)
    assert os.listdir(tmp_path) == []


def test_receiver_waits_for_who_still_writes(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def requests() -> Iterator[bytes]:
        yield encode(b"first")
        begun.set()
        go_on.wait(3)
        yield encode(b"second")

    opened = Opened()
    receiver = Receiver(Targets(lambda metadata: opened))
    told: list[tuple[Any, str]] = []
    taking = threading.Thread(target=lambda: told.append(refusal(receiver, requests())))
    taking.start()
    assert begun.wait(3)
    assert not receiver.abandon(0.02)
    assert opened.closings == 0
    go_on.set()
    assert receiver.abandon(3)
    taking.join()
    assert (opened.closings, opened.content, receiver.bytes_written) == (1, b"first", 5)
    assert told == [(grpc.StatusCode.CANCELLED, "the client has given the export up")]
    with pytest.raises(SessionError, match="sent nothing"):
        receiver.publish()


def test_receiver_waits_for_a_pipe_that_is_full() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    data = bytes(range(251)) * 2000
    receiver = Receiver(Targets(theirs))
    receiver.prepare()
    taking = threading.Thread(target=take, args=(receiver, data[:300_000], data[300_000:]))
    taking.start()
    got = bytearray()
    while len(got) < len(data):
        got += os.read(ours, 50_000)
    taking.join()
    receiver.publish()
    os.close(ours)
    os.close(theirs)
    assert got == data


def test_receiver_into_a_pipe_that_nobody_reads() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    receiver = Receiver(Targets(theirs))
    receiver.prepare()
    code, details = refusal(receiver, views(b"data"))
    os.close(theirs)
    assert (code, receiver.error and receiver.error.errno) == (CODES.ABORTED, errno.EPIPE)
    assert "write: Broken pipe" in details


def test_receiver_flushes_to_the_disk_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    for fsync in (False, True):
        receiver = Receiver(Targets({0: tmp_path / "a", 1: lambda metadata: tmp_path / "b"}), fsync=fsync)
        receiver.prepare()
        take(receiver, b"data")
        take(receiver, b"data", to=1)
        receiver.publish()
        assert bool(flushed) is fsync
    assert len(flushed) == 4  # the files and their directory
