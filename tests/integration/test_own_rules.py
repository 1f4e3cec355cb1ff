"""Where tarcast decides otherwise than the original, on purpose: nothing lost, silent or merged."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarcast
from tests.support.files import remove_tree
from tests.support.judge import archive_names, assert_same_archive
from tests.support.oracle import Original

# What all records of one entry may take together.
PAX_LIMIT = 1_048_576


@pytest.mark.parametrize("option", ["include", "exclude"])
@pytest.mark.parametrize("pattern", ["[", "a[", "a*[", "[z-a]", "x\\", "!", "a/[b", "b\\q", b"\xff["])
def test_malformed_pattern_fails_before_any_byte(tmp_path: Path, option: str, pattern: str | bytes) -> None:
    (tmp_path / "f").touch()
    archive = io.BytesIO()
    patterns = ["other", pattern] if isinstance(pattern, str) else [b"other", pattern]
    with pytest.raises(tarcast.PatternError):
        tarcast.write_tar(tarcast.Tree(tmp_path, **{option: patterns}), archive)
    assert archive.getvalue() == b""


def test_missing_root_is_an_error(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with pytest.raises(tarcast.InputError, match="nowhere") as caught:
        tarcast.write_tar(tmp_path / "nowhere", archive)
    assert isinstance(caught.value, OSError)
    assert archive.getvalue() == b""


def test_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    archive = io.BytesIO()
    with pytest.raises(tarcast.InputError, match="f"):
        tarcast.write_tar(tmp_path / "f", archive)
    assert archive.getvalue() == b""


def test_root_may_be_a_symlink(tmp_path: Path, original: Original) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"x")
    os.symlink("real", tmp_path / "link")
    assert original.write_tar([(None, os.fsencode(tmp_path / "link"))], tmp_path / "want.tar") is None
    archive = io.BytesIO()
    tarcast.write_tar(tmp_path / "link", archive)
    assert_same_archive(archive.getvalue(), (tmp_path / "want.tar").read_bytes())


@pytest.fixture
def large_attributes(needs_root: None) -> Iterator[Path]:
    """A directory on a tmpfs: it takes any number of attributes of up to 64 KiB."""
    try:
        directory = Path(tempfile.mkdtemp(prefix="tarcast-test-", dir="/dev/shm"))
    except OSError as e:
        pytest.skip(f"needs a tmpfs at /dev/shm: {e}")
    yield directory
    remove_tree(directory)


def set_attributes(path: Path, total: int) -> None:
    """Attributes whose records, each with a length of five digits, have `total` bytes in all."""
    lengths = [60_000] * 17
    lengths.append(total - sum(lengths))
    for i, length in enumerate(lengths):
        name = f"trusted.k{i:02}"
        frame = len(f"{length:05} SCHILY.xattr.{name}=\n")
        try:
            os.setxattr(path, name, b"v" * (length - frame))
        except OSError as e:
            pytest.skip(f"the file system refuses large attributes: {e}")


def test_attributes_of_a_mebibyte_equal_the_original(
    large_attributes: Path, original: Original, tmp_path: Path
) -> None:
    (large_attributes / "f").write_bytes(b"x")
    set_attributes(large_attributes / "f", PAX_LIMIT)
    assert original.write_tar([(None, os.fsencode(large_attributes))], tmp_path / "want.tar") is None
    archive = io.BytesIO()
    tarcast.write_tar(large_attributes, archive)
    assert_same_archive(archive.getvalue(), (tmp_path / "want.tar").read_bytes())


def test_attributes_beyond_a_mebibyte_fail_by_name(large_attributes: Path) -> None:
    (large_attributes / "a").write_bytes(b"x")
    (large_attributes / "too-many").write_bytes(b"x")
    (large_attributes / "z").write_bytes(b"x")
    set_attributes(large_attributes / "too-many", PAX_LIMIT + 1)
    archive = io.BytesIO()
    with pytest.raises(tarcast.InputError) as caught:
        tarcast.write_tar(large_attributes, archive)
    assert caught.value.path is not None
    assert caught.value.path.endswith("too-many")
    skipping = io.BytesIO()
    result = tarcast.write_tar(large_attributes, skipping, on_error="skip")
    assert [w.path.rpartition("/")[2] for w in result.warnings] == ["too-many"]
    assert [n for n in archive_names(skipping.getvalue()) if n != b"too-many"] == [b"a", b"z"]


@pytest.fixture
def two_file_systems(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs at `a` and one at `b`: fresh ones give their files the same inode numbers."""
    mounted = []
    try:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "tarcast", tmp_path / name], capture_output=True, text=True
            )
            if done.returncode:
                pytest.skip(f"may not mount: {done.stderr.strip()}")
            mounted.append(tmp_path / name)
        yield tmp_path
    finally:
        for place in mounted:
            subprocess.run(["umount", place], check=True)


def test_files_of_two_file_systems_are_never_merged(two_file_systems: Path) -> None:
    # Many, so that the two halves of a table of inodes overlap.
    paths = [f"{system}/{i:03}" for system in ("a", "b") for i in range(200)]
    for path in paths:
        (two_file_systems / path).write_text(f"content of {path}")
        os.link(two_file_systems / path, two_file_systems / f"{path}-again")
    inodes = [os.stat(two_file_systems / path).st_ino for path in paths]
    if set(inodes[:200]) != set(inodes[200:]):
        pytest.skip("the two file systems gave different inode numbers")
    archive = io.BytesIO()
    tarcast.write_tar(two_file_systems, archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        assert {m.name: m.linkname for m in tar if m.islnk()} == {f"{path}-again": path for path in paths}
        for path in paths:
            content = tar.extractfile(path)
            assert content is not None
            assert content.read() == f"content of {path}".encode()
