"""Options that make no sense, and outputs that fail: nothing half done is ever taken for an archive."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.integration.test_failures_input import names, told
from tests.support.faults import (
    COMMAND,
    TRAILER,
    at,
    command,
    image,
    in_child,
    make_files,
    mounted,
    nothing_left_behind,
    tmpfs,
)

SIZE = 5 << 20  # more than the small disks below hold
THREADS = pytest.mark.parametrize("threads", [1, 2])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of 5 MiB: `a`, `s/b`, `z`."""
    make_files(tmp_path / "t", a=b"a" * 1000, z=b"z")
    make_files(tmp_path / "t" / "s", b=os.urandom(1 << 16) * (SIZE >> 16))
    return tmp_path / "t"


@pytest.fixture
def expected(tree: Path) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(tree, archive)
    assert len(archive.getvalue()) > SIZE
    return archive.getvalue()


# ---- options -------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda t: tarcast.Tree(t, exclude=["a", "["]), tarcast.PatternError),
        (lambda t: tarcast.Tree(t, include=["a*["]), tarcast.PatternError),
        (lambda t: {"ok": t, "bad": tarcast.Tree(t, exclude=["[z-a]"])}, tarcast.PatternError),
        (lambda t: tarcast.Tree(t, idmap=tarcast.IDMap.parse("0:1")), tarcast.IDMapError),
        (lambda t: tarcast.Tree(t, idmap=tarcast.IDMap.parse("0:0:-1")), tarcast.IDMapError),
        (lambda t: tarcast.Tree(t, idmap=tarcast.IDMap.parse("0:4294967295:2")), tarcast.IDMapError),
        (lambda t: tarcast.Tree(t, epoch=-1), tarcast.OptionError),
        (lambda t: tarcast.Tree(t, epoch=2**63), tarcast.OptionError),
        (lambda t: {"a/b": t, "a_b": t}, tarcast.OptionError),
        (lambda t: {"": t}, tarcast.OptionError),
        (lambda t: {"..": t}, tarcast.OptionError),
        (lambda t: {"a\0b": t}, tarcast.OptionError),
        (lambda t: 7, tarcast.OptionError),
    ],
)
def test_senseless_tree_leaves_the_sink_untouched(
    tree: Path, tmp_path: Path, make: Callable[[Path], Any], kind: type[tarcast.OptionError]
) -> None:
    stream = io.BytesIO()
    (tmp_path / "to").mkdir()
    with nothing_left_behind(tmp_path / "to"):
        for sink in (stream, tmp_path / "to" / "out.tar"):
            with pytest.raises(kind) as caught:
                tarcast.write_tar(make(tree), sink)
            assert type(caught.value) is kind
            assert isinstance(caught.value, ValueError)
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    "options",
    [
        {"epoch": -1},
        {"epoch": 1.5},
        {"threads": 0},
        {"on_error": "ignore"},
        {"digest": ["sha0"]},
        {"digest": ["shake_128"]},
        {"progress": 3},
    ],
)
def test_senseless_option_leaves_the_sink_untouched(tree: Path, options: dict[str, Any]) -> None:
    stream = io.BytesIO()
    with pytest.raises(tarcast.OptionError):
        tarcast.write_tar(tree, stream, **options)
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epoch", "-1"],
        ["--exclude", "["],
        ["--idmap", "0:0"],
        ["--threads", "0"],
        ["--digest", "sha0"],
    ],
)
def test_command_with_a_senseless_option_ends_with_2(
    tree: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = command("create", tree, "-o", tmp_path / "out.tar", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["t"]


def test_command_names_both_trees_of_one_name(tree: Path, tmp_path: Path) -> None:
    done = command("create", tree, f"{tree.parent}/x/../t", "-o", tmp_path / "out.tar")
    assert done.returncode == 2
    assert f'"{tree}" and "{tree.parent}/x/../t" would both be "t"' in done.stderr.decode()


# ---- places --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("missing/out.tar", errno.ENOENT),
        ("file/out.tar", errno.ENOTDIR),
        ("directory", errno.EISDIR),
        ("directory/", errno.EISDIR),
        ("new/", errno.EISDIR),
        ("n" * 256, errno.ENAMETOOLONG),
        ("", errno.EISDIR),
    ],
)
def test_output_that_cannot_be_a_file_is_an_error(tree: Path, tmp_path: Path, name: str, number: int) -> None:
    place = make_files(tmp_path / "to", file=b"x")
    (place / "directory").mkdir()
    with nothing_left_behind(place, place / "directory"):
        with pytest.raises(tarcast.OutputError) as caught:
            tarcast.write_tar(tree, f"{place}/{name}" if name else "")
        assert caught.value.errno == number
        assert caught.value.step == "open output"
        if name:
            assert command("create", tree, "-o", f"{place}/{name}").returncode == 4


