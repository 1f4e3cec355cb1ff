"""Pax records: their lengths, which of them an entry gets, their order and their limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarcast._core._testing import encode

BLOCK = 512
LIMIT = 1048576


def data_of(encoded: bytes | None) -> bytes:
    """The records, which must fill whole blocks with zeros behind them, one main block following."""
    assert encoded is not None
    length = int(encoded[124:135], 8)
    padded = (length + BLOCK - 1) // BLOCK * BLOCK
    assert len(encoded) == BLOCK + padded + BLOCK
    assert encoded[BLOCK + length : BLOCK + padded] == bytes(padded - length)
    return encoded[BLOCK : BLOCK + length]


def records(*args, **kwargs) -> bytes:
    return data_of(encode(*args, **kwargs))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"uid": 2097152}, b"15 uid=2097152\n"),
        ({"uid": 4294967295}, b"18 uid=4294967295\n"),
        ({"gid": 2097152}, b"15 gid=2097152\n"),
        ({"gid": 4294967295}, b"18 gid=4294967295\n"),
        ({"size": 8589934592}, b"19 size=8589934592\n"),
        ({"size": 2**63 - 1}, b"28 size=9223372036854775807\n"),
        ({"mtime": 8589934592}, b"20 mtime=8589934592\n"),
        ({"mtime": 9223372037}, b"20 mtime=9223372037\n"),
        ({"mtime": -1}, b"12 mtime=-1\n"),
        ({"mtime": -10}, b"13 mtime=-10\n"),
        ({"mtime": -9223372037}, b"21 mtime=-9223372037\n"),
        ({"mtime": -(2**63)}, b"30 mtime=-9223372036854775808\n"),
        ({"type": ord("2"), "link": b"l" * 101}, b"115 linkpath=" + b"l" * 101 + b"\n"),
        ({"type": ord("2"), "link": b"\xff"}, b"14 linkpath=\xff\n"),
        ({"type": ord("2"), "link": b"/\xc3\xa9/\n=x"}, b"20 linkpath=/\xc3\xa9/\n=x\n"),
        ({"xattrs": [(b"user.a", b"")]}, b"24 SCHILY.xattr.user.a=\n"),
        ({"xattrs": [(b"user.a", b"\0\n==\xff")]}, b"29 SCHILY.xattr.user.a=\0\n==\xff\n"),
        ({"xattrs": [(b"user.\xff \n", b"v")]}, b"27 SCHILY.xattr.user.\xff \n=v\n"),
        (
            {"xattrs": [(b"user.a", b"1"), (b"user.b", b"22")]},
            b"25 SCHILY.xattr.user.a=1\n26 SCHILY.xattr.user.b=22\n",
        ),
    ],
)
def test_pax_record_is_this_text(arguments: dict, expected: bytes) -> None:
    assert records(b"f", **arguments) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"\xff", b"9 path=\xff\n"),
        (b"\xff\xff", b"11 path=\xff\xff\n"),  # 10 would have two digits, and so be 11
        (b"n" * 101, b"111 path=" + b"n" * 101 + b"\n"),
        (b"d" * 150 + b"/", b"161 path=" + b"d" * 150 + b"/\n"),
        (b"\xc3\xa9/", b"12 path=\xc3\xa9/\n"),
    ],
)
def test_pax_path_record_is_the_whole_name(name: bytes, expected: bytes) -> None:
    assert records(name) == expected


@pytest.mark.parametrize(
    ("value_length", "length"),
    [  # "N SCHILY.xattr.k=V\n" is 17 bytes and V and the digits of N
        (0, 19),
        (80, 99),
        (81, 101),
        (82, 102),
        (978, 998),
        (979, 999),
        (980, 1001),
        (9978, 9999),
        (9979, 10001),
        (99977, 99999),
        (99978, 100001),
        (999976, 999999),
        (999977, 1000001),
    ],
)
def test_pax_record_length_counts_its_own_digits(value_length: int, length: int) -> None:
    value = b"v" * value_length
    data = records(b"f", xattrs=[(b"k", value)])
    assert len(data) == length
    assert data == b"%d SCHILY.xattr.k=" % length + value + b"\n"


def test_pax_records_stand_in_the_order_of_their_keys() -> None:
    name, link = b"n" * 101, b"l" * 101
    everything = records(
        name,
        link=link,
        type=ord("1"),
        uid=3000000,
        gid=3000001,
        size=8589934593,
        mtime=-2,
        xattrs=[(b"security.capability", b"\x01"), (b"trusted.x", b""), (b"user.a", b"1")],
    )
    assert everything == (
        b"38 SCHILY.xattr.security.capability=\x01\n"
        b"27 SCHILY.xattr.trusted.x=\n"
        b"25 SCHILY.xattr.user.a=1\n"
        b"15 gid=3000001\n"
        b"115 linkpath=" + link + b"\n"
        b"12 mtime=-2\n"
        b"111 path=" + name + b"\n"
        b"19 size=8589934593\n"
        b"15 uid=3000000\n"
    )


@pytest.mark.parametrize(
    "force",
    [
        {"uid": 2097152},
        {"gid": 2097152},
        {"size": 8589934592},
        {"mtime": -1},
        {"type": ord("2"), "link": b"\xff"},
        {"xattrs": [(b"user.a", b"1")]},
    ],
    ids=lambda force: next(reversed(force)),
)
def test_pax_path_is_recorded_although_it_could_be_split(force: dict) -> None:
    name = b"d" * 50 + b"/" + b"f" * 50
    assert len(encode(name)) == BLOCK
    assert b"111 path=" + name + b"\n" in records(name, **force)
    assert b"path" not in records(b"d" * 49 + b"/" + b"f" * 50, **force).replace(b"linkpath", b"")


def test_pax_carries_only_what_does_not_fit() -> None:
    assert records(b"f", uid=2097152, gid=2097151, size=8589934591, mtime=8589934591) == b"15 uid=2097152\n"
    assert records(b"f", type=ord("2"), link=b"l" * 100, mtime=-1) == b"12 mtime=-1\n"


@pytest.mark.parametrize(
    ("value_length", "blocks"), [(491, 3), (492, 3), (493, 4), (1003, 4), (1004, 4), (1005, 5)]
)
def test_pax_data_fills_whole_blocks(value_length: int, blocks: int) -> None:
    # 17 bytes, 3 or 4 digits and the value: 512 = 492 + 20, 1024 = 1003 + 21
    encoded = encode(b"f", xattrs=[(b"k", b"v" * value_length)])
    assert encoded is not None
    assert len(encoded) == (blocks + (value_length == 1004)) * BLOCK


def test_pax_records_of_exactly_the_limit_are_written() -> None:
    # 7 digits, 17 bytes around key and value
    data = records(b"f", xattrs=[(b"k", b"v" * (LIMIT - 24))])
    assert len(data) == LIMIT
    assert data.startswith(b"1048576 SCHILY.xattr.k=v")


def test_pax_records_one_byte_beyond_the_limit_are_refused() -> None:
    assert encode(b"f", xattrs=[(b"k", b"v" * (LIMIT - 23))]) is None


@pytest.mark.parametrize(
    ("other", "length"),
    [
        ({"uid": 2097152}, 15),
        ({"gid": 4294967295}, 18),
        ({"mtime": -1}, 12),
        ({"size": 8589934592}, 19),
        ({"type": ord("2"), "link": b"l" * 101}, 115),
    ],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else str(value),
)
def test_pax_limit_counts_every_record(other: dict, length: int) -> None:
    largest = LIMIT - length - 24
    assert len(records(b"f", xattrs=[(b"k", b"v" * largest)], **other)) == LIMIT
    assert encode(b"f", xattrs=[(b"k", b"v" * (largest + 1))], **other) is None


def test_pax_limit_counts_the_path() -> None:
    largest = LIMIT - 111 - 24
    assert len(records(b"n" * 101, xattrs=[(b"k", b"v" * largest)])) == LIMIT
    assert encode(b"n" * 101, xattrs=[(b"k", b"v" * (largest + 1))]) is None


def test_pax_limit_is_for_all_attributes_together() -> None:
    halves = [(b"a", b"v" * (LIMIT // 2 - 23)), (b"b", b"v" * (LIMIT // 2 - 23))]  # 6 digits each
    assert len(records(b"f", xattrs=halves)) == LIMIT
    halves[1] = (b"b", halves[1][1] + b"v")
    assert encode(b"f", xattrs=halves) is None


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=2000)), min_size=1, max_size=6)
)
def test_pax_records_can_be_taken_apart_by_their_lengths(xattrs: list[tuple[bytes, bytes]]) -> None:
    xattrs = sorted({key.replace(b"=", b"e"): value for key, value in xattrs}.items())
    data = records(b"f", xattrs=xattrs)
    found = []
    while data:
        digits, _, _ = data.partition(b" ")
        one, data = data[: int(digits)], data[int(digits) :]
        assert one.endswith(b"\n")
        key, _, value = one[len(digits) + 1 : -1].partition(b"=")
        found.append((key.removeprefix(b"SCHILY.xattr."), value))
    assert found == xattrs
