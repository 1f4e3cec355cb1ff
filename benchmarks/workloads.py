"""Make the benchmark trees, the same bytes and names on every machine.

    python -m benchmarks.workloads list
    python -m benchmarks.workloads make NAME DIR [--scale F]     (DIR/NAME is made; existing trees are kept)

Python standard library only. Sizes below are for --scale 1. Trees that need
root (owners) or a file system feature (xattrs, holes) say so and fail loudly.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from pathlib import Path

EPOCH_NS = 1_700_000_000_123_456_789
BLOB = random.Random(7).randbytes(1 << 20)


def _file(path: Path, size: int, offset: int = 0) -> None:
    with path.open("wb", buffering=0) as f:
        left = size
        while left:
            start = offset % (len(BLOB) // 2)
            n = f.write(memoryview(BLOB)[start : start + min(left, len(BLOB) - start)])
            left -= n
            offset += n


def small(root: Path, scale: float) -> None:
    """100,000 files of 0-4 KiB in 1,000 directories: a package store."""
    rng = random.Random(1)
    per_dir = max(1, int(100 * scale))
    for a in range(20):
        for b in range(50):
            d = root / f"pkg{a:02d}" / f"mod{b:03d}"
            d.mkdir(parents=True)
            for c in range(per_dir):
                _file(d / f"file_{c:04d}.txt", rng.randrange(4096), rng.randrange(500_000))


def mid(root: Path, scale: float) -> None:
    """4,000 files of 64-768 KiB in 40 directories: media, wheels, shards."""
    rng = random.Random(2)
    for i in range(max(1, int(4000 * scale))):
        d = root / f"d{i % 40:02d}"
        d.mkdir(exist_ok=True)
        _file(d / f"f{i:05d}.bin", rng.randrange(64 << 10, 768 << 10), i * 4096)


def large(root: Path, scale: float) -> None:
    """4 files of 512 MiB: checkpoints, disk images."""
    for i in range(4):
        _file(root / f"big{i}.bin", int((512 << 20) * scale), i)


def million(root: Path, scale: float) -> None:
    """1,000,000 files of 0-64 bytes, up to 2,000 a directory: memory and scaling."""
    rng = random.Random(3)
    total = int(1_000_000 * scale)
    for i in range(total):
        d = root / f"{i // 100_000:02d}" / f"{i // 2000 % 50:02d}"
        if i % 2000 == 0:
            d.mkdir(parents=True, exist_ok=True)
        _file(d / f"{i:07d}", rng.randrange(64))


def deep(root: Path, scale: float) -> None:
    """200 chains 40 directories deep, names up to 60 bytes, some not ASCII: pax paths."""
    rng = random.Random(4)
    for i in range(max(1, int(200 * scale))):
        d = root / f"chain{i:03d}"
        for level in range(40):
            d = d / (f"level-{level:02d}-" + "n" * rng.randrange(50))
        d.mkdir(parents=True)
        for k in range(5):
            _file(d / f"leaf-{k}-\u00e9\u4e2d.txt", 200 + k)


def links(root: Path, scale: float) -> None:
    """10,000 inodes with 3 names each across directories, and 20,000 symlinks."""
    for k in range(3):
        for j in range(100):
            (root / f"set{k}" / f"{j:02d}").mkdir(parents=True)
    for i in range(max(1, int(10_000 * scale))):
        first = root / "set0" / f"{i % 100:02d}" / f"f{i:05d}"
        _file(first, 512 + i % 1024, i)
        for k in (1, 2):
            os.link(first, root / f"set{k}" / f"{i % 100:02d}" / f"f{i:05d}")
        os.symlink(f"../../set0/{i % 100:02d}/f{i:05d}", root / "set1" / f"{i % 100:02d}" / f"s{i:05d}")
        os.symlink("/etc/hostname", root / "set2" / f"{i % 100:02d}" / f"s{i:05d}")


def xattrs(root: Path, scale: float) -> None:
    """20,000 files of 1 KiB, each with two user xattrs (needs a file system with them)."""
    for i in range(max(1, int(20_000 * scale))):
        d = root / f"{i % 100:02d}"
        d.mkdir(exist_ok=True)
        p = d / f"f{i:05d}"
        _file(p, 1024, i)
        os.setxattr(p, "user.checksum", b"%064x" % i)
        os.setxattr(p, "user.origin", b"workload")


def holes(root: Path, scale: float) -> None:
    """8 sparse files, 1 GiB long with 16 MiB of data each, in 64 KiB islands."""
    for i in range(8):
        with (root / f"sparse{i}.img").open("wb") as f:
            f.truncate(int((1 << 30) * scale))
            for k in range(256):
                f.seek(int(k * (4 << 20) * scale))
                f.write(BLOB[: 64 << 10])


def owners(root: Path, scale: float) -> None:
    """20,000 files owned by host ids 100000-165535 as in a user namespace, 1 in 50 outside (needs root)."""
    rng = random.Random(5)
    for i in range(max(1, int(20_000 * scale))):
        d = root / f"{i % 100:02d}"
        d.mkdir(exist_ok=True)
        p = d / f"f{i:05d}"
        _file(p, rng.randrange(2048), i)
        uid = 70_000 if i % 50 == 0 else 100_000 + rng.randrange(65_536)
        os.chown(p, uid, 100_000 + rng.randrange(65_536))
        if i < 100:
            os.chown(d, 100_000, 100_000)
    os.chown(root, 100_000, 100_000)


TREES = {f.__name__: f for f in (small, mid, large, million, deep, links, xattrs, holes, owners)}

# MiB at scale 1: the tree, on blocks of 4 KiB, and the largest archive that any contestant makes of it.
ROOM = {
    "small": (420, 450),
    "mid": (1700, 1700),
    "large": (2100, 2100),
    "million": (4500, 2100),
    "deep": (100, 100),
    "links": (100, 100),
    "xattrs": (200, 100),
    "holes": (150, 8300),
    "owners": (120, 100),
}


def make(name: str, where: Path, scale: float) -> Path:
    """Make the tree `where/name` unless it is there, and return its path."""
    root = where / name
    if root.exists():
        return root
    building = where / f".{name}.building"
    if building.exists():  # an interrupted run's
        shutil.rmtree(building)
    building.mkdir(parents=True)
    TREES[name](building, scale)
    if name != "million":
        for parent, dirs, files in os.walk(building, topdown=False):
            for n in files + dirs:
                os.utime(Path(parent) / n, ns=(EPOCH_NS, EPOCH_NS), follow_symlinks=False)
    building.rename(root)
    return root


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.workloads", description=__doc__.splitlines()[0])
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("list")
    p = sub.add_parser("make")
    p.add_argument("name", choices=sorted(TREES))
    p.add_argument("dir", type=Path)
    p.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    if args.command == "list":
        for name, build in TREES.items():
            print(f"{name:8} {build.__doc__}")
        return 0
    print(make(args.name, args.dir, args.scale))
    return 0


if __name__ == "__main__":
    sys.exit(main())
