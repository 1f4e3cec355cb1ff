"""Paths taken from the root, as Go's path.Clean has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarcast._core._testing import clean


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"//", b"/"),
        (b"///", b"/"),
        (b".", b"/"),
        (b"..", b"/"),
        (b"./", b"/"),
        (b"../", b"/"),
        (b"/.", b"/"),
        (b"/..", b"/"),
        (b"/../../etc", b"/etc"),
        (b"/../a", b"/a"),
        (b"a", b"/a"),
        (b"/a", b"/a"),
        (b"/a/", b"/a"),
        (b"//a//b//", b"/a/b"),
        (b"//x//y/", b"/x/y"),
        (b"/a/./b", b"/a/b"),
        (b"/a/b/.", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/a/..", b"/"),
        (b"/a/../..", b"/"),
        (b"/a/../../b", b"/b"),
        (b"/a/b/..", b"/a"),
        (b"/a/b/../c", b"/a/c"),
        (b"/a/b/../../c", b"/c"),
        (b"/a/b/c/../../d/..", b"/a"),
        (b"/...", b"/..."),
        (b"/.../..", b"/"),
        (b"/.a", b"/.a"),
        (b"/a.", b"/a."),
        (b"/..a", b"/..a"),
        (b"/a..", b"/a.."),
        (b"/a/.b/..c/d../e.", b"/a/.b/..c/d../e."),
        (b"/\xff/\xc3\xa9/..", b"/\xff"),
        (b"/ /\n/..", b"/ "),
        (b"/name/" + b"/x//y/", b"/name/x/y"),
        (b"/name/" + b"/../../etc", b"/etc"),
        (b"/name/" + b"/", b"/name"),
    ],
)
def test_clean_takes_out_what_says_nothing(path: bytes, cleaned: bytes) -> None:
    assert clean(path) == cleaned


def go_clean(path: bytes) -> bytes:
    """Go's path.Clean, kept as it reads there: one index that reads and one that writes."""
    if path == b"":
        return b"."
    rooted = path[:1] == b"/"
    n, out, r, dotdot = len(path), bytearray(), 0, 0
    if rooted:
        out += b"/"
        r, dotdot = 1, 1
    while r < n:
        if path[r : r + 1] == b"/" or (
            path[r : r + 1] == b"." and (r + 1 == n or path[r + 1 : r + 2] == b"/")
        ):
            r += 1
        elif path[r : r + 2] == b".." and (r + 2 == n or path[r + 2 : r + 3] == b"/"):
            r += 2
            if len(out) > dotdot:
                w = len(out) - 1
                while w > dotdot and out[w : w + 1] != b"/":
                    w -= 1
                del out[w:]
            elif not rooted:
                out += b"/.." if out else b".."
                dotdot = len(out)
        else:
            if len(out) != (1 if rooted else 0):
                out += b"/"
            while r < n and path[r : r + 1] != b"/":
                out += path[r : r + 1]
                r += 1
    return bytes(out) or b"."


PARTS = st.lists(st.sampled_from([b"", b".", b"..", b"...", b"a", b"bb", b".c", b"d.", b"\xff"]), max_size=12)


@given(PARTS.map(b"/".join) | st.binary(max_size=40))
def test_clean_equals_the_originals_path_clean(path: bytes) -> None:
    assert clean(path) == go_clean(b"/" + path)
    assert clean(clean(path)) == clean(path)
