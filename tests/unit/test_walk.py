"""The order of names, and trees that are deep, wide, long-named or short of descriptors."""

from __future__ import annotations

import errno
import io
import os
import resource
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarcast import InputError, Tree, write_tar
from tarcast._core._testing import walk, walk_count
from tests.support.files import remove_tree

OPEN_LEVELS = 128  # descriptors of ancestors that the walker keeps


@contextmanager
def no_descriptor_leaks() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """A limit under which only `count` more descriptors can be opened."""
    used = {int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
    free = (fd for fd in range(100_000) if fd not in used)
    limit = next(fd for i, fd in enumerate(free) if i == count)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[bytes]:
    """A directory that is removed without recursion over its depth."""
    directory = os.fsencode(tmp_path) + b"/root"
    os.mkdir(directory)
    yield directory
    remove_deep(directory)


def remove_deep(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY)
    names: list[list[bytes]] = []
    above: list[bytes] = []
    while True:
        if len(names) == len(above):
            directories = []
            for entry in os.listdir(fd):
                name = os.fsencode(entry)
                if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    directories.append(name)
                else:
                    os.unlink(name, dir_fd=fd)
            names.append(directories)
        if names[-1]:
            above.append(names[-1].pop())
            flags = os.O_RDONLY
            to = os.open(above[-1], flags, dir_fd=fd)
        elif above:
            names.pop()
            to = os.open("..", os.O_RDONLY, dir_fd=fd)
            os.rmdir(above.pop(), dir_fd=to)
        else:
            break
        os.close(fd)
        fd = to
    os.close(fd)
    os.rmdir(path)


def dig(root: bytes, name: bytes, levels: int, before: bytes = b"", after: bytes = b"") -> list[bytes]:
    """Directories called `name` one in the other, beside files `before` and `after`; all paths in order."""
    head: list[bytes] = []
    tail: list[bytes] = []
    path = b""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        for file, where in ((before, head), (after, tail)):
            if file:
                os.close(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
                where.append(path + file)
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        head.append(path + name)
        path += name + b"/"
    os.close(fd)
    return head + tail[::-1]


def archived(root: bytes, **options: object) -> list[str]:
    archive = io.BytesIO()
    write_tar(Tree(root, **options), archive)  # type: ignore[arg-type]
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        return tar.getnames()


# ---- order ------------------------------------------------------------------


def test_walk_goes_into_a_directory_right_behind_its_name(root: bytes) -> None:
    for directory in (b"a", b"a/c", b"a b", b"a-b", b"aa"):
        os.mkdir(os.path.join(root, directory))
    for file in (b"a/b", b"a/b-", b"a/c/x", b"a+", b"a-", b"a.txt", b"a0", b"aa/.", b"a-b/z", b"a b/0"):
        if not file.endswith(b"."):
            with open(os.path.join(root, file), "wb"):
                pass
    # As if "/" were byte 0: what sorts before it (space, +, -, .) comes behind the children all the same.
    assert walk(root) == [
        b"a",
        b"a/b",
        b"a/b-",
        b"a/c",
        b"a/c/x",
        b"a b",
        b"a b/0",
        b"a+",
        b"a-",
        b"a-b",
        b"a-b/z",
        b"a.txt",
        b"a0",
        b"aa",
    ]


def test_walk_sorts_names_as_unsigned_bytes(root: bytes) -> None:
    names = [
        b"\x01", b"\n", b" ", b"!", b"-", b".a", b"0", b"A", b"Z", b"_", b"a", b"a\x01", b"aa", b"b",
        b"~", b"\x7f", b"\x80", b"\xc3\xa9", b"\xff", b"\xff\xff",
        # the first eight bytes are compared as one number, the rest one by one
        b"1234567", b"12345678", b"123456789", b"12345678\x01", b"12345678\xff", b"1234567\xff", b"12345679",
        b"12345678" + b"x" * 200, b"12345678" + b"x" * 199 + b"\x80",
    ]  # fmt: skip
    for name in reversed(names):
        with open(os.path.join(root, name), "wb"):
            pass
    assert walk(root) == sorted(names)


def test_walk_leaves_out_only_the_two_dots(root: bytes) -> None:
    for name in (b"...", b".a", b"..a", b". "):
        with open(os.path.join(root, name), "wb"):
            pass
    assert walk(root) == [b". ", b"...", b"..a", b".a"]


NAMES = st.binary(min_size=1, max_size=10).map(lambda n: n.translate(bytes.maketrans(b"\0/", b"ns")))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(NAMES.filter(lambda n: n not in (b".", b"..")), max_size=40))
def test_walk_order_is_that_of_sorted_names(tmp_path: Path, names: set[bytes]) -> None:
    directory = os.fsencode(tmp_path) + b"/names"
    os.mkdir(directory)
    try:
        for name in names:
            with open(os.path.join(directory, name), "wb"):
                pass
        assert walk(directory) == sorted(names)
    finally:
        remove_tree(directory)


def test_walk_of_an_empty_directory_is_nothing(root: bytes) -> None:
    assert walk(root) == []


# ---- deep, wide, long ---------------------------------------------------------


@pytest.mark.parametrize("levels", [OPEN_LEVELS - 2, OPEN_LEVELS - 1, OPEN_LEVELS, OPEN_LEVELS + 1, 300])
def test_walk_comes_back_to_siblings_of_deep_directories(root: bytes, levels: int) -> None:
    expected = dig(root, b"d", levels, before=b"a", after=b"z")
    with no_descriptor_leaks():
        assert walk(root) == expected
        assert archived(root) == [os.fsdecode(p) for p in expected]


def test_walk_goes_deep_again_behind_a_deep_directory(root: bytes) -> None:
    expected = []
    for name in (b"m1", b"m2", b"m3"):
        os.mkdir(os.path.join(root, name))
        inner = dig(os.path.join(root, name), b"d", 200, after=b"z")
        expected += [name, *(name + b"/" + p for p in inner)]
    with no_descriptor_leaks():
        assert walk(root) == expected


@pytest.mark.parametrize("branches", [0, 12])
def test_walk_keeps_a_bounded_number_of_descriptors(root: bytes, branches: int) -> None:
    # Each branch is deep enough to have its parents closed, which are opened again for what follows it.
    inner = root
    for _ in range(branches):
        for name in (b"branch", b"further"):
            os.mkdir(os.path.join(inner, name))
        dig(os.path.join(inner, b"branch"), b"d", OPEN_LEVELS + 20)
        inner = os.path.join(inner, b"further")
    dig(inner, b"d", 300, after=b"z")
    most = 0

    def count(entry: object) -> None:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))

    before = len(os.listdir("/proc/self/fd"))
    write_tar(Tree(root, map=count), io.BytesIO())  # type: ignore[arg-type]
    # ancestors, the directory in hand, the root, and the file in hand
    assert OPEN_LEVELS <= most - before <= OPEN_LEVELS + 4


