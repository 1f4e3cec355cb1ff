"""Making and removing directories that hold anything."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def scratch_directory() -> Path:
    """A fresh directory on a file system that takes user attributes and 34-bit times, if one is at hand.

    TARCAST_SCRATCH names where; else the temp directory, and /var/tmp where that one cannot (a tmpfs of an
    older kernel). The tests compare what the file system really stored, so a poor one makes them weaker
    and not wrong; only the recipes of kept archives insist.
    """
    chosen = os.environ.get("TARCAST_SCRATCH")
    candidates = [chosen] if chosen else [tempfile.gettempdir(), "/var/tmp"]
    best = None
    for parent in candidates:
        if not os.access(parent, os.W_OK):
            continue
        directory = Path(tempfile.mkdtemp(prefix="tarcast-test-", dir=parent))
        if takes_everything(directory):
            if best is not None:
                remove_tree(best)
            return directory
        if best is None:
            best = directory
        else:
            remove_tree(directory)
    assert best is not None, f"none of {candidates} is writable"
    return best


def takes_everything(directory: Path) -> bool:
    """Whether the file system stores user attributes, nanoseconds and times up to the year 2446."""
    probe = directory / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"1")
        for ns in (1, 15032385535 * 10**9):
            os.utime(probe, ns=(0, ns))
            if probe.stat().st_mtime_ns != ns:
                return False
        return True
    except OSError:
        return False
    finally:
        probe.unlink()


def remove_tree(root: Path | bytes) -> None:
    """Remove `root` whatever its modes and names are."""
    raw = os.fsencode(root)
    if os.geteuid() != 0:
        for directory, _, _ in os.walk(raw, onerror=None):
            for entry in os.scandir(_open_up(directory)):
                if entry.is_dir(follow_symlinks=False):
                    _open_up(entry.path)
    shutil.rmtree(raw)


def _open_up(directory: bytes) -> bytes:
    os.chmod(directory, stat.S_IRWXU)
    return directory


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def descriptors() -> dict[int, tuple[int, int]]:
    """The open descriptors of this process and the files behind them."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # the listing's own
            status = os.fstat(fd)
            found[fd] = status.st_dev, status.st_ino
    return found
