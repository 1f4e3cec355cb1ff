"""A path as a sink: nothing under the final name until all is there, nothing left after a failure."""

from __future__ import annotations

import errno
import io
import os
import pty
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import ExistsError, OptionError, OutputError, Tree, write_tar
from tarcast.sinks import file
from tarcast.sinks.file import FileSink
from tests.support.files import descriptors, umask
from tests.support.sinks import through


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
    return archive.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where archives go in these tests, and nothing else."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.fixture
def no_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_tmpfile(monkeypatch, errno.EOPNOTSUPP)


def refuse_tmpfile(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A file system whose O_TMPFILE fails with `code`."""
    real = file.open_file

    def refuse(path: Any, flags: int, **options: Any) -> Any:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, **options)

    monkeypatch.setattr(file, "open_file", refuse)


@pytest.fixture(params=["nameless", "named"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With O_TMPFILE and on a file system without it."""
    if request.param == "named":
        refuse_tmpfile(monkeypatch, errno.EOPNOTSUPP)
    return str(request.param)


class Stop(Exception):
    pass


def stop(entry: object) -> None:
    raise Stop


# ---- what appears, and when -----------------------------------------------------


def test_path_appears_only_when_complete(folder: Path, place: Path, expected: bytes, either_way: str) -> None:
    seen: list[list[str]] = []

    def look(entry: Any) -> Any:
        seen.append(os.listdir(place))
        return entry

    write_tar(Tree(folder, map=look), place / "out.tar")
    assert (place / "out.tar").read_bytes() == expected
    assert os.listdir(place) == ["out.tar"]
    assert len(seen) == 1
    if either_way == "nameless":
        assert seen[0] == []
    else:
        assert len(seen[0]) == 1
        assert seen[0][0].startswith(".tarcast-")


def test_path_keeps_its_old_content_until_then(
    folder: Path, place: Path, expected: bytes, either_way: str
) -> None:
    (place / "out.tar").write_bytes(b"old")
    seen = []

    def look(entry: Any) -> Any:
        seen.append((place / "out.tar").read_bytes())
        return entry

    with open(place / "out.tar", "rb") as reader:
        write_tar(Tree(folder, map=look), place / "out.tar")
        assert reader.read() == b"old"
    assert seen == [b"old"]
    assert (place / "out.tar").read_bytes() == expected


def test_path_keeps_its_old_content_after_a_failure(folder: Path, place: Path, either_way: str) -> None:
    (place / "out.tar").write_bytes(b"old")
    with pytest.raises(Stop):
        write_tar(Tree(folder, map=stop), place / "out.tar")
    assert os.listdir(place) == ["out.tar"]
    assert (place / "out.tar").read_bytes() == b"old"


def test_path_does_not_appear_after_a_failure(folder: Path, place: Path, either_way: str) -> None:
    with pytest.raises(Stop):
        write_tar(Tree(folder, map=stop), place / "out.tar")
    assert os.listdir(place) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0, 0o666)])
def test_path_has_the_mode_that_the_umask_leaves(
    folder: Path, place: Path, either_way: str, mask: int, mode: int
) -> None:
    with umask(mask):
        write_tar(folder, place / "out.tar")
    assert stat.S_IMODE((place / "out.tar").stat().st_mode) == mode


def test_path_inside_the_tree_is_not_archived(folder: Path, expected: bytes, either_way: str) -> None:
    for _ in range(2):  # the second time it is there already
        result = write_tar(folder, folder / "out.tar")
        assert (folder / "out.tar").read_bytes() == expected
        assert result.skipped == 0
    assert f"{folder}/out.tar: select: is the archive itself: left out" in [str(w) for w in result.warnings]
    assert sorted(os.listdir(folder)) == ["file", "out.tar"]


def test_path_may_be_relative(
    folder: Path, place: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    write_tar(folder, "out.tar")
    write_tar(folder, b"./b\xff")
    assert (place / "out.tar").read_bytes() == expected
    with open(os.fsencode(place) + b"/b\xff", "rb") as f:
        assert f.read() == expected


def test_path_stays_where_it_was_opened(
    folder: Path, place: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)

    def move(entry: Any) -> Any:
        os.rename(place, place.with_name("moved"))
        return entry

    write_tar(Tree(folder, map=move), "out.tar")
    assert (place.with_name("moved") / "out.tar").read_bytes() == expected
    os.rename(place.with_name("moved"), place)


# ---- symlinks, devices, FIFOs ------------------------------------------------------


def test_path_that_is_a_symlink_is_written_through(
    folder: Path, place: Path, expected: bytes, either_way: str
) -> None:
    (place / "real").mkdir()
    (place / "real" / "out.tar").write_bytes(b"old")
    os.symlink("real/out.tar", place / "link")
    write_tar(folder, place / "link")
    assert os.readlink(place / "link") == "real/out.tar"
    assert (place / "real" / "out.tar").read_bytes() == expected
    assert not (place / "real" / "out.tar").is_symlink()


def test_path_that_is_a_dangling_symlink_makes_its_target(folder: Path, place: Path, expected: bytes) -> None:
    os.symlink("new.tar", place / "link")
    write_tar(folder, place / "link")
    assert os.readlink(place / "link") == "new.tar"
    assert (place / "new.tar").read_bytes() == expected


def test_path_that_is_a_fifo_is_written_in_place(folder: Path, place: Path, expected: bytes) -> None:
    os.mkfifo(place / "fifo")
    received: list[bytes] = []

    def drain() -> None:
        with open(place / "fifo", "rb") as f:
            received.append(f.read())

    reader = threading.Thread(target=drain)
    reader.start()
    write_tar(folder, place / "fifo")
    reader.join()
    assert received == [expected]
    assert stat.S_ISFIFO((place / "fifo").stat().st_mode)
    assert os.listdir(place) == ["fifo"]


def test_path_that_is_a_device_is_written_in_place(folder: Path) -> None:
    before = os.stat("/dev/null")
    write_tar(folder, "/dev/null")
    assert os.stat("/dev/null").st_ino == before.st_ino
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, "/dev/full")
    assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, "/dev/full")


