"""Trees that cannot be read, or that change while they are read: an error or a warning, never silence."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.support.faults import (
    NOBODY,
    TRAILER,
    at,
    command,
    in_child,
    make_files,
    nothing_left_behind,
    obeying_modes,
)
from tests.support.judge import archive_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory that any user may enter, for what has to be below it."""
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    return tmp_path


def export(tree: Any, **options: Any) -> tuple[bytes, tarcast.Result]:
    """The archive of `tree` and its result; the archive is one that tarfile and GNU tar read to its end."""
    archive = io.BytesIO()
    result = tarcast.write_tar(tree, archive, **options)
    data = archive.getvalue()
    assert data.endswith(TRAILER)
    assert len(data) == result.bytes_written
    with tarfile.open(fileobj=io.BytesIO(data), errorlevel=2) as tar:
        assert len(tar.getmembers()) == result.entries
    done = subprocess.run(["tar", "-tf", "-"], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return data, result


def failing(tree: Any, kind: type[tarcast.TarcastError], where: Path, **options: Any) -> Any:
    """The error of an export of `tree`, to a path below `where` and to a stream: neither is complete."""
    place = where / "output-place"
    place.mkdir()
    stream = io.BytesIO()
    with nothing_left_behind(place):
        with pytest.raises(kind):
            tarcast.write_tar(tree(), place / "out.tar", **options)
        with pytest.raises(kind) as caught:
            tarcast.write_tar(tree(), stream, **options)
    assert type(caught.value) is kind
    assert not stream.getvalue().endswith(TRAILER)
    place.rmdir()
    return caught.value


def content(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def names(archive: bytes) -> list[str]:
    return [os.fsdecode(name).rstrip("/") for name in archive_names(archive)]


def told(result: tarcast.Result, root: Path) -> list[tuple[str, str, int, bool]]:
    """(path below `root`, step, errno, skipped) of each warning."""
    return [
        (os.path.relpath(w.path or "", root), w.step, w.errno, w.skipped)  # as a user would write it
        for w in result.warnings
    ]


# ---- the root ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [("nowhere", errno.ENOENT), ("file", errno.ENOTDIR), ("file/x", errno.ENOTDIR), ("loop", errno.ELOOP)],
)
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_root_that_is_no_directory_is_an_error(tmp_path: Path, name: str, number: int, on_error: str) -> None:
    make_files(tmp_path, file=b"x")
    os.symlink("loop", tmp_path / "loop")
    stream = io.BytesIO()
    with pytest.raises(tarcast.InputError) as caught:
        tarcast.write_tar(tmp_path / name, stream, on_error=on_error)
    assert (caught.value.path, caught.value.errno) == (str(tmp_path / name), number)
    assert caught.value.step == "open tree"
    assert stream.getvalue() == b""


@pytest.mark.parametrize("path", ["", b"", "a\0b", b"a\0b", "\ud800"])
def test_root_that_no_path_can_name_is_an_option_error(path: str | bytes) -> None:
    stream = io.BytesIO()
    with pytest.raises(tarcast.OptionError):
        tarcast.write_tar(path, stream)
    assert stream.getvalue() == b""


def test_root_that_may_not_be_read_is_an_error(folder: Path) -> None:
    make_files(folder / "t", f=b"x")
    (folder / "t").chmod(0o311)
    try:
        with pytest.raises(tarcast.InputError) as caught:
            in_child(lambda: tarcast.write_tar(folder / "t", io.BytesIO(), on_error="skip"), user=NOBODY)
    finally:
        (folder / "t").chmod(0o755)
    assert (caught.value.errno, caught.value.path) == (errno.EACCES, str(folder / "t"))


def test_one_bad_root_of_several_leaves_the_sink_untouched(tmp_path: Path) -> None:
    make_files(tmp_path / "good", f=b"x")
    stream = io.BytesIO()
    with pytest.raises(tarcast.InputError, match="nowhere"):
        tarcast.write_tar({"a": tmp_path / "good", "b": tmp_path / "nowhere"}, stream)
    assert stream.getvalue() == b""


# ---- what this user may not read -----------------------------------------


@pytest.mark.parametrize("what", ["file", "directory"])
def test_unreadable_entry_fails_by_name(folder: Path, what: str) -> None:
    make_files(folder / "t", a=b"a", z=b"z")
    make_files(folder / "t" / "m", x=b"x") if what == "directory" else make_files(folder / "t", m=b"m")
    (folder / "t" / "m").chmod(0)
    stream = folder / "stream"
    stream.touch()
    stream.chmod(0o666)
    try:
        with pytest.raises(tarcast.InputError) as caught, open(stream, "r+b") as f:
            in_child(lambda: tarcast.write_tar(folder / "t", f), user=NOBODY)
    finally:
        (folder / "t" / "m").chmod(0o700)
    assert type(caught.value) is tarcast.InputError
    assert (caught.value.path, caught.value.errno) == (str(folder / "t" / "m"), errno.EACCES)
    assert caught.value.step == ("open" if what == "file" else "read directory")
    assert "exclude" in caught.value.hint
    assert not stream.read_bytes().endswith(TRAILER)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_unreadable_entry_is_skipped_alone(folder: Path, what: str) -> None:
    make_files(folder / "t", a=b"a", z=b"z")
    make_files(folder / "t" / "m", x=b"x") if what == "directory" else make_files(folder / "t", m=b"m")
    (folder / "t" / "m").chmod(0)
    try:
        archive, result = in_child(lambda: export(folder / "t", on_error="skip"), user=NOBODY)
    finally:
        (folder / "t" / "m").chmod(0o700)
    # Of a directory the entry itself can be told.
    assert names(archive) == (["a", "z"] if what == "file" else ["a", "m", "z"])
    step = "open" if what == "file" else "read directory"
    assert told(result, folder / "t") == [("m", step, errno.EACCES, True)]
    assert result.skipped == 1


def test_unreadable_empty_file_is_fine(folder: Path) -> None:
    make_files(folder / "t", empty=b"")
    (folder / "t" / "empty").chmod(0)
    archive, result = in_child(lambda: export(folder / "t"), user=NOBODY)
    assert names(archive) == ["empty"]
    assert (result.warnings, result.skipped) == ([], 0)


def test_directory_without_search_permission_is_an_error_for_each_entry(folder: Path) -> None:
    make_files(folder / "t" / "m", x=b"x", y=b"y")
    (folder / "t" / "m").chmod(0o744)
    try:
        archive, result = in_child(lambda: export(folder / "t", on_error="skip"), user=NOBODY)
    finally:
        (folder / "t" / "m").chmod(0o755)
    assert names(archive) == ["m"]
    assert told(result, folder / "t") == [(f"m/{n}", "stat", errno.EACCES, True) for n in "xy"]


def test_unreadable_directory_that_no_pattern_wants_is_fine(folder: Path) -> None:
    make_files(folder / "t" / "m", x=b"x")
    make_files(folder / "t", a=b"a")
    (folder / "t" / "m").chmod(0)
    try:
        tree = tarcast.Tree(folder / "t", include=["a", "*.txt"])
        archive, result = in_child(lambda: export(tree), user=NOBODY)
    finally:
        (folder / "t" / "m").chmod(0o755)
    assert (names(archive), result.warnings) == (["a"], [])


def test_unreadable_attribute_is_left_out_with_a_notice(folder: Path) -> None:
    make_files(folder / "t", empty=b"")
    try:
        os.setxattr(folder / "t" / "empty", "user.secret", b"1")
    except OSError as error:
        pytest.skip(f"no user attributes here: {error}")
    (folder / "t" / "empty").chmod(0)
    archive, result = in_child(lambda: export(folder / "t"), user=NOBODY)
    assert names(archive) == ["empty"]
    assert b"secret" not in archive
    assert told(result, folder / "t") == [("empty", "read attributes", errno.EACCES, False)]
    assert "user.secret" in result.warnings[0].message
    assert result.skipped == 0
    assert in_child(lambda: export(folder / "t", on_error="skip"), user=NOBODY)[0] == archive


def test_command_ends_with_1_when_it_skipped(folder: Path) -> None:
    make_files(folder / "t", a=b"a", m=b"m", z=b"z")
    (folder / "t" / "m").chmod(0)
    out = folder / "out.tar"
    words = [*obeying_modes(), "sh", "-c", 'exec "$@"', "sh"]
    base = command("--version").args[:-1]
    done = subprocess.run([*words, *base, "create", folder / "t", "-o", out], capture_output=True)
    assert (done.returncode, out.exists()) == (3, False)
    done = subprocess.run(
        [*words, *base, "create", folder / "t", "-o", out, "--on-error", "skip"], capture_output=True
    )
    assert done.returncode == 1
    assert names(out.read_bytes()) == ["a", "z"]
    assert done.stderr.splitlines()[0].startswith(b"tarcast: warning: " + bytes(folder / "t" / "m"))


# ---- a tree that moves ---------------------------------------------------


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"+" * 1000)


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(path.name + ".away"))
        else:
            path.unlink()
        make(path)

    return replace