@pytest.mark.parametrize("path", ["a\0b", b"a\0b", "\ud800"])
def test_output_that_no_path_can_name_is_an_option_error(tree: Path, path: str | bytes) -> None:
    with nothing_left_behind(), pytest.raises(tarcast.OptionError):
        tarcast.write_tar(tree, path)


@pytest.mark.parametrize("length", [255, 250])
def test_output_name_may_be_as_long_as_the_file_system_allows(
    tree: Path, tmp_path: Path, expected: bytes, length: int
) -> None:
    (tmp_path / "to").mkdir()
    tarcast.write_tar(tree, tmp_path / "to" / ("n" * length))
    assert (tmp_path / "to" / ("n" * length)).read_bytes() == expected


def test_read_only_file_system_is_an_error(tree: Path, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "to") as place:
        (place / "old.tar").write_bytes(b"old")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        for name in ("out.tar", "old.tar"):
            with nothing_left_behind(place), pytest.raises(tarcast.OutputError) as caught:
                tarcast.write_tar(tree, place / name)
            assert caught.value.errno == errno.EROFS
            assert "read-only" in caught.value.hint
        assert (place / "old.tar").read_bytes() == b"old"


def test_closed_descriptor_is_an_error(tree: Path) -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    os.close(fd)
    with pytest.raises(tarcast.OutputError) as caught:
        tarcast.write_tar(tree, fd)
    assert caught.value.errno == errno.EBADF


def test_descriptor_for_reading_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    with open(tmp_path / "in", "rb") as file, pytest.raises(tarcast.OptionError, match="reading"):
        tarcast.write_tar(tree, file.fileno())


# ---- no room -------------------------------------------------------------


def full(place: Path, tree: Path, threads: int) -> None:
    """An export to a disk too small for it: an error, the old file whole, the room free again."""
    (place / "old.tar").write_bytes(b"old")
    free = os.statvfs(place).f_bfree
    for name in ("out.tar", "old.tar"):
        with nothing_left_behind(place), pytest.raises(tarcast.OutputError) as caught:
            tarcast.write_tar(tree, place / name, threads=threads)
        assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, str(place / name))
        assert "space" in caught.value.hint
    assert (place / "old.tar").read_bytes() == b"old"
    os.sync()
    assert os.statvfs(place).f_bfree == free
    done = command("create", tree, "-o", place / "out.tar", "--threads", str(threads))
    assert done.returncode == 4
    assert b"ENOSPC" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert set(os.listdir(place)) <= {"old.tar", "lost+found"}


@THREADS
def test_full_memory_file_system_fails_and_is_free_again(tree: Path, tmp_path: Path, threads: int) -> None:
    with tmpfs(tmp_path / "to", "size=2m") as place:
        full(place, tree, threads)


@THREADS
@pytest.mark.parametrize("named", [False, True], ids=["nameless", "named"])
def test_full_disk_fails_and_is_free_again(
    tree: Path, tmp_path: Path, threads: int, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:  # as on a file system without O_TMPFILE
        monkeypatch.delattr(os, "O_TMPFILE")
    with image(tmp_path / "to", "ext4", 4 << 20, "-q", "-m", "0") as place:
        full(place, tree, threads)


def test_disk_full_but_for_the_trailer_fails(tree: Path, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "to", "size=1m") as place:
        page = os.statvfs(place).f_bsize
        # One entry with a body of all that fits: only the two blocks at the end do not.
        make_files(tmp_path / "one", f=b"x" * ((1 << 20) - 512))
        with nothing_left_behind(place), pytest.raises(tarcast.OutputError) as caught:
            tarcast.write_tar(tmp_path / "one", place / "out.tar")
        assert caught.value.errno == errno.ENOSPC
        make_files(tmp_path / "one", f=b"x" * ((1 << 20) - 512 - page))
        tarcast.write_tar(tmp_path / "one", place / "out.tar")
        assert (place / "out.tar").read_bytes().endswith(TRAILER)


@THREADS
def test_file_size_limit_is_an_error(tree: Path, tmp_path: Path, threads: int) -> None:
    (tmp_path / "to").mkdir()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        tarcast.write_tar(tree, tmp_path / "to" / "out.tar", threads=threads)

    with pytest.raises(tarcast.OutputError, match="ulimit") as caught:
        in_child(limited)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path / "to") == []
    line = f'ulimit -f 1024; exec {" ".join(COMMAND)} create "$0" -o "$1"'
    done = subprocess.run(["sh", "-c", line, tree, tmp_path / "to" / "out.tar"], capture_output=True)
    assert (done.returncode, os.listdir(tmp_path / "to")) == (4, [])
    assert b"EFBIG" in done.stderr


