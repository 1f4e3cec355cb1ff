"""`sparse=True`: files with holes as a map and their data; and holes without it, zeros that nobody reads."""

from __future__ import annotations

import io
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.integration.test_failures_input import content, grow, told
from tests.support.disks import MakeDirectory, allocated
from tests.support.extract import EXTRACTORS
from tests.support.faults import TRAILER, Deadline, at, make_files, nothing_left_behind
from tests.support.holes import assert_same_data, data_ranges, make_islands
from tests.support.judge import assert_same_archive
from tests.support.members import PAD, described, members, opened
from tests.support.oracle import Original
from tests.support.sinks import SINKS
from tests.support.sparse import SHAPES, SparseEntry, make_shapes, sparse_entries

KINDS = pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs"])
THREADS = pytest.mark.parametrize("threads", [1, 2, 8])
TIB = 1 << 40


def archive_of(tree: Any, **options: Any) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(tree, archive, **({"threads": 1, "cancel": Deadline()} | options))
    return archive.getvalue()


def sparse(tree: Any, **options: Any) -> bytes:
    return archive_of(tree, sparse=True, **options)


@pytest.fixture(params=["ext4", "xfs", "btrfs", "tmpfs"])
def disk(request: pytest.FixtureRequest, disks: MakeDirectory) -> Path:
    return disks(request.param)


@pytest.fixture
def tree(disk: Path) -> Path:
    make_shapes(disk / "t")
    os.sync()  # what is a hole is known for good only then
    return disk / "t"


# ---- the format ----------------------------------------------------------


def assert_holds(entry: SparseEntry, path: Path) -> None:
    """The entry's map and data are the file's: in order, to the end, nothing but zeros between."""
    raw = path.read_bytes()
    assert entry.real_size == len(raw)
    at = 0
    whole = bytearray(len(raw))
    end = 0
    for offset, size in entry.runs:
        assert offset >= end, "sorted, and none lies in another"
        assert offset % 512 == 0 or (size == 0 and offset == len(raw))
        assert size % 512 == 0 or offset + size == len(raw)
        whole[offset : offset + size] = entry.data[at : at + size]
        at += size
        end = offset + size
    assert end == len(raw), "the map ends where the file does"
    assert at == len(entry.data)
    assert all(size > 0 for _, size in entry.runs[:-1])
    assert bytes(whole) == raw
    assert entry.stored == len(entry.map_text) + len(entry.data)


def test_files_with_holes_become_a_map_and_their_data(tree: Path) -> None:
    archive = sparse(tree)
    entries = sparse_entries(archive)
    assert entries.keys() >= SHAPES.keys()
    assert not {"solid", "small", "not-worth-it"} & entries.keys()
    for name, entry in entries.items():
        assert_holds(entry, tree / name)
        with open(tree / name, "rb") as file:
            data = sum(end - begin for begin, end in data_ranges(file.fileno(), 0, entry.real_size))
        assert len(entry.data) <= data + 512 * len(entry.runs)
        assert len(entry.data) < entry.real_size // 2 + 4096
    assert len(archive_of(tree)) > 50 << 20
    assert len(archive) < 20 << 20


def test_header_of_a_sparse_file_tells_others_where_it_is_not(disk: Path) -> None:
    """Who does not know sparse entries sees a file of another name: in a directory that says what it is."""
    (disk / "t" / "d").mkdir(parents=True)
    for name in ("f", "d/f", "n" * 120, "d/" + "é" * 5):
        make_islands(disk / "t" / name, 1 << 20, [(0, 1)])
    found = {name: entry.header_name for name, entry in sparse_entries(sparse(disk / "t")).items()}
    assert found == {
        "f": b"GNUSparseFile.0/f",
        "d/f": b"d/GNUSparseFile.0/f",
        "n" * 120: b"GNUSparseFile.0/" + b"n" * 84,
        "d/" + "é" * 5: b"d/GNUSparseFile.0",
    }


def test_tree_without_holes_has_the_default_bytes(disk: Path) -> None:
    make_files(
        disk / "t", **{f"f{size}": os.urandom(size) for size in (0, 1, 4095, 70_000, 300_000, 1 << 20)}
    )
    os.sync()
    assert_same_archive(sparse(disk / "t"), archive_of(disk / "t"))


