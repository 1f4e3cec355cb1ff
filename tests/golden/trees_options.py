"""Recipes of the trees whose archives are in `more/`: id maps, several trees, patterns, follow paths."""

from tests.golden.builder import T0, case


@case("idmap", flags=["-idmap", "0:100000:65536"])
def idmap(t):
    """Dropped when uid or gid has no range; children of dropped directories stay; hard links, range edges."""
    H = 100000
    for d, u, g in (
        ("ok", H, H),
        ("nogid", H, 0),
        ("nouid", 0, H),
        ("edge", H + 65535, H + 65535),
        ("over", H + 65536, H),
    ):
        t.dir(d, uid=u, gid=g)
        t.file(d + "/in", b"in", uid=H + 5, gid=H + 6)
        t.file(d + "/out", b"out")
        t.dir(d + "/sub", uid=H, gid=H)
        t.file(d + "/sub/x", b"x", uid=H, gid=H)
        t.sym(d + "/l", "in", uid=H + 9, gid=H + 9)
        t.sym(d + "/lout", "in", uid=H - 1, gid=H)
    t.file("h1", b"keep", uid=H + 1, gid=H + 1)
    t.link("nouid/h2", "h1")
    t.link("over/h3", "h1")
    t.file("g1", b"drop", uid=1)
    t.link("ok/g2", "g1")
    t.file("big", uid=H, gid=4294967294)


@case("idmap_epoch", flags=["-idmap", "2097150:0:10", "-epoch", "1234567890"])
def idmap_epoch(t):
    """Id mapping upwards into pax range, plus an epoch; hardlinks keep the epoch too."""
    for u in range(12):
        t.file(f"f{u:02}", b"%d" % u, uid=u, gid=9 - u if u < 10 else 0, t=T0 + u * 10**9 // 3)
    t.link("zlink", "f03")
    t.dir("d", uid=1, gid=1)
    t.dir("gone", uid=77)
    t.file("gone/kept", b"k", uid=2, gid=2)
    t.sym("d/l", "x", t=-1)


@case("subdirs", args=["linux/arm64={}/p2", "linux/amd64={}/p1", "linux-x={}/p3", "..={}/p3", "é={}/p4"])
def subdirs(t):
    """Names sort after '/' became '_'; zero mtime and root owner for the top entries; link rewriting."""
    for p in ("p1", "p2", "p3", "p4"):
        t.dir(p, uid=9, gid=9, mode=0o700)
    t.file("p1/a", b"1")
    t.dir("p1/d")
    t.link("p1/d/hl", "p1/a")
    for i, target in enumerate(
        (
            "/a",
            "/",
            "//x//y/",
            "/../../etc/passwd",
            "/a/./b/..",
            "rel/../x",
            "../up",
            "./",
            "a//b/",
            "/" + "L" * 90,
            "/" + "L" * 84,
            "/é",
        )
    ):
        t.sym(f"p1/l{i:02}", target)
    t.node("p1/p", "p")
    t.link("p1/p2", "p1/p")
    t.node("p1/c", "c", 1, 5)
    t.link("p1/c2", "p1/c")
    t.sym("p1/sl", "/abs")
    t.link("p1/sl2", "p1/sl")
    t.file("p2/a", b"2" * 600, uid=3000000)
    t.file("p2/" + "n" * 95, b"n")
    t.link("p2/z", "p2/" + "n" * 95)
    t.file("p2/" + "m" * 88)
    t.link("p2/zm", "p2/" + "m" * 88)
    t.file("p3/same", b"3")
    t.link("p3/same2", "p3/same")
    t.dir("p4/d")
    t.file("p4/d/f", b"4")
    t.link("p4/g", "p4/d/f")


@case("subdirs_dup", args=["a/b={}/x", "a_b={}/x"])
def subdirs_dup(t):
    """Two platform names that collide after '/'->'_': error before any byte is written."""
    t.dir("x")
    t.file("x/f", b"1")


def small(t):
    for d in (
        "src",
        "src/pkg",
        "src/pkg/test",
        "src/vendor",
        "doc",
        "doc/img",
        "bin",
        "A",
        "x1",
        "x2",
        "keep",
        "keep/me",
        "keep/me/not",
    ):
        t.dir(d, uid=len(d))
    for f in (
        "src/a.go",
        "src/a_test.go",
        "src/b.c",
        "src/pkg/p.go",
        "src/pkg/test/t.go",
        "src/vendor/v.go",
        "doc/i.md",
        "doc/img/1.png",
        "doc/img/a]b",
        "bin/tool",
        "A/a.GO",
        "x1/f",
        "x2/f",
        "x2/g",
        "keep/me/not/1",
        "keep/me/2",
        "keep/3",
        "top.go",
        "top.md",
        "a*b",
        "a5",
        "new\nline.go",
        "é.go",
        "src/.hid",
    ):
        t.file(f, f.encode())
    t.link("zz.go", "src/a.go")
    t.link("src/pkg/zz.go", "src/a.go")


@case(
    "include",
    flags=["-include", "**/*.go,!src/vendor/**,src/v*/x,keep/me/,x[^1]/?,doc/**/[0-9a]*, a\\*b ,/bin,A/*"],
)
def include(t):
    """**, *, ?, classes, negation, trailing slash, matched parent, parents emitted lazily."""
    small(t)


@case("include_clash", flags=["-include", "**/*.go,!src/vendor"])
def include_clash(t):
    """The original's walk keeps the child of '!dir' but its open refuses it: header without data, error."""
    small(t)


@case(
    "exclude",
    flags=["-exclude", "src,!src/pkg/*.go,!src/vendor,keep/**,!keep/me/2,**/img,*.md,A/,a\\d,!zz.go"],
)
def exclude(t):
    """Exclude patterns with exceptions; re-included children bring their parents back."""
    small(t)


@case(
    "inc_exc",
    flags=[
        "-include",
        "src/**,keep,doc/img/1.png",
        "-exclude",
        "**/*test*,keep/me/**,!keep/me/not",
        "-idmap",
        "0:0:7",
    ],
)
def inc_exc(t):
    """Both together plus id mapping: dropped parents of matched children."""
    small(t)


@case("follow", flags=["-follow", "c1,w/l*,loop,ext/f,sub/../sub/abs,none,d2/inner/x", "-include", "plain"])
def follow(t):
    """Follow paths: chains, absolute, ../ beyond the root, wildcards, loops, symlinked parents."""
    for d in ("r", "r/d", "w", "sub", "real", "real/inner", "unused"):
        t.dir(d)
    for f in ("r/t1", "r/d/t2", "w/f1", "w/t3", "real/inner/x", "real/inner/y", "plain", "unused/u", "sub/q"):
        t.file(f, f.encode())
    for link, to in (
        ("c1", "c2"),
        ("c2", "r/c3"),
        ("r/c3", "../r/t1"),
        ("w/l1", "t3"),
        ("w/l2", "/r/d"),
        ("w/l3", "nowhere"),
        ("loop", "loop2"),
        ("loop2", "./loop"),
        ("ext", "../../../real/inner"),
        ("sub/abs", "/sub/q"),
        ("d2", "real/"),
        ("other", "plain"),
    ):
        t.sym(link, to)
