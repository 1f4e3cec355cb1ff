"""Recipes of the trees whose archives are in `main/` (needs root and ext4, btrfs or XFS).

Everything in a tree is fixed: names, bytes, modes, owners, times to the nanosecond, extended attributes.
The manifest beside the archives says which options of the original writer produced each one.
"""

from __future__ import annotations

import os
import random
import socket
import stat

NS = 1_600_000_000_000_000_000


def put(p, data=b"x", mode=0o644, owner=(0, 0), ns=NS):
    p = os.fsencode(p)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    with open(p, "wb") as f:
        f.write(data)
    os.chown(p, *owner)
    os.chmod(p, mode)
    os.utime(p, ns=(ns, ns))


def settle(root, ns=NS):
    """Give every directory a fixed time, deepest first."""
    for d, _, _ in os.walk(os.fsencode(root), topdown=False):
        os.utime(d, ns=(ns, ns))


def settle_all(root):
    """Give everything the same time, links too."""
    for d, dirs, files in os.walk(os.fsencode(root)):
        for n in dirs + files:
            os.utime(os.path.join(d, n), ns=(NS, NS), follow_symlinks=False)
    settle(root)


def order(r):
    for n in [
        "a/b",
        "a/b-c/d",
        "a/b.c",
        "a/b0",
        "a-b",
        "a.txt",
        "a0",
        "A",
        "B/z",
        "Z",
        "aa/a",
        "b",
        " lead",
        "tab\tname",
        "new\nline",
        "~",
        "!",
        "é",
        "é2/x",
        "日本",
        "a/日本/x",
        "-",
        "--",
        "..a",
        ".hidden",
        ".hid/x",
        "a b/c",
    ]:
        put(r / n, n.encode())
    settle(r)


def types(r):
    put(r / "file", b"hello")
    put(r / "empty", b"")
    (r / "dir").mkdir()
    (r / "emptydir").mkdir()
    os.symlink("file", r / "link")
    os.symlink("/etc/passwd", r / "abs")
    os.symlink("no such", r / "dangling")
    os.symlink("dir", r / "dirlink")
    os.mkfifo(r / "fifo", 0o600)
    os.mknod(r / "chr", stat.S_IFCHR | 0o620, os.makedev(5, 1))
    os.mknod(r / "blk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    os.mknod(r / "whiteout", stat.S_IFCHR | 0o000, os.makedev(0, 0))
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(r / "sock"))
    s.close()
    os.chmod(r / "sock", 0o755)
    settle_all(r)


def modes(r):
    for m in [0, 0o1, 0o644, 0o755, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777, 0o400, 0o111]:
        put(r / f"f{m:04o}", b"m", m)
        d = r / f"d{m:04o}"
        d.mkdir()
        put(d / "in", b"i")
        os.chmod(d, m)
    settle(r)


def sizes(r):
    rng = random.Random(9)
    for n in [
        0,
        1,
        511,
        512,
        513,
        1023,
        1024,
        1025,
        4095,
        4096,
        4097,
        65535,
        65536,
        65537,
        262143,
        262144,
        262145,
    ]:
        put(r / f"s{n:07d}", rng.randbytes(n))
    settle(r)


def times(r):
    for i, ns in enumerate(
        [
            0,
            1,
            499_999_999,
            500_000_000,
            500_000_001,
            999_999_999,
            1_000_000_000,
            NS + 499_999_999,
            NS + 500_000_000,
            NS + 999_999_999,
            -1,
            -500_000_000,
            -500_000_001,
            -1_000_000_000,
            -1_500_000_000,
            -2_000_000_000_000_000,
            (2**31) * 10**9,
            (2**32) * 10**9,
            (2**33 - 1) * 10**9,
            (2**33) * 10**9,
            (2**33) * 10**9 + 700_000_000,
            -(2**31) * 10**9,
        ]
    ):
        put(r / f"t{i:02d}", b"t", ns=ns)
    (r / "d").mkdir()
    settle(r)
    os.utime(r / "d", ns=(NS + 600_000_000, NS + 600_000_000))


def owners(r):
    for i, u in enumerate([0, 1, 1000, 65534, 2097151, 2097152, 4294967294]):
        put(r / f"u{i}", b"u", owner=(u, 0))
        put(r / f"g{i}", b"g", owner=(0, u))
    put(r / "d/x", owner=(12, 34))
    os.chown(r / "d", 2097152, 5)
    settle(r)


def names(r):
    for n in ["n" * 99, "n" * 100, "m" * 101, "n" * 255]:
        put(r / n, b"n")
    put(r / ("d" * 54) / ("e" * 100), b"p")
    put(r / ("d" * 155) / ("f" * 100), b"p")
    put(r / ("d" * 156) / ("g" * 99), b"p")
    put(r / ("d" * 154) / ("h" * 101), b"p")
    put(r / ("a" * 50) / ("b" * 50) / ("c" * 50) / ("i" * 50), b"p")
    put(r / ("a" * 99) / ("j" * 99) / ("k" * 99) / ("l" * 99), b"p")
    (r / ("D" * 99)).mkdir()
    (r / ("D" * 100)).mkdir()
    (r / ("E" * 100) / ("F" * 60)).mkdir(parents=True)
    put(r / "ascii" / ("é" * 60), b"u")
    put(r / "café", b"u")
    put(os.path.join(os.fsencode(r), b"bad\xff\xfename"), b"b")
    put(os.path.join(os.fsencode(r), b"bad\x80dir", b"x"), b"b")
    put(os.path.join(os.fsencode(r), b"mix\xc3\xa9\xff" + b"y" * 120), b"b")
    put(r / "eq=sign" / ("q=" * 60), b"q")
    deep = r
    for i in range(30):
        deep = deep / f"level{i:02d}-0123456789"
    put(deep / "leaf", b"z")
    settle(r)


