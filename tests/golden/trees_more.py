"""Recipes of the trees whose archives are in `more/`: what the bytes of each kind of entry are.

Wants root and a file system with nanosecond times up to 2446, user, trusted and security attributes and
POSIX ACLs (ext4, btrfs).
"""

from tests.golden.builder import T0, acl, case, pattern_bytes


@case("types")
def types(t):
    """Every file type, block-edge sizes, mode bits, device numbers, sockets as empty regular files."""
    for n in (0, 1, 511, 512, 513, 1024, 70000):
        t.file(f"f{n:05}", pattern_bytes(n))
    for m in (0, 0o1, 0o600, 0o777, 0o1777, 0o2755, 0o4755, 0o7777, 0o7000):
        t.file(f"m{m:04o}", b"x", mode=m)
        t.dir(f"d{m:04o}", mode=m)
    t.dir("empty")
    t.dir("sub")
    t.dir("sub/deep")
    t.file("sub/deep/leaf", b"leaf\n")
    t.sym("ln", "f00001")
    t.sym("dangling", "../../no/such")
    t.sym("lnabs", "/etc//passwd/")
    t.sym("lndir", "sub/")
    t.node("fifo", "p", mode=0o622)
    t.node("sock", "s", mode=0o755, uid=3, gid=4)
    t.node("sock.s", "s", mode=0o7777)
    t.node("c0.0", "c", 0, 0, 0)
    t.node("c1.3", "c", 1, 3, 0o666)
    t.node("cmax", "c", 4095, 1048575, 0o600, 7, 8)
    t.node("b8.1", "b", 8, 1, 0o660)
    t.node("bmin256", "b", 259, 256, 0o4640)
    t.node("cmaj256", "c", 256, 255)


@case("order")
def order(t):
    """Walk order: bytewise per directory, subtree right after its directory."""
    for d in ("a", "a-b", "aa", "B", ".d", "a b", "z"):
        t.dir(d)
        t.file(d + "/b", d.encode())
        t.dir(d + "/c")
        t.file(d + "/c/x")
        t.file(d + "/b-")
    for f in (
        "a.txt",
        "a0",
        "A",
        "_",
        "~",
        "Z",
        "a-",
        "a+",
        "é",
        "e",
        "日本",
        ".hid",
        "..x",
        "...",
        "-rf",
        " lead",
        "trail ",
        "back\\slash",
        "new\nline",
        "tab\t",
        "a,b",
        'quo"te',
        "*",
        "[x]",
        "%s",
        "\x01",
        "\x7f",
    ):
        t.file(f, f.encode())
    for f in (b"\xff", b"\xc3", b"\xc3\xa9z", b"a\xe9", b"\x80abc", b"\xed\xa0\x80"):
        t.file(f, f)
    t.dir(b"d\xff")
    t.file(b"d\xff/in", b"1")
    t.dir("dé")
    t.sym("dé/l", b"\xff\xfe")
    t.dir("dé/日")


