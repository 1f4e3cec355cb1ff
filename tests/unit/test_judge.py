"""The judges themselves: they must say no, and say where."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.judge import (
    archive_names,
    assert_same_archive,
    assert_same_tree,
    describe_tree,
    explain_difference,
)


def archive(names: list[str], content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_archive_names_include_long_and_split_ones() -> None:
    names = ["a", "é" * 80, "d" * 90 + "/" + "f" * 60, "z"]
    assert archive_names(archive(names, b"x" * 600)) == [n.encode() for n in names]


def test_same_archive_is_accepted() -> None:
    assert_same_archive(archive(["a"]), archive(["a"]))


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (0, "block 0, offset 0, field name: header of b'a'"),
        (155, "block 0, offset 155, field checksum: header of b'a'"),
        (512 + 3, "block 1, offset 3: data of b'a'"),
        (4 * 512 + 107, "block 4, offset 107, field mode: header of b'b'"),
        (-1, "end of archive after b'b'"),
    ],
)
def test_difference_names_block_entry_and_field(at: int, said: str) -> None:
    want = archive(["a", "b"], b"x" * 1030)
    with pytest.raises(AssertionError, match="first difference") as caught:
        assert_same_archive(flipped(want, at % len(want)), want)
    assert said in str(caught.value)


def test_difference_in_length_is_one() -> None:
    want = archive(["a"])
    with pytest.raises(AssertionError):
        assert_same_archive(want[:-512], want)
    assert f"{len(want) + 1} bytes instead of {len(want)}" in explain_difference(want + b"\0", want)


@pytest.mark.parametrize("got", [b"", b"x", b"\xff" * 2048, b"9" * 512])
def test_difference_of_rubbish_is_explained(got: bytes) -> None:
    want = archive(["a"], b"data")
    assert "first difference" in explain_difference(got, want)
    assert "first difference" in explain_difference(want, got)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"one")
    os.link(tmp_path / "d" / "f", tmp_path / "g")
    os.symlink("d/f", tmp_path / "l")
    return tmp_path


def test_same_tree_is_accepted(tree: Path) -> None:
    seen = describe_tree(os.fsencode(tree))
    assert list(seen) == [b"d", b"d/f", b"g", b"l"]
    assert seen[b"g"].first_name == b"d/f"
    assert_same_tree(seen, seen)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: os.chmod(d / "g", 0o777),
        lambda d: os.utime(d / "g", (5, 5)),
        lambda d: os.utime(d / "l", (5, 5), follow_symlinks=False),
        lambda d: (d / "g").write_bytes(b"two"),
        lambda d: (d / "g").unlink(),
        lambda d: (d / "more").touch(),
        lambda d: ((d / "l").unlink(), os.symlink("g", d / "l")),
        lambda d: ((d / "g").unlink(), (d / "g").write_bytes(b"one")),
        lambda d: ((d / "g").unlink(), os.mkfifo(d / "g")),
        lambda d: os.setxattr(d / "g", "user.new", b"1"),
    ],
)
def test_changed_tree_is_refused(tree: Path, change) -> None:
    before = describe_tree(os.fsencode(tree))
    try:
        change(tree)
    except OSError as e:
        pytest.skip(f"the file system of the temp directory: {e}")
    with pytest.raises(AssertionError, match="difference"):
        assert_same_tree(describe_tree(os.fsencode(tree)), before)


def test_allowance_changes_what_is_wanted(tree: Path) -> None:
    before = describe_tree(os.fsencode(tree))
    os.chmod(tree / "g", 0o777)
    assert_same_tree(
        describe_tree(os.fsencode(tree)),
        before,
        lambda path, entry: replace(entry, mode=0o777) if entry.first_name else entry,
    )