def linknames(r):
    put(r / "target", b"t")
    for i, t in enumerate(
        [
            "t" * 99,
            "t" * 100,
            "t" * 101,
            "é" * 10,
            "/" + "a/" * 300,
            "x" * 4000,
            "..",
            ".",
            "a//b/../c/",
            "sp ace",
            "new\nline",
        ]
    ):
        os.symlink(t, r / f"l{i:02d}")
    os.symlink(b"bad\xff", os.fsencode(r) + b"/lbad")
    long = r / ("p" * 80) / ("q" * 80)
    long.mkdir(parents=True)
    put(long / "orig", b"hard")
    os.link(long / "orig", long / "second")
    os.link(long / "orig", r / "zz-third")
    settle_all(r)


def hardlinks(r):
    put(r / "a/one", b"one")
    os.link(r / "a/one", r / "b-one")
    os.link(r / "a/one", r / "A-first")
    put(r / "empty1", b"")
    os.link(r / "empty1", r / "empty2")
    os.symlink("x", r / "s1")
    os.link(r / "s1", r / "s2", follow_symlinks=False)
    os.mkfifo(r / "p1")
    os.link(r / "p1", r / "p2")
    os.mknod(r / "c1", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.link(r / "c1", r / "c2")
    put(r / "outside/k", b"k", 0o600, (7, 8))
    os.link(r / "outside/k", r / "zk")
    settle_all(r)


def idmapped(r):
    put(r / "in/a", b"a", owner=(100000, 100000))
    put(r / "in/b", b"b", owner=(165535, 100001))
    put(r / "out-uid", b"c", owner=(0, 100000))
    put(r / "out-gid", b"d", owner=(100000, 0))
    put(r / "beyond", b"e", owner=(165536, 100000))
    put(r / "dropdir/keep", b"f", owner=(100005, 100005))
    put(r / "h1", b"g", owner=(100001, 100001))
    os.link(r / "h1", r / "h2")
    put(r / "x1", b"h", owner=(5, 5))
    os.link(r / "x1", r / "x2")
    os.chown(r / "in", 100000, 100000)
    os.chown(r / "dropdir", 1, 1)
    os.symlink("in/a", r / "sl")
    os.lchown(r / "sl", 100002, 100003)
    os.symlink("in/a", r / "slout")
    settle_all(r)


def xattr(r):
    put(r / "plain", b"p")
    put(r / "one", b"1")
    os.setxattr(r / "one", "user.a", b"v")
    put(r / "many", b"2")
    for k, v in {
        "user.z": b"last",
        "user.a": b"first",
        "user.eq": b"k=v",
        "user.nl": b"a\nb",
        "user.nul": b"a\0b",
        "user.bin": bytes(range(256)),
        "user.empty": b"",
        "trusted.t": b"root",
        "user.longkey." + "k" * 200: b"x",
        "user.é": "ü".encode(),
    }.items():
        os.setxattr(r / "many", k, v)
    put(r / "cap", b"3", 0o755)
    os.setxattr(r / "cap", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    (r / "d").mkdir()
    os.setxattr(r / "d", "user.dir", b"d")
    put(r / ("n" * 120), b"4")
    os.setxattr(r / ("n" * 120), "user.with.long.name", b"y" * 1500)
    put(r / "h1", b"5")
    os.setxattr(r / "h1", "user.h", b"h")
    os.link(r / "h1", r / "h2")
    settle(r)


def select(r):
    for n in [
        "keep/a.py",
        "keep/a.pyc",
        "keep/sub/b.py",
        "keep/sub/c.txt",
        "drop/a.py",
        "drop/keep.me",
        "drop/deep/er/x.py",
        "README",
        "docs/guide.md",
        "docs/api/x.md",
        "docs/api/y.rst",
        "node_modules/m/index.js",
        "node_modules/m/lib/k.js",
        "a[b]/c",
        "star*/d",
        "usr/lib/x.so",
        "usr/lib/x.so.1",
        "usr/share/doc/readme",
        ".git/config",
        ".git/objects/aa/bb",
    ]:
        put(r / n, n.encode())
    os.symlink("x.so.1", r / "usr/lib/y.so")
    os.symlink("../usr/share", r / "keep/share")
    os.symlink("keep", r / "alias")
    os.link(r / "drop/a.py", r / "zlink.py")
    settle_all(r)


def several(r):
    for k in ("amd64", "arm64", "zz"):
        put(r / k / "bin/app", k.encode(), 0o755)
        os.symlink("/bin/app", r / k / "abs")
        os.symlink("bin/app", r / k / "rel")
        put(r / k / "h1", b"h")
        os.link(r / k / "h1", r / k / "h2")
    (r / "void").mkdir()
    settle_all(r)


def huge(r):
    for n in (2**33 - 1, 2**33):
        with open(r / f"s{n}", "wb") as f:
            f.truncate(n)
            f.write(b"start")
        os.utime(r / f"s{n}", ns=(NS, NS))
    settle(r)


RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        *(order, types, modes, sizes, times, owners, names, linknames, hardlinks),
        *(idmapped, xattr, select, several, huge),
    )
}