@pytest.mark.parametrize("size", [1, 511, 513, 70_000, 1 << 20, (3 << 20) + 7])
def test_shrinking_file_fails_with_what_was_expected_and_seen(tmp_path: Path, size: int) -> None:
    def tree() -> tarcast.Tree:
        make_files(tmp_path / "t", a=b"a", m=b"m" * size, z=b"z")
        return tarcast.Tree(tmp_path / "t", map=at("m", lambda: os.truncate(tmp_path / "t" / "m", size // 2)))

    error = failing(tree, tarcast.ChangedError, tmp_path)
    assert (error.path, error.step) == (str(tmp_path / "t" / "m"), "read data")
    assert (error.expected, error.seen, error.errno) == (size, size // 2, None)
    assert str(size) in str(error)


@pytest.mark.parametrize("size", [1, 511, 513, 70_000, 1 << 20, (3 << 20) + 7])
def test_shrinking_file_is_filled_with_zeros(tmp_path: Path, size: int) -> None:
    make_files(tmp_path / "t", a=b"a", m=b"m" * size, z=b"z")
    hook = at("m", lambda: os.truncate(tmp_path / "t" / "m", size // 2))
    archive, result = export(tarcast.Tree(tmp_path / "t", map=hook), on_error="skip")
    assert names(archive) == ["a", "m", "z"]
    assert content(archive, "m") == (b"m" * (size // 2)).ljust(size, b"\0")
    assert content(archive, "z") == b"z"
    assert told(result, tmp_path / "t") == [("m", "read data", 0, True)]
    assert result.skipped == 1


@pytest.mark.parametrize("size", [1, 512, 70_000, 1 << 20, (3 << 20) + 7])
def test_growing_file_fails(tmp_path: Path, size: int) -> None:
    def tree() -> tarcast.Tree:
        make_files(tmp_path / "t", a=b"a", m=b"m" * size, z=b"z")
        return tarcast.Tree(tmp_path / "t", map=at("m", lambda: grow(tmp_path / "t" / "m")))

    error = failing(tree, tarcast.ChangedError, tmp_path)
    assert (error.path, error.step) == (str(tmp_path / "t" / "m"), "read data")
    assert (error.expected, error.errno) == (size, None)
    assert size < error.seen <= size + 1000


@pytest.mark.parametrize("size", [1, 512, 70_000, 1 << 20, (3 << 20) + 7])
def test_growing_file_is_cut(tmp_path: Path, size: int) -> None:
    make_files(tmp_path / "t", a=b"a", m=b"m" * size, z=b"z")
    hook = at("m", lambda: grow(tmp_path / "t" / "m"))
    archive, result = export(tarcast.Tree(tmp_path / "t", map=hook), on_error="skip")
    assert content(archive, "m") == b"m" * size
    assert content(archive, "z") == b"z"
    assert told(result, tmp_path / "t") == [("m", "read data", 0, True)]


def test_file_removed_once_it_is_open_is_whole(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a", m=b"m" * 3_000_000, z=b"z")
    tree = tarcast.Tree(tmp_path / "t", map=at("m", (tmp_path / "t" / "m").unlink))
    archive, result = export(tree)
    assert content(archive, "m") == b"m" * 3_000_000
    assert result.warnings == []


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
def test_vanished_entry_fails(tmp_path: Path, kind: str) -> None:
    def tree() -> tarcast.Tree:
        make_files(tmp_path / "t", a=b"a", z=b"z")
        path = tmp_path / "t" / "m"
        {"file": path.touch, "directory": path.mkdir, "fifo": lambda: os.mkfifo(path)}.get(
            kind, lambda: path.symlink_to("x")
        )()
        return tarcast.Tree(tmp_path / "t", map=at("a", path.rmdir if kind == "directory" else path.unlink))

    error = failing(tree, tarcast.ChangedError, tmp_path)
    assert (error.path, error.errno) == (str(tmp_path / "t" / "m"), errno.ENOENT)
    assert "vanished" in error.message


def test_vanished_entry_is_skipped_and_its_siblings_are_not(tmp_path: Path) -> None:
    make_files(tmp_path / "t", a=b"a", m=b"m", n=b"n", z=b"z")
    tree = tarcast.Tree(tmp_path / "t", map=at("a", (tmp_path / "t" / "m").unlink))
    archive, result = export(tree, on_error="skip")
    assert names(archive) == ["a", "n", "z"]
    assert [w[:1] + w[2:] for w in told(result, tmp_path / "t")] == [("m", errno.ENOENT, True)]


@pytest.mark.parametrize("before", ["file", "directory"])
@pytest.mark.parametrize(
    ("make", "after"),
    [
        (lambda p: p.symlink_to("../outside"), tarfile.SYMTYPE),
        (lambda p: p.mkdir(), tarfile.DIRTYPE),
        (lambda p: os.mkfifo(p), tarfile.FIFOTYPE),
        (lambda p: p.write_bytes(b"new"), tarfile.REGTYPE),
    ],
    ids=["symlink", "directory", "fifo", "file"],
)
def test_replaced_entry_is_told_as_what_it_became(
    tmp_path: Path, before: str, make: Callable[[Path], object], after: bytes
) -> None:
    make_files(tmp_path / "outside", secret=b"secret")
    make_files(tmp_path / "t", a=b"a", z=b"z")
    path = tmp_path / "t" / "m"
    path.write_bytes(b"old") if before == "file" else make_files(path, x=b"x")
    tree = tarcast.Tree(tmp_path / "t", map=at("a", lambda: replace_by(make)(path)))
    archive, result = export(tree)
    assert names(archive) == ["a", "m", "z"]
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getmember("m").type == after
    assert b"secret" not in archive
    assert result.warnings == []


def test_directory_swapped_for_a_symlink_once_it_is_open_is_not_followed(tmp_path: Path) -> None:
    make_files(tmp_path / "outside", secret=b"secret", x=b"secret")
    make_files(tmp_path / "t" / "m", x=b"mine")
    make_files(tmp_path / "t", z=b"z")
    swap = replace_by(lambda p: p.symlink_to(tmp_path / "outside"))
    tree = tarcast.Tree(tmp_path / "t", map=at("m", lambda: swap(tmp_path / "t" / "m")))
    archive, _ = export(tree)
    assert names(archive) == ["m", "m/x", "z"]
    assert content(archive, "m/x") == b"mine"
    assert b"secret" not in archive


def test_sys_file_whose_size_lies_is_a_change(tmp_path: Path) -> None:
    lying = Path("/sys/kernel/uevent_seqnum")
    if not lying.exists() or lying.stat().st_size != 4096:
        pytest.skip("needs sysfs with pages of 4 KiB")
    tree = tarcast.Tree("/sys/kernel", include=[lying.name])
    error = failing(lambda: tree, tarcast.ChangedError, tmp_path)
    assert (error.path, error.expected) == (str(lying), 4096)
    assert 0 < error.seen < 30
    done = command("create", "/sys/kernel", "--include", lying.name, "-o", tmp_path / "out.tar")
    assert (done.returncode, os.listdir(tmp_path)) == (3, [])
    assert "--on-error skip" in done.stderr.decode()
    archive, result = export(tree, on_error="skip")
    assert content(archive, lying.name).rstrip(b"\0").strip().isdigit()
    assert len(content(archive, lying.name)) == 4096
    assert result.skipped == 1
