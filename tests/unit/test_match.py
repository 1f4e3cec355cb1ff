"""The native matcher: matching of single patterns, lists along a walk, pruning, and what it refuses."""

from __future__ import annotations

import pickle
import time

import pytest

from tarcast._core.match import PatternList
from tarcast.patterns import compile_patterns


def compiled(*patterns: bytes | str) -> PatternList:
    result = compile_patterns(patterns, what="include")
    assert result is not None
    return result


def selects(pattern: bytes | str, path: bytes | str) -> bool:
    """Does this one pattern match this path itself, its ancestors aside?"""
    path = path.encode() if isinstance(path, str) else path
    return compiled(pattern).evaluate(path, b"\0")[0]


# pattern, paths that it matches, paths that it does not
TABLE = [
    # exact: bytes are compared
    ("foo", ["foo"], ["fo", "foox", "xfoo", "foo/x", "Foo", ""]),
    ("a.b", ["a.b"], ["axb"]),
    ("a+(b)|{c}$", ["a+(b)|{c}$"], ["a", "aa+(b)|{c}$"]),
    ("^a", ["^a"], ["a"]),
    (b"\xff", [b"\xff"], [b"\xfe", "\ufffd"]),
    ("/foo", [], ["foo"]),
    ("./foo/", ["foo"], []),
    ("a/../b", ["b"], ["a/b"]),
    (".", ["."], ["a"]),
    # prefix
    ("foo/**", ["foo/x", "foo/x/y"], ["foo", "foox", "x/foo/y"]),
    ("foo**", ["foo", "foobar/x"], ["fo", "xfoo"]),
    ("^f**", ["^fx"], ["fx"]),
    ("foo.**", ["foo.", "foo.x"], ["foox"]),
    # suffix
    ("**", ["a", "a/b", b"\xff", "a\nb", ""], []),
    ("**/foo", ["foo", "a/foo", "a/b/foo"], ["xfoo", "foo/a", "oo"]),
    ("**foo", ["foo", "xfoo", "a/xfoo"], ["foox"]),
    ("**^x", ["^x", "a^x"], ["x"]),
    ("**.+", ["a.+"], ["ab+"]),
    ("**/a/b", ["a/b", "x/a/b"], ["xa/b"]),
    ("\ufeff**x", [], ["x", "ax"]),  # the mark is part of the text but not of the mode
    # * and ? stay within a component
    ("*", ["a", "abc", "", "a\nb", b"\xff"], ["a/b"]),
    ("a*c", ["ac", "abc", "abcbc"], ["a/c", "abcd", "xac"]),
    ("?", ["a", "é", "\n", b"\xff"], ["", "ab", "/", b"\xff\xff"]),
    ("*.[ch]", ["a.c", ".h"], ["a.o", "a.", "x/a.c", "", "a.é"]),
    ("a/*/c", ["a/b/c", "a//c"], ["a/c", "a/b/b/c"]),
    # ** between other things
    ("a**b", ["ab", "ax/b", "a/b", "a/x/y/b"], ["axb", "a\nx/b"]),
    ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
    ("**/*.pyc", ["a.pyc", "x/a.pyc", "x/y/.pyc"], ["a.py", "a.pyc/x", "x\ny/a.pyc"]),
    ("**/a*/**", ["a/", "a/x", "x/ab/c/d"], ["ab", "b/a"]),
    ("a**b**c", ["abc", "ax/by/c", "ab/x/c"], ["axbxc"]),
    ("?**", ["a", "ab", "a/b"], ["", "a\n"]),  # .* stops at a newline, [^/] does not
    ("***", ["a", "a/b", "a/"], ["a\n/b"]),
    ("****", ["a", "a/b", ""], ["a\n"]),
    # classes
    ("[a-c]x", ["ax", "cx"], ["dx", "x", "aax"]),
    ("[^a]", ["b", "/", "é", b"\xff"], ["a", ""]),
    ("[!a]", ["!", "a"], ["b"]),
    ("[a\\-]", ["a", "-"], ["b"]),
    ("[*]", ["]", "^]", "[/]", "/^]"], ["*", "a]"]),
    ("x[?]", ["x^]", "x/]"], ["x?", "x]"]),
    ("[[:alpha:]]?", ["ab", "Z1"], ["1b"]),
    ("[[:^digit:]]x", ["ax"], ["1x"]),
    ("[\\d\\pL]*", ["1", "éa", "λ"], ["-a", ""]),
    ("[é-λ]", ["é", "ñ", "λ"], ["a", "μ", b"\xff"]),
    ("[\\D\\d]x", ["ax", "1x"], ["x"]),
    ("[^\\D\\d]*", [], ["", "a", "1"]),
    # escapes
    ("\\a", ["\a"], ["a"]),
    ("\\*x", ["*x"], ["ax"]),
    ("\\d\\D", ["1a"], ["a1", "11"]),
    ("\\w\\W\\s\\S", ["a- a"], ["aa a"]),
    ("a\\x2db", ["a-b"], ["a\\x2db"]),
    ("\\55\\055\\0", ["--\0"], ["--"]),
    ("\\777", ["\u01ff"], []),
    ("\\x{e9}", ["é"], ["e9"]),
    ("\\pL", ["é", "a"], ["1", b"\xff"]),
    ("\\PL", ["1", b"\xff"], ["a"]),
    ("\\pl\\p{Lu}\\P{^letter}", ["aBc"], ["abc"]),
    ("\\p{^Any}", [], ["a"]),
    ("\\p{ Decimal_number}", ["1"], ["a"]),
    ("\\p{LC}\\p{Assigned}\\p{ascii}", ["éaa"], ["éaé", "\u01bbaa"]),
    ("\\Qa*b\\E?", ["a[^/]*bx"], ["ab", "axbx"]),  # the expansion is quoted too
    ("\\Qa", ["a$", "a$b", "a$/b"], ["a"]),  # an open quote swallows the final anchor
    ("a*b\\", ["ab$", "axb$yy"], ["ab", "ab\\"]),  # so does a backslash at the end
    # assertions
    ("*^a", ["a"], ["xa", "^a", "x^a"]),
    ("^]", ["]"], ["^]"]),
    ("x*[a-]", ["xa", "x-"], ["xb", "x]"]),
    ("?^a", [], ["xa", "x^a"]),
    ("a\\b*", ["a", "a-", "a b"], ["ab", "a_"]),
    ("a\\B*", ["ab", "a1"], ["a", "a-"]),
    ("*\\Aa\\z", ["a"], ["xa", "ax"]),
    ("\\z*", [""], ["a"]),
    # { | } are not escaped by the original
    ("a{2}?", ["aab"], ["aa", "ab", "aaab", "a{2}b"]),
    ("[ab]{1,3}.c*", ["a.c", "bab.c"], [".c", "aaaa.c"]),
    ("a{2,}*", ["aa", "aaab"], ["a", "ab"]),
    ("xa{0}*", ["x", "xb"], ["a"]),
    ("a{,2}?", ["a{,2}b"], ["aab"]),
    ("a{02}?", ["a{02}b"], ["aab"]),
    ("{2}a?", ["ab"], ["aab", "xab"]),
    ("{0}a?", ["ab", "xxab"], ["a", "abx"]),
    ("\\b{2}?", ["a"], ["-", "ab"]),
    ("b?|a", ["bx", "bxyz", "a", "xa"], ["ab", "b"]),
    ("b?|", ["", "a", "zz"], []),
    ("[a|b]", ["|"], ["c"]),
    # runes
    ("é*", ["é", "éa"], ["e", b"\xc3"]),
    ("[^x]\u20ac", ["a€"], ["€"]),
    (b"\xff*", [b"\xff", b"\xfe", "\ufffdx", b"\xc3"], ["a", "é"]),
    (b"?\xe2\x82", [b"a\xe2\x82", b"\xff\x80\x80"], [b"a\xe2", "a€"]),
    ("\ufeff?", ["a"], ["\ufeffa"]),  # a mark at the start is not seen in this mode
]


