"""Owners through id ranges, and times as the original has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarcast._core._testing import map_owner, map_time

TOP = 2**32 - 1


@pytest.mark.parametrize(
    ("ranges", "host", "container"),
    [
        (None, 0, 0),
        (None, TOP, TOP),
        ([], 0, None),  # a map without ranges maps nothing, which is not the same as no map
        ([], TOP, None),
        ([(0, 100000, 65536)], 99999, None),
        ([(0, 100000, 65536)], 100000, 0),
        ([(0, 100000, 65536)], 100001, 1),
        ([(0, 100000, 65536)], 165535, 65535),
        ([(0, 100000, 65536)], 165536, None),
        ([(5, 7, 1)], 6, None),
        ([(5, 7, 1)], 7, 5),
        ([(5, 7, 1)], 8, None),
        ([(1000, 0, 10)], 9, 1009),
        ([(0, 0, 2**32)], TOP, TOP),
        ([(TOP, 0, 1)], 0, TOP),
        ([(0, TOP, 1)], TOP, 0),
        ([(0, TOP, 1)], TOP - 1, None),
        ([(0, 1000, 1), (1, 100000, 65535)], 1000, 0),
        ([(0, 1000, 1), (1, 100000, 65535)], 100000, 1),
        ([(0, 1000, 1), (1, 100000, 65535)], 1001, None),
        ([(10, 5, 3), (20, 5, 10)], 5, 10),  # the first match wins
        ([(10, 5, 3), (20, 5, 10)], 7, 12),
        ([(10, 5, 3), (20, 5, 10)], 8, 23),
        ([(20, 5, 10), (10, 5, 3)], 5, 20),
    ],
)
def test_remap_owner_finds_the_place_of_an_id(
    ranges: list[tuple[int, int, int]] | None, host: int, container: int | None
) -> None:
    assert map_owner(ranges, None, host, 77) == (None if container is None else (container, 77))
    assert map_owner(None, ranges, 77, host) == (None if container is None else (77, container))


@pytest.mark.parametrize(("uid", "gid"), [(5, 6), (6, 5), (6, 6)])
def test_remap_owner_needs_a_place_for_both(uid: int, gid: int) -> None:
    assert map_owner([(0, 5, 1)], [(0, 5, 1)], uid, gid) is None
    assert map_owner([(0, 5, 1)], [(1, 5, 1)], 5, 5) == (0, 1)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 15)),
        max_size=8,
    ),
    st.integers(0, 60),
)
def test_remap_owner_equals_a_table_of_all_ids(ranges: list[tuple[int, int, int]], host: int) -> None:
    table: dict[int, int] = {}
    for container, start, size in ranges:
        for i in range(size):
            table.setdefault(start + i, container + i)
    assert map_owner(ranges, None, host, 0) == ((table[host], 0) if host in table else None)


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "whole"),
    [
        (0, 0, 0),
        (0, 1, 0),
        (0, 499_999_999, 0),
        (0, 500_000_000, 1),
        (0, 999_999_999, 1),
        (1, 500_000_000, 2),
        (-1, 999_999_999, 0),
        (-1, 500_000_000, 0),  # -0.5
        (-1, 499_999_999, -1),  # -0.500000001
        (-1, 0, -1),
        (-2, 500_000_000, -1),  # -1.5
        (-2, 499_999_999, -2),  # -1.500000001
        (1700000000, 499_999_999, 1700000000),
        (8589934591, 499_999_999, 8589934591),
        (8589934591, 500_000_000, 8589934592),
    ],
)
def test_remap_time_rounds_half_up(seconds: int, nanoseconds: int, whole: int) -> None:
    assert map_time(seconds, nanoseconds) == (seconds * 10**9 + nanoseconds, whole)


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "ns", "whole"),
    [
        # 2262-04-11T23:47:16.854775807Z is the last time that fits
        (9223372036, 854_775_807, 2**63 - 1, 9223372037),
        (9223372036, 854_775_808, -(2**63), -9223372037),
        (9223372036, 854_775_809, -(2**63) + 1, -9223372037),
        (9223372037, 0, -9223372036709551616, -9223372037),
        (-9223372037, 145_224_192, -(2**63), -9223372037),
        (-9223372037, 145_224_191, 2**63 - 1, 9223372037),
        # a quarter of a second into the year 2300
        (10413792000, 250_000_000, -8032952073459551616, -8032952073),
        (18446744073, 709_551_616, 0, 0),
    ],
)
def test_remap_time_wraps_around(seconds: int, nanoseconds: int, ns: int, whole: int) -> None:
    assert map_time(seconds, nanoseconds) == (ns, whole)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, (0, 0)),
        (1, (10**9, 1)),
        (1700000000, (1700000000 * 10**9, 1700000000)),
        (9223372036, (9223372036 * 10**9, 9223372036)),
        (9223372037, (-9223372036709551616, -9223372037)),
        (2**63 - 1, (-(10**9), -1)),
    ],
)
def test_remap_time_is_the_epoch_if_there_is_one(epoch: int, expected: tuple[int, int]) -> None:
    assert map_time(12345, 678, epoch) == expected
    assert map_time(-1, 999_999_999, epoch) == expected


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999))
def test_remap_time_equals_exact_arithmetic(seconds: int, nanoseconds: int) -> None:
    ns = (seconds * 10**9 + nanoseconds + 2**63) % 2**64 - 2**63
    assert map_time(seconds, nanoseconds) == (ns, (ns + 5 * 10**8) // 10**9)
