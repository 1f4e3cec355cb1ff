"""Padded headers: the body begins on a block, the records stay records, and there is no block too much."""

from __future__ import annotations

import random
import tarfile

import pytest

from tarcast._core._testing import encode

BLOCK = 512
ALIGNMENT = 4096
LIMIT = 1048576
PAD = b"LIBARCHIVE.pad"

# Without pax, split, in pax because it cannot be split, in pax because it is not ASCII.
NAMES = {
    "short": b"file",
    "100": b"n" * 100,
    "split": b"d" * 60 + b"/" + b"f" * 60,
    "split-at-255": b"p" * 155 + b"/" + b"f" * 100,
    "unsplittable": b"n" * 101,
    "255": b"n" * 255,
    "deep": b"d/" * 200 + b"f",
    "not-ascii": "é".encode(),
    "not-utf8": b"\xff",
}
OFFSETS = range(0, 2 * ALIGNMENT + 1, BLOCK)


def aligned(name: bytes, at: int, **fields: object) -> bytes:
    encoded = encode(name, align_at=at, size=65536, **fields)
    assert encoded is not None
    return encoded


def plain(name: bytes, **fields: object) -> bytes:
    encoded = encode(name, size=65536, **fields)
    assert encoded is not None
    return encoded


def records(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """The pax records, taken apart by their lengths, which must be right; zeros behind them."""
    if encoded[156:157] != b"x":
        assert len(encoded) == BLOCK
        return []
    length = int(encoded[124:135], 8)
    padded = -(-length // BLOCK) * BLOCK
    assert len(encoded) == BLOCK + padded + BLOCK
    data, rest = encoded[BLOCK : BLOCK + length], encoded[BLOCK + length : BLOCK + padded]
    assert rest == bytes(len(rest))
    found = []
    while data:
        digits = data[: data.index(b" ")]
        assert digits == b"%d" % int(digits)
        one, data = data[: int(digits)], data[int(digits) :]
        assert one.endswith(b"\n")
        key, equals, value = one[len(digits) + 1 : -1].partition(b"=")
        assert equals == b"="
        found.append((key, value))
    return found


def least_size(name: bytes, at: int, **fields: object) -> int:
    """The smallest header that aligns: the plain one, or one with a padding record before the rest."""
    size = len(plain(name, **fields))
    if (at + size) % ALIGNMENT == 0:
        return size
    others = records(plain(name, **fields))
    if (len(name) > 100 or not name.isascii()) and (b"path", name) not in others:
        others.append((b"path", name))  # a plain header could split it, and pax headers have no prefix
    taken = sum(len(record(key, value)) for key, value in [(PAD, b""), *others])
    size = BLOCK + -(-taken // BLOCK) * BLOCK + BLOCK
    while (at + size) % ALIGNMENT:
        size += BLOCK
    return size


def record(key: bytes, value: bytes) -> bytes:
    text = b" " + key + b"=" + value + b"\n"
    return next(b"%d" % n + text for n in range(len(text), len(text) + 9) if len(b"%d" % n + text) == n)


def check(name: bytes, at: int, **fields: object) -> bytes:
    """The padded header, with everything that must hold for any."""
    encoded = aligned(name, at, **fields)
    assert (at + len(encoded)) % ALIGNMENT == 0
    assert len(encoded) == least_size(name, at, **fields)
    found = records(encoded)
    pads = [value for key, value in found if key == PAD]
    if not pads:
        assert encoded == plain(name, **fields)
        return encoded
    assert len(pads) == 1
    assert pads[0].strip(b" ") == b""
    # All else as in the records of the same entry without padding.
    others = [item for item in found if item[0] != PAD]
    wanted = records(plain(name, **fields))
    extra = [item for item in others if item not in wanted]
    assert [item for item in others if item in wanted] == wanted
    assert extra in ([], [(b"path", name)])
    return encoded


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("at", OFFSETS)
def test_header_of_any_name_ends_on_a_block(name: bytes, at: int) -> None:
    check(name, at)


@pytest.mark.parametrize("at", OFFSETS)
def test_header_that_ends_on_a_block_anyway_is_not_padded(at: int) -> None:
    encoded = aligned(b"f", at)
    assert (encoded == plain(b"f")) == ((at + BLOCK) % ALIGNMENT == 0)


def pad_sizes(encoded: bytes) -> set[int]:
    """The length of the padding record, if there is one."""
    return {len(record(key, value)) for key, value in records(encoded) if key == PAD}


def test_padding_of_every_length_ends_on_a_block() -> None:
    """Behind a plain header, and behind attributes of so many sizes that every length comes."""
    seen = set()
    for size in range(BLOCK):
        for at in range(0, ALIGNMENT, BLOCK):
            for uid in (
                0,
                3_000_000,
            ):  # with its record too: that of an attribute cannot have every length either
                seen |= pad_sizes(check(b"f", at, uid=uid, xattrs=[(b"k", b"v" * size)]))
    # Shorter ones never come: in what is pax already, padding is needed for a block more at least. And no
    # record has 1000 bytes: one with three digits would have 999, with four 1001.
    assert seen == set(range(BLOCK, ALIGNMENT)) - {1_000}
    for at in range(0, ALIGNMENT - BLOCK, BLOCK):
        assert pad_sizes(check(b"f", at)) == {(ALIGNMENT - at - 2 * BLOCK - 1) % ALIGNMENT + 1}


def test_padding_that_no_record_can_have_is_a_byte_less_and_a_zero() -> None:
    """The byte is missing at the end of a block, where zeros are: the header is as long as others."""
    for length in range(998, 1_003):
        # What is left of two blocks of records; the plain header would need one.
        size = next(n for n in range(BLOCK) if len(record(b"SCHILY.xattr.k", b"v" * n)) == 2 * BLOCK - length)
        encoded = check(b"f", -4 * BLOCK % ALIGNMENT, xattrs=[(b"k", b"v" * size)])
        assert len(encoded) == 4 * BLOCK
        assert int(encoded[124:135], 8) == 2 * BLOCK - (length == 1_000)
        assert pad_sizes(encoded) == {length - (length == 1_000)}


def test_random_headers_end_on_a_block() -> None:
    rng = random.Random(11)
    for _ in range(1_500):
        name = rng.choice(list(NAMES.values()))
        attributes = sorted(
            {
                b"user.%d" % rng.randrange(99): rng.randbytes(rng.randrange(2_500))
                for _ in range(rng.randrange(5))
            }.items()
        )
        fields: dict[str, object] = {"xattrs": attributes}
        if rng.random() < 0.3:
            fields |= {"uid": 3_000_000, "mtime": -1}
        check(name, rng.randrange(1 << 40) * BLOCK, **fields)


@pytest.mark.parametrize("at", OFFSETS)
def test_header_whose_records_fill_the_limit_stays_as_it_is(at: int) -> None:
    # Seven digits and 17 bytes around the value: not even the shortest padding has room.
    attributes = [(b"k", b"v" * (LIMIT - 24))]
    assert aligned(b"f", at, xattrs=attributes) == plain(b"f", xattrs=attributes)


@pytest.mark.parametrize("left", [0, 18, 19, 511, 512, 2_048, 4_095, 4_096, 5_000])
def test_header_near_the_limit_is_padded_as_far_as_it_allows(left: int) -> None:
    attributes = [(b"k", b"v" * (LIMIT - 24 - left))]
    for at in OFFSETS:
        encoded = aligned(b"f", at, xattrs=attributes)
        padded = [key for key, _ in records(encoded) if key == PAD]
        assert int(encoded[124:135], 8) <= LIMIT
        if padded:
            assert (at + len(encoded)) % ALIGNMENT == 0
        else:
            assert encoded == plain(b"f", xattrs=attributes)
    if left >= ALIGNMENT + BLOCK:
        assert all((at + len(aligned(b"f", at, xattrs=attributes))) % ALIGNMENT == 0 for at in OFFSETS)


def test_padding_comes_before_the_records_it_sorts_before() -> None:
    encoded = aligned("é".encode(), 0, xattrs=[(b"user.a", b"1")], uid=3_000_000)
    assert [key for key, _ in records(encoded)] == [PAD, b"SCHILY.xattr.user.a", b"path", b"uid"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_padded_header_reads_as_the_same_entry(name: bytes) -> None:
    fields = {"mode": 0o640, "uid": 5, "gid": 2**31, "mtime": 1_700_000_000, "xattrs": [(b"user.a", b"1")]}
    one, two = (
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        for block in (aligned(name, BLOCK, **fields)[-BLOCK:], plain(name, **fields)[-BLOCK:])
    )
    assert one.get_info() == two.get_info()
