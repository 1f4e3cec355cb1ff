"""A file system of a chosen kind for one run: a file, formatted and mounted through a loop device.

No block of it outlives the run. It is mounted where only this process and its children see it, and the file
has no name once it is mounted, so the kernel frees all of it with the last of these processes, even a killed
one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import ROOM

_CLONE_NEWNS = 0x00020000  # linux/sched.h; Python has os.unshare from 3.12 on
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not on everyone's PATH, even root's

# Nothing is discarded, in making or later: the blocks of the file are there before the first run, and stay.
MAKE = {
    "xfs": ["mkfs.xfs", "-q", "-f", "-K"],
    "btrfs": ["mkfs.btrfs", "-q", "-f", "-K"],
    # As many inodes as blocks, for `million`; and all tables written now, not by the kernel during the runs.
    "ext4": ["mkfs.ext4", "-q", "-F", "-i", "4096", "-E",
             "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
}  # fmt: skip
MOUNT = {"xfs": "loop", "btrfs": "loop,nodiscard", "ext4": "loop"}
PACKAGES = {"xfs": "xfsprogs", "btrfs": "btrfs-progs", "ext4": "e2fsprogs"}
MIB, GIB = 2**20, 2**30
LEAST = 512 * MIB  # mkfs.xfs wants 300


class ImageError(Exception):
    """The file system cannot be had; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where trees and outputs go; and what a report says of the image there, if one was made for this run."""

    path: Path
    image: str | None = None


def default_size(works: Sequence[str], scale: float) -> int:
    """Bytes for all the trees, the largest output, and as much again that was deleted but is not free yet.

    A quarter more for what the file system keeps for itself; 1 GiB for what does not shrink with the scale.
    """
    room = [ROOM[work] for work in set(works)]
    wanted = sum(tree for tree, _ in room) + 2 * max(output for _, output in room)
    return GIB + int(wanted * scale * 1.25) * MIB


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


def missing(kind: str) -> str | None:
    """Why no file system of this kind can be made here; None if it can be tried."""
    if os.geteuid() != 0:
        return "must be run by root: it mounts an image"
    for name, package in ((MAKE[kind][0], PACKAGES[kind]), ("mount", "mount"), ("umount", "mount")):
        if _program(name) is None:
            return f"needs {name}, which is not there; on Debian and Ubuntu: apt-get install {package}"
    return None


def _run(argv: list[str]) -> str:
    # In a session of its own, so that a Ctrl-C for us does not stop it half-way.
    try:
        done = subprocess.run(
            [_program(argv[0]) or argv[0], *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            start_new_session=True,
        )
    except OSError as error:
        raise ImageError(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ImageError(f"{argv[0]}: {said[0] if said else f'exit {done.returncode}'}")
    return done.stdout.strip()


def _own_mounts() -> None:
    """From now on, what is mounted here is seen only here; what others unmount is unmounted here too."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise ImageError(f"no mounts of our own: {os.strerror(ctypes.get_errno())}")
    _run(["mount", "--make-rslave", "/"])


def _allocate(path: Path, size: int) -> None:
    with path.open("xb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise
            raise ImageError(
                f"{path.parent} has no room for {size / GIB:.1f} GiB: {os.strerror(error.errno)}; "
                "name another --dir, or a smaller --fs-size"
            ) from error


def _direct(point: Path) -> bool:
    """Keep the image out of the page cache, where everything would lie twice; not every disk can do that."""
    try:
        _run(
            ["losetup", "--direct-io=on", _run(["findmnt", "-n", "-o", "SOURCE", "--mountpoint", str(point)])]
        )
    except ImageError:
        return False
    return True


def _unmount(point: Path) -> None:
    for attempt in range(20):
        if not os.path.ismount(point):
            return
        with contextlib.suppress(ImageError):
            _run(["umount", str(point)] if attempt < 19 else ["umount", "--lazy", str(point)])
            continue
        time.sleep(0.25)  # a child that was just killed may still be on its way out


@contextlib.contextmanager
def mounted(kind: str, size: int, where: Path) -> Iterator[Place]:
    """Make, mount, and at the end remove a file system of `size` bytes in `where`."""
    _own_mounts()
    point = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=where))
    image = point.with_name(f"{point.name}.img")
    try:
        _allocate(image, size)
        _run([*MAKE[kind], str(image)])
        _run(["mount", "-o", MOUNT[kind], str(image), str(point)])
        image.unlink()
        how = "with direct I/O" if _direct(point) else "through the page cache"
        yield Place(point, f"a new image of {size / GIB:.1f} GiB, on a loop device {how}")
    finally:
        image.unlink(missing_ok=True)
        _unmount(point)
        point.rmdir()


@contextlib.contextmanager
def place(
    kind: str | None, size: int | None, works: Sequence[str], scale: float, base: Path
) -> Iterator[Place]:
    """`base` itself, or a new file system in it if a kind is asked for."""
    if kind is None:
        yield Place(base)
        return
    with mounted(kind, size or default_size(works, scale), base) as made:
        yield made
