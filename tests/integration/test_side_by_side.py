"""Several trees in one archive: what their links become, compared with the original."""

from __future__ import annotations

import io
import os
from pathlib import Path

import tarcast
from tests.support.judge import archive_names, assert_same_archive
from tests.support.oracle import Original

NAMES = ["linux/amd64", "a", "é", "n" * 101]

TARGETS = [
    "/",
    "//",
    "/.",
    "/..",
    "/../..",
    "/../x",
    "/./",
    "/a/..",
    "/a/../..",
    "//a//b/",
    "/a/./b/..",
    "/é",
]
TARGETS += ["..", ".", "a//b/", "../../x", "/" + "l" * 97, "/" + "l" * 98, "/" + "l" * 99, "/..." + "/a" * 40]


def compare(trees: dict[str, Path], original: Original, tmp_path: Path) -> bytes:
    roots = [(name, os.fsencode(path)) for name, path in trees.items()]
    assert original.write_tar(roots, tmp_path / "want.tar") is None
    archive = io.BytesIO()
    tarcast.write_tar(trees, archive)
    assert_same_archive(archive.getvalue(), (tmp_path / "want.tar").read_bytes())
    return archive.getvalue()


def test_link_targets_move_below_the_name_as_in_the_original(tmp_path: Path, original: Original) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for i, target in enumerate(TARGETS):
        os.symlink(target, tree / f"{i:02}")
    archive = compare(dict.fromkeys(NAMES, tree), original, tmp_path)
    assert len(archive_names(archive)) == len(NAMES) * (1 + len(TARGETS))


def test_hard_links_never_reach_into_another_tree(tmp_path: Path, original: Original) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    (one / "f").write_bytes(b"shared")
    os.link(one / "f", two / "f")
    os.link(one / "f", two / "z")
    archive = compare({"one": one, "two": two, "again": one}, original, tmp_path)
    assert archive.count(b"shared") == 3
    assert b"\0two/f\0" in archive  # the link name of two/z


def test_empty_trees_leave_their_names(tmp_path: Path, original: Original) -> None:
    (tmp_path / "empty").mkdir()
    archive = compare(dict.fromkeys(["b", "a"], tmp_path / "empty"), original, tmp_path)
    assert archive_names(archive) == [b"a/", b"b/"]
