"""`align=True`: large bodies begin on a file-system block, and otherwise the archive is what it was."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.support.bulk import SIZES, all_bodies
from tests.support.extract import EXTRACTORS
from tests.support.faults import Deadline, make_files
from tests.support.files import remove_tree
from tests.support.judge import archive_names, assert_same_archive
from tests.support.members import PAD, described, members
from tests.support.sinks import SINKS
from tests.support.trees import NS, Node, make_tree

LEAST = 65_536  # smaller bodies lie where they come
ALIGNMENT = 4096
PAX_LIMIT = 1_048_576
_NOW = 1_700_000_000 * NS


def named_bodies() -> tuple[Node, ...]:
    """Large files with names of every length at which their header changes, small ones between them."""
    names = [b"n" * length for length in (1, 99, 100, 101, 155, 156, 254, 255)]
    names += [b"\xc3\xa9" * 50, b"\xc3\xa9" * 127, b"\xff", b"new\nline", b"=" * 120]
    deep = b"p" * 100
    found = [Node(deep, "dir", mode=0o755, mtime=_NOW)]
    names += [deep + b"/" + b"f" * length for length in (1, 54, 55, 100, 101, 255)]
    for i, name in enumerate(names):
        found.append(Node(name, "file", mtime=_NOW, size=LEAST + i % 3))
        found.append(Node(b"%d" % i, "file", mtime=_NOW, size=i * 100))
    return tuple(found)


@pytest.fixture(scope="module", params=["bodies", "names"])
def source(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Path]:
    directory = scratch / f"align-{request.param}"
    directory.mkdir(mode=0o700)
    make_tree(all_bodies() if request.param == "bodies" else named_bodies(), os.fsencode(directory))
    yield directory
    remove_tree(directory)


def aligned(tree: Any, **options: Any) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(tree, archive, align=True, threads=1, **options)
    assert_aligned(archive.getvalue())
    return archive.getvalue()


def plain(tree: Any, **options: Any) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(tree, archive, threads=1, **options)
    return archive.getvalue()


def assert_aligned(archive: bytes, but: tuple[str, ...] = ()) -> None:
    for member in members(archive):
        if member.isreg() and member.size >= LEAST and member.name not in but:
            assert member.offset_data % ALIGNMENT == 0, member.name
        else:
            assert PAD not in member.pax_headers, member.name


@pytest.fixture(scope="module")
def expected(source: Path) -> bytes:
    return aligned(source)


def test_large_bodies_begin_on_a_block_and_small_ones_where_they_come(source: Path, expected: bytes) -> None:
    assert_aligned(expected)
    large = [m for m in members(expected) if m.isreg() and m.size >= LEAST]
    assert len(large) > 15
    assert sum(PAD in m.pax_headers for m in large) > 10
    # Without the option hardly one lies on a block: nothing of the above comes by itself.
    offsets = [m.offset_data % ALIGNMENT for m in members(plain(source)) if m.isreg() and m.size >= LEAST]
    assert offsets.count(0) < len(large) // 2


def test_entries_are_those_of_the_plain_archive(source: Path, expected: bytes) -> None:
    assert described(expected) == described(plain(source))


def test_padding_is_as_little_as_it_can_be(source: Path, expected: bytes) -> None:
    """Less than a block and the records for each body: what is between them is what it was."""
    large = sum(m.isreg() and m.size >= LEAST for m in members(expected))
    assert len(expected) - len(plain(source)) < large * (ALIGNMENT + 1024)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("threads", [None, 1, 2, 3, 8, 64])
@pytest.mark.parametrize("memory", [1 << 20, 32 << 20], ids=["little-memory", "memory"])
def test_bytes_are_the_same_for_all_workers_and_sinks(
    source: Path, expected: bytes, tmp_path: Path, sink: str, threads: int | None, memory: int
) -> None:
    results: list[tarcast.Result] = []

    def write(target: Any) -> None:
        results.append(
            tarcast.write_tar(
                source, target, align=True, threads=threads, memory_limit=memory, cancel=Deadline()
            )
        )

    assert_same_archive(SINKS[sink](write, tmp_path), expected)
    assert (results[0].bytes_written, results[0].entries) == (len(expected), len(archive_names(expected)))
    assert results[0].warnings == []


@pytest.mark.parametrize("name", EXTRACTORS)
def test_tool_restores_the_tree(
    source: Path, expected: bytes, tmp_path: Path, place: Path, name: str
) -> None:
    (tmp_path / "out.tar").write_bytes(expected)
    assert EXTRACTORS[name].judge(source, tmp_path / "out.tar", place, padded=True) > 20


def test_tree_without_large_files_has_the_default_bytes(tmp_path: Path) -> None:
    make_files(tmp_path / "t", **{f"f{size}": b"x" * size for size in SIZES if size < LEAST})
    assert_same_archive(aligned(tmp_path / "t"), plain(tmp_path / "t"))


@pytest.mark.parametrize("before", range(0, 4_096, 512))
def test_body_is_aligned_wherever_its_header_would_be(tmp_path: Path, before: int) -> None:
    make_files(tmp_path / "t", a=b"a" * before, b=os.urandom(LEAST), c=os.urandom(LEAST + 1), d=b"d")
    archive = aligned(tmp_path / "t")
    assert described(archive) == described(plain(tmp_path / "t"))
    # Where it would lie on a block by itself, behind two headers and the data of `a`, nothing is padded.
    pads = [PAD in m.pax_headers for m in members(archive)]
    assert pads == [False, (512 + before + 512) % ALIGNMENT != 0, True, False]


def test_hard_link_to_an_aligned_file_has_no_padding(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a", m=os.urandom(LEAST + 5), z=b"z")
    for name in ("b-earlier", "n-later", "o-later"):
        os.link(tmp_path / "t" / "m", tmp_path / "t" / name)
    archive = aligned(tmp_path / "t")
    found = {m.name: m for m in members(archive)}
    assert {name for name, m in found.items() if m.islnk()} == {"m", "n-later", "o-later"}
    assert {name for name, m in found.items() if PAD in m.pax_headers} == {"b-earlier"}
    assert described(archive) == described(plain(tmp_path / "t"))


def test_trees_side_by_side_are_aligned_each(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a" * 700, m=os.urandom(LEAST), n=os.urandom(3 * LEAST + 1))
    os.link(tmp_path / "t" / "m", tmp_path / "t" / "z")
    trees = dict.fromkeys(["linux/amd64", "b" * 90, "é", "last"], tmp_path / "t")
    archive = aligned(trees)
    assert sum(m.isreg() and m.size >= LEAST for m in members(archive)) == 2 * len(trees)
    assert described(archive) == described(plain(trees))
    for threads in (2, 8):
        tarcast.write_tar(trees, tmp_path / "out.tar", align=True, threads=threads)
        assert_same_archive((tmp_path / "out.tar").read_bytes(), archive)


def dressing(size: Callable[[str], int]) -> Callable[[tarcast.Entry], tarcast.Entry]:
    """A map callable that gives each file attributes of so many bytes."""

    def function(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.type == "file" and size(entry.path):
            entry.xattrs = {"user.k": b"v" * size(entry.path)}
        return entry

    return function


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_map_that_changes_the_header_does_not_move_the_body(tmp_path: Path, threads: int) -> None:
    make_files(tmp_path / "t", **{f"f{i:03}": os.urandom(LEAST + i % 2) for i in range(60)})
    tree = tarcast.Tree(tmp_path / "t", map=dressing(lambda path: int(path[1:]) * 17))
    archive = aligned(tree)
    assert described(archive) == described(plain(tree))
    tarcast.write_tar(tree, tmp_path / "out.tar", align=True, threads=threads)
    assert_same_archive((tmp_path / "out.tar").read_bytes(), archive)


@pytest.mark.parametrize("left", [24, 48, 600])
@pytest.mark.parametrize("sink", ["path", "pipe", "memory"])
def test_attributes_that_fill_the_limit_leave_their_body_where_it_comes(
    tmp_path: Path, left: int, sink: str
) -> None:
    make_files(tmp_path / "t", a=b"a", m=os.urandom(LEAST + 7), n=os.urandom(LEAST), z=b"z")
    size = PAX_LIMIT - len(b"1048xxx SCHILY.xattr.user.k=\n") - left
    tree = tarcast.Tree(tmp_path / "t", map=dressing(lambda path: size if path == "m" else 0))
    (tmp_path / "place").mkdir()
    archive = SINKS[sink](lambda target: tarcast.write_tar(tree, target, align=True), tmp_path / "place")
    one = io.BytesIO()
    tarcast.write_tar(tree, one, align=True, threads=1)
    assert_same_archive(archive, one.getvalue())
    # Before it are three blocks, its own headers are two and the limit's, rounded, n times 4096: padding
    # would need some blocks more.
    assert_aligned(archive, but=("m",))
    found = {m.name: m for m in members(archive)}
    assert found["m"].offset_data == 4 * 512 + PAX_LIMIT - left // 512 * 512
    assert PAD in found["n"].pax_headers
    assert described(archive) == described(plain(tree))


def test_attributes_beyond_the_limit_are_left_out_and_the_body_aligned(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a", m=os.urandom(LEAST + 7), z=b"z")
    tree = tarcast.Tree(tmp_path / "t", map=dressing(lambda path: PAX_LIMIT if path == "m" else 0))
    with pytest.raises(tarcast.InputError, match=str(PAX_LIMIT)):
        tarcast.write_tar(tree, io.BytesIO(), align=True)
    archive = aligned(tree, on_error="skip")
    assert described(archive) == described(plain(tarcast.Tree(tmp_path / "t")))


def test_size_beyond_what_ustar_holds_is_aligned_too(tmp_path: Path) -> None:
    """A record for the size is one more that is measured; read by its header alone: nobody has the time."""
    (tmp_path / "t").mkdir()
    with open(tmp_path / "t" / "f", "wb") as file:
        file.truncate(1 << 33)

    class Enough(Exception):
        pass

    class Head:
        data = b""

        def write(self, view: memoryview) -> int:
            self.data += bytes(view)
            raise Enough

    head = Head()
    with pytest.raises(Enough):
        tarcast.write_tar(tmp_path / "t", head, align=True)
    with tarfile.open(fileobj=io.BytesIO(head.data)) as tar:
        member = tar.next()
    assert member is not None
    assert (member.size, member.offset_data) == (1 << 33, ALIGNMENT)
    assert member.pax_headers.keys() == {PAD, "size"}
