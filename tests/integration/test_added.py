"""Files that are added to a tree: at their place in the archive, the same for every number of threads."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarcast import Tree, write_tar
from tarcast.tree import Opened

LARGE = os.urandom(3 << 20)  # of several chunks
ADDED = {
    "!first": b"1",
    "a": b"in the place of a file",
    "a/x": b"behind it, though that has no entries",
    "dir/b": b"between",
    "dir/sub/b": LARGE,
    "none/here": b"",
    "z": b"last",
}


@pytest.fixture
def tree(place: Path) -> Iterator[Tree]:
    top, added = place / "tree", place / "added"
    (top / "dir/sub").mkdir(parents=True)
    added.mkdir()
    for name in ("a", "a-b", "dir/a", "dir/c", "dir/sub/a", "dir/sub/c", "dir-x", "y"):
        (top / name).write_text(f"of the tree: {name}")
    os.link(top / "dir/a", top / "dir/c-too")
    made = Tree(top)
    fd = os.open(top, os.O_RDONLY)
    made.opened = Opened(fd, str(top))
    made.opened.added_fd = os.open(added, os.O_RDONLY)
    made.opened.added = []
    for number, (name, data) in enumerate(ADDED.items()):
        (added / str(number)).write_bytes(data)
        (added / str(number)).chmod(0o644)
        made.opened.added.append((name.encode(), b"%d" % number))
    made.opened.added_mtime = 77
    yield made
    os.close(made.opened.added_fd)
    os.close(fd)


def archive(trees: object, **options: object) -> bytes:
    out = io.BytesIO()
    write_tar(trees, out, **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_they_lie_where_they_belong(tree: Tree) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(tree))) as tar:
        assert tar.getnames() == [
            "!first",
            "a",
            "a/x",
            "a-b",
            "dir",
            "dir/a",
            "dir/b",
            "dir/c",
            "dir/c-too",
            "dir/sub",
            "dir/sub/a",
            "dir/sub/b",
            "dir/sub/c",
            "dir-x",
            "none/here",
            "y",
            "z",
        ]
        for name, data in ADDED.items():
            member = tar.getmember(name)
            assert (member.mode, member.uid, member.gid, member.mtime) == (0o600, 0, 0, 77)
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == data
        assert tar.getmember("dir/c-too").linkname == "dir/a"


@pytest.mark.parametrize("options", [{}, {"align": True}, {"sparse": True}, {"epoch": 5}], ids=str)
def test_threads_change_nothing(tree: Tree, place: Path, options: dict[str, object]) -> None:
    named = {"one": tree, "two": tree.path, "zoo": tree}
    want = archive(named, threads=1, **options)
    assert want.count(LARGE) == 2
    for threads in (2, 3, 8):
        assert archive(named, threads=threads, memory_limit=1 << 20, **options) == want
        write_tar(named, place / "out.tar", threads=threads, **options)  # type: ignore[arg-type]
        assert (place / "out.tar").read_bytes() == want


def test_beside_patterns_and_maps(tree: Tree) -> None:
    tree.exclude = ("dir/sub", "y")
    tree.map = lambda entry: None if entry.path == "dir-x" else entry
    with tarfile.open(fileobj=io.BytesIO(archive(tree))) as tar:
        names = tar.getnames()
    assert set(ADDED) <= set(names)
    assert not {"dir/sub", "dir/sub/a", "y", "dir-x"} & set(names)
    assert names.index("dir/b") == names.index("dir/a") + 1