@pytest.mark.parametrize("pages", range(2, 8))
def test_hole_that_is_not_worth_it_is_written_as_zeros(disk: Path, pages: int) -> None:
    """The map and its header cost 1536 bytes: no more than a hole of a page saves."""
    for hole in range(pages + 1):
        data = [(i * 4096, 4096) for i in range(pages) if i != hole]
        make_islands(disk / f"f{hole}", pages * 4096 - 4096 + 1_000, data[: pages - 1])
        make_islands(disk / f"g{hole}", pages * 4096 + 1, [(0, pages * 4096)])
    os.sync()
    archive = sparse(disk)
    for member in members(archive):
        assert content(archive, member.name) == (disk / member.name).read_bytes(), member.name
    plain = {m.name: m.size for m in members(archive_of(disk))}
    for entry in sparse_entries(archive).values():
        assert entry.stored + 1024 < plain[entry.name]
        assert_holds(entry, disk / entry.name)


def test_random_holes_are_told_right(disk: Path) -> None:
    rng = random.Random(5)
    for i in range(40):
        size = rng.randrange(1, rng.choice([20_000, 400_000, 3 << 20]))
        islands = [
            (rng.randrange(size), rng.choice([1, 500, 5_000, 80_000])) for _ in range(rng.randrange(9))
        ]
        make_islands(disk / f"f{i:02}", size, sorted(islands))
        os.truncate(disk / f"f{i:02}", size)
    os.sync()
    archive = sparse(disk)
    entries = sparse_entries(archive)
    assert 10 < len(entries) < 40
    for name, entry in entries.items():
        assert_holds(entry, disk / name)
    with opened(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == (disk / member.name).read_bytes(), member.name


def test_hard_link_to_a_sparse_file_names_the_file(disk: Path) -> None:
    (disk / "t").mkdir()
    make_islands(disk / "t" / "a", 1 << 20, [(0, 1)])
    os.link(disk / "t" / "a", disk / "t" / "b")
    archive = sparse(disk / "t")
    assert [(m.name, m.linkname, m.size) for m in members(archive)] == [("a", "", 1 << 20), ("b", "a", 0)]
    assert sparse_entries(archive).keys() == {"a"}


def test_attributes_beyond_the_limit_are_left_out_and_the_holes_kept(disk: Path) -> None:
    (disk / "t").mkdir()
    make_islands(disk / "t" / "f", 1 << 20, [(0, 1)])

    def dress(entry: tarcast.Entry) -> tarcast.Entry:
        entry.xattrs = {"user.k": b"v" * ((1 << 20) - 100)}
        return entry

    tree = tarcast.Tree(disk / "t", map=dress)
    with pytest.raises(tarcast.InputError, match="1048576"):
        sparse(tree)
    archive = sparse(tree, on_error="skip")
    assert_same_archive(archive, sparse(disk / "t"))


# ---- readers -------------------------------------------------------------


@pytest.mark.parametrize("name", EXTRACTORS)
def test_tool_restores_the_files_and_their_holes(tree: Path, disk: Path, name: str) -> None:
    (disk / "out.tar").write_bytes(sparse(tree))
    (disk / "place").mkdir()
    EXTRACTORS[name].judge(tree, disk / "out.tar", disk / "place")
    for shape, (_, islands) in SHAPES.items():
        # XFS reserves blocks behind the end of a file that grows, as the tools' does, so between islands too.
        if "xfs" not in str(disk) or len(islands) < 2:
            assert allocated(disk / "place" / shape) <= allocated(tree / shape) + (128 << 10), shape


def test_tarfile_reads_what_is_in_the_plain_archive(tree: Path) -> None:
    def known(archive: bytes) -> list[dict[str, Any]]:
        return [
            entry | {"size": None if entry["type"] == b"1" else entry["size"]} for entry in described(archive)
        ]

    assert known(sparse(tree)) == known(archive_of(tree))


@pytest.mark.parametrize("name", EXTRACTORS)
def test_tool_restores_a_file_of_a_tebibyte(disk: Path, name: str) -> None:
    (disk / "t").mkdir()
    for path, islands in {
        "empty": [],
        "f": [(5, 10_000), (TIB // 2 - 3, 6), (TIB - 100, 177)],
        "é" * 70: [(TIB // 3, 4096)],
    }.items():
        make_islands(disk / "t" / path, TIB + 77, islands)
    began = time.monotonic()
    tarcast.write_tar(disk / "t", disk / "out.tar", sparse=True)
    assert time.monotonic() - began < 2
    assert os.stat(disk / "out.tar").st_size < 1 << 20
    (disk / "place").mkdir()
    EXTRACTORS[name].extract(disk / "out.tar", disk / "place", False)
    for path in ("empty", "f", "é" * 70):
        assert_same_data(disk / "t" / path, disk / "place" / path, 0, TIB + 77, path)
        assert allocated(disk / "place" / path) < 1 << 20


def test_size_that_ustar_cannot_hold_is_only_the_real_one(disk: Path) -> None:
    make_islands(disk / "f", TIB, [])
    archive = sparse(disk)
    assert b"size=" not in archive.replace(b"realsize=", b"")
    (entry,) = sparse_entries(archive).values()
    assert (entry.real_size, entry.runs, entry.stored) == (TIB, [(TIB, 0)], 512)


# ---- workers and sinks ---------------------------------------------------


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes") / "t"
    make_shapes(root)
    for i in range(300):  # so that there are more than a few batches
        make_islands(root / f"many{i:03}", 40_000 + i * 517, [(0, 10), (i * 100, i)])
    os.sync()
    return root


@pytest.fixture(scope="module")
def expected(shapes: Path) -> bytes:
    return sparse(shapes)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("threads", [None, 2, 8, 64])
@pytest.mark.parametrize("memory", [1 << 20, 32 << 20], ids=["little-memory", "memory"])
def test_bytes_are_the_same_for_all_workers_and_sinks(
    shapes: Path, expected: bytes, tmp_path: Path, sink: str, threads: int | None, memory: int
) -> None:
    got = SINKS[sink](
        lambda target: tarcast.write_tar(
            shapes, target, sparse=True, threads=threads, memory_limit=memory, cancel=Deadline()
        ),
        tmp_path,
    )
    assert_same_archive(got, expected)


def test_solid_files_are_aligned_beside_sparse_ones(tree: Path, disk: Path) -> None:
    archive = sparse(tree, align=True)
    found = {m.name: m for m in members(archive)}
    assert {name for name, m in found.items() if PAD in m.pax_headers} <= {"solid"}
    assert found["solid"].offset_data % 4096 == 0
    assert sparse_entries(archive).keys() == sparse_entries(sparse(tree)).keys()
    for threads in (1, 2, 8):
        result = tarcast.write_tar(tree, disk / "out.tar", align=True, sparse=True, threads=threads)
        assert_same_archive((disk / "out.tar").read_bytes(), archive)
        assert result.bytes_cloned in (0, 300_000 // 4096 * 4096)
        assert (result.bytes_cloned > 0) == ("xfs" in str(disk) or "btrfs" in str(disk))


# ---- files that change ---------------------------------------------------

MIB = 1 << 20
# Small enough to be read with its header, and larger than several chunks.
CHANGING = pytest.mark.parametrize(
    ("size", "islands"),
    [(MIB, [(0, 10_000), (700_000, 50_000)]), (20 * MIB + 9, [(MIB, 3 * MIB), (15 * MIB, 4 * MIB)])],
    ids=["small", "large"],
)


def changing(where: Path, size: int, islands: list[tuple[int, int]], change: Callable[[Path], object]) -> Any:
    make_files(where / "t", a=b"a", z=b"z")
    path = make_islands(where / "t" / "m", size, islands)
    os.sync()
    return tarcast.Tree(where / "t", map=at("m", lambda: change(path)))


@CHANGING
@THREADS
@pytest.mark.parametrize("to", ["data", "hole", "nothing", "one-less"])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_shrinking_sparse_file_is_an_error_or_zeros(
    tmp_path: Path, size: int, islands: list[tuple[int, int]], threads: int, to: str, on_error: str
) -> None:
    first, last = islands
    left = {"data": first[0] + first[1] // 2, "hole": last[0] - 5_000, "nothing": 0, "one-less": size - 1}[to]
    tree = changing(tmp_path, size, islands, lambda path: os.truncate(path, left))
    options = {"sparse": True, "threads": threads, "on_error": on_error, "cancel": Deadline()}
    if on_error == "fail":
        with nothing_left_behind(tmp_path), pytest.raises(tarcast.ChangedError) as caught:
            tarcast.write_tar(tree, tmp_path / "out.tar", **options)
        assert (caught.value.path, caught.value.step) == (str(tmp_path / "t" / "m"), "read data")
        assert (caught.value.expected, caught.value.seen) == (size, left)
        return
    before = (tmp_path / "t" / "m").read_bytes()
    result = tarcast.write_tar(tree, tmp_path / "out.tar", **options)
    archive = (tmp_path / "out.tar").read_bytes()
    assert archive.endswith(TRAILER)
    assert content(archive, "m") == before[:left].ljust(size, b"\0")
    assert content(archive, "z") == b"z"
    assert told(result, tmp_path / "t") == [("m", "read data", 0, True)]
    assert f"{size} bytes expected, {left} seen" in result.warnings[0].message


@CHANGING
@THREADS
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_growing_sparse_file_is_an_error_or_cut(
    tmp_path: Path, size: int, islands: list[tuple[int, int]], threads: int, on_error: str
) -> None:
    tree = changing(tmp_path, size, islands, grow)
    options = {"sparse": True, "threads": threads, "on_error": on_error, "cancel": Deadline()}
    if on_error == "fail":
        with nothing_left_behind(tmp_path), pytest.raises(tarcast.ChangedError) as caught:
            tarcast.write_tar(tree, tmp_path / "out.tar", **options)
        assert caught.value.path == str(tmp_path / "t" / "m")
        assert size == caught.value.expected < caught.value.seen <= size + 1000
        return
    before = (tmp_path / "t" / "m").read_bytes()
    result = tarcast.write_tar(tree, tmp_path / "out.tar", **options)
    archive = (tmp_path / "out.tar").read_bytes()
    assert content(archive, "m") == before
    assert told(result, tmp_path / "t") == [("m", "read data", 0, True)]


@THREADS
def test_hole_that_is_filled_meanwhile_makes_no_broken_archive(tmp_path: Path, threads: int) -> None:
    """Of no single moment, like any file that is written to; but what it says is well-formed."""

    def rewrite(path: Path) -> None:
        with open(path, "r+b") as file:
            file.write(b"x" * (2 * MIB))

    tree = changing(tmp_path, 2 * MIB, [(MIB, 5)], rewrite)
    tarcast.write_tar(tree, tmp_path / "out.tar", sparse=True, threads=threads, cancel=Deadline())
    archive = (tmp_path / "out.tar").read_bytes()
    assert set(content(archive, "m")) <= {0, ord("x")}
    assert len(content(archive, "m")) == 2 * MIB
    assert content(archive, "z") == b"z"


# ---- holes without the option --------------------------------------------


def test_holes_are_zeros_as_in_the_original(tree: Path, disk: Path, original: Original) -> None:
    out = disk / "want.tar"
    assert original.write_tar([(None, os.fsencode(tree))], out) is None
    want = out.read_bytes()
    out.unlink()
    for threads in (1, 8):
        for sink in ("path", "pipe"):
            (disk / "place").mkdir()
            got = SINKS[sink](
                lambda target, n=threads: tarcast.write_tar(tree, target, threads=n), disk / "place"
            )
            assert_same_archive(got, want)
            for path in (disk / "place").iterdir():
                path.unlink()
            (disk / "place").rmdir()


def bytes_read() -> int:
    """By all read calls of this process so far."""
    try:
        with open("/proc/self/io") as file:
            return int(dict(line.split(": ") for line in file)["rchar"])
    except OSError as error:
        pytest.skip(f"not applicable: this kernel does not count what is read: {error}")


@THREADS
@pytest.mark.parametrize("sink", ["null", "pipe", "call"])
def test_hole_is_not_read(disk: Path, threads: int, sink: str) -> None:
    (disk / "t").mkdir()
    make_islands(disk / "t" / "f", 1 << 30, [(0, 100_000), (300 * MIB, 100_000)])
    os.sync()
    taken: list[int] = []

    class Null:
        def write(self, view: memoryview) -> None:
            taken.append(len(view))

    before = bytes_read()
    if sink != "pipe":
        target = os.devnull if sink == "null" else Null()
        result = tarcast.write_tar(disk / "t", target, threads=threads)
        after = bytes_read()
    else:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
            assert reader.stdin is not None
            result = tarcast.write_tar(disk / "t", reader.stdin.fileno(), threads=threads)
            after = bytes_read()  # once the reader has ended, what it read is counted too
            reader.stdin.close()
    assert result.bytes_written == (1 << 30) + 3 * 512
    assert after - before < 2 * MIB
