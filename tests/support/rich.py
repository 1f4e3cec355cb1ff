"""One tree with everything that tar tools can restore, for judges that are not the original."""

from __future__ import annotations

from tests.golden.builder import acl
from tests.support.trees import IS_ROOT, NS, Node

_NOW = 1_700_000_000 * NS
_ACL = acl((1, 6, -1), (2, 4, 1000), (4, 4, -1), (16, 4, -1), (32, 4, -1))
_CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def _times() -> list[Node]:
    seconds = {"0": 0, "1": 1, "neg": -1, "neg-big": -(2**31), "2038": 2**31, "2106": 2**32, "2242": 2**33}
    found = [Node(b"times/" + k.encode(), "file", mtime=v * NS, size=3) for k, v in seconds.items()]
    found += [
        Node(b"times/half-up", "file", mtime=_NOW + 500_000_000),
        Node(b"times/half-down", "file", mtime=_NOW + 499_999_999),
        Node(b"times/before-1970", "file", mtime=-1_500_000_000),
        Node(b"times/link", "symlink", mtime=12345 * NS, target=b"0"),
        Node(b"times/dir", "dir", mode=0o755, mtime=54321 * NS),
    ]
    return found


def _names() -> list[Node]:
    names: list[bytes] = [b"n" * length for length in (98, 99, 100, 101, 155, 156, 255)]
    names += [
        b" lead",
        b"trail ",
        b"new\nline",
        b"tab\t",
        b"eq=ual",
        b"back\\slash",
        b"-rf",
        b"--",
        b"*",
        b"[x]",
        b"%s",
    ]
    names += ["é".encode(), "日本".encode(), b"bad\xff\xfe", ("é" * 60).encode(), b"\x01"]
    found = [Node(b"names/" + name, "file", mtime=_NOW, size=len(name)) for name in names]
    deep = b"names/" + b"d" * 100
    for level in range(6):
        found.append(Node(deep, "dir", mode=0o755, mtime=_NOW + level * NS))
        found.append(Node(deep + b"/leaf", "file", mtime=_NOW, size=level))
        deep += b"/" + b"e" * (50 + level)
    return found


def _links() -> list[Node]:
    targets = [
        b"../sizes/s512",
        b"/abs//olute/",
        b"no such",
        b".",
        b"t" * 99,
        b"t" * 100,
        b"t" * 101,
        b"x" * 1000,
    ]
    targets += ["é".encode(), b"bad\xff", b"new\nline", b"sp ace"]
    found = [Node(b"links/s%02d" % i, "symlink", mtime=_NOW, target=t) for i, t in enumerate(targets)]
    found += [
        Node(b"links/one", "file", mode=0o640, mtime=_NOW, size=700, xattrs=((b"user.on-links", b"1"),)),
        Node(b"links/two", "hardlink", target=b"links/one"),
        Node(b"z-three", "hardlink", target=b"links/one"),
        Node(b"A-first", "hardlink", target=b"links/one"),
        Node(b"links/" + b"l" * 120, "file", mtime=_NOW, size=9),
        Node(b"links/to-long", "hardlink", target=b"links/" + b"l" * 120),
        Node("links/é".encode(), "file", mtime=_NOW, size=9),
        Node(b"links/z-odd", "hardlink", target="links/é".encode()),
        Node(b"links/fifo", "fifo", mode=0o600, mtime=_NOW),
        Node(b"links/fifo2", "hardlink", target=b"links/fifo"),
    ]
    return found


def _xattrs() -> list[Node]:
    odd = tuple(
        (b"user." + name, value)
        for name, value in {
            b"z": b"last",
            b"a": b"first",
            b"eq": b"k=v",
            b"nl": b"a\nb\n",
            b"nul": b"a\0b\0",
            b"raw": bytes(range(256)),
            "é".encode(): "ü".encode(),
            b"k" * 200: b"x",
        }.items()
    )
    found = [
        Node(b"xattrs/odd", "file", mtime=_NOW, size=1, xattrs=odd),
        Node(b"xattrs/dir", "dir", mode=0o755, mtime=_NOW, xattrs=((b"user.d", b"dir"),)),
        Node(b"xattrs/acl", "file", mode=0o644, mtime=_NOW, xattrs=((b"system.posix_acl_access", _ACL),)),
        Node(b"xattrs/acl-dir", "dir", mode=0o755, mtime=_NOW, xattrs=((b"system.posix_acl_default", _ACL),)),
    ]
    if IS_ROOT:
        found += [
            Node(
                b"xattrs/trusted", "file", mtime=_NOW, xattrs=((b"trusted.t", b"root"), (b"user.u", b"any"))
            ),
            Node(
                b"xattrs/capable",
                "file",
                mode=0o755,
                mtime=_NOW,
                xattrs=((b"security.capability", _CAPABILITY),),
            ),
            Node(b"xattrs/link", "symlink", mtime=_NOW, target=b"to", xattrs=((b"trusted.l", b"sym"),)),
            Node(b"xattrs/fifo", "fifo", mtime=_NOW, xattrs=((b"trusted.p", b"fifo"),)),
        ]
    return found


def _types() -> list[Node]:
    found = [
        Node(b"types/fifo", "fifo", mode=0o622, mtime=_NOW),
        Node(b"types/socket", "socket", mode=0o755, mtime=_NOW),
        Node(b"types/empty", "dir", mode=0o711, mtime=_NOW),
    ]
    if IS_ROOT:
        for name, kind, device in (
            ("null", "char", (1, 3)),
            ("max", "char", (4095, 1048575)),
            ("b", "block", (8, 1)),
        ):
            found.append(
                Node(b"types/" + name.encode(), kind, mode=0o660, mtime=_NOW, device=device, owner=(7, 8))
            )
    return found


def _modes() -> list[Node]:
    modes = [0o644, 0o600, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777]
    if IS_ROOT:
        modes += [0, 0o1, 0o111]
    return [
        Node(b"modes/%s%04o" % (k[:1].encode(), m), k, mode=m, mtime=_NOW)
        for m in modes
        for k in ("file", "dir")
    ]


def _owners() -> list[Node]:
    ids = [0, 1, 65534, 2097151, 2097152, 2**31, 2**32 - 2]
    pairs = [(i, 5) for i in ids] + [(5, i) for i in ids]
    return [Node(b"owners/%d-%d" % pair, "file", mtime=_NOW, owner=pair) for pair in pairs]


def _sizes() -> list[Node]:
    found = [
        Node(b"sizes/s%d" % n, "file", mtime=_NOW, size=n)
        for n in (0, 1, 511, 512, 513, 4095, 4096, 4097, 65537, 2**20 - 1, 2**20, 2**20 + 513, 3 * 2**20 + 5)
    ]
    found += [
        Node(b"sizes/hole", "file", mtime=_NOW, size=2**21 + 7, hole=True),
        Node(b"sizes/only-hole", "file", mtime=_NOW, size=4),
    ]
    return found


_PARTS = {
    "names": _names,
    "sizes": _sizes,
    "types": _types,
    "modes": _modes,
    "times": _times,
    "links": _links,
}
_PARTS |= {"xattrs": _xattrs, "owners": _owners}

RICH = tuple(
    node
    for name, part in _PARTS.items()
    for node in (Node(name.encode(), "dir", mode=0o755, mtime=_NOW), *part())
)