@pytest.mark.parametrize(
    ("pattern", "path"), [(pattern, path) for pattern, paths, _ in TABLE for path in paths]
)
def test_pattern_matches(pattern, path):
    assert selects(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"), [(pattern, path) for pattern, _, paths in TABLE for path in paths]
)
def test_pattern_does_not_match(pattern, path):
    assert not selects(pattern, path)


@pytest.mark.parametrize(
    ("raw", "runes"),
    [
        (b"\xc3\xa9", 1),
        (b"\xe2\x82\xac", 1),
        (b"\xf0\x9f\x98\x80", 1),
        (b"\xf4\x8f\xbf\xbf", 1),
        (b"\xc1\xbf", 2),  # too long a form
        (b"\xe0\x9f\xbf", 3),
        (b"\xf0\x8f\xbf\xbf", 4),
        (b"\xed\xa0\x80", 3),  # a surrogate
        (b"\xf4\x90\x80\x80", 4),  # beyond the last rune
        (b"\xf5\x80\x80\x80", 4),
        (b"\xe2\x82", 2),  # cut off
        (b"\xe2\x82a", 3),
        (b"\xf0\x9f\x98", 3),
        (b"\xf0\x9f\x98a", 4),
        (b"\x80", 1),
    ],
)
def test_runes_are_counted_as_go_counts_them(raw, runes):
    for count in range(1, 6):
        assert selects("?" * count, raw) == (count == runes)