@pytest.fixture
def terminal() -> Iterator[int]:
    try:
        ours, theirs = pty.openpty()
    except OSError as error:  # under qemu, for one
        pytest.skip(f"no terminal to be had: {error}")
    yield theirs
    os.close(ours)
    os.close(theirs)


def test_path_of_a_terminal_is_refused(folder: Path, terminal: int) -> None:
    with pytest.raises(OptionError, match="refusing to write an archive to a terminal"):
        write_tar(folder, os.ttyname(terminal))


# ---- descriptors by name ------------------------------------------------------------


@pytest.fixture(params=["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}", "link", "link to link"])
def name_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], str]:
    """A path that means a descriptor."""

    def name(fd: int) -> str:
        if "link" not in request.param:
            return str(request.param.format(fd, pid=os.getpid()))
        os.symlink(f"/dev/fd/{fd}", tmp_path / "link")
        os.symlink("link", tmp_path / "link to link")
        return str(tmp_path / request.param)

    return name


def test_path_of_a_pipes_descriptor_is_written_to(
    folder: Path, expected: bytes, name_of: Callable[[int], str]
) -> None:
    reader, writer = os.pipe()
    assert through(writer, reader, lambda fd: write_tar(folder, name_of(fd))) == expected


def test_path_of_a_files_descriptor_is_written_from_its_position_on(
    folder: Path, place: Path, expected: bytes, name_of: Callable[[int], str]
) -> None:
    with open(place / "out", "w+b", buffering=0) as file:
        file.write(b"before")
        write_tar(folder, name_of(file.fileno()), fsync=True)
        file.write(b"after")
        assert file.tell() == os.fstat(file.fileno()).st_size
    assert (place / "out").read_bytes() == b"before" + expected + b"after"


def test_path_of_a_descriptor_is_not_replaced_after_a_failure(folder: Path, place: Path) -> None:
    with open(place / "out", "w+b", buffering=0) as file:
        with pytest.raises(Stop):
            write_tar(Tree(folder, map=stop), f"/dev/fd/{file.fileno()}")
        assert os.path.samestat(os.fstat(file.fileno()), os.stat(place / "out"))


@pytest.mark.parametrize("number", [987, 10**30])
def test_path_of_a_closed_descriptor_is_refused(folder: Path, number: int) -> None:
    with pytest.raises(OutputError, match="not an open descriptor") as caught:
        write_tar(folder, f"/dev/fd/{number}")
    assert caught.value.path == f"/dev/fd/{number}"


def test_path_of_a_descriptor_for_reading_is_refused(folder: Path) -> None:
    with open(folder / "file", "rb") as file, pytest.raises(OptionError, match="open for reading only"):
        write_tar(folder, f"/dev/fd/{file.fileno()}")


def test_path_of_a_terminals_descriptor_is_refused(folder: Path, terminal: int) -> None:
    with pytest.raises(OptionError, match="refusing to write an archive to a terminal"):
        write_tar(folder, f"/dev/fd/{terminal}")


def test_path_of_a_descriptor_is_there_already(place: Path) -> None:
    with open(place / "out", "wb") as file, pytest.raises(ExistsError):
        tarcast.open(f"/dev/fd/{file.fileno()}", "x")


def test_path_of_a_descriptor_of_another_process_is_opened(
    folder: Path, place: Path, expected: bytes
) -> None:
    """As `>(...)` of a shell above us, which resolves to no path."""
    reader, writer = os.pipe()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=writer) as other:
        received = through(writer, reader, lambda _: write_and_end(folder, other))
    assert received == expected


def write_and_end(folder: Path, other: subprocess.Popen[bytes]) -> None:
    try:
        write_tar(folder, f"/proc/{other.pid}/fd/1")
    finally:
        assert other.stdin is not None
        other.stdin.close()
        other.wait(30)


