"""What the recipes of `trees_more` and `trees_options` are written with: a tree builder, a list of cases."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

T0 = 1_700_000_000 * 10**9

Path = str | bytes
Xattrs = dict[bytes, bytes]

_KINDS = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO, "s": stat.S_IFSOCK}


class Tree:
    """Makes one tree in which everything is fixed; `done` must be called last. Wants a umask of 0."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)
        self.dirs: list[tuple[bytes, int]] = []
        os.makedirs(self.root)
        self._finish(self.root, 0o755, 0, 0, T0, None)

    def path(self, path: Path) -> bytes:
        return self.root + b"/" + os.fsencode(path)

    def _finish(self, full: bytes, mode: int, uid: int, gid: int, t: int, x: Xattrs | None) -> None:
        os.chown(full, uid, gid, follow_symlinks=False)
        if not os.path.islink(full):
            os.chmod(full, mode)
        for name, value in (x or {}).items():
            os.setxattr(full, name, value, follow_symlinks=False)
        if stat.S_ISDIR(os.lstat(full).st_mode):
            self.dirs.append((full, t))
        os.utime(full, ns=(T0, t), follow_symlinks=False)

    def file(self, path, data=b"", mode=0o644, uid=0, gid=0, t=T0, x=None, size=None):
        with open(self.path(path), "xb") as f:
            f.write(data)
            if size is not None:
                f.truncate(size)
        self._finish(self.path(path), mode, uid, gid, t, x)

    def dir(self, path, mode=0o755, uid=0, gid=0, t=T0, x=None):
        os.mkdir(self.path(path))
        self._finish(self.path(path), mode, uid, gid, t, x)

    def dirs_(self, path, **fields):
        """The directory and every missing one above it."""
        parts = os.fsencode(path).split(b"/")
        for i in range(1, len(parts) + 1):
            upper = b"/".join(parts[:i])
            if not os.path.lexists(self.path(upper)):
                self.dir(upper, **fields)

    def sym(self, path, to, uid=0, gid=0, t=T0, x=None):
        os.symlink(os.fsencode(to), self.path(path))
        self._finish(self.path(path), 0, uid, gid, t, x)

    def link(self, path, old):
        os.link(self.path(old), self.path(path), follow_symlinks=False)

    def node(self, path, kind, major=0, minor=0, mode=0o644, uid=0, gid=0, t=T0, x=None):
        os.mknod(self.path(path), _KINDS[kind] | 0o600, os.makedev(major, minor))
        self._finish(self.path(path), mode, uid, gid, t, x)

    def done(self) -> None:
        for full, t in reversed(self.dirs):
            os.utime(full, ns=(T0, t))


@dataclass(frozen=True)
class Case:
    """A recipe, and the flags and arguments of the original that made its archive ('{}': the tree)."""

    name: str
    build: Callable[[Tree], None]
    flags: Sequence[str]
    args: Sequence[str]


CASES: dict[str, Case] = {}


def case(
    name: str, flags: Sequence[str] = (), args: Sequence[str] = ("{}",)
) -> Callable[[Callable[[Tree], None]], Callable[[Tree], None]]:
    def register(build: Callable[[Tree], None]) -> Callable[[Tree], None]:
        CASES[name] = Case(name, build, flags, args)
        return build

    return register


def pattern_bytes(n: int, k: int = 0) -> bytes:
    return bytes((i * 7 + i // 251 + k) & 255 for i in range(n))


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel stores it; each entry is (tag, permissions, id or -1)."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, perm, who & 0xFFFFFFFF) for tag, perm, who in entries
    )