def test_every_ascii_rune_of_a_class():
    pattern = compiled("[\\x1f-\\x41\\x7f]")
    for rune in range(128):
        assert pattern.evaluate(bytes([rune]), b"\0")[0] == (0x1F <= rune <= 0x41 or rune == 0x7F)


def test_time_is_linear_in_the_pattern_and_the_path():
    pattern = compiled("*a" * 200 + "*b", "**/" + "a**" * 200 + "c?", "[ab]{0,500}" * 4 + "?b")
    start = time.perf_counter()
    assert not pattern.matches(b"a" * 4000 + b"/b")
    assert time.perf_counter() - start < 2


class TestLists:
    """8.3: a list along a walk."""

    def test_later_patterns_overrule_earlier_ones(self):
        patterns = compiled("a*", "!ab", "abc*")
        assert [patterns.matches(p) for p in (b"a", b"ab", b"abcd", b"x")] == [True, False, True, False]

    def test_exception_alone_selects_nothing(self):
        assert compiled("!a").evaluate(b"a") == (False, b"\0")

    def test_pattern_that_cannot_change_the_outcome_is_not_evaluated(self):
        # "ab" is not looked at because "a*" matched, so below it only "a*" holds.
        assert compiled("a*", "ab").evaluate(b"ab") == (True, b"\1\0")

    def test_parent_result_holds_below(self):
        patterns = compiled("a", "!a/b")
        matched, parent = patterns.evaluate(b"a")
        assert (matched, parent) == (True, b"\1\0")
        assert patterns.evaluate(b"a/x", parent) == (True, b"\1\0")
        matched, below = patterns.evaluate(b"a/b", parent)
        assert (matched, below) == (False, b"\1\1")
        assert patterns.evaluate(b"a/b/c", below) == (False, b"\1\1")

    def test_parent_result_counts_even_where_evaluation_would_be_skipped(self):
        assert compiled("a", "b").evaluate(b"x/y", b"\1\1") == (True, b"\1\1")

    def test_ancestors_are_tried_only_without_a_parent(self):
        patterns = compiled("a/b")
        assert patterns.evaluate(b"a/b/c/d") == (True, b"\1")
        assert patterns.evaluate(b"a/b/c/d", b"\0") == (False, b"\0")

    def test_exception_is_not_retried_on_ancestors_below_a_parent(self):
        patterns = compiled("**/*.go", "!src/vendor")
        _, parent = patterns.evaluate(b"src")
        matched, parent = patterns.evaluate(b"src/vendor", parent)
        assert not matched
        assert patterns.evaluate(b"src/vendor/v.go", parent)[0]
        assert not patterns.matches(b"src/vendor/v.go")

    def test_list_of_blanks_selects_nothing(self):
        patterns = compiled("", " \t")
        assert patterns.count == 0
        assert patterns.evaluate(b"a") == (False, b"")
        assert patterns.evaluate(b"a/b", b"") == (False, b"")