@case("names")
def names(t):
    """Lengths 99..101, prefix split edges, unsplittable, cut at a slash, non-ASCII long, long link names."""
    for n in (98, 99, 100, 101, 155, 156, 255):
        t.file("f" * n, b"%d" % n)
        t.dir("d" * n)
    for n in (98, 99, 100, 101):
        t.dir("e" * n + "e")
        t.file("e" * n + "e/x", b"1")
    for n in (154, 155, 156):
        t.dir("p" * n)
        t.file("p" * n + "/" + "s" * 99)
        t.file("p" * n + "/" + "s" * 100, b"s")
        t.file("p" * n + "/" + "s" * 101)
        t.dir("p" * n + "/" + "t" * 98)
        t.dir("p" * n + "/" + "t" * 99)
        t.dir("p" * n + "/" + "t" * 100)
    for a, b in ((60, 60), (100, 55), (100, 54), (50, 104), (77, 78), (1, 153)):
        d = "q" * a + "/" + "r" * b
        t.dirs_(d)
        t.file(d + "/leaf", b"%d %d" % (a, b))
        t.file(d + "/" + "L" * 100)
    d = "/".join(f"nine{i:05}" for i in range(26))
    t.dirs_(d)
    t.file(d + "/end", b"260+")
    t.dir(d + "/dd")
    t.sym(d + "/up", "../" * 40 + "x")
    t.dirs_("u" * 98 + "é")
    t.file("u" * 98 + "é/in", b"q")
    t.file("v" * 98 + "é" + "w" * 20, b"z")
    t.dirs_("x" * 98 + "/éé/y")
    t.file("x" * 98 + "/éé/y/zz", b"z")
    t.dirs_("k" * 97 + "/é/" + "n" * 20)
    t.file("k" * 97 + "/é/" + "n" * 20 + "/f")
    t.dirs_("é" * 49 + "/é")
    t.file("é" * 49 + "/é/日")
    t.file("é" * 120, b"only non-ascii")
    t.dir("日" * 60)
    t.file("日" * 60 + "/x")
    for n in (99, 100, 101, 1000, 4095):
        t.sym(
            f"s{n}",
            ("T" * 9 + "/") * (n // 10) + "t" * (n % 10) if n < 4000 else ("T" * 254 + "/") * 16 + "t" * 15,
        )
    t.sym("s100slash", "a" * 99 + "/")
    t.sym("s101slash", "a" * 99 + "//")
    t.sym("s105", "a" * 95 + "/////" + "b" * 5)
    t.sym("sé", "é")
    t.sym("sraw", b"\xff\n=")
    t.sym("slongé", "é" * 80)
    t.sym("s1", ".")
    t.file("zfile", b"hard")
    t.link("zlink", "zfile")
    t.link("p" * 155 + "/hl", "zfile")
    t.link("zz" * 60, "zfile")
    t.dir("g" * 120)
    t.file("g" * 120 + "/src", b"x")
    t.link("zz-hl", "g" * 120 + "/src")
    t.file("é-src", b"y")
    t.link("é-src2", "é-src")


@case("times")
def times(t):
    """Mtime rounding, negative, 33-bit edge, 2262 edge and int64-nanosecond wrap-around."""
    S = 10**9
    times = {
        "zero": 0,
        "one": 1,
        "h_lo": 499999999,
        "h": 500000000,
        "h_hi": 500000001,
        "n999": 999999999,
        "neg1": -1,
        "nh": -500000000,
        "nh_lo": -500000001,
        "ns": -S,
        "ns5": -S - S // 2,
        "ns5_lo": -S - S // 2 - 1,
        "n2": -2 * S,
        "y1901": -(2**31) * S,
        "e31": (2**31) * S,
        "e33m1": (2**33 - 1) * S,
        "e33h_lo": (2**33 - 1) * S + 499999999,
        "e33h": (2**33 - 1) * S + S // 2,
        "e33": 2**33 * S,
        "max": 2**63 - 1,
        "over": 2**63,
        "over2": 9223372037 * S,
        "y2300": 10413792000 * S + 250000000,
        "y2446": 15032385535 * S,
        "now_h": T0 + S // 2,
    }
    for k, v in times.items():
        t.file("f_" + k, t=v)
        t.sym("l_" + k, "x", t=v)
        t.dir("d_" + k, t=v)
        t.file("d_" + k + "/in")


@case("owners")
def owners(t):
    """Uid/gid at and beyond 7 octal digits, together with long and non-ASCII names."""
    V = (0, 1, 2097151, 2097152, 2147483647, 2147483648, 4294967294)
    for u in V:
        for g in V:
            t.file(f"f_{u}_{g}", uid=u, gid=g)
    t.dir("d", uid=2097152, gid=1)
    t.sym("l", "t" * 120, uid=4000000000, gid=3)
    t.node("p", "p", uid=3, gid=2097152)
    t.node("c", "c", 5, 6, uid=2**31, gid=2**31)
    t.dirs_("a" * 60 + "/" + "b" * 60)
    t.file("a" * 60 + "/" + "b" * 60 + "/f", b"data", uid=2097152)
    t.dir("a" * 60 + "/" + "b" * 60 + "/d", gid=2097152)
    t.file("é", uid=3000000, gid=3000000, t=-5 * 10**9)
    t.file("a" * 99 + "z", uid=9999999)
    t.file("h1", b"hh", uid=5000000)
    t.link("h2", "h1")


@case("xattrs")
def xattrs(t):
    """Which xattrs, order, odd values and keys, record-length digit edges, all file types."""
    t.file("a", b"1", x={b"user.b": b"2", b"user.a": b"1", b"trusted.z": b"z", b"security.q": b"q"})
    t.file(
        "bin",
        x={
            b"user.nul": b"a\0b\0",
            b"user.nl": b"a\nb\n",
            b"user.eq": b"=a=b",
            b"user.raw": b"\xff\xfe\x80",
            b"user.empty": b"",
            b"user.sp ace": b" v ",
            "user.é".encode(): "é".encode(),
            b"user.\xff": b"k",
            b"user.n\nl": b"k",
            b"user.UP": b"u",
            b"user.com.apple.x": b"kept",
            b"user.SCHILY.xattr.x": b"nest",
        },
    )
    for n in (*range(60, 80), *range(126, 130), *range(965, 985)):
        t.file(f"len{n:04}", x={b"user.k": pattern_bytes(n, 1)})
    t.file("longkey", x={b"user." + b"k" * 250: b"v", b"user." + b"j" * 249: b"v" * 300})
    t.file("many", x={b"user.k%02d" % ((i * 37) % 100): b"%d" % i for i in range(40)})
    t.dir("d", x={b"user.d": b"dir", b"trusted.overlay.opaque": b"y"})
    t.sym("l", "to", x={b"trusted.l": b"sym"})
    t.node("p", "p", x={b"trusted.p": b"fifo"})
    t.node("c", "c", 1, 3, x={b"trusted.c": b"chr"})
    t.node("s", "s", x={b"trusted.s": b"sock"})
    t.file(
        "cap",
        b"#!",
        mode=0o755,
        x={b"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")},
    )
    A = acl((1, 6, -1), (2, 4, 1000), (4, 4, -1), (16, 4, -1), (32, 4, -1))
    t.file("acl", mode=0o644, x={b"system.posix_acl_access": A})
    t.dir("dacl", mode=0o744, x={b"system.posix_acl_default": A})
    t.file("h1", b"z", x={b"user.h": b"h"})
    t.link("h2", "h1")
    t.link("d/h3", "h1")
    d = "x" * 60 + "/" + "y" * 60
    t.dirs_(d)
    t.file(d + "/split", b"d", x={b"user.a": b"1"})
    t.file("é", x={b"user.a": b"1"}, uid=3000000, gid=3000000, t=-(10**9))
    t.dir("é" * 60, x={b"user.a": b"1"})
    t.file("n" * 130, b"1", x={b"user.a": b"1"})


