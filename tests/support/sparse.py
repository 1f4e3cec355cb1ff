"""Files with holes of every shape, and sparse entries (pax 1.0) taken apart by hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.support.holes import make_islands
from tests.support.judge import BLOCK, archive_parts

_PAGE = 4096
_MIB = 1 << 20

# Name: size and islands of data, (offset, length) each. All are worth a sparse entry on any file system.
SHAPES: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "leading": (2 * _MIB, [(_MIB, _MIB)]),
    "trailing": (2 * _MIB, [(0, 100_000)]),
    "both": (2 * _MIB, [(_MIB, _PAGE)]),
    "only-hole": (3 * _MIB, []),
    "only-hole-odd": (3 * _MIB + 77, []),
    "one-byte-at-the-end": (5 * _MIB + 1, [(5 * _MIB, 1)]),
    "odd-end-in-data": (_MIB + 1_234, [(0, 10), (_MIB, 1_234)]),
    "odd-end-in-a-hole": (_MIB + 1_234, [(0, 10)]),
    "end-one-short-of-a-block": (_MIB + 511, [(_MIB - _PAGE, _PAGE + 511)]),
    "islands": (2 * _MIB, [(at, 100) for at in range(0, 2 * _MIB, 5 * _PAGE)]),
    "many-islands": (16 * _MIB + 5, [(at, 1) for at in range(_PAGE, 16 * _MIB, 3 * _PAGE)]),
    "odd-islands": (4 * _MIB, [(1, 1), (70_001, 4_095), (300_000, 70_001), (4 * _MIB - 1, 1)]),
    "large-islands": (16 * _MIB, [(_MIB + 3, 2 * _MIB), (9 * _MIB, _MIB + 1), (15 * _MIB, 77)]),
    "n" * 120: (2 * _MIB, [(_MIB, 10)]),
    "n" * 255: (2 * _MIB, [(_MIB, 10)]),
    "é" * 60: (2 * _MIB, [(_MIB, 10)]),
    "new\nline=": (2 * _MIB, [(_MIB, 10)]),
}


def make_shapes(directory: Path) -> None:
    """SHAPES, in directories of their own too, with attributes and second names, and files without holes."""
    directory.mkdir(exist_ok=True)
    below = directory / "z" / ("d" * 90)
    below.mkdir(parents=True)
    for i, (name, (size, islands)) in enumerate(SHAPES.items()):
        path = make_islands(directory / name, size, islands)
        os.utime(path, ns=(0, (1_700_000_000 + i) * 10**9))
        if i % 3 == 0:
            os.link(path, directory / f"ÿ{i:02}")  # behind all of them in the archive
        if i % 4 == 0:
            os.setxattr(path, "user.a", b"v" * i * 40)
        make_islands(below / name[:10], size, islands) if i < 5 else None
    (directory / "solid").write_bytes(os.urandom(300_000))
    (directory / "small").write_bytes(b"small")
    make_islands(directory / "not-worth-it", 2 * _PAGE + 1_000, [(0, 2 * _PAGE)])


@dataclass(frozen=True)
class SparseEntry:
    """What a sparse entry says, as bytes lie in the archive."""

    name: str
    real_size: int
    header_name: bytes
    stored: int
    map_text: bytes
    runs: list[tuple[int, int]]
    data: bytes


def sparse_entries(archive: bytes) -> dict[str, SparseEntry]:
    """The sparse entries by name. Everything that the format fixes is checked on the way."""
    found = {}
    parts = [*archive_parts(archive), (len(archive) // BLOCK, "end", b"")]
    for (block, part, _), (records, what, _), (header, _, _), (start, kind, _) in zip(
        parts, parts[1:], parts[2:], parts[3:], strict=False
    ):
        if part != "pax header of" or what != "pax records of":
            continue
        keys = _records(
            archive[records * BLOCK : records * BLOCK + int(archive[block * BLOCK + 124 :][:11], 8)]
        )
        if b"GNU.sparse.major" not in keys:
            continue
        assert (keys[b"GNU.sparse.major"], keys[b"GNU.sparse.minor"]) == (b"1", b"0")
        assert b"path" not in keys
        assert kind == "data of"
        own = archive[header * BLOCK : (header + 1) * BLOCK]
        stored = int(keys.get(b"size", own[124:135]), 10 if b"size" in keys else 8)
        body = archive[start * BLOCK : start * BLOCK + stored]
        numbers, map_size = _map(body)
        runs = list(zip(numbers[1::2], numbers[2::2], strict=True))
        assert numbers[0] == len(runs)
        name = os.fsdecode(keys[b"GNU.sparse.name"])
        found[name] = SparseEntry(
            name=name,
            real_size=int(keys[b"GNU.sparse.realsize"]),
            header_name=own[:100].rstrip(b"\0"),
            stored=stored,
            map_text=body[:map_size],
            runs=runs,
            data=body[map_size:],
        )
    return found


def _records(data: bytes) -> dict[bytes, bytes]:
    found = {}
    while data:
        length = int(data[: data.index(b" ")])
        key, _, value = data[data.index(b" ") + 1 : length - 1].partition(b"=")
        assert key not in found
        found[key] = value
        data = data[length:]
    return found


def _map(body: bytes) -> tuple[list[int], int]:
    """The numbers of the map, and how many bytes it takes, with its padding."""
    count = int(body[: body.index(b"\n")])
    end = -1
    for _ in range(2 * count + 1):
        end = body.index(b"\n", end + 1)
    text = body[: end + 1]
    size = -(-len(text) // BLOCK) * BLOCK
    assert body[len(text) : size] == bytes(size - len(text))
    return [int(line) for line in text.splitlines()], size