@pytest.mark.parametrize("count", [6, 7, 12, 40])
def test_walk_gets_along_with_few_descriptors(root: bytes, count: int) -> None:
    dig(root, b"d", 100, after=b"z")
    expected, archive = io.BytesIO(), io.BytesIO()
    write_tar(root, expected)
    with no_descriptor_leaks(), descriptors_left(count):
        write_tar(root, archive)
    assert archive.getvalue() == expected.getvalue()


def test_walk_without_descriptors_fails_with_advice_and_leaks_none(root: bytes) -> None:
    dig(root, b"d", 100, after=b"z")
    with no_descriptor_leaks(), descriptors_left(3), pytest.raises(InputError) as caught:
        write_tar(root, io.BytesIO())
    assert str(caught.value) == (
        f"{os.fsdecode(root)}/d/d: read directory: {os.strerror(errno.EMFILE)} [EMFILE]; "
        "raise the limit of open files (ulimit -n)"
    )


def test_walk_short_of_descriptors_skips_what_it_cannot_open(root: bytes) -> None:
    dig(root, b"d", 100, after=b"z")
    archive = io.BytesIO()
    with no_descriptor_leaks(), descriptors_left(3):
        result = write_tar(root, archive, on_error="skip")
    assert 0 < result.skipped == len(result.warnings)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        assert tar.getnames() == ["d", "d/d", "d/z", "z"]


@pytest.mark.parametrize("count", [12, 40])
def test_walk_writes_passed_parents_with_few_descriptors(root: bytes, count: int) -> None:
    # Parents whose entries wait for a selected child are closed like others, and opened again to be written.
    expected = dig(root, b"d", 100)
    with open(os.path.join(root, expected[-1], b"wanted"), "wb"):
        pass
    with no_descriptor_leaks(), descriptors_left(count):
        names = archived(root, include=["**/wanted"])
    assert names == [os.fsdecode(p) for p in expected] + [os.fsdecode(expected[-1]) + "/wanted"]


