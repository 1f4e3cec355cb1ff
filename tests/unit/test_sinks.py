"""Descriptors and file objects as sinks; paths and URLs have files of their own."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import pty
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import OptionError, OutputError, write_tar
from tarcast.sinks import make_sink
from tarcast.sinks.descriptor import DescriptorSink
from tarcast.sinks.file import FileSink
from tarcast.sinks.fileobj import FileObjectSink
from tarcast.sinks.remote import RemoteSink
from tests.support.files import descriptors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    root.mkdir()
    (root / "file").write_bytes(b"content " * 1000)
    return root


@pytest.fixture
def expected(folder: Path) -> bytes:
    archive = io.BytesIO()
    write_tar(folder, archive)
    assert len(archive.getvalue()) == (1 + 16 + 2) * 512
    return archive.getvalue()


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


# ---- which sink ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("out.tar", FileSink),
        (b"out.tar", FileSink),
        (Path("out.tar"), FileSink),
        (b"-", FileSink),
        (Path("-"), FileSink),
        (b"memory://x", FileSink),
        (1, DescriptorSink),
        (io.BytesIO(), FileObjectSink),
        ("memory://x", RemoteSink),
    ],
)
def test_make_sink_chooses_by_what_it_is_given(target: Any, kind: type) -> None:
    assert type(make_sink(target, fsync=False)) is kind


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (True, "cannot write to True"),
        (None, "cannot write to NoneType; give a path, a descriptor, a binary file object, '-' or a URL"),
        (1.5, "cannot write to float; give a path, a descriptor, a binary file object, '-' or a URL"),
        (object(), "cannot write to object; give a path, a descriptor, a binary file object, '-' or a URL"),
        (io.StringIO(), "the file object is open for text; open it in binary mode, 'wb'"),
        (io.TextIOWrapper(io.BytesIO()), "the file object is open for text; open it in binary mode, 'wb'"),
    ],
)
def test_make_sink_refuses(target: Any, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        make_sink(target, fsync=False)
    assert str(caught.value) == says


# ---- descriptors ----------------------------------------------------------------


def test_descriptor_is_written_from_its_offset_on(folder: Path, tmp_path: Path, expected: bytes) -> None:
    (tmp_path / "out").write_bytes(b"0123456789")
    fd = os.open(tmp_path / "out", os.O_RDWR)
    os.lseek(fd, 4, os.SEEK_SET)
    result = write_tar(folder, fd)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 4 + result.bytes_written == 4 + len(expected)
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"0123" + expected


def test_descriptor_in_append_mode_is_appended_to(folder: Path, tmp_path: Path, expected: bytes) -> None:
    (tmp_path / "out").write_bytes(b"before")
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_APPEND)
    write_tar(folder, fd)
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"before" + expected


def test_descriptor_keeps_its_flags(folder: Path) -> None:
    import fcntl

    fd = os.memfd_create("out")
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    write_tar(folder, fd)
    assert fcntl.fcntl(fd, fcntl.F_GETFL) == flags
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_descriptor_open_for_reading_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    fd = os.open(tmp_path / "out", os.O_RDONLY)
    with pytest.raises(OptionError) as caught:
        write_tar(folder, fd)
    os.close(fd)
    assert str(caught.value) == f"descriptor {fd}: open: open for reading only"
    assert (tmp_path / "out").read_bytes() == b"old"


def test_descriptor_that_is_closed_is_refused(folder: Path) -> None:
    fd = os.memfd_create("out")
    os.close(fd)
    with pytest.raises(OutputError, match="not an open descriptor") as caught:
        write_tar(folder, fd)
    assert caught.value.errno == errno.EBADF
    assert caught.value.path == f"descriptor {fd}"


@pytest.mark.parametrize("fd", [-1, -5, 2**31, 2**70])
def test_descriptor_that_cannot_be_one_is_refused(folder: Path, fd: int) -> None:
    with pytest.raises(OutputError, match="not an open descriptor"):
        write_tar(folder, fd)


def test_descriptor_of_a_terminal_is_refused(folder: Path) -> None:
    ours, terminal = pty.openpty()
    with pytest.raises(OptionError) as caught:
        write_tar(folder, terminal)
    assert str(caught.value) == (
        f"descriptor {terminal}: refusing to write an archive to a terminal; redirect it, or name a file"
    )
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 1)
    os.close(ours)
    os.close(terminal)


def test_descriptor_that_takes_nothing_is_an_output_error(folder: Path) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, fd)
    os.close(fd)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).startswith(
        f"descriptor {fd}: write: No space left on device [ENOSPC]; free some"
    )


def test_descriptor_whose_reader_went_away_is_an_output_error(folder: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, theirs)
    os.close(theirs)
    assert (caught.value.errno, caught.value.hint) == (errno.EPIPE, "the reader of the stream went away")


def test_descriptor_inside_the_tree_is_not_archived(folder: Path, expected: bytes) -> None:
    fd = os.open(folder / "out.tar", os.O_CREAT | os.O_RDWR)
    result = write_tar(folder, fd)
    os.close(fd)
    assert (folder / "out.tar").read_bytes() == expected
    assert [str(w) for w in result.warnings] == [f"{folder}/out.tar: select: is the archive itself: left out"]
    assert result.skipped == 0


@pytest.mark.parametrize("wanted", [True, False])
def test_descriptor_is_flushed_to_disk_when_asked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    fd = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY)
    write_tar(folder, fd, fsync=wanted)
    os.close(fd)
    assert flushed == ([fd] if wanted else [])


def test_descriptor_that_cannot_be_flushed_is_an_output_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", fails)
    with open(tmp_path / "out.tar", "wb") as file, pytest.raises(OutputError) as caught:
        write_tar(folder, file.fileno(), fsync=True)
    assert (caught.value.step, caught.value.errno) == ("fsync", errno.EIO)


def test_pipe_has_nothing_to_flush(folder: Path) -> None:
    ours, theirs = os.pipe()
    assert write_tar(folder, theirs, fsync=True).bytes_written < 65536
    os.close(ours)
    os.close(theirs)


# ---- standard output ------------------------------------------------------------


class Stand:
    """What notebooks and test runners put in the place of standard output."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()

    def flush(self) -> None:
        pass


