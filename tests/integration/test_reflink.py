"""Archives that share blocks with the tree: what is shared is what was there, and stays it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.support.bulk import all_bodies
from tests.support.disks import BLOCK, MakeDirectory, allocated, extents
from tests.support.faults import make_files, mounted, nothing_left_behind, tmpfs
from tests.support.holes import assert_same_data, make_islands
from tests.support.judge import assert_same_archive
from tests.support.members import members
from tests.support.reflinks import (
    LEAST,
    assert_shares,
    cloneable,
    copied,
    export,
    members_of,
    whole_blocks,
)
from tests.support.sinks import SINKS
from tests.support.trees import make_tree

THREADS = pytest.mark.parametrize("threads", [1, 2, 8])
KINDS = pytest.mark.parametrize("kind", ["xfs", "btrfs"])


@pytest.fixture(params=["xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, disks: MakeDirectory) -> Path:
    """A directory on a file system that can share blocks."""
    return disks(request.param)


@THREADS
def test_whole_blocks_of_large_bodies_are_shared(disk: Path, threads: int) -> None:
    (disk / "t").mkdir()
    make_tree(all_bodies(), os.fsencode(disk / "t"))
    want = copied(disk / "t")
    with nothing_left_behind(disk / "t"):
        result = export(disk / "t", disk / "out.tar", threads=threads)
    assert_same_archive((disk / "out.tar").read_bytes(), want)
    assert result.bytes_written == len(want)
    assert result.bytes_cloned == cloneable(want) > 8 << 20
    large = [m for m in members(want) if m.isreg() and m.size >= LEAST]
    assert len(large) > 20
    for member in large:
        assert_shares(disk / "t", disk / "out.tar", member.name)
    # What is shared lies there for nothing; what is not are headers, tails and small files.
    own = sum(length for _, _, length, shared in extents(disk / "out.tar") if not shared)
    assert own <= len(want) - result.bytes_cloned + BLOCK * (2 * len(large) + 1)


@pytest.fixture
def tree(disk: Path) -> Path:
    """Two large files of an odd and an even size among small ones."""
    return make_files(disk / "t", a=b"a", m=os.urandom(300_001), n=os.urandom(1 << 20), z=b"z" * 1000)


CLONED = whole_blocks(300_001) + (1 << 20)


def test_what_becomes_of_the_files_later_does_not_change_the_archive(tree: Path, disk: Path) -> None:
    want = copied(tree)
    assert export(tree, disk / "out.tar").bytes_cloned == CLONED
    with open(tree / "m", "r+b") as file:
        file.write(b"new" * 20_000)
    os.truncate(tree / "n", 5_000)
    (tree / "n").unlink()
    os.sync()
    assert_same_archive((disk / "out.tar").read_bytes(), want)


def test_what_becomes_of_the_archive_later_does_not_change_the_files(tree: Path, disk: Path) -> None:
    before = {path.name: path.read_bytes() for path in tree.iterdir()}
    assert export(tree, disk / "out.tar").bytes_cloned == CLONED
    with open(disk / "out.tar", "r+b") as file:
        file.write(b"\xa5" * (2 << 20))
    os.sync()
    assert {path.name: path.read_bytes() for path in tree.iterdir()} == before


@pytest.mark.parametrize("sink", SINKS)
def test_only_a_place_on_blocks_of_a_file_is_shared(tree: Path, disk: Path, sink: str) -> None:
    results: list[tarcast.Result] = []
    (disk / "place").mkdir()
    got = SINKS[sink](lambda target: results.append(export(tree, target)), disk / "place")
    assert_same_archive(got, copied(tree))
    assert results[0].bytes_cloned == (CLONED if sink in ("path", "descriptor", "over") else 0)


@pytest.mark.parametrize("options", [{"align": False}, {"digest": ["sha256"]}])
def test_nothing_is_shared_without_alignment_or_with_a_digest(
    tree: Path, disk: Path, options: dict[str, Any]
) -> None:
    result = export(tree, disk / "out.tar", **options)
    assert result.bytes_cloned == 0
    assert_same_archive((disk / "out.tar").read_bytes(), copied(tree, **options))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("xfs", "btrfs"),
        ("btrfs", "xfs"),
        ("xfs", "ext4"),
        ("ext4", "btrfs"),
        ("xfs", "tmpfs"),
        ("tmpfs", "xfs"),
    ],
)
def test_other_file_system_gets_copies(disks: MakeDirectory, one: str, other: str) -> None:
    source, place = disks(one), disks(other)
    make_tree(all_bodies(1), os.fsencode(source))
    for threads in (1, 8):
        assert export(source, place / "out.tar", threads=threads).bytes_cloned == 0
        assert_same_archive((place / "out.tar").read_bytes(), copied(source))


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_file_system_without_reflinks_gets_copies(disks: MakeDirectory, kind: str) -> None:
    disk = disks(kind)
    (disk / "t").mkdir()
    make_tree(all_bodies(1), os.fsencode(disk / "t"))
    for threads in (1, 8):
        assert export(disk / "t", disk / "out.tar", threads=threads).bytes_cloned == 0
        assert_same_archive((disk / "out.tar").read_bytes(), copied(disk / "t"))


@THREADS
def test_files_of_several_file_systems_are_shared_where_that_goes(
    disk: Path, tmp_path: Path, threads: int
) -> None:
    """In turns, so that what is refused for one comes before and behind what is not for the other."""
    make_files(disk / "t", **{f"f{i}": os.urandom(LEAST + i) for i in range(0, 20, 2)})
    with tmpfs(tmp_path / "m", "size=8m") as memory:
        for i in range(1, 20, 2):
            (disk / "t" / f"f{i}").mkdir()
        make_files(memory, **{f"g{i}": os.urandom(LEAST + i) for i in range(3)})
        trees = {"a": disk / "t", "b": memory, "c": disk / "t"}
        result = export(trees, disk / "out.tar", threads=threads)
        assert_same_archive((disk / "out.tar").read_bytes(), copied(trees))
    assert result.bytes_cloned == 2 * 10 * LEAST


def test_mounts_in_the_tree_are_shared_where_that_goes(disk: Path) -> None:
    make_files(disk / "t", a=os.urandom(LEAST), z=os.urandom(LEAST))
    with tmpfs(disk / "t" / "m", "size=8m") as memory:
        make_files(memory, f=os.urandom(LEAST + 1))
        result = export(disk / "t", disk / "out.tar")
        assert_same_archive((disk / "out.tar").read_bytes(), copied(disk / "t"))
    assert result.bytes_cloned == 2 * LEAST


@THREADS
def test_subvolumes_share_their_blocks_too(disks: MakeDirectory, threads: int) -> None:
    disk = disks("btrfs")
    make_files(disk / "t", a=os.urandom(LEAST), z=os.urandom(300_000))
    for command in (["create", disk / "t" / "sub"], ["create", disk / "t" / "sub" / "below"]):
        subprocess.run(["btrfs", "subvolume", *command], check=True, capture_output=True)
    make_files(disk / "t" / "sub", f=os.urandom(100_000), g=b"g")
    make_files(disk / "t" / "sub" / "below", f=os.urandom(LEAST), h=b"h")
    os.sync()
    subprocess.run(
        ["btrfs", "subvolume", "snapshot", disk / "t" / "sub", disk / "t" / "snap"],
        check=True,
        capture_output=True,
    )
    assert len({os.stat(disk / "t" / path).st_dev for path in ("a", "sub/f", "sub/below/f", "snap/f")}) == 4
    # Where a snapshot leaves a subvolume out there is a directory that is on no disk: when the kernel has
    # dropped it from its cache, its times are those of the next look at it.
    with os.scandir(disk / "t" / "snap" / "below"):
        want = copied(disk / "t")
        result = export(disk / "t", disk / "out.tar", threads=threads)
    assert_same_archive((disk / "out.tar").read_bytes(), want)
    assert (
        result.bytes_cloned
        == cloneable(want)
        == 2 * LEAST + whole_blocks(300_000) + 2 * whole_blocks(100_000)
    )
    for path in ("a", "sub/f", "sub/below/f", "snap/f"):
        assert_shares(disk / "t", disk / "out.tar", path)


@KINDS
@THREADS
def test_overlay_of_such_a_file_system_has_the_same_bytes(
    disks: MakeDirectory, kind: str, threads: int
) -> None:
    disk = disks(kind)
    lower = make_files(disk / "lower", a=os.urandom(LEAST + 3), b=b"b", c=os.urandom(LEAST))
    for name in ("upper", "work"):
        (disk / name).mkdir()
    options = f"lowerdir={lower},upperdir={disk / 'upper'},workdir={disk / 'work'}"
    with mounted(disk / "merged", "-t", "overlay", "-o", options, "tarcast-test") as merged:
        make_files(merged, d=os.urandom(300_000))
        want = copied(merged)
        for out in (disk / "out.tar", merged / "out.tar"):
            result = export(merged, out, threads=threads)
            assert result.bytes_cloned in (0, cloneable(want))
            assert_same_archive(out.read_bytes(), want)
            out.unlink()


@THREADS
def test_holes_of_shared_files_stay_holes(disk: Path, threads: int) -> None:
    (disk / "t").mkdir()
    mib = 1 << 20
    make_islands(disk / "t" / "a", 20 * mib, [(5 * mib, 10_000), (15 * mib, 10_000)])
    make_islands(disk / "t" / "b", 20 * mib + 77, [(0, 10_000), (20 * mib - 10_000, 10_077)])
    # Larger than the disk, and than what is shared with one call.
    make_islands(disk / "t" / "c", 700 * mib + 1, [(n * mib - 5_000, 10_000) for n in (3, 256, 512, 699)])
    make_islands(disk / "t" / "d", 30 * mib, [])
    result = export(disk / "t", disk / "out.tar", threads=threads)
    assert result.bytes_cloned == (20 + 20 + 700 + 30) * mib
    assert allocated(disk / "out.tar") < mib
    found = members_of(disk / "out.tar")
    assert list(found) == ["a", "b", "c", "d"]
    for path, member in found.items():
        assert member.offset_data % BLOCK == 0
        assert_same_data(disk / "t" / path, disk / "out.tar", member.offset_data, member.size, path)