@case("xattr_badkey")
def xattr_badkey(t):
    """An xattr whose name holds '=' is fatal; the entries before it are already written."""
    t.file("a", b"first")
    t.file("b", b"bad", x={b"user.k=v": b"1"})
    t.file("c", b"never")


@case("hardlinks")
def hardlinks(t):
    """Link groups across directories and types, symlinks with nlink 2, links to long/non-ASCII targets."""
    for d in ("a", "b", "b/c", "z"):
        t.dir(d)
    t.file("b/c/first", b"content", mode=0o4711, uid=5, gid=6)
    t.link("a/zz", "b/c/first")
    t.link("z/last", "b/c/first")
    t.link("a.txt", "b/c/first")
    t.file("m", b"")
    t.link("a/empty", "m")
    t.file("outside0", b"solo")
    t.node("z/p", "p")
    t.link("b/p", "z/p")
    t.node("z/c", "c", 10, 200, 0o600)
    t.link("a/c", "z/c")
    t.node("b/blk", "b", 259, 70000)
    t.link("b/blk2", "b/blk")
    t.node("z/s", "s")
    t.link("b/s", "z/s")
    t.sym("z/l", "../a/zz")
    t.link("b/l", "z/l")
    t.link("l", "z/l")
    n = "N" * 110
    t.file("b/" + n, b"long")
    t.link("z/l2", "b/" + n)
    t.file("b/é", b"utf")
    t.link("z/é", "b/é")
    t.file(b"b/\xff", b"raw")
    t.link("z/raw", b"b/\xff")
    for i in range(12):
        t.link(f"z/k{i:02}", "z/last")


@case("big")
def big(t):
    """One sparse file of exactly 8 GiB: pax size record, zero size field, all data written out."""
    t.file("a", b"before")
    t.file("b8g", b"start", size=2**33)
    t.file("c", b"after")
