"""Amounts and names in words."""

from __future__ import annotations

import pytest

from tarcast.wording import amounts, counted, how_far, human, json_text, pace, still


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9994, "9.99 kB"),
        (9996, "10.0 kB"),
        (99960, "100 kB"),
        (999499, "999 kB"),
        (999500, "1.00 MB"),
        (123456789, "123 MB"),
        (5 * 10**18, "5000 PB"),
    ],
)
def test_human(size, text):
    assert human(size) == text


def test_counted():
    assert [counted(n) for n in (0, 1, 12345)] == ["0 entries", "1 entry", "12,345 entries"]


def test_amounts():
    assert amounts(1, 1000, 0.0) == "1 entry, 1.00 kB in 0.00 s"
    assert amounts(12345, 10**9, 0.5) == "12,345 entries, 1.00 GB in 0.50 s (2.00 GB/s)"


def test_pace():
    assert pace(10**9, 0.5) == " in 0.50 s (2.00 GB/s)"
    assert pace(10**9, 0.0) == " in 0.00 s"


def test_json_text():
    assert json_text(None) is None
    assert json_text("a\nö") == "a\nö"
    assert json_text("a\udcff") == "a\\xff"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.4, ", 0:00 left"),
        (7.0, ", 0:07 left"),
        (754.0, ", 12:34 left"),
        (3723.0, ", 1:02:03 left"),
    ],
)
def test_still(seconds, text):
    assert still(seconds) == text


@pytest.mark.parametrize(
    ("current", "total", "text"),
    [
        (5, None, "5 B"),
        (999, 1000, "999 B of 1.00 kB (99 %)"),
        (2000, 1000, "2.00 kB of 1.00 kB (100 %)"),
        (0, 0, "0 B of 0 B (100 %)"),
    ],
)
def test_how_far(current, total, text):
    assert how_far(current, total) == text
