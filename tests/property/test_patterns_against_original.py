"""Our patterns and the original's accept, reject, match and prune alike, whatever they look like."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from tarcast.errors import InputError, PatternError
from tarcast.patterns import compile_patterns, parse_ignore_lines, resolve_follow
from tests.support.oracle import build_oracle
from tests.support.patternmatch import Original, chain, filtered, make_tree, walk

# Finding out which parts of a failing example matter takes minutes here and tells little.
COMMON = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": set(Phase) - {Phase.explain},
}

# Everything that means something to one of the parsers, and what lies next to it.
WORDS = r"""
a b c 1 5 x E L Q . - / // * ** **/ /** ? [ ] [a] [^a] [!a] [a-c] [a- -c] [*] [?] [** [^ [- [] [a^]
[[:alpha:]] [[:^digit:]] [[:word:] [[: :] \ \\ \] [\ \. \* \? \[ \_ \d \D \w \W \s \S
[\d [^\pL \pL \PN \pl \pC \p^ \p{Lu} \P{^letter} \p{Any} \p{ASCII} \p{Assigned} \p{
\b \B \A \z \Z \C \Q \E \a \t \n \f \x2d \x4 \x{ \x{e9} \55 \0 \1 \8 41}
{ } {0} {2} {0,1} {1,} {1,3} {,2} {2,1} {01} {1000} {1001} {99999999999} {3 ,2} | ^ $ ( ) +
! .. ./ é λ 😀
"""
BLANKS_AND_MARKS = [" ", "\t", "\n", "\r", "\x00", "\x85", "\u2003", "\u3000", "\ufffd", "\ufeff"]
PIECES = [*WORDS.split(), *BLANKS_AND_MARKS]
BAD_BYTES = [b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"\xed\xa0\x80"]
SIMPLE = [
    b"a",
    b"*",
    b"**",
    b"?",
    b"[a-c]",
    b"*.c",
    b"a*",
    b"b",
    b"ab",
    b"abc",
    b"[^b]x",
    b".*",
    b"a?c",
    b"x**",
]

pieces = st.sampled_from([piece.encode() for piece in PIECES] + BAD_BYTES)
wild = st.lists(pieces, min_size=1, max_size=8).map(b"".join)
tame = st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=4).map(b"/".join)
patterns = st.builds(
    lambda mark, body: mark + body, st.sampled_from([b"", b"", b"", b"!", b" ", b"/"]), st.one_of(tame, wild)
)
pattern_lists = st.lists(patterns, min_size=1, max_size=5)
tame_lists = st.lists(st.builds(lambda m, p: m + p, st.sampled_from([b"", b"", b"!"]), tame), max_size=4)

letters = [c.encode() for c in "aaabbbccx15.-*^$[]\\|{}( !_LQ\néλ😀\ufffd\ufeff\x07\t"]
components = st.one_of(
    st.sampled_from([b"a", b"b", b"ab", b"x.c", b"a.c", b"ax", b"bx", b"abc"]),
    st.lists(st.sampled_from(letters + BAD_BYTES), min_size=1, max_size=4).map(b"".join),
).filter(lambda name: name not in (b".", b".."))
paths = st.lists(components, min_size=1, max_size=4).map(b"/".join)


def fitting(pattern: bytes, filler: bytes) -> bytes:
    """A path that has a fair chance to match the pattern, or b""."""
    text = pattern.strip().lstrip(b"!")
    for mark, replacement in ((b"**", b"a/b"), (b"*", filler), (b"?", b"c"), (b"\\", b""), (b"\0", b"")):
        text = text.replace(mark, replacement)
    text = text.translate(None, b"[]^")
    return b"/".join(part for part in text.split(b"/") if part not in (b"", b".", b".."))


@pytest.fixture(scope="session")
def original() -> Iterator[Original]:
    process = Original(build_oracle("patternmatch"))
    yield process
    process.close()


def quoted_gap(given_patterns: list[bytes]) -> bool:
    """Our one other difference: a repetition of a repetition, which takes an empty quotation between."""
    return any(b"\\Q\\E{" in pattern for pattern in given_patterns)


@settings(max_examples=1500, **COMMON)
@given(pattern_lists, st.lists(paths, max_size=5), st.sampled_from([b"", b"a", b"b.c", b"\xff"]))
def test_lists_are_accepted_and_match_alike(original, given_patterns, more, filler):
    asked = [*more, *filter(None, (fitting(pattern, filler) for pattern in given_patterns))]
    answer = original.ask("match", patterns=given_patterns, paths=asked)
    try:
        ours = compile_patterns(given_patterns, what="include")
    except PatternError as error:
        assume(not quoted_gap(given_patterns))
        event("rejected")
        if "error" not in answer:
            pytest.fail(f"only ours refuses it: {error}")
        return
    assert ours is not None
    event("accepted")
    assert "error" not in answer
    for path, theirs, alone in zip(asked, answer.get("chains") or (), answer.get("alone") or (), strict=True):
        event(f"matched: {alone}")
        assert chain(ours, path) == theirs, path
        assert ours.matches(path) == alone, path


def accepted(given_patterns: list[bytes]) -> bool:
    try:
        compile_patterns(given_patterns, what="include")
    except PatternError:
        return False
    return True


@settings(max_examples=500, **COMMON)
@given(
    st.one_of(tame_lists, pattern_lists.filter(accepted)),
    st.one_of(tame_lists, pattern_lists.filter(accepted)),
    st.lists(paths, min_size=1, max_size=12),
)
def test_walks_visit_prune_and_emit_alike(original, include, exclude, files):
    tree = make_tree(files)
    answer = original.ask("walk", include=include, exclude=exclude, paths=files)
    assert "error" not in answer
    asked, passed = walk(
        tree, compile_patterns(include, what="include"), compile_patterns(exclude, what="exclude")
    )
    event(f"pruned: {len(asked) < sum(map(len, tree.values()))}")
    assert asked == answer["asked"]
    assert passed == answer["paths"]


@settings(max_examples=500, **COMMON)
@given(
    st.lists(
        st.one_of(pieces, st.sampled_from([b"\n", b"\n", b"\r\n", b"#", b"! ", b"\xef\xbb\xbf"])), max_size=20
    ).map(b"".join)
)
def test_ignore_files_are_read_alike(original, data):
    answer = original.ask("ignore", data=data)
    assert parse_ignore_lines(data) == answer["paths"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("start", [b"", b"\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("length", [65531, 65532, 65533, 65534, 65535, 65536, 65537])
def test_long_lines_are_refused_alike(original, start, length, end):
    data = start + b"x" * length + end
    answer = original.ask("ignore", data=data)
    try:
        ours = parse_ignore_lines(data)
    except PatternError:
        if "error" not in answer:
            pytest.fail("only ours refuses it")
    else:
        assert ours == answer["paths"]


NAMES = [b"a", b"b", b"c", b"l", b"l1", b"l2", b"*", b"[x"]
places = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
targets = st.builds(
    lambda start, parts: start + b"/".join(parts),
    st.sampled_from([b"", b"", b"/", b"../", b"./"]),
    st.lists(st.sampled_from([*NAMES, b".."]), min_size=1, max_size=3),
)
follow_parts = st.sampled_from(
    [*NAMES, b"l*", b"?", b"[al]*", b"..", b".", b"\\*", b"\\l", b"[", b"[]", b"*["]
)
follow_paths = st.builds(
    lambda start, parts: start + b"/".join(parts),
    st.sampled_from([b"", b"/", b"./"]),
    st.lists(follow_parts, min_size=1, max_size=4),
).filter(
    lambda path: not os.path.normpath(path.lstrip(b"/")).startswith(b"..")
)  # the original gives up on those


@settings(max_examples=200, **COMMON)
@given(
    st.lists(places, max_size=5),
    st.dictionaries(places, targets, max_size=6),
    st.lists(follow_paths, min_size=1, max_size=4),
    st.one_of(st.none(), tame_lists),
    tame_lists,
)
def test_follow_paths_are_resolved_alike(original, files, links, follow, include, exclude):
    with tempfile.TemporaryDirectory() as directory:
        root = os.path.realpath(os.fsencode(directory))
        for path, target in [*links.items(), *((path, None) for path in files)]:
            place = os.path.join(root, path)
            try:
                os.makedirs(os.path.dirname(place), exist_ok=True)
                if target is None:
                    os.close(os.open(place, os.O_CREAT | os.O_NOFOLLOW, 0o600))
                else:
                    os.symlink(target, place)
            except OSError:
                continue  # something else is there already
        answer = original.ask("follow", root=root, follow=follow)
        if "too many levels of symbolic links" in answer.get("error", ""):
            event("a link that leads through itself")
            with pytest.raises(InputError, match="Too many levels of symbolic links"):
                resolve_follow(root, follow)
            return
        assert "error" not in answer
        ours = resolve_follow(root, follow)
        event(f"followed: {ours is not None and len(ours)}")
        assert ours == (None if answer.get("null") else answer["paths"])
        try:
            passed = filtered(root, include, exclude, follow)
        except PatternError:
            return  # a name was recorded that is a malformed pattern
        answer = original.ask("filter", root=root, follow=follow, include=include, exclude=exclude)
        assert "error" not in answer
        assert passed == answer["paths"]