@pytest.mark.parametrize("free", [6, 8, 12])
def test_failing_write_while_descriptors_are_waited_for_is_an_error(tmp_path: Path, free: int) -> None:
    # The first names are in memory, not yet worth a write, when none is left for a file further down.
    make_files(tmp_path / "t", **{f"f{i:03}": b"x" * 100 for i in range(126)})
    for level in range(1, 30):
        make_files(tmp_path / "t" / ("z/" * level), f=b"x")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        out = os.open(tmp_path / "out.tar", os.O_WRONLY | os.O_CREAT)
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(out))
        for fd in taken[:free]:
            os.close(fd)
        try:
            tarcast.write_tar(tmp_path / "t", out, threads=1)
        finally:
            for fd in taken[free:]:
                os.close(fd)

    with pytest.raises(tarcast.OutputError) as caught:
        in_child(limited)
    assert caught.value.errno == errno.EFBIG


# ---- the other end -------------------------------------------------------


def pipe() -> tuple[int, int]:
    """(write end, read end)"""
    reader, writer = os.pipe()
    return writer, reader


def sockets() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


ENDS = pytest.mark.parametrize("ends", [pipe, sockets])


@ENDS
@THREADS
@pytest.mark.parametrize("taken", [0, 100_000])
def test_reader_that_goes_away_is_an_error(
    tree: Path, ends: Callable[[], tuple[int, int]], threads: int, taken: int
) -> None:
    with nothing_left_behind():
        writer, reader = ends()

        def go_away() -> None:
            left = taken
            while left > 0:
                left -= len(os.read(reader, left))
            os.close(reader)

        thread = threading.Thread(target=go_away)
        thread.start()
        if not taken:
            thread.join()
        try:
            with pytest.raises(tarcast.OutputError) as caught:
                tarcast.write_tar(tree, writer, threads=threads)
        finally:
            os.close(writer)
            thread.join()
    # A socket closed with unread bytes in it resets the connection.
    assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)
    assert "went away" in caught.value.hint


def test_command_without_a_reader_ends_with_4_and_one_line(tree: Path) -> None:
    line = f'{{ {" ".join(COMMAND)} create "$0"; echo $? >&2; }} | head -c 3'
    done = subprocess.run(["sh", "-c", line, tree], capture_output=True)
    said, status = done.stderr.decode().splitlines()
    assert (status, "EPIPE" in said) == ("4", True)


@ENDS
@THREADS
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "nonblocking"])
@pytest.mark.parametrize("pace", ["slow", "stalled"])
def test_slow_reader_gets_the_same_bytes(
    tree: Path, expected: bytes, ends: Callable[[], tuple[int, int]], threads: int, blocking: bool, pace: str
) -> None:
    writer, reader = ends()
    os.set_blocking(writer, blocking)
    received = bytearray()

    def read() -> None:
        if pace == "stalled":
            time.sleep(0.3)
        while data := os.read(reader, 30_001):
            received.extend(data)
            if pace == "slow":
                time.sleep(0.001)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        tarcast.write_tar(tree, writer, threads=threads)
        assert os.get_blocking(writer) is blocking  # the flag is shared with whoever made the pipe
    finally:
        os.close(writer)
        thread.join()
        os.close(reader)
    assert bytes(received) == expected


# ---- the output in the tree ----------------------------------------------