class TestPruning:
    """8.4: may what lies below a directory be left out unseen?"""

    @pytest.mark.parametrize(
        ("patterns", "keeps", "prunes"),
        [
            (["a/b"], ["a", "a/b"], ["b", "a/c", "a/b/c", "aa", "a/bb"]),
            (["ab/c"], ["ab"], ["a"]),
            (["a/b/**"], ["a", "a/b"], ["a/b/c", "b"]),
            (["a/b/*"], ["a", "a/b"], ["a/b/c", "b"]),
            (["a/*/**"], ["a"], ["b", "a/b"]),
            (["a/**/*"], ["b", "a/b"], []),
            (["a/*b"], ["a", "zz"], []),
            (["a/b?"], ["zz"], []),
            (["a/[b]"], ["zz"], []),
            (["a]"], ["zz"], []),
            (["a^"], ["zz"], []),
            (["\\a"], ["zz"], []),
            (["**"], ["zz"], []),
            (["*"], ["zz"], []),
            (["a", "!b/*x"], ["a"], ["b", "zz"]),
            (["a", "b"], ["a", "b"], ["c"]),
            ([""], [], ["a"]),
        ],
    )
    def test_include(self, patterns, keeps, prunes):
        given = compiled(*patterns)
        assert [p for p in keeps if given.prunes_unmatched(p.encode())] == []
        assert [p for p in prunes if not given.prunes_unmatched(p.encode())] == []

    @pytest.mark.parametrize(
        ("patterns", "keeps", "prunes"),
        [
            (["a"], [], ["a", "b"]),
            (["a", "b*"], [], ["a", "b"]),
            (["a", "!ab/c"], ["ab"], ["a"]),
            (["a", "!a/b/c"], ["a", "a/b", "a/b/c"], ["b", "a/c", "a/b/c/d"]),
            (["a", "!a/b/**"], ["a", "a/b"], ["a/b/c"]),
            (["a", "!a/*.x"], ["a", "zz"], []),
        ],
    )
    def test_exclude(self, patterns, keeps, prunes):
        given = compiled(*patterns)
        assert [p for p in keeps if given.prunes_matched(p.encode())] == []
        assert [p for p in prunes if not given.prunes_matched(p.encode())] == []


class TestCompiledForm:
    """What comes from elsewhere than tarcast.patterns is checked before anything is read."""

    EXACT = (0, False, b"a", b"a", False, ())

    @staticmethod
    def line(*items, tail=b"", to_end=True):
        return (3, False, b"", b"", False, ((b"", tail, to_end, items),))

    @pytest.mark.parametrize(
        ("sets", "patterns"),
        [
            ((), ((0, False, b"a", b"a", False),)),
            ((), ((4, False, b"a", b"a", False, ()),)),
            ((), ((3, False, b"a", b"a", False, ((b"", b"", True),)),)),
            ((), (line((0, 97), tail=b"x", to_end=False),)),
            ((), (line((10, 0)),)),
            ((), (line((1, 0)),)),
            (((1, 2),), (line((2, 1)),)),
            (((1, 2),), (line((3, 1)),)),
            ((), (line((4, 0)),)),
            ((), (line((4, 0), (0, 97)),)),
            (((1,),), ()),
            (((2, 1),), ()),
            (((1, 2, 2, 3),), ()),
            (((5, 6, 1, 2),), ()),
            (((0, 0x110000),), ()),
        ],
    )
    def test_out_of_shape(self, sets, patterns):
        with pytest.raises(ValueError, match=r"\w"):
            PatternList((sets, patterns))

    @pytest.mark.parametrize(
        "form",
        [
            None,
            [(), ()],
            (None, ()),
            ((), None),
            ((), ((0, False, None, b"a", False, ()),)),
            ((), ((0, False, b"a", "a", False, ()),)),
            ((), ((0, False, b"a", b"a", False, None),)),
            ((), (line((0, "a")),)),
        ],
    )
    def test_wrong_type(self, form):
        with pytest.raises(TypeError):
            PatternList(form)

    @pytest.mark.parametrize("form", [(), ((),), ((), (), ())])
    def test_wrong_length(self, form):
        with pytest.raises(ValueError, match="sets, patterns"):
            PatternList(form)

    def test_negative_rune(self):
        with pytest.raises((OverflowError, ValueError)):
            PatternList((((-1, 2),), ()))

    def test_parent_of_another_list(self):
        given = PatternList(((), (self.EXACT,)))
        with pytest.raises(ValueError, match="another list"):
            given.evaluate(b"a", b"\0\0")

    def test_cannot_be_pickled(self):
        with pytest.raises(TypeError):
            pickle.dumps(PatternList(((), (self.EXACT,))))