def test_stdout_is_flushed_and_then_written(
    folder: Path, tmp_path: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "out", "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        out.write("before")
        write_tar(folder, "-")
        out.write("after")
    assert (tmp_path / "out").read_bytes() == b"before" + expected + b"after"


def test_stdout_may_be_an_object_with_a_buffer(
    folder: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand()
    monkeypatch.setattr(sys, "stdout", stand)
    write_tar(folder, "-")
    assert stand.buffer.getvalue() == expected


@pytest.mark.parametrize("stdout", [None, io.StringIO()])
def test_stdout_that_is_not_there_is_an_output_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stdout: Any
) -> None:
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(OutputError, match="-: open: there is no standard output"):
        write_tar(folder, "-")


# ---- file objects ------------------------------------------------------------------


def tarcast_open(folder: Path, target: Any) -> None:
    tarcast.open(target).close()


class Recorder:
    """Something with a write() and nothing else."""

    def __init__(self, answer: Any = None) -> None:
        self.taken = bytearray()
        self.views: list[memoryview] = []
        self.answer = answer

    def write(self, view: memoryview) -> Any:
        self.views.append(view)
        if isinstance(self.answer, BaseException):
            raise self.answer
        if isinstance(self.answer, int):
            self.taken += view[: self.answer]
            return min(self.answer, len(view))
        self.taken += view
        return self.answer


@pytest.mark.parametrize("most", [None, 1, 511, 1000, 10**9])
def test_file_object_may_take_parts_or_say_nothing(folder: Path, expected: bytes, most: int | None) -> None:
    target = Recorder(most)
    result = write_tar(folder, target)  # type: ignore[arg-type]
    assert bytes(target.taken) == expected
    assert result.bytes_written == len(expected)


def test_file_object_that_takes_nothing_is_told_once(folder: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write_tar(folder, Recorder(0))  # type: ignore[arg-type]
    assert str(caught.value) == "Recorder: write: write() took no bytes"


class FullAtTimes(io.RawIOBase):
    """A raw file that cannot take anything every other time, as a non-blocking one may."""

    def __init__(self, fd: int) -> None:
        self.taken = bytearray()
        self.calls = 0
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def write(self, view: Any) -> int | None:
        self.calls += 1
        if self.calls % 2:
            return None
        self.taken += view[:5000]
        return len(view[:5000])


def test_file_object_that_is_raw_and_full_is_waited_for(folder: Path, expected: bytes) -> None:
    fd = os.memfd_create("ready")
    target = FullAtTimes(fd)
    write_tar(folder, target)  # type: ignore[arg-type]
    os.close(fd)
    assert bytes(target.taken) == expected
    assert target.calls == 4


def test_file_object_gets_read_only_views_that_end_with_the_call(folder: Path) -> None:
    target = Recorder()

    def check(view: memoryview) -> None:
        assert view.readonly
        assert (view.format, view.ndim) == ("B", 1)
        with pytest.raises(TypeError):
            view[0] = 1
        target.views.append(view)

    target.write = check  # type: ignore[method-assign, assignment]
    write_tar(folder, target)  # type: ignore[arg-type]
    assert target.views
    for view in target.views:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


def test_file_object_that_raises_oserror_is_an_output_error(folder: Path) -> None:
    raised = OSError(errno.EDQUOT, "whatever it says")
    target = Recorder(raised)
    target.name = "mine"  # type: ignore[attr-defined]
    with pytest.raises(OutputError) as caught:
        write_tar(folder, target)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"mine: write: {os.strerror(errno.EDQUOT)} [EDQUOT]; "
        "the quota is used up: free some space or write elsewhere"
    )
    assert caught.value.errno == errno.EDQUOT
    assert caught.value.__cause__ is raised


class Custom(Exception):
    pass


@pytest.mark.parametrize("raised", [Custom("mine"), KeyboardInterrupt(), ValueError("closed")])
def test_file_object_exception_passes_through_as_it_is(folder: Path, raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught:
        write_tar(folder, Recorder(raised))  # type: ignore[arg-type]
    assert caught.value is raised


def test_file_object_open_for_text_is_refused(folder: Path, tmp_path: Path) -> None:
    with open(tmp_path / "out", "w") as out, pytest.raises(OptionError, match="open for text"):
        write_tar(folder, out)  # type: ignore[arg-type]


def test_file_object_open_for_reading_is_refused(folder: Path) -> None:
    with open(folder / "file", "rb", buffering=0) as out, pytest.raises(OptionError, match="reading only"):
        write_tar(folder, out)


def closed(file: Any) -> Any:
    file.close()
    return file


def temporary(path: Path, mode: str) -> Any:
    return tempfile.NamedTemporaryFile(mode, dir=path.parent)


class Encoded:
    """A file for text that is no TextIOBase, as those of tempfile and codecs."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("door", [lambda folder, target: write_tar(folder, target), tarcast_open])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: closed(io.BytesIO()), "BytesIO: open: the file object is closed"),
        (lambda path: closed(path.open("wb")), "open: the file object is closed"),
        (lambda path: closed(path.open("wb", buffering=0)), "open: the file object is closed"),
        (lambda path: closed(gzip.GzipFile(path, "wb")), "open: the file object is closed"),
        (lambda path: path.open("rb"), "open: open for reading only"),
        (lambda path: gzip.GzipFile(path), "open: open for reading only"),
        (lambda path: temporary(path, "rb"), "open: open for reading only"),
        (lambda path: temporary(path, "w"), "open for text"),
        (lambda path: Encoded(), "open for text"),
    ],
)
def test_file_object_that_cannot_be_written_is_refused(
    folder: Path, tmp_path: Path, door: Any, make: Any, says: str
) -> None:
    path = tmp_path / "out"
    path.touch()
    with contextlib.closing(make(path)) as target, pytest.raises(OptionError, match=says):
        door(folder, target)


class Writes(io.RawIOBase):
    """It says nothing of writing, so `writable` is that of all of io: False."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def write(self, view: Any) -> int:
        self.taken += view
        return len(view)


def test_file_object_with_a_write_of_its_own_is_written(folder: Path, expected: bytes) -> None:
    target = Writes()
    write_tar(folder, target)  # type: ignore[arg-type]
    assert bytes(target.taken) == expected


@pytest.mark.parametrize("answer", ["all", 1.5, 10**9])
def test_file_object_that_does_not_say_how_much_it_took_is_refused(folder: Path, answer: Any) -> None:
    target = Recorder()
    target.write = lambda view: answer  # type: ignore[method-assign, assignment]
    with pytest.raises(OptionError, match=r"Recorder: write: write\(\) gave .* for \d+ bytes"):
        write_tar(folder, target)  # type: ignore[arg-type]


def test_file_object_that_compresses_really_does(folder: Path, tmp_path: Path, expected: bytes) -> None:
    with gzip.GzipFile(tmp_path / "out.tar.gz", "wb") as out:
        write_tar(folder, out)  # type: ignore[arg-type]
        assert not out.closed
    compressed = (tmp_path / "out.tar.gz").read_bytes()
    assert compressed[:2] == b"\x1f\x8b"
    assert len(compressed) < len(expected) / 2
    assert gzip.decompress(compressed) == expected


class Shouting(io.FileIO):
    """A FileIO with a mind of its own: its descriptor must not be written past it."""

    def write(self, data: Any) -> int:
        return super().write(bytes(data).upper())


def test_file_object_of_a_subclass_is_asked_itself(folder: Path, tmp_path: Path, expected: bytes) -> None:
    with Shouting(tmp_path / "out", "w") as out:
        write_tar(folder, out)
    assert (tmp_path / "out").read_bytes() == expected.upper() != expected
    with io.BufferedWriter(Shouting(tmp_path / "out", "w")) as buffered:
        write_tar(folder, buffered)
    assert (tmp_path / "out").read_bytes() == expected.upper()


class ShoutingBuffer(io.BufferedWriter):
    def write(self, data: Any) -> int:
        super().write(bytes(data).upper())
        return len(data)


def test_file_object_of_a_buffer_subclass_is_asked_itself(
    folder: Path, tmp_path: Path, expected: bytes
) -> None:
    with ShoutingBuffer(io.FileIO(tmp_path / "out", "w")) as out:
        write_tar(folder, out)
    assert (tmp_path / "out").read_bytes() == expected.upper()


@pytest.mark.parametrize("mode", ["wb", "w+b", "ab"])
@pytest.mark.parametrize("buffering", [0, -1])
def test_file_object_of_a_plain_file_is_written_by_descriptor(
    folder: Path, tmp_path: Path, expected: bytes, mode: str, buffering: int
) -> None:
    with open(tmp_path / "out", mode, buffering=buffering) as out:
        out.write(b"before")
        write_tar(folder, out)
        assert out.tell() == 6 + len(expected)
        out.write(b"after")
    assert (tmp_path / "out").read_bytes() == b"before" + expected + b"after"
    sink = FileObjectSink(io.FileIO(tmp_path / "out", "a"))
    sink.open()
    assert (sink.write, sink.fd >= 0, len(sink.outputs)) == (None, True, 1)
    sink._target.close()


def test_file_object_is_flushed_at_the_end(folder: Path) -> None:
    flushed = []
    target = Recorder()
    target.flush = lambda: flushed.append(len(target.taken))  # type: ignore[attr-defined]
    result = write_tar(folder, target)  # type: ignore[arg-type]
    assert flushed == [result.bytes_written]


def test_file_object_that_fails_to_flush_is_an_output_error(folder: Path) -> None:
    def flush() -> None:
        raise OSError(errno.EIO, "no")

    target = Recorder()
    target.flush = flush  # type: ignore[attr-defined]
    with pytest.raises(OutputError) as caught:
        write_tar(folder, target)  # type: ignore[arg-type]
    assert (caught.value.step, caught.value.errno, caught.value.path) == ("flush", errno.EIO, "Recorder")
