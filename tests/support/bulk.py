"""Trees that keep many workers busy: thousands of names, bodies around every limit, random mixes."""

from __future__ import annotations

import os
import random

from tests.support.trees import IS_ROOT, NS, Node

_NOW = 1_700_000_000 * NS

# Around a block, a page, what a pipe splices (64 KiB), a chunk (256 KiB) and its slack, and more than that.
SIZES = (
    *(0, 1, 511, 512, 513, 4095, 4096, 4097, 32_768),
    *(65_535, 65_536, 65_537, 69_631, 69_632, 69_633),
    *(262_143, 262_144, 262_145, 300_000, 327_167, 327_168, 327_680, 327_681),
    *((1 << 20) + 1, 3 << 20),
)


def many_names() -> tuple[Node, ...]:
    """9,300 small files: more than 70 batches of them, in directories wide and deep."""
    found = []
    for d in range(3):
        found.append(Node(b"wide%d" % d, "dir", mode=0o755, mtime=_NOW))
        found += [
            Node(b"wide%d/f%04d" % (d, i), "file", mtime=_NOW + i, size=i % 7 * 150) for i in range(2_900)
        ]
    deep = b"deep"
    for level in range(200):
        found.append(Node(deep, "dir", mode=0o711, mtime=_NOW))
        found += [Node(deep + b"/%d" % i, "file", mtime=_NOW, size=level) for i in range(3)]
        deep += b"/d"
    return tuple(found)


def all_bodies(repeats: int = 2) -> tuple[Node, ...]:
    """A file of each of SIZES in a random order, with small ones between, other names, holes, attributes."""
    rng = random.Random(7)
    found = [
        Node(b"d", "dir", mode=0o755, mtime=_NOW),
        Node(b"d/" + b"n" * 200, "dir", mode=0o755, mtime=_NOW),
    ]
    sizes = list(SIZES * repeats)
    rng.shuffle(sizes)
    for i, size in enumerate(sizes):
        place = rng.choice([b"", b"d/", b"d/" + b"n" * 200 + b"/"])
        name = b"%s%03d-%d%s" % (place, i, size, rng.choice([b"", b"-\xc3\xa9", b"-" + b"m" * 120]))
        attributes = ((b"user.a", b"v" * rng.choice([1, 200, 900])),) if rng.random() < 0.3 else ()
        found.append(Node(name, "file", mtime=_NOW, size=size, hole=rng.random() < 0.15, xattrs=attributes))
        found += [
            Node(b"%s%03d.%d" % (place, i, j), "file", mtime=_NOW, size=j * 40)
            for j in range(rng.randrange(6))
        ]
        if rng.random() < 0.3:
            # Behind it in the archive, and so a link to it.
            found.append(Node(b"%s%03d~" % (place, i), "hardlink", target=name))
        if rng.random() < 0.1:
            found.append(Node(b"%s%03d@" % (place, i), "symlink", mtime=_NOW, target=name))
    return tuple(found)


def random_nodes(seed: int, count: int = 160) -> tuple[Node, ...]:
    """A random tree: kinds, sizes, depths and names in another mix for each seed."""
    rng = random.Random(seed)
    kinds = ["file"] * 12 + ["dir"] * 2 + ["symlink", "hardlink", "hardlink", "fifo"]
    if IS_ROOT:
        kinds += ["char"]
    large = rng.choice([0.0, 0.05, 0.3])
    dirs, files = [b""], []
    taken = set()
    found = []
    for i in range(count):
        kind = rng.choice(kinds)
        parent = dirs[-1] if rng.random() < 0.5 else rng.choice(dirs)
        stem = rng.choice(
            [b"%d", b"f%d.txt", b"z%d", b"\xc3\xa9%d", b"n" * 110 + b"%d", b"e%d"]
        ) % rng.randrange(1000)
        path = parent + b"/" + stem if parent else stem
        if path in taken or len(path) > 2_000 or (kind == "hardlink" and not files):
            continue
        taken.add(path)
        if kind == "hardlink":
            found.append(Node(path, kind, target=rng.choice(files)))
            continue
        mode = 0o755 if kind == "dir" else 0o644
        if kind == "dir":
            dirs.append(path)
            found.append(Node(path, kind, mode=mode, mtime=_NOW + i * NS))
        elif kind == "file":
            files.append(path)
            size = rng.choice(SIZES) if rng.random() < large else rng.randrange(3_000)
            attributes = ((b"user.k", b"x" * rng.randrange(700)),) if rng.random() < 0.1 else ()
            found.append(Node(path, kind, mtime=_NOW, size=size, hole=rng.random() < 0.2, xattrs=attributes))
        else:
            target = rng.choice([b"x", b"../y", b"t" * 120])
            found.append(Node(path, kind, mode=mode, mtime=_NOW, target=target, device=(1, 3)))
    return tuple(found)


def make_wide(directory: str, count: int) -> None:
    """`count` empty files in an empty directory; quicker than opening each."""
    here = os.open(directory, os.O_RDONLY)
    try:
        for i in range(count):
            os.mknod(b"%d" % i, 0o100644, dir_fd=here)
    finally:
        os.close(here)
