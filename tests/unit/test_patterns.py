"""Pattern lists, ignore files and follow paths, as the user writes them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tarcast._lexical import glob_match
from tarcast.errors import InputError, PatternError
from tarcast.patterns import (
    compile_patterns,
    include_with_follow,
    parse_ignore_lines,
    read_ignore_file,
    resolve_follow,
)


class TestPreparation:
    """8.1: from the text to a cleaned pattern."""

    @pytest.mark.parametrize("given", [None, [], (), iter(())])
    def test_no_patterns_no_filter(self, given):
        assert compile_patterns(given, what="include") is None

    @pytest.mark.parametrize("given", [[""], [b"  "], ["\t", "\u3000\u2003\x85\xa0", "\v\f\r\n"]])
    def test_only_blanks(self, given):
        patterns = compile_patterns(given, what="include")
        assert patterns is not None
        assert patterns.count == 0

    @pytest.mark.parametrize(
        ("pattern", "path"),
        [
            (" a ", b"a"),
            ("\u3000a\u2003\t", b"a"),
            (b"\x85a\xa0", b"\x85a\xa0"),  # bytes, not runes: no white space
            ("\u200ba", "\u200ba".encode()),
            ("./a/", b"a"),
            ("a//b/./c", b"a/b/c"),
            ("a/../../b", b"../b"),
            ("a/..", b"."),
            ("\udcffa", b"\xffa"),
        ],
    )
    def test_cleaned(self, pattern, path):
        patterns = compile_patterns([pattern], what="include")
        assert patterns is not None
        assert patterns.matches(path)

    @pytest.mark.parametrize(
        ("pattern", "path"),
        [
            ("!a", b"a"),
            (" !a", b"a"),
            ("! a", b" a"),
            ("!./a", b"./a"),
            ("!!a", b"!a"),
        ],
    )
    def test_exceptions(self, pattern, path):
        patterns = compile_patterns(["**", pattern], what="include")
        assert patterns is not None
        assert not patterns.matches(path)
        assert patterns.matches(path + b"x")

    def test_cleaning_takes_the_mark_along(self):
        patterns = compile_patterns(["!x/../a"], what="include")  # "!x" is a component, so this is plain "a"
        assert patterns is not None
        assert patterns.matches(b"a")


class TestErrors:
    """8.1, 8.2 and section 0: whatever is malformed is refused at once."""

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [
            ("!", "no pattern behind the !"),
            (" ! ", "no pattern behind the !"),
            ("!/", "no pattern behind the !"),
            ("[", "not closed"),
            ("[]", "expected"),
            ("[]a]", "expected"),
            ("[a-", "not closed"),
            ("[a-]", "expected"),
            ("[-a]", "expected"),
            ("[^]", "expected"),
            ("a\\", "backslash"),
            (b"[\xff]", "UTF-8"),
            ("[z-a]", "backwards"),
            ("a*[", "not closed"),
            ("a*[[:foo:]]", "no class"),
            ("[[:foo:]]", "no class"),
            ("[a-\\d]", "means nothing"),
            ("[\\b]", "means nothing"),
            ("\\y", "means nothing"),
            ("\\1", "means nothing"),
            ("\\8", "means nothing"),
            ("\\C", "means nothing"),
            ("\\Z", "means nothing"),
            ("\\x4", "means nothing"),
            ("\\xg0", "means nothing"),
            ("\\é", "means nothing"),
            ("\\€", "means nothing"),
            ("\\x{}", "10FFFF"),
            ("\\x{110000}", "10FFFF"),
            ("\\x{4", "10FFFF"),
            ("\\pX", "category"),
            ("\\p^", "category"),
            ("\\p{}", "category"),
            ("\\p{L", "category"),
            ("\\p{Greek}", "category"),
            ("\\p{\u212a}", "category"),
            ("*{2}", "nothing to repeat"),
            ("a{2}{3}?", "nothing to repeat"),
            ("?|{2}", "nothing to repeat"),
            ("*\\Q\\E{2}", "nothing to repeat"),
            ("x**{2}", "nothing to repeat"),
            ("?{1001}", "at most 1000"),
            ("?{2,1}", "at most 1000"),
            ("?{1,99999999999999999999}", "at most 1000"),
            ("?{1000}" * 132, "too large"),
            ("x" * 65537, "longer than 65536"),
        ],
    )
    @pytest.mark.parametrize("before", [[], ["a"], ["!b"]])
    def test_malformed(self, before, pattern, reason):
        with pytest.raises(PatternError, match=reason) as caught:
            compile_patterns([*before, pattern], what="exclude")
        assert str(caught.value).startswith('exclude pattern "')

    def test_message_names_the_pattern_readably(self):
        with pytest.raises(PatternError, match=r'^include pattern "a\\n\\xff\[": a class'):
            compile_patterns([b"a\n\xff["], what="include")

    @pytest.mark.parametrize("given", ["*.py", b"*.py"])
    def test_single_pattern_instead_of_a_list(self, given):
        with pytest.raises(PatternError, match="expected a list"):
            compile_patterns(given, what="include")

    @pytest.mark.parametrize("given", [None, 1, bytearray(b"a")])
    def test_wrong_type(self, given):
        with pytest.raises(PatternError, match="expected str or bytes"):
            compile_patterns([given], what="include")

    def test_text_that_no_file_name_can_hold(self):
        with pytest.raises(PatternError, match="surrogates"):
            compile_patterns(["\ud800"], what="include")

    @pytest.mark.parametrize("pattern", ["x*\\p{Lu}", "a]", "a{", "?{,2}", "(", "+", "\0", "a\\|"])
    def test_odd_but_sound(self, pattern):
        assert compile_patterns([pattern], what="include") is not None


class TestGlob:
    """The globbing of follow paths, which is not that of pattern lists."""

    @pytest.mark.parametrize(
        ("pattern", "matches", "fails"),
        [
            ("", [""], ["a"]),
            ("a*c", ["ac", "abc", "abcbc"], ["a/c", "abd", "xac"]),
            ("a*", ["a", "ab"], ["a/b", "b"]),
            ("*b*d", ["bd", "abcd"], ["a/bd", "b/d"]),
            ("?", ["a", "é", "\udcff"], ["", "/", "ab"]),
            ("[a-c]", ["a", "c"], ["d", "", "ab"]),
            ("[^a-c]", ["d", "é"], ["a", ""]),
            ("[é]x", ["éx"], ["ex"]),
            ("\\*", ["*"], ["a"]),
            ("[\\]]", ["]"], ["\\"]),
            ("*[*]", ["a*"], ["a"]),
        ],
    )
    def test_table(self, pattern, matches, fails):
        glob = os.fsencode(pattern)
        assert [name for name in matches if not glob_match(glob, os.fsencode(name))] == []
        assert [name for name in fails if glob_match(glob, os.fsencode(name))] == []


class TestIgnoreFiles:
    @pytest.mark.parametrize(
        ("data", "patterns"),
        [
            (b"", []),
            (b"a\nb", [b"a", b"b"]),
            (b"a\r\nb\r\n", [b"a", b"b"]),
            (b"\n \n\t\n", []),
            (b"#c\n #d\na#e", [b"#d", b"a#e"]),
            (b"\xef\xbb\xbf#c\n\xef\xbb\xbfa", [b"\xef\xbb\xbfa"]),
            (b"\xef\xbb\xbfa", [b"a"]),
            (b"  a b  ", [b"a b"]),
            (b"/a/b/", [b"a/b"]),
            (b"//a", [b"a"]),
            (b"/", [b"/"]),
            (b"./a/../b", [b"b"]),
            (b"!a\n! /b\n!", [b"!a", b"!b", b"!"]),
            (b"! !a", [b"!!a"]),
            (b"\xff", [b"\xff"]),
            ("\u3000a\u2003".encode(), [b"a"]),
        ],
    )
    def test_lines(self, data, patterns):
        assert parse_ignore_lines(data) == patterns

    def test_longest_line(self):
        assert parse_ignore_lines(b"a" * 65535 + b"\nb") == [b"a" * 65535, b"b"]
        with pytest.raises(PatternError, match="line 2 is longer than 65535"):
            parse_ignore_lines(b"b\n" + b"a" * 65536)

    def test_file(self, tmp_path):
        file = tmp_path / ".dockerignore"
        file.write_bytes(b"*.o\n!keep.o\n")
        assert read_ignore_file(file) == [b"*.o", b"!keep.o"]
        assert read_ignore_file(os.fsencode(file)) == [b"*.o", b"!keep.o"]

    def test_no_file(self, tmp_path):
        with pytest.raises(InputError, match="read ignore file: No such file") as caught:
            read_ignore_file(tmp_path / "none")
        assert caught.value.path == str(tmp_path / "none")

    def test_line_too_long_in_a_file(self, tmp_path):
        (tmp_path / "x").write_bytes(b"a" * 65536)
        with pytest.raises(PatternError, match="read ignore file: line 1") as caught:
            read_ignore_file(tmp_path / "x")
        assert caught.value.path == str(tmp_path / "x")


@pytest.fixture
def root(tmp_path):
    """A tree with links in all directions; what they lead to is in the tests."""
    for name in ("d/e", "opt/v1", "opt/v2"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("d/f", "d/e/g", "opt/v1/bin", "plain"):
        (tmp_path / name).touch()
    links = {
        "to_d": "d",
        "abs": "/d/e",
        "up": "../../../d/f",
        "chain": "to_d/e",
        "loop1": "loop2",
        "loop2": "loop1",
        "self": ".",
        "gone": "nowhere/x",
        "d/back": "../plain",
        "d/top": "/plain",
        "opt/l1": "v1",
        "opt/l2": "v2",
        "opt/[q]": "v1",
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    return os.fsencode(tmp_path)


class TestFollow:
    """Section 9."""

    @pytest.mark.parametrize(
        ("follow", "recorded"),
        [
            (["plain"], [b"plain"]),
            (["none/at/all"], [b"none/at/all"]),
            (["plain/x"], [b"plain/x"]),
            (["to_d"], [b"d", b"to_d"]),
            (["to_d/f"], [b"d/f", b"to_d"]),
            (["/to_d//./f/"], [b"d/f", b"to_d"]),
            (["abs/g"], [b"abs", b"d/e/g"]),
            (["up"], [b"d/f", b"up"]),
            (["chain/g"], [b"chain", b"d/e/g", b"to_d"]),
            (["loop1"], [b"loop1", b"loop2"]),
            (["gone/y"], [b"gone", b"nowhere/x/y"]),
            (["d/back"], [b"d/back", b"plain"]),
            (["d/top"], [b"d/top", b"plain"]),
            (["self/plain"], [b"plain", b"self"]),
            (["self"], None),
            (["."], None),
            (["/"], None),
            (["plain", "."], None),
            (["d", "d/f", "to_d"], [b"d", b"to_d"]),
            # the second one meets a link that is recorded already, and stops
            (["to_d/f", "to_d/e"], [b"d/f", b"to_d"]),
            (["opt/l*"], [b"opt/l*", b"opt/v1", b"opt/v2"]),
            (["opt/l?/bin"], [b"opt/l?", b"opt/v1/bin", b"opt/v2/bin"]),
            (["opt/l[1]/bin"], [b"opt/l[1]", b"opt/v1/bin"]),
            (["opt/v*"], [b"opt/v*"]),
            (["none/*"], [b"none/*"]),
            (["plain/*"], [b"plain/*"]),
            (["opt/l["], [b"opt/l["]),
            (["opt/\\[q]"], [b"opt/\\[q]"]),
            (["*"], None),  # `self` is among the links
            (["../x"], [b"../x"]),
            ([b"to_d"], [b"d", b"to_d"]),
            ([], []),
        ],
    )
    def test_resolve(self, root, follow, recorded):
        assert resolve_follow(root, follow) == recorded

    def test_long_chain_needs_no_deep_stack(self, tmp_path):
        for number in range(1500):
            (tmp_path / f"l{number}").symlink_to(f"l{number + 1}")
        assert len(resolve_follow(os.fsencode(tmp_path), ["l0"]) or ()) == 1501

    def test_unreadable(self, root):
        if os.geteuid() == 0:
            name = "x" * 300  # root may read everything, but no name may be as long
        else:
            os.chmod(os.path.join(root, b"opt"), 0)
            name = "opt/*"
        with pytest.raises(InputError, match="for follow"):
            resolve_follow(root, [name])
        os.chmod(os.path.join(root, b"opt"), 0o700)

    @pytest.mark.parametrize(
        ("include", "follow", "result"),
        [
            (None, None, None),
            (None, [], None),
            ([], ["."], None),
            (["a", "a/b"], None, [b"a", b"a/b"]),
            (["a", "a/b"], [], [b"a", b"a/b"]),
            (["/a"], None, [b"/a"]),
            # the root as a follow path: the include list stays as it is
            (["a", "a/b"], ["."], [b"a", b"a/b"]),
            (None, ["to_d"], [b"d", b"to_d"]),
            (["a", "a/b"], ["to_d"], [b"a", b"d", b"to_d"]),
            # not sorted: only what follows directly on its parent is dropped
            (["d", "x", "d/f"], ["plain"], [b"d", b"x", b"d/f", b"plain"]),
            (["d"], ["d/f"], [b"d"]),
            (["/a"], ["plain"], [b"plain"]),
            (["."], ["plain"], None),
            (["x", ".", "y"], ["plain"], None),
        ],
    )
    def test_include(self, root, include, follow, result):
        assert include_with_follow(root, include, follow) == result

    def test_wrong_type(self, root):
        with pytest.raises(PatternError, match="follow pattern 1"):
            resolve_follow(root, [1])


def test_import_is_cheap():
    # The core itself has Cython import `inspect`, of whose constants it knows none in the limited API.
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import tarcast._core.match; core = set(sys.modules); "
        "import tarcast.patterns; print(*set(sys.modules) - core)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    assert "tarcast.patterns" in imported
    assert not {"dataclasses", "typing", "re", "unicodedata"} & imported