@pytest.fixture(params=[False, True], ids=["nameless", "named"])
def temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to a file that is not there yet; the second for file systems without O_TMPFILE."""
    if request.param:
        monkeypatch.delattr(os, "O_TMPFILE")
    return "named" if request.param else "nameless"


@pytest.mark.parametrize("place", ["out.tar", "s/out.tar"])
def test_new_output_in_the_tree_does_not_hold_itself(tree: Path, temporary: str, place: str) -> None:
    os.utime(tree / "s", (1_000_000_000, 1_000_000_000))
    stream = io.BytesIO()
    tarcast.write_tar(tree, stream)
    result = tarcast.write_tar(tree, tree / place)
    archive = (tree / place).read_bytes()
    assert names(archive) == ["a", "s", "s/b", "z"]
    if temporary == "nameless":
        assert archive == stream.getvalue()  # not even the time of the directory has changed
        assert result.warnings == []
    else:
        assert all(".tarcast-" in w.path and not w.skipped for w in result.warnings)
        assert len(result.warnings) == 1
    assert result.skipped == 0


def test_old_output_in_the_tree_is_left_out_with_a_warning(tree: Path, expected: bytes) -> None:
    (tree / "out.tar").write_bytes(b"old" * 1000)
    result = tarcast.write_tar(tree, tree / "out.tar")
    assert (tree / "out.tar").read_bytes() == expected
    assert told(result, tree) == [("out.tar", "select", 0, False)]
    assert "archive itself" in str(result.warnings[0])
    (tree / "link.tar").symlink_to("out.tar")
    result = tarcast.write_tar(tree, tree / "link.tar")
    assert names((tree / "out.tar").read_bytes()) == ["a", "link.tar", "s", "s/b", "z"]
    assert told(result, tree) == [("out.tar", "select", 0, False)]


def test_second_name_of_the_old_output_is_kept(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_bytes(b"old")
    os.link(tmp_path / "out.tar", tree / "s" / "backup")
    result = tarcast.write_tar(tree, tmp_path / "out.tar")
    assert names((tmp_path / "out.tar").read_bytes()) == ["a", "s", "s/b", "s/backup", "z"]
    assert result.warnings == []
    assert (tree / "s" / "backup").read_bytes() == b"old"


def test_redirection_into_the_tree_does_not_hold_itself(tree: Path, expected: bytes) -> None:
    line = f'exec {" ".join(COMMAND)} create "$0" > "$0/s.tar"'
    done = subprocess.run(["sh", "-c", line, tree], capture_output=True)
    assert done.returncode == 0
    assert (tree / "s.tar").read_bytes() == expected
    assert f"warning: {tree}/s.tar: select: is the archive itself: left out" in done.stderr.decode()
    (tree / "s.tar").unlink()
    with open(tree / "m.tar", "wb") as file:
        result = tarcast.write_tar(tree, file)
    assert (tree / "m.tar").read_bytes() == expected
    assert told(result, tree) == [("m.tar", "select", 0, False)]


def test_output_that_appears_in_the_tree_meanwhile_is_replaced(tree: Path, expected: bytes) -> None:
    hook = at("a", lambda: (tree.parent / "out.tar").write_bytes(b"somebody else's"))
    tarcast.write_tar(tarcast.Tree(tree, map=hook), tree.parent / "out.tar")
    assert (tree.parent / "out.tar").read_bytes() == expected


def test_output_directory_removed_meanwhile_is_an_error(tree: Path, tmp_path: Path, temporary: str) -> None:
    place = tmp_path / "to"
    place.mkdir()

    def remove() -> None:
        for name in os.listdir(place):
            (place / name).unlink()
        place.rmdir()

    with nothing_left_behind(), pytest.raises(tarcast.OutputError) as caught:
        tarcast.write_tar(tarcast.Tree(tree, map=at("a", remove)), place / "out.tar")
    assert caught.value.errno == errno.ENOENT
    assert caught.value.step == "finish output"


def test_output_below_a_bind_mount_of_the_tree_does_not_hold_itself(tree: Path, tmp_path: Path) -> None:
    (tree / "out.tar").write_bytes(b"old")
    with mounted(tmp_path / "elsewhere", "--bind", os.fspath(tree)) as place:
        tarcast.write_tar(tree, place / "out.tar")
        assert names((place / "out.tar").read_bytes()) == ["a", "s", "s/b", "z"]
