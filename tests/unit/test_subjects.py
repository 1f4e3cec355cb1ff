"""Which files of a tree are subjects, in which order, and what happens when the tree changes meanwhile."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tarcast.errors import Cancelled, ChangedError, InputError
from tarcast.exporter.subjects import file_subjects
from tarcast.idmap import IDMap
from tests.support.attest import open_directory
from tests.support.files import descriptors


def subjects(
    root: Path, stop: Callable[[], object] = lambda: None, idmap: IDMap | None = None
) -> list[tuple[str, str]]:
    with open_directory(root) as fd:
        return file_subjects(fd, idmap, stop, directory=b"tree")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


def once(action: Callable[[], object], at: int = 1) -> Callable[[], None]:
    """A `stop` that does something when it is asked for the `at`th time."""
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == at:
            action()

    return stop


def test_regular_files_in_the_order_of_the_archive(tmp_path: Path) -> None:
    for name in ("a/z", "a.b", "a-", "b/c/d", "\udcff", "\U0010ffff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(os.fsencode(name))
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("a.b")
    (tmp_path / "links").symlink_to("b")
    os.mkfifo(tmp_path / "fifo")
    os.link(tmp_path / "a.b", tmp_path / "twice")
    names = ["a/z", "a-", "a.b", "b/c/d", "twice", "\U0010ffff", "\udcff"]
    # "a" is the name that sorts: what is below it comes before "a-".
    expected = [(n, sha256(os.fsencode("a.b" if n == "twice" else n))) for n in names]
    assert subjects(tmp_path) == expected


def test_the_callers_descriptor_may_have_been_read(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with open_directory(tmp_path) as fd:
        os.listdir(fd)
        os.lseek(fd, 0, os.SEEK_END)
        assert [name for name, _ in file_subjects(fd, None, lambda: None)] == ["f"]


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_sizes(tmp_path: Path, size: int) -> None:
    content = os.urandom(1000) * (size // 1000 + 1)
    (tmp_path / "f").write_bytes(content[:size])
    assert subjects(tmp_path) == [("f", sha256(content[:size]))]


def test_large_and_small_files_keep_their_order(tmp_path: Path) -> None:
    contents = {f"{n:02}": bytes([n]) * (300_000 * (n % 3) + 7) for n in range(30)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert subjects(tmp_path) == [(name, sha256(content)) for name, content in contents.items()]


def test_files_of_owners_without_a_place_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    me = os.getuid(), os.getgid()
    mine = IDMap([(5, me[0], 1)], [(5, me[1], 1)])
    assert [name for name, _ in subjects(tmp_path, idmap=mine)] == ["d/f"]
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, tmp_path / "socket")
        assert subjects(tmp_path, idmap=IDMap(uid=())) == []


def bind(listener: socket.socket, path: Path) -> None:
    """By a short way: the path of a socket has room for 107 bytes."""
    with open_directory(path.parent) as fd:
        listener.bind(f"/proc/self/fd/{fd}/{path.name}")


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, tmp_path / "socket")
        with pytest.raises(InputError, match=r"^tree/socket: open: is a socket"):
            subjects(tmp_path)


def make_deep(root: Path, levels: int) -> None:
    """d/d/d/..., each with files before and behind its directory."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        for name in ("a", "z"):
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_depth_costs_no_descriptors(tmp_path: Path) -> None:
    make_deep(tmp_path, 300)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 80, hard))
    try:
        names = [name for name, _ in subjects(tmp_path)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    down = ["d/" * n + "a" for n in range(300)]
    assert names == down + ["d/" * n + "z" for n in reversed(range(300))]


def test_a_directory_that_moved_is_not_left_by_its_new_parent(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    make_deep(tree, 80)
    with pytest.raises(ChangedError, match=r"^tree/d/d: read directory: was moved or replaced"):
        # Asked twice a level on the way down, it is deep enough by then for the upper ones to be closed.
        subjects(tree, once(lambda: os.rename(tree / "d" / "d" / "d", tmp_path / "away"), at=155))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.unlink(), "^tree/f: open: vanished .*; export a snapshot$"),
        (lambda f: (f.unlink(), f.symlink_to("x")), "^tree/f: open: turned into a symlink"),
        (lambda f: (f.unlink(), os.mkfifo(f)), "^tree/f: open: was replaced during the export; export"),
    ],
)
def test_a_file_that_is_not_the_same_when_it_is_opened(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with pytest.raises(ChangedError, match=message):
        subjects(tmp_path, once(lambda: change(tmp_path / "f")))


def test_a_directory_that_vanishes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(ChangedError, match=r"^tree/d: read directory: vanished"):
        subjects(tmp_path, once(lambda: (tmp_path / "d").rmdir()))


@pytest.mark.parametrize(("size", "word"), [(3, "shrank"), (9, "grew")])
def test_a_file_that_changes_its_size(tmp_path: Path, size: int, word: str) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with pytest.raises(ChangedError, match=rf"^tree/f: read data: {word} during the export") as caught:
        subjects(tmp_path, once(lambda: os.truncate(tmp_path / "f", size), at=2))
    assert (caught.value.expected, caught.value.seen) == (7, min(size, 8))


def test_stop_ends_small_and_large_files(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file:
        file.truncate(1 << 40)  # hours of zeros
    (tmp_path / "b").touch()

    def cancelled() -> None:
        raise Cancelled("enough")

    for asked in (1, 2, 5):
        with pytest.raises(Cancelled, match="enough"):
            subjects(tmp_path, once(cancelled, at=asked))
