"""Random options for random trees: patterns that hit, id maps that drop some, several roots.

Kept out on purpose, because tarcast decides these differently and other tests pin its rule down: malformed
patterns and the tree names `.` and `..`.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.trees import Example, Node, Options, nodes

# Any of these in a pattern means more than itself or can be malformed.
_SPECIAL = frozenset(b"\\*?[]")
_PIECES = [
    b"*",
    b"?",
    b"**",
    b"**/",
    b"[a-z]",
    b"[^x]",
    b"[!a]",
    b"*.go",
    b"*.so",
    b"[0-9a]*",
    b"a*",
    b"?*",
    b"\\*",
    b"\\?",
]
_PIECES += [b"a", b"b", b"x", b"/", b".", b"^", b"\\[", b"\\.", b"{a}", b"$", b"(b)", b"|", b"+"]


def _literal(path: bytes) -> bytes:
    return b"".join(b"\\" + bytes([c]) if c in _SPECIAL else bytes([c]) for c in path)


def _patterns(paths: list[bytes]) -> st.SearchStrategy[bytes]:
    path = st.sampled_from([p for p in paths if p] or [b"a"])
    exact = st.builds(_literal, path)
    part = st.builds(lambda p: _literal(p.rpartition(b"/")[2]), path)
    top = st.builds(lambda p: _literal(p.partition(b"/")[0]), path)
    free = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=5).map(b"".join)
    shaped = st.one_of(
        exact,
        exact,
        st.builds(lambda p: p + b"/**", exact),
        st.builds(lambda p: p + b"/*", exact),
        st.builds(lambda p: b"**/" + p, part),
        st.builds(lambda p: b"*" + p, part),
        st.builds(lambda p: p + b"*", top),
        st.builds(lambda p, q: p + b"/**/" + q, top, part),
        free,
    )
    decorated = st.one_of(
        shaped,
        shaped,
        shaped,
        st.builds(lambda p: b"./" + p + b"/", shaped),
        st.builds(lambda p: b" " + p + b"\t", shaped),
        st.builds(lambda p: b"/" + p, shaped),
        st.builds(lambda p: b"x/../" + p, shaped),
    )
    negated = st.builds(lambda p: b"!" + p, shaped)
    return st.one_of(decorated, decorated, negated).filter(_is_well_formed)


def _clashing(paths: list[bytes]) -> st.SearchStrategy[tuple[bytes, ...]]:
    """A file is selected and its directory taken back: the original's walk keeps it, its open refuses it."""
    below = [p for p in paths if b"/" in p] or [b"a/b"]
    return st.builds(
        lambda p: (b"**/" + _literal(p.rpartition(b"/")[2]), b"!" + _literal(p.rpartition(b"/")[0])),
        st.sampled_from(below),
    ).filter(lambda pair: all(map(_is_well_formed, pair)))


def _is_well_formed(pattern: bytes) -> bool:
    bare = pattern.strip()
    # "!" alone is an error, and so is what cleaning leaves of "!" followed by slashes or dots.
    if bare.startswith(b"!") and not bare.strip(b"!./ \t\n"):
        return False
    # A backslash must escape something that may be escaped: not the end, a letter, a digit, a non-ASCII byte.
    i = 0
    while i < len(bare):
        if bare[i] == 0x5C:
            i += 1
            if (
                i == len(bare)
                or bare[i] >= 0x80
                or bare[i] < 0x20
                or bytes([bare[i]]).isalnum()
                or bare[i] in b"/ "
            ):
                return False
        i += 1
    return True


def _follow_paths(tree: tuple[Node, ...]) -> st.SearchStrategy[bytes]:
    links = [n.path for n in tree if n.kind == "symlink"]
    everything = [n.path for n in tree] or [b"a"]
    path = st.sampled_from(links * 3 + everything)
    return st.one_of(
        path,
        path,
        st.builds(lambda p, n: p + b"/" + n, path, st.sampled_from([b"a", b"x", b"..", b"*", b"a/b"])),
        st.builds(lambda p: p.rpartition(b"/")[0] + b"/*", path),
        st.builds(lambda p: b"/" + p, path),
        st.sampled_from([b"*", b"a*", b"none", b"./a", b"../a", b"*/*"]),
    )


def _may_follow(tree: tuple[Node, ...]) -> bool:
    """Paths found by following become patterns as they are, so none may be malformed as one."""
    texts = [n.path for n in tree] + [n.target for n in tree]
    return not any(c in text for text in texts for c in (b"[", b"\\", b"!"))


idmaps = st.sampled_from(
    [
        ("0:100000:65536",),
        ("0:0:65536",),
        ("0:0:1", "1000:1:1000", "5:5:1"),
        ("2097150:0:10",),
        ("0:0:4294967295",),
        ("7:5:1", "9:0:10"),
        ("2147483648:0:1001", "0:65534:2147483649"),
    ]
)
epochs = st.sampled_from([0, 1, 1_700_000_000, 2**33 - 1, 2**33, 9223372036, 9223372037, 9_999_999_999])


def _optional(strategy: st.SearchStrategy, weight: int = 2) -> st.SearchStrategy:
    return st.one_of(*[st.none()] * weight, strategy)


_ROOT_NAMES = [
    "linux/amd64",
    "linux/arm64",
    "linux-x",
    "a",
    "A",
    "é",
    "\udcff",
    "x y",
    "n" * 101,
    "=",
    "new\nline",
    "...",
]


@st.composite
def examples(draw: st.DrawFn) -> Example:
    tree = draw(nodes())
    paths = [n.path for n in tree]
    free = st.lists(_patterns(paths), min_size=1, max_size=5).map(tuple)
    patterns = st.one_of(free, free, free, _clashing(paths))
    options = Options(
        include=draw(_optional(patterns)),
        exclude=draw(_optional(patterns)),
        follow=draw(_optional(st.lists(_follow_paths(tree), min_size=1, max_size=3).map(tuple), 4))
        if _may_follow(tree)
        else None,
        idmap=draw(_optional(idmaps, 3)),
        epoch=draw(_optional(epochs, 3)),
    )
    if draw(st.integers(0, 4)):
        return Example(tree, options)
    # Any directories, the same one twice or one in another: hard links must not reach across.
    dirs = [b"", *(n.path for n in tree if n.kind == "dir")]
    names = draw(st.lists(st.sampled_from(_ROOT_NAMES), min_size=1, max_size=3, unique=True))
    return Example(tree, options, tuple((name, draw(st.sampled_from(dirs))) for name in names))
