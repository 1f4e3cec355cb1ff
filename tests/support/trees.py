"""Random nasty trees and random options: Hypothesis strategies, and making the tree on disk.

What is drawn may be more than this user or this file system can hold: making it leaves out what is refused
(an owner, an attribute, a name), and both writers are then given the same directory.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass, field, fields

from hypothesis import strategies as st

IS_ROOT = os.geteuid() == 0
NS = 10**9


@dataclass(frozen=True)
class Node:
    path: bytes
    kind: str
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: int = 0
    size: int = 0
    hole: bool = False
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Options:
    include: tuple[bytes, ...] | None = None
    exclude: tuple[bytes, ...] | None = None
    follow: tuple[bytes, ...] | None = None
    idmap: tuple[str, ...] | None = None
    epoch: int | None = None


@dataclass(frozen=True)
class Example:
    """A tree, the options, and what is exported: one directory without a name, or several with names."""

    nodes: tuple[Node, ...]
    options: Options = field(default_factory=Options)
    roots: tuple[tuple[str | None, bytes], ...] = ((None, b""),)

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        """What Hypothesis prints of a failing example: a recipe that can be pasted, without the defaults."""
        printer.text(self.recipe())  # type: ignore[attr-defined]

    def recipe(self) -> str:
        lines = [f"        {_short(node)}," for node in self.nodes]
        return "\n".join(
            [
                "Example(",
                "    nodes=(",
                *lines,
                "    ),",
                f"    options={_short(self.options)},",
                f"    roots={self.roots!r},",
                ")",
            ]
        )


def _short(thing: Node | Options) -> str:
    given = [
        f"{f.name}={getattr(thing, f.name)!r}" for f in fields(thing) if getattr(thing, f.name) != f.default
    ]
    return f"{type(thing).__name__}({', '.join(given)})"


# Names. Lengths around the header's 100 and 155 bytes, and every byte but NUL and the slash.

_PLAIN = st.sampled_from([b"a", b"b", b"c", b"x", b"dir", b"file", b"a.go", b"a.txt", b"lib.so", b"README"])
_ODD = st.sampled_from(
    [
        *(
            b" ",
            b" lead",
            b"trail ",
            b"new\nline",
            b"tab\t",
            b"a=b",
            b"=",
            b"\\",
            b"a\\b",
            b"%s",
            b"-rf",
            b"~",
        ),
        *(
            b"...",
            b"..x",
            b".hid",
            b"*",
            b"?",
            b"[x]",
            b"[",
            b"a,b",
            b'"',
            b"\x01",
            b"\x7f",
            b"a-",
            b"a+",
            b"a b",
        ),
        *(b"!", b"!a", b"#", b"^", b"{}", b"()", b"|", b"$", b"\xff", b"\xc3", b"a\xe9", b"\xed\xa0\x80"),
        *("é".encode(), "é2".encode(), "日本".encode(), "\ufeff".encode(), "e\u0301".encode()),
    ]
)
_EDGE_LENGTHS = st.sampled_from(
    [49, 50, 54, 55, 60, 77, 97, 98, 99, 100, 101, 102, 153, 154, 155, 156, 254, 255]
)
_LONG = st.builds(lambda c, n: c * n, st.sampled_from([b"n", b"m", b"="]), _EDGE_LENGTHS)
_LONG_ODD = st.builds(
    lambda n, at, odd: (b"w" * n)[: at % n] + odd + (b"w" * n)[at % n + len(odd) :],
    _EDGE_LENGTHS,
    st.integers(0, 254),
    st.sampled_from([b"\xc3\xa9", b"\xff", b"\n", b" "]),
)
_ANY = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"_"))


def _is_name(name: bytes) -> bool:
    return 0 < len(name) <= 255 and name not in (b".", b"..") and b"/" not in name


names = st.one_of(_PLAIN, _PLAIN, _ODD, _LONG, _LONG_ODD, _ANY).filter(_is_name)

modes = st.one_of(
    st.sampled_from([0o644, 0o755, 0o600]),
    st.sampled_from([0, 0o1, 0o111, 0o400, 0o1777, 0o2755, 0o4755, 0o6711, 0o7000, 0o7777]),
    st.integers(0, 0o7777),
)
_ids = st.sampled_from([0, 0, 0, 1, 5, 1000, 65534, 100000, 100005, 2097151, 2097152, 2**31, 2**32 - 2])
owners = st.tuples(_ids, _ids)

# The header holds 0..2**33-1 seconds, ext4 -2**31..15032385535; 64 bits of nanoseconds end at 9223372036.85.
_SECONDS = st.one_of(
    st.sampled_from([0, 1, 1_700_000_000, 2**31 - 1, 2**31, 2**32, 2**33 - 1, 2**33, 9223372036, 9223372037]),
    st.sampled_from([-1, -2, -(2**31), 10413792000, 15032385534]),
    st.integers(-(2**31), 15032385534),
)
_FRACTIONS = st.sampled_from(
    [0, 0, 1, 499_999_999, 500_000_000, 500_000_001, 854_775_807, 854_775_808, NS - 1]
)
mtimes = st.builds(lambda s, n: s * NS + n, _SECONDS, _FRACTIONS)

sizes = st.one_of(
    st.sampled_from([0, 1, 5, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097]),
    st.integers(0, 3000),
    st.sampled_from([0, 1, 65536, 262143, 262145]),
)
_BIG_SIZES = st.sampled_from([2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20 + 5, 2 * 2**20 - 512, 2**20 - 512])

targets = st.one_of(
    names,
    st.sampled_from(
        [b".", b"..", b"/", b"/..", b"//x//y/", b"/../../etc", b"a//b/../c/", b"./a", b"../a", b"/a/./b/.."]
    ),
    st.builds(
        lambda unit, n: (unit * n)[:4000], st.sampled_from([b"t", b"a/", b"/a", b"../"]), st.integers(45, 110)
    ),
    st.lists(names, min_size=2, max_size=3).map(b"/".join),
    st.builds(lambda n: b"/" + n, names),
    st.sampled_from([b"x" * 4000, b"a" * 99 + b"//", b"a" * 95 + b"/////" + b"b" * 5]),
)

_XATTR_NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"z", b"com.apple.x", b"SCHILY.xattr.x", b"sp ace", b"n\nl", b"\xff", b"\xc3\xa9"]
    ),
    st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\0", b"0").replace(b"=", b"-")),
    st.builds(lambda n: b"k" * n, st.integers(200, 247)),
)
_XATTR_VALUES = st.one_of(
    st.sampled_from([b"", b"v", b"k=v", b"a\nb\n", b"a\0b\0", b"\xff\xfe"]),
    st.binary(max_size=40),
    # Around the lengths where a record's own length gets another digit.
    st.builds(lambda n: b"y" * n, st.one_of(st.integers(60, 90), st.integers(940, 990))),
)


def _xattrs(namespaces: list[bytes]) -> st.SearchStrategy[tuple[tuple[bytes, bytes], ...]]:
    if not namespaces:
        return st.just(())
    name = st.builds(lambda space, n: space + n, st.sampled_from(namespaces), _XATTR_NAMES)
    some = st.dictionaries(name, _XATTR_VALUES, min_size=1, max_size=4).map(lambda d: tuple(d.items()))
    return st.one_of(st.just(()), st.just(()), st.just(()), some)


_ROOT_SPACES = [b"trusted."] if IS_ROOT else []
_OWN_XATTRS = _xattrs([b"user.", *_ROOT_SPACES])
_SPECIAL_XATTRS = _xattrs(_ROOT_SPACES)

_KINDS = ["file", "file", "file", "dir", "dir", "symlink", "hardlink", "fifo", "socket"]
if IS_ROOT:
    _KINDS += ["char", "block"]
_DEVICES = st.sampled_from([(0, 0), (1, 3), (8, 1), (259, 70000), (4095, 1048575), (256, 255), (259, 256)])


@st.composite
def nodes(draw: st.DrawFn, max_nodes: int = 40) -> tuple[Node, ...]:
    """Nodes in an order in which they can be made: directories before their contents, files before links."""
    count = draw(st.one_of(st.integers(0, 8), st.integers(0, max_nodes)))
    dirs = [b""]
    others: list[bytes] = []
    taken = {b""}
    found = []
    big_left = True
    for _ in range(count):
        kind = draw(st.sampled_from(_KINDS))
        # The newest directory often, or deep trees would never come.
        parent = draw(st.one_of(st.just(dirs[-1]), st.sampled_from(dirs)))
        path = (parent + b"/" if parent else b"") + draw(names)
        if path in taken or len(path) > 3000:
            continue
        values: dict[str, object] = {}
        if kind == "hardlink":
            if not others:
                continue
            values["target"] = draw(st.sampled_from(others))
        else:
            values["owner"] = draw(owners) if IS_ROOT else (os.geteuid(), os.getegid())
            values["mtime"] = draw(mtimes)
        if kind not in ("hardlink", "symlink"):
            values["mode"] = draw(modes) if IS_ROOT else draw(modes) | 0o700
        if kind == "file":
            values["size"] = draw(sizes)
            if big_left and draw(st.sampled_from([False] * 19 + [True])):
                big_left = False
                values["size"] = draw(_BIG_SIZES)
            values["hole"] = draw(st.booleans())
        if kind in ("file", "dir"):
            values["xattrs"] = draw(_OWN_XATTRS)
        elif kind != "hardlink":
            values["xattrs"] = draw(_SPECIAL_XATTRS)
        if kind == "symlink":
            values["target"] = draw(st.one_of(st.sampled_from([*dirs[1:], *others, b"."]), targets))
        if kind in ("char", "block"):
            values["device"] = draw(_DEVICES)
        taken.add(path)
        (dirs if kind == "dir" else others).append(path)
        found.append(Node(path, kind, **values))  # type: ignore[arg-type]
    return tuple(found)


def make_tree(tree: tuple[Node, ...], root: bytes) -> None:
    """Make the tree below the existing, empty directory `root`."""
    made: dict[bytes, Node] = {}
    for node in tree:
        full = root + b"/" + node.path
        try:
            _make(node, full, root)
        except FileNotFoundError:
            continue  # its directory or the file to link could not be made
        except OSError as e:
            if e.errno not in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EMLINK):
                raise
            continue
        made[node.path] = node
    # Last, and from the leaves up: making things in a directory changes its time and needs its mode.
    for node in reversed(made.values()):
        _dress(node, root + b"/" + node.path)


def _make(node: Node, full: bytes, root: bytes) -> None:
    match node.kind:
        case "dir":
            os.mkdir(full, 0o700)
        case "file":
            with open(full, "xb") as f:
                f.write(_content(node))
                f.truncate(node.size)
        case "symlink":
            os.symlink(node.target, full)
        case "hardlink":
            os.link(root + b"/" + node.target, full, follow_symlinks=False)
        case "fifo":
            os.mkfifo(full)
        case "socket":
            _make_socket(full)
        case "char" | "block":
            kind = stat.S_IFCHR if node.kind == "char" else stat.S_IFBLK
            os.mknod(full, kind | 0o600, os.makedev(*node.device))
        case _:
            raise ValueError(node.kind)


def _content(node: Node) -> bytes:
    """Bytes that differ from block to block and from file to file; a hole takes the second half."""
    length = node.size // 2 if node.hole else node.size
    seed = node.path[-3:] or b"x"
    return b"".join(b"%08d" % i + seed for i in range(length // (8 + len(seed)) + 1))[:length]


def _make_socket(full: bytes) -> None:
    if IS_ROOT:
        os.mknod(full, stat.S_IFSOCK | 0o600)
        return
    # The address of a socket holds 107 bytes: bind relative to its directory, reached by descriptor.
    directory = os.open(os.path.dirname(full), os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(b"/proc/self/fd/%d/" % directory + os.path.basename(full))
    except OSError as e:
        raise OSError(errno.ENAMETOOLONG, "socket") from e
    finally:
        os.close(directory)


def _dress(node: Node, full: bytes) -> None:
    if node.kind == "hardlink":
        return
    if IS_ROOT:  # first: the kernel takes the capabilities of a file that gets an owner
        os.chown(full, *node.owner, follow_symlinks=False)
    if node.kind != "symlink":
        os.chmod(full, node.mode)
    for name, value in node.xattrs:
        try:
            os.setxattr(full, name, value, follow_symlinks=False)
        except OSError as e:
            if e.errno not in (
                errno.ENOSPC,
                errno.E2BIG,
                errno.ENOTSUP,
                errno.EPERM,
                errno.ERANGE,
                errno.EINVAL,
            ):
                raise
    os.utime(full, ns=(0, node.mtime), follow_symlinks=False)
