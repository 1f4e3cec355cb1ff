"""The same tree gives the same bytes whatever they are written to and however many threads write them."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tarcast
from tests.support.files import remove_tree
from tests.support.judge import archive_names, assert_same_archive
from tests.support.rich import RICH
from tests.support.sinks import through
from tests.support.trees import make_tree


@pytest.fixture(scope="module")
def source(scratch: Path) -> Iterator[Path]:
    directory = scratch / "rich-for-sinks"
    directory.mkdir(mode=0o700)
    make_tree(RICH, os.fsencode(directory))
    yield directory
    remove_tree(directory)


@pytest.fixture(scope="module")
def expected(source: Path) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(source, archive, threads=1)
    assert len(archive_names(archive.getvalue())) == len(RICH)
    return archive.getvalue()


class ShortWriter(io.RawIOBase):
    """Takes at most 1000 bytes at a time, as any raw file may."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        part = bytes(data[:1000])
        self.taken += part
        return len(part)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_path_sink_gets_the_same_bytes(source: Path, expected: bytes, tmp_path: Path, kind: Callable) -> None:
    tarcast.write_tar(source, kind(os.fspath(tmp_path / "out.tar")))
    assert_same_archive((tmp_path / "out.tar").read_bytes(), expected)
    assert os.listdir(tmp_path) == ["out.tar"]


def test_path_sink_replaces_a_longer_file(source: Path, expected: bytes, tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_bytes(b"old" * len(expected))
    tarcast.write_tar(source, tmp_path / "out.tar")
    assert_same_archive((tmp_path / "out.tar").read_bytes(), expected)


def test_descriptor_sink_gets_the_same_bytes_and_stays_open(
    source: Path, expected: bytes, tmp_path: Path
) -> None:
    fd = os.open(tmp_path / "out.tar", os.O_CREAT | os.O_RDWR)
    try:
        tarcast.write_tar(source, fd)
        assert os.fstat(fd).st_size == len(expected)
    finally:
        os.close(fd)
    assert_same_archive((tmp_path / "out.tar").read_bytes(), expected)


def test_pipe_sink_gets_the_same_bytes(source: Path, expected: bytes) -> None:
    read_end, write_end = os.pipe()
    got = through(write_end, read_end, lambda fd: tarcast.write_tar(source, fd))
    assert_same_archive(got, expected)


def test_socket_sink_gets_the_same_bytes(source: Path, expected: bytes) -> None:
    ours, theirs = socket.socketpair()
    got = through(ours.detach(), theirs.detach(), lambda fd: tarcast.write_tar(source, fd))
    assert_same_archive(got, expected)


def test_buffered_file_sink_keeps_what_was_written_before(
    source: Path, expected: bytes, tmp_path: Path
) -> None:
    with open(tmp_path / "out.tar", "wb") as f:
        f.write(b"before")
        tarcast.write_tar(source, f)
        f.write(b"after")
    assert_same_archive((tmp_path / "out.tar").read_bytes(), b"before" + expected + b"after")


def test_short_writes_lose_nothing(source: Path, expected: bytes) -> None:
    sink = ShortWriter()
    tarcast.write_tar(source, sink)
    assert_same_archive(bytes(sink.taken), expected)


@pytest.mark.parametrize("threads", [None, 1, 2, 3, 8])
def test_thread_count_does_not_change_the_bytes(
    source: Path, expected: bytes, tmp_path: Path, threads: int | None
) -> None:
    tarcast.write_tar(source, tmp_path / "out.tar", threads=threads)
    assert_same_archive((tmp_path / "out.tar").read_bytes(), expected)
    archive = io.BytesIO()
    tarcast.write_tar(source, archive, threads=threads)
    assert_same_archive(archive.getvalue(), expected)


def test_digests_are_those_of_the_bytes(source: Path, expected: bytes, tmp_path: Path) -> None:
    result = tarcast.write_tar(source, tmp_path / "out.tar", digest=("sha256", "sha1"))
    assert result.digests == {
        "sha256": hashlib.sha256(expected).hexdigest(),
        "sha1": hashlib.sha1(expected).hexdigest(),
    }