# ---- what cannot be a path ------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "Is a directory [EISDIR]; name a file in it"),
        ("/", "Is a directory [EISDIR]; name a file in it"),
        (".", "Is a directory [EISDIR]; name a file in it"),
        ("folder", "Is a directory [EISDIR]; name a file in it"),
        ("new/", "Is a directory [EISDIR]; name a file in it"),
        ("none/out.tar", "No such file or directory [ENOENT]; create the directory first"),
        ("folder/file/out.tar", "Not a directory [ENOTDIR]; create the directory first"),
        ("n" * 300, f"{os.strerror(errno.ENAMETOOLONG)} [ENAMETOOLONG]"),
    ],
)
def test_path_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, path)
    assert str(caught.value) == f"{path}: open output: {says}"
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b", b"a\0b"])
def test_path_that_no_file_can_have_is_refused(folder: Path, path: str | bytes) -> None:
    with pytest.raises(OptionError) as caught:
        write_tar(folder, path)
    assert caught.value.step == "open output"


# ---- failures on the way ------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL])
def test_path_gets_a_hidden_name_where_there_is_no_tmpfile(
    folder: Path, place: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse_tmpfile(monkeypatch, code)
    write_tar(folder, place / "out.tar")
    assert (place / "out.tar").read_bytes() == expected
    assert os.listdir(place) == ["out.tar"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE])
def test_path_that_cannot_be_made_is_an_output_error(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse_tmpfile(monkeypatch, code)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, place / "out.tar")
    assert (caught.value.errno, caught.value.step) == (code, "open output")
    assert os.listdir(place) == []


def failing(real: Callable[..., Any], error: BaseException, turn: int = 1) -> Callable[..., Any]:
    """`real` until it is called for the `turn`th time."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == turn:
            raise error
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), KeyboardInterrupt()], ids=["EIO", "Ctrl-C"])
@pytest.mark.parametrize("function", ["fsync", "link", "rename", "fstat"])
@pytest.mark.parametrize("old", [True, False])
def test_path_is_left_alone_when_a_step_fails(
    folder: Path,
    place: Path,
    either_way: str,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    old: bool,
    error: BaseException,
) -> None:
    if function == "link" and either_way == "named":
        pytest.skip("not applicable: a named file is not linked")
    if old:
        (place / "out.tar").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(getattr(os, function), error))
        with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
            write_tar(folder, place / "out.tar", fsync=True)
    if isinstance(error, OSError):
        assert type(caught.value) is OutputError
        assert caught.value.errno == errno.EIO
        assert caught.value.path == str(place / "out.tar")
        assert caught.value.step == ("open output" if function == "fstat" else "finish output")
    assert os.listdir(place) == (["out.tar"] if old else [])
    assert not old or (place / "out.tar").read_bytes() == b"old"


def test_path_that_is_interrupted_right_behind_the_link_is_left_alone(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, names = os.link, []

    def link(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        names.extend(os.listdir(place))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        with pytest.raises(KeyboardInterrupt):
            write_tar(folder, place / "out.tar")
    assert os.listdir(place) == []
    assert len(names) == 1


def test_path_that_fails_at_close_is_left_alone(
    folder: Path, place: Path, either_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = FileSink(place / "out.tar")
    sink.open()

    class Late:
        """What closes with an error of a write before."""

        file = sink._file

        def close(self) -> None:
            self.file.close()
            raise OSError(errno.EDQUOT, "over quota")

    with monkeypatch.context() as patch:
        patch.setattr(sink, "_file", Late())
        with pytest.raises(OutputError) as caught:
            sink.commit()
    assert caught.value.errno == errno.EDQUOT
    assert os.listdir(place) == []


@pytest.mark.parametrize("wanted", [True, False])
def test_path_is_flushed_to_disk_with_its_directory_when_asked(
    folder: Path, place: Path, either_way: str, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    order: list[str] = []
    real = os.rename

    def fsync(fd: int) -> None:
        order.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")

    def rename(*args: Any, **kwargs: Any) -> None:
        order.append("rename")
        real(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    write_tar(folder, place / "out.tar", fsync=wanted)
    assert order == (["file", "rename", "directory"] if wanted else ["rename"])


def test_path_can_be_given_up_twice(place: Path, either_way: str) -> None:
    sink = FileSink(place / "out.tar")
    sink.open()
    sink.abort()
    sink.abort()
    assert (sink.fd, os.listdir(place)) == (-1, [])
    FileSink(place / "out.tar").abort()


def test_path_holds_both_old_and_new_file_back_from_the_archive(place: Path) -> None:
    (place / "out.tar").write_bytes(b"old")
    status = (place / "out.tar").stat()
    sink = FileSink(place / "out.tar")
    sink.open()
    new = os.fstat(sink.fd)
    assert sink.outputs == [(status.st_dev, status.st_ino), (new.st_dev, new.st_ino)]
    assert new.st_ino != status.st_ino
    sink.abort()
