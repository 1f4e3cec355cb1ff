"""Trees at the limits: depth, names, attributes, open files, file systems within file systems."""

from __future__ import annotations

import errno
import io
import os
import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarcast
from tests.integration.test_failures_input import content, export, names, told
from tests.support.faults import (
    at,
    command,
    image,
    in_child,
    make_deep,
    make_files,
    mounted,
    nothing_left_behind,
    tmpfs,
)
from tests.support.files import remove_tree

LEVELS = 200  # more than the core keeps open at a time


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A chain of directories, and the paths of its archive."""
    paths = make_deep(tmp_path / "t", LEVELS)
    yield tmp_path / "t", paths
    remove_tree(tmp_path / "t")


# ---- deep walks ----------------------------------------------------------


@pytest.mark.parametrize("level", [1, 3, LEVELS - 140, LEVELS - 5])
def test_directory_moved_away_during_a_deep_walk_loses_no_sibling(
    deep: tuple[Path, list[str]], tmp_path: Path, level: int
) -> None:
    root, paths = deep
    bottom = "d/" * LEVELS + "z"
    away = tmp_path / "away"
    tree = tarcast.Tree(root, map=at(bottom, lambda: (root / ("d/" * level)).rename(away)))
    with nothing_left_behind():
        archive, result = export(tree, on_error="skip")
    assert names(archive) == paths
    assert result.warnings == []


def test_directory_swapped_during_a_deep_walk_is_never_entered(
    deep: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, paths = deep
    make_files(tmp_path / "outside", secret=b"secret")
    moved = root / "d/d/d"

    def swap() -> None:
        moved.rename(tmp_path / "away")
        moved.symlink_to(tmp_path / "outside")

    archive, result = export(tarcast.Tree(root, map=at("d/" * LEVELS + "z", swap)), on_error="skip")
    assert b"secret" not in archive
    lost = set(paths) - set(names(archive))
    # Of the directory that went away what was still to be read is lost; nothing above it, and not silently.
    assert lost <= {p for p in paths if p.startswith("d/d/d/")}
    assert set(names(archive)) <= set(paths)
    assert bool(result.warnings) == bool(lost)


def test_two_directories_moved_during_a_deep_walk_fail_by_name(
    deep: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, paths = deep
    bottom = "d/" * LEVELS + "z"

    def pull_apart() -> None:
        # The inner one away from the outer one, and the outer one too: no way leads from either to the other.
        (root / ("d/" * 20)).rename(tmp_path / "inner")
        (root / ("d/" * 10)).rename(tmp_path / "outer")

    with nothing_left_behind(), pytest.raises(tarcast.ChangedError) as caught:
        tarcast.write_tar(tarcast.Tree(root, map=at(bottom, pull_apart)), io.BytesIO())
    assert "moved or replaced" in caught.value.message
    assert caught.value.path == str(root / ("d/" * 19)).rstrip("/")

    (tmp_path / "outer").rename(root / ("d/" * 10))
    (tmp_path / "inner").rename(root / ("d/" * 20))
    archive, result = export(tarcast.Tree(root, map=at(bottom, pull_apart)), on_error="skip")
    lost = [p for p in paths if p not in names(archive)]
    assert lost == ["d/" * level + "z" for level in range(19, 9, -1)]
    assert result.skipped == len(result.warnings) == len(lost)
    assert all(w.errno == 0 and "moved" in w.message for w in result.warnings)


def test_few_descriptors_are_enough_for_a_deep_tree(deep: tuple[Path, list[str]]) -> None:
    plain, _ = export(deep[0])

    def archive() -> bytes:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        stream = io.BytesIO()
        tarcast.write_tar(deep[0], stream)
        return stream.getvalue()

    assert in_child(archive) == plain


def test_no_descriptor_at_all_is_an_error_with_a_hint(tmp_path: Path) -> None:
    make_files(tmp_path / "t" / "d", f=b"x")

    def limited() -> object:
        root = os.open(tmp_path / "t", os.O_RDONLY)
        free = max(map(int, os.listdir("/proc/self/fd"))) + 1
        # One for the tree, one for the walk of it: none is left for what is below.
        resource.setrlimit(resource.RLIMIT_NOFILE, (root + 3, free + 100))
        return tarcast.write_tar(tmp_path / "t", io.BytesIO())

    with pytest.raises(tarcast.InputError, match="ulimit") as caught:
        in_child(limited)
    assert caught.value.errno == errno.EMFILE


def test_path_beyond_path_max_is_exported(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    name = "n" * 250
    try:
        for directory in ("t", *[name] * 20):
            os.mkdir(directory, dir_fd=here)
            below = os.open(directory, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        with open(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb") as file:
            file.write(b"deep down")
        os.symlink("x" * 4095, "l", dir_fd=here)
        os.link("f", "g", src_dir_fd=here, dst_dir_fd=here)
    finally:
        os.close(here)
    try:
        archive, _ = export(tmp_path / "t")
    finally:
        remove_tree(tmp_path / "t")
    base = f"{name}/" * 20
    assert len(base) > 5000
    assert names(archive)[-3:] == [base + "f", base + "g", base + "l"]
    assert content(archive, base + "f") == b"deep down"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getmember(base + "g").linkname == base + "f"
        assert tar.getmember(base + "l").linkname == "x" * 4095


@pytest.mark.parametrize("byte", [b"n", b"\xff", "é".encode()])
def test_longest_names_are_exported_whole(tmp_path: Path, byte: bytes) -> None:
    (tmp_path / "t").mkdir()
    root = os.fsencode(tmp_path / "t")
    longest = (byte * 255)[:255]
    with open(root + b"/" + longest, "wb") as file:
        file.write(b"x")
    os.symlink((byte * 4095)[:4095], root + b"/l")
    os.symlink(longest, root + b"/m")
    archive, _ = export(tmp_path / "t")
    assert sorted(map(os.fsencode, names(archive))) == sorted([longest, b"l", b"m"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert os.fsencode(tar.getmember("l").linkname) == (byte * 4095)[:4095]
        assert os.fsencode(tar.getmember("m").linkname) == longest


# ---- attributes ----------------------------------------------------------


def test_attribute_name_with_equals_sign_fails_by_name(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a", m=b"m", z=b"z")
    try:
        os.setxattr(tmp_path / "t" / "m", "user.a=b", b"bad")
        os.setxattr(tmp_path / "t" / "m", "user.good", b"good")
    except OSError as error:
        pytest.skip(f"no user attributes here: {error}")
    with pytest.raises(tarcast.InputError, match=r"user\.a=b") as caught:
        tarcast.write_tar(tmp_path / "t", io.BytesIO())
    assert (caught.value.path, caught.value.step) == (str(tmp_path / "t" / "m"), "read attributes")
    archive, result = export(tmp_path / "t", on_error="skip")
    assert names(archive) == ["a", "m", "z"]
    assert told(result, tmp_path / "t") == [("m", "read attributes", 0, True)]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getmember("m").pax_headers == {"SCHILY.xattr.user.good": "good"}


def test_attribute_list_that_the_kernel_cannot_give_costs_the_attributes_alone(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "m", "size=16m") as place:
        make_files(place, a=b"a", m=b"kept", z=b"z")
        try:
            for i in range(300):
                os.setxattr(place / "m", f"trusted.{i:0240}", b"")
        except OSError as error:
            pytest.skip(f"the file system refuses so many attributes: {error}")
        with pytest.raises(tarcast.InputError) as caught:
            tarcast.write_tar(place, io.BytesIO())
        assert (caught.value.path, caught.value.errno) == (str(place / "m"), errno.E2BIG)
        archive, result = export(place, on_error="skip")
        assert names(archive) == ["a", "m", "z"]
        assert content(archive, "m") == b"kept"
        assert [w[2:] for w in told(result, place)] == [(errno.E2BIG, True)]


@pytest.mark.parametrize(
    ("kind", "arguments", "size"),
    [("xfs", ["-q"], 320 << 20), ("btrfs", ["-q"], 128 << 20)],
    ids=["xfs", "btrfs"],
)
def test_large_attribute_sets_fail_alike_on_disk_file_systems(
    tmp_path: Path, kind: str, arguments: list[str], size: int
) -> None:
    with image(tmp_path / "m", kind, size, *arguments) as place:
        make_files(place / "t", a=b"a", m=b"kept", z=b"z")
        value = b"v" * (60_000 if kind == "xfs" else 12_000)
        for i in range((1 << 20) // len(value) + 1):
            os.setxattr(place / "t" / "m", f"user.{i:03}", value)
        with pytest.raises(tarcast.InputError, match="1048576") as caught:
            tarcast.write_tar(place / "t", io.BytesIO())
        assert caught.value.path == str(place / "t" / "m")
        archive, result = export(place / "t", on_error="skip")
        assert content(archive, "m") == b"kept"
        assert told(result, place / "t") == [("m", "encode", 0, True)]


# ---- file systems in the tree --------------------------------------------


def test_mount_point_is_crossed(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a", z=b"z")
    with tmpfs(tmp_path / "t" / "m") as place:
        make_files(place / "s", f=b"mounted")
        archive, _ = export(tmp_path / "t")
        assert names(archive) == ["a", "m", "m/s", "m/s/f", "z"]
        assert content(archive, "m/s/f") == b"mounted"


def test_equal_inode_numbers_of_two_devices_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with tmpfs(tmp_path / "t" / "a") as a, tmpfs(tmp_path / "t" / "b") as b:
        for place in (a, b):
            make_files(place, f=os.fsencode(place.name))
            os.link(place / "f", place / "g")
        if (a / "f").stat().st_ino != (b / "f").stat().st_ino:
            pytest.skip("the two file systems gave different inode numbers")
        archive, _ = export(tmp_path / "t")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {m.name: m.linkname for m in tar if m.islnk()} == {"a/g": "a/f", "b/g": "b/f"}
    assert (content(archive, "a/f"), content(archive, "b/f")) == (b"a", b"b")


def test_one_file_below_two_mounts_of_one_device_is_one(tmp_path: Path) -> None:
    make_files(tmp_path / "t" / "a", f=b"x")
    os.link(tmp_path / "t" / "a" / "f", tmp_path / "t" / "a" / "g")
    with mounted(tmp_path / "t" / "b", "--bind", os.fspath(tmp_path / "t" / "a")):
        archive, _ = export(tmp_path / "t")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {m.name: m.linkname for m in tar if m.islnk()} == dict.fromkeys(("a/g", "b/f", "b/g"), "a/f")


def test_command_exports_proc_files_that_have_no_size(tmp_path: Path) -> None:
    done = command("create", "/proc/self/net", "-o", tmp_path / "out.tar", "--include", "dev")
    assert done.returncode == 0
    assert names((tmp_path / "out.tar").read_bytes()) == ["dev"]
