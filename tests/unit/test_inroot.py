"""Opening paths that never leave a directory."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarcast._core.inroot import open_in_root


@pytest.fixture(autouse=True, scope="module")
def needs_openat2() -> None:
    """Skips where the kernel, or what emulates it, has no openat2(2)."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.close(open_in_root(here, b".", os.O_RDONLY))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        pytest.skip("needs openat2(2): Linux 5.6")
    finally:
        os.close(here)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """inside/ with a file and links, next to a file that must not be reached."""
    inside = tmp_path / "inside"
    (inside / "d").mkdir(parents=True)
    (inside / "d" / "file").write_text("inside")
    (tmp_path / "file").write_text("outside")
    (inside / "up").symlink_to("../file")
    (inside / "absolute").symlink_to("/d/file")
    (inside / "host").symlink_to(tmp_path / "file")
    (inside / "magic").symlink_to("/proc/self/root")
    fd = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("path", [b"d/file", b"/d/file", b"../../d/file", b"absolute", b"d/../absolute"])
def test_reaches_what_is_inside(root: int, path: bytes) -> None:
    fd = open_in_root(root, path, os.O_RDONLY)
    try:
        assert os.read(fd, 10) == b"inside"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", [b"up", b"../file", b"host", b"none", b"magic/etc/passwd"])
def test_reaches_nothing_outside(root: int, path: bytes) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_in_root(root, path, os.O_RDONLY)
    assert caught.value.filename == path


def test_links_of_proc_are_refused() -> None:
    proc = os.open("/proc/self", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=re.escape(os.strerror(errno.ELOOP))) as caught:
            open_in_root(proc, b"cwd/x", os.O_RDONLY)
    finally:
        os.close(proc)
    assert caught.value.errno == errno.ELOOP


def test_flags_and_arguments_are_checked(root: int) -> None:
    with pytest.raises(NotADirectoryError):
        open_in_root(root, b"d/file", os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError, match="descriptor") as caught:
        open_in_root(-1, b"d", os.O_RDONLY)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(ValueError, match="null byte"):
        open_in_root(root, b"d\0", os.O_RDONLY)
    with pytest.raises(TypeError):
        open_in_root(root, "d", os.O_RDONLY)  # type: ignore[arg-type]
