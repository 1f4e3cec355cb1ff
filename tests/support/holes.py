"""Files with holes: making them, seeing where their data is, comparing them without reading what is none."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path

PAGE = 4096


def make_islands(path: Path, size: int, islands: Sequence[tuple[int, int]]) -> Path:
    """A file of `size` bytes, all hole but for the islands, (offset, length) each, of random bytes."""
    rng = random.Random(size)
    with open(path, "wb") as file:
        file.truncate(size)  # first: XFS reserves blocks behind the end of a file that grows
        for offset, length in islands:
            file.seek(offset)
            file.write(rng.randbytes(length))
    return path


def data_ranges(fd: int, start: int, end: int) -> list[tuple[int, int]]:
    """(begin, end) of what is no hole, as the file system tells."""
    found = []
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            raise
        if start >= end:
            break
        hole = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        found.append((start, hole))
        start = hole
    return found


def assert_same_data(one: Path, other: Path, offset: int, size: int, what: str = "") -> None:
    """`one`, of `size` bytes, is what `other` holds from `offset` on; what is a hole in both is not read."""
    assert os.stat(one).st_size == size, what
    with open(one, "rb") as left, open(other, "rb") as right:
        places = set()
        for begin, end in data_ranges(left.fileno(), 0, size):
            places.update(range(begin // PAGE * PAGE, end, PAGE))
        for begin, end in data_ranges(right.fileno(), offset, offset + size):
            places.update(range((begin - offset) // PAGE * PAGE, end - offset, PAGE))
        for place in sorted(places):
            left.seek(max(place, 0))
            right.seek(offset + max(place, 0))
            count = min(PAGE, size - place)
            assert left.read(count) == right.read(count), (what, place)
