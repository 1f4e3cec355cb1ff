"""File systems of several kinds, mounted once a session, and which blocks of theirs a file has."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.faults import image, tmpfs

# Bytes of the image, and arguments of mkfs. XFS has a least size of its own.
_KINDS = {
    "xfs": (400 << 20, ("-q",)),
    "btrfs": (512 << 20, ("-q",)),
    "ext4": (512 << 20, ("-q", "-m", "0")),
}

BLOCK = 4096

# From the kind of a file system to an empty directory on one.
MakeDirectory = Callable[[str], Path]


class Disks:
    """The file systems of a session, each mounted when it is first asked for."""

    def __init__(self, below: Path) -> None:
        self._below = below
        self._mounts = contextlib.ExitStack()
        self._places: dict[str, Path] = {}

    def directory(self, kind: str) -> Path:
        """A fresh directory on a file system of that kind; skips the test where it cannot be had."""
        if kind not in self._places:
            place = self._below / f"disk-{kind}"
            if kind == "tmpfs":
                self._mounts.enter_context(tmpfs(place, "size=400m,mode=0755"))
            else:
                size, arguments = _KINDS[kind]
                self._mounts.enter_context(image(place, kind, size, *arguments))
            self._places[kind] = place
        return Path(tempfile.mkdtemp(dir=self._places[kind]))

    def close(self) -> None:
        self._mounts.close()


_FIEMAP = 0xC020660B  # FS_IOC_FIEMAP: struct fiemap, then struct fiemap_extent, in linux/fiemap.h
_HEAD = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQQQLLLL")
_SYNC, _LAST, _SHARED = 0x1, 0x1, 0x2000
_COUNT = 200


def extents(path: Path) -> list[tuple[int, int, int, bool]]:
    """(offset, place on the disk, length, shared with another file) of each extent, holes left out."""
    found = []
    start = 0
    with open(path, "rb") as file:
        while True:
            request = array.array("B", bytes(_HEAD.size + _COUNT * _EXTENT.size))
            _HEAD.pack_into(request, 0, start, (1 << 64) - 1 - start, _SYNC, 0, _COUNT, 0)
            fcntl.ioctl(file, _FIEMAP, request, True)
            count = _HEAD.unpack_from(request)[3]
            flags = _LAST
            for i in range(count):
                offset, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(
                    request, _HEAD.size + i * _EXTENT.size
                )
                found.append((offset, physical, length, bool(flags & _SHARED)))
                start = offset + length
            if flags & _LAST:
                return found


def blocks(path: Path, start: int, size: int) -> list[tuple[int, bool] | None]:
    """For each whole block of 4096 bytes from `start` on (place on the disk, shared), or None: a hole."""
    assert start % BLOCK == 0
    found: list[tuple[int, bool] | None] = [None] * (size // BLOCK)
    for offset, physical, length, shared in extents(path):
        for at in range(max(offset, start), min(offset + length, start + size // BLOCK * BLOCK), BLOCK):
            found[(at - start) // BLOCK] = (physical + at - offset, shared)
    return found


def allocated(path: Path) -> int:
    """Bytes on the disk."""
    return os.stat(path).st_blocks * 512