def test_walk_reaches_paths_longer_than_the_system_takes(root: bytes) -> None:
    expected = dig(root, b"n" * 200, 30, after=b"z")
    assert max(map(len, expected)) > 5900 > os.pathconf(root, "PC_PATH_MAX")
    with pytest.raises(OSError, match="too long"):
        os.stat(os.path.join(root, expected[29]))
    with no_descriptor_leaks():
        assert walk(root) == expected
        assert archived(root) == [os.fsdecode(p) for p in expected]


def test_walk_reads_contents_links_and_attributes_behind_long_paths(root: bytes) -> None:
    fd = os.open(root, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(b"n" * 200, dir_fd=fd)
        inner = os.open(b"n" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    with open(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as f:
        f.write(b"content")
    os.link(b"file", b"link", src_dir_fd=fd, dst_dir_fd=fd)
    os.symlink(b"to/" + b"\xc3\xa9" * 500, b"sym", dir_fd=fd)
    os.close(fd)
    archive = io.BytesIO()
    write_tar(root, archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        file, link, sym = tar.getmembers()[-3:]
        content = tar.extractfile(file)
        assert content is not None
        assert content.read() == b"content"
        assert link.islnk()
        assert link.linkname == file.name
        assert sym.linkname == "to/" + "é" * 500
    assert len(file.name) > 6000


def test_walk_reads_a_directory_of_many_names(root: bytes) -> None:
    # Lengths vary so that records straddle the buffer the kernel fills; names come in no order.
    names = [b"%05d" % (i * 7919 % 50_000) + b"x" * (i % 60) for i in range(50_000)]
    fd = os.open(root, os.O_RDONLY)
    for name in names:
        os.mknod(name, 0o600 | stat.S_IFREG, dir_fd=fd)
    os.close(fd)
    with no_descriptor_leaks():
        assert walk_count(root) == 50_000
        assert walk(root) == sorted(names)


def test_walk_uses_its_memory_again_for_the_next_directory(root: bytes) -> None:
    # A wide directory first, whose room is kept or given back, then narrow ones and a wide one again.
    wide = {b"1": 30_000, b"2": 3, b"3": 0, b"4": 5000, b"5": 1}
    expected = []
    for directory, count in wide.items():
        os.mkdir(os.path.join(root, directory))
        fd = os.open(os.path.join(root, directory), os.O_RDONLY)
        expected.append(directory)
        for i in range(count):
            os.mknod(b"%045d" % i, 0o600 | stat.S_IFREG, dir_fd=fd)
            expected.append(directory + b"/%045d" % i)
        os.close(fd)
    assert walk(root) == expected


# ---- patterns on the way ---------------------------------------------------------


def test_walk_writes_passed_parents_of_a_deep_match(root: bytes) -> None:
    # None of the 200 levels is selected before the file at the bottom is, so none may be closed for good.
    expected = dig(root, b"d", 200)
    with open(os.path.join(root, expected[-1], b"wanted"), "wb"):
        pass
    with no_descriptor_leaks():
        names = archived(root, include=["**/wanted"])
    assert names == [os.fsdecode(p) for p in expected] + [os.fsdecode(expected[-1]) + "/wanted"]


def test_walk_closes_what_an_exception_leaves_behind(root: bytes) -> None:
    dig(root, b"d", 200, after=b"z")

    def stop(entry: object) -> None:
        if str(getattr(entry, "path", "")).count("/") == 150:
            raise KeyError("stop")

    with no_descriptor_leaks(), pytest.raises(KeyError):
        write_tar(Tree(root, map=stop), io.BytesIO())  # type: ignore[arg-type]


def test_walk_never_follows_a_symlink(root: bytes) -> None:
    os.mkdir(os.path.join(root, b"real"))
    with open(os.path.join(root, b"real", b"inside"), "wb"):
        pass
    os.symlink(b"real", os.path.join(root, b"link"))
    os.symlink(b".", os.path.join(root, b"self"))
    assert walk(root) == [b"link", b"real", b"real/inside", b"self"]
    assert archived(root) == ["link", "real", "real/inside", "self"]
