"""While blocks are shared: files that change, disks that fill up or die, files of which none can be."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tarcast
from tests.integration.test_failures_input import content, grow, names, told
from tests.support.disks import MakeDirectory
from tests.support.faults import TRAILER, at, image, in_child, make_files, nothing_left_behind
from tests.support.judge import assert_same_archive
from tests.support.reflinks import LEAST, copied, export, members_of, whole_blocks

THREADS = pytest.mark.parametrize("threads", [1, 2, 8])
SIZES = pytest.mark.parametrize("size", [LEAST, 70_000, 1 << 20, (3 << 20) + 7])


@pytest.fixture(params=["xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, disks: MakeDirectory) -> Path:
    return disks(request.param)


def changing(disk: Path, size: int, change: Callable[[Path], object]) -> tarcast.Tree:
    """A tree in which `m` is changed once its header is as good as written."""
    tree = make_files(disk / "t", a=b"a", m=b"m" * size, n=b"n" * LEAST, z=b"z")
    return tarcast.Tree(tree, map=at("m", lambda: change(tree / "m")))


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


# ---- files that change ---------------------------------------------------


@THREADS
@SIZES
def test_shrinking_file_fails_with_what_was_expected_and_seen(disk: Path, size: int, threads: int) -> None:
    tree = changing(disk, size, halve)
    with nothing_left_behind(disk), pytest.raises(tarcast.ChangedError) as caught:
        export(tree, disk / "out.tar", threads=threads)
    assert (caught.value.path, caught.value.step) == (str(disk / "t" / "m"), "read data")
    assert (caught.value.expected, caught.value.errno) == (size, None)
    assert caught.value.seen == size // 2


@THREADS
@SIZES
def test_shrinking_file_is_filled_with_zeros(disk: Path, size: int, threads: int) -> None:
    result = export(changing(disk, size, halve), disk / "out.tar", threads=threads, on_error="skip")
    archive = (disk / "out.tar").read_bytes()
    assert names(archive) == ["a", "m", "n", "z"]
    assert content(archive, "m") == (b"m" * (size // 2)).ljust(size, b"\0")
    assert content(archive, "n") == b"n" * LEAST
    assert archive.endswith(TRAILER)
    assert told(result, disk / "t") == [("m", "read data", 0, True)]
    assert f"{size} bytes expected, {size // 2} seen" in result.warnings[0].message


@THREADS
@SIZES
def test_growing_file_fails(disk: Path, size: int, threads: int) -> None:
    tree = changing(disk, size, grow)
    with nothing_left_behind(disk), pytest.raises(tarcast.ChangedError) as caught:
        export(tree, disk / "out.tar", threads=threads)
    assert (caught.value.path, caught.value.step) == (str(disk / "t" / "m"), "read data")
    assert caught.value.expected == size
    assert size < caught.value.seen <= size + 1000


@THREADS
@SIZES
def test_growing_file_is_cut(disk: Path, size: int, threads: int) -> None:
    result = export(changing(disk, size, grow), disk / "out.tar", threads=threads, on_error="skip")
    archive = (disk / "out.tar").read_bytes()
    assert content(archive, "m") == b"m" * size
    assert content(archive, "z") == b"z"
    assert told(result, disk / "t") == [("m", "read data", 0, True)]


@THREADS
def test_removed_file_is_whole(disk: Path, threads: int) -> None:
    tree = changing(disk, 300_000, Path.unlink)
    result = export(tree, disk / "out.tar", threads=threads)
    assert content((disk / "out.tar").read_bytes(), "m") == b"m" * 300_000
    assert (result.warnings, result.bytes_cloned) == ([], whole_blocks(300_000) + LEAST)


# ---- one file that cannot be shared --------------------------------------


@THREADS
def test_file_that_shrank_keeps_no_other_from_being_shared(disk: Path, threads: int) -> None:
    result = export(changing(disk, 70_000, halve), disk / "out.tar", threads=threads, on_error="skip")
    assert result.bytes_cloned == LEAST  # of `n`, behind it


@THREADS
def test_file_that_is_not_aligned_keeps_no_other_from_being_shared(disk: Path, threads: int) -> None:
    """Its attributes leave no room for padding, so it lies where it comes."""
    make_files(disk / "t", a=b"a", m=os.urandom(LEAST), n=os.urandom(300_000), z=b"z")

    def dress(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "m":
            entry.xattrs = {"user.k": b"v" * ((1 << 20) - 50)}
        return entry

    tree = tarcast.Tree(disk / "t", map=dress)
    result = export(tree, disk / "out.tar", threads=threads)
    assert members_of(disk / "out.tar")["m"].offset_data % 4096 != 0
    assert_same_archive((disk / "out.tar").read_bytes(), copied(tree))
    assert result.bytes_cloned == whole_blocks(300_000)


@THREADS
def test_file_that_may_not_be_shared_keeps_no_other_from_being_shared(
    disks: MakeDirectory, threads: int
) -> None:
    """btrfs shares nothing between a file with checksums and one without (chattr +C)."""
    disk = disks("btrfs")
    make_files(disk / "t", a=os.urandom(LEAST), c=os.urandom(LEAST + 5))
    (disk / "t" / "b").touch()
    subprocess.run(["chattr", "+C", disk / "t" / "b"], check=True)
    (disk / "t" / "b").write_bytes(os.urandom(300_000))
    result = export(disk / "t", disk / "out.tar", threads=threads)
    assert_same_archive((disk / "out.tar").read_bytes(), copied(disk / "t"))
    assert result.bytes_cloned == 2 * LEAST


# ---- disks that fill up or die -------------------------------------------


def fill(place: Path, leave: int) -> None:
    """Take all room but about `leave` bytes."""
    fd = os.open(place / "filler", os.O_CREAT | os.O_WRONLY)
    try:
        step = 64 << 20
        while step >= 65_536:
            stat = os.statvfs(place)
            if stat.f_bavail * stat.f_frsize - step < leave:
                step //= 2
                continue
            try:
                os.posix_fallocate(fd, os.fstat(fd).st_size, step)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
    finally:
        os.close(fd)


@THREADS
@pytest.mark.parametrize(("kind", "size"), [("xfs", 320 << 20), ("btrfs", 128 << 20)])
def test_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path, kind: str, size: int, threads: int) -> None:
    """What is shared needs no room, the small files do."""
    with image(tmp_path / "m", kind, size, "-q") as place:
        small = {f"s{i:03}": b"s" * 60_000 for i in range(200)}
        make_files(place / "t", a=os.urandom(1 << 20), z=os.urandom(1 << 20), **small)
        (place / "old.tar").write_bytes(b"old")
        os.sync()
        fill(place, 4 << 20)
        for name in ("out.tar", "old.tar"):
            with nothing_left_behind(place), pytest.raises(tarcast.OutputError) as caught:
                export(place / "t", place / name, threads=threads)
            assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, str(place / name))
        assert (place / "old.tar").read_bytes() == b"old"
        # And it is the small ones that are too much.
        (place / "only").mkdir()
        for name in ("a", "z"):
            (place / "t" / name).rename(place / "only" / name)
        assert export(place / "only", place / "out.tar", threads=threads).bytes_cloned == 2 << 20


@THREADS
def test_file_size_limit_is_an_error(disk: Path, threads: int) -> None:
    make_files(disk / "t", a=os.urandom(600_000), b=os.urandom(600_000))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        export(disk / "t", disk / "out.tar", threads=threads)

    with pytest.raises(tarcast.OutputError) as caught:
        in_child(limited)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(disk) == ["t"]


def kill(place: Path) -> None:
    """From now on everything on the file system at `place` is an error: as if its disk was pulled out."""
    fd = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x8004587D, struct.pack("=L", 2))  # FS_IOC_SHUTDOWN, without writing anything back
    except OSError as error:
        pytest.skip(f"not applicable: this kernel cannot shut the file system down: {error}")
    finally:
        os.close(fd)


@THREADS
@pytest.mark.parametrize("kind", ["xfs", "ext4"])
@pytest.mark.parametrize("sink", ["file", "same-disk"])
def test_disk_that_dies_is_an_error(tmp_path: Path, kind: str, sink: str, threads: int) -> None:
    size = 320 << 20 if kind == "xfs" else 16 << 20
    with image(tmp_path / "m", kind, size, "-q") as place:
        make_files(place / "t", a=b"a", m=os.urandom((1 << 20) + 5), z=b"z")
        os.sync()
        tree = tarcast.Tree(place / "t", map=at("m", lambda: kill(place)))
        out = tmp_path / "out.tar" if sink == "file" else place / "out.tar"
        with pytest.raises((tarcast.InputError, tarcast.OutputError)) as caught:
            export(tree, out, threads=threads)
        assert caught.value.errno == errno.EIO
        if sink == "file":
            assert (caught.value.path, caught.value.step) == (str(place / "t" / "m"), "read data")
        assert not (tmp_path / "out.tar").exists()


@THREADS
def test_disk_that_dies_is_told_of_and_filled_with_zeros(tmp_path: Path, threads: int) -> None:
    with image(tmp_path / "m", "xfs", 320 << 20, "-q") as place:
        size = (1 << 20) + 5
        make_files(place / "t", a=b"a", m=os.urandom(size))
        os.sync()
        tree = tarcast.Tree(place / "t", map=at("m", lambda: kill(place)))
        result = export(tree, tmp_path / "out.tar", threads=threads, on_error="skip")
        archive = (tmp_path / "out.tar").read_bytes()
        assert names(archive) == ["a", "m"]
        assert content(archive, "m") == bytes(size)
        assert told(result, place / "t") == [("m", "read data", errno.EIO, True)]
