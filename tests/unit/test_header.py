"""Header blocks: every field's place and limits, the ustar split, the block before pax records."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarcast._core._testing import encode

BLOCK = 512
XATTR = [(b"user.a", b"1")]  # what forces a pax header without changing anything else

# offset, length: POSIX pax, "ustar Interchange Format"
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "checksum": (148, 8),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "owners": (265, 64),
    "devmajor": (329, 8),
    "devminor": (337, 8),
    "prefix": (345, 155),
    "rest": (500, 12),
}


def field(block: bytes, name: str) -> bytes:
    offset, length = FIELDS[name]
    return block[offset : offset + length]


def blocks(encoded: bytes | None) -> list[bytes]:
    assert encoded is not None
    assert len(encoded) % BLOCK == 0
    return [encoded[i : i + BLOCK] for i in range(0, len(encoded), BLOCK)]


def main_block(*args, **kwargs) -> bytes:
    return blocks(encode(*args, **kwargs))[-1]


def ustar_block(*args, **kwargs) -> bytes:
    (block,) = blocks(encode(*args, **kwargs))
    return block


def x_block(*args, **kwargs) -> bytes:
    found = blocks(encode(*args, **kwargs))
    assert len(found) >= 3
    assert field(found[0], "type") == b"x"
    return found[0]


# ---- fields ---------------------------------------------------------------


def test_header_of_a_plain_file_is_this_block() -> None:
    # a(97) + mode(350) + uid, gid(2 * 336) + size, mtime(2 * 528) + spaces(256) + type(48)
    # + "ustar"(559) + "00"(96) + devices(2 * 336) = 3806 = 0o7336
    assert encode(b"a") == (
        b"a" + bytes(99) + b"0000644\0" + b"0000000\0" * 2 + b"00000000000\0" * 2 + b"007336\0 "
        b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(155) + bytes(12)
    )


def test_header_fields_stand_at_their_offsets() -> None:
    block = ustar_block(
        b"dir/name",
        link=b"target",
        type=ord("1"),
        mode=0o4751,
        uid=1,
        gid=0o12,
        size=0o1234567,
        mtime=0o14000000000,
        devmajor=8,
        devminor=0o21,
    )
    assert {name: field(block, name).rstrip(b"\0") for name in FIELDS if name != "checksum"} == {
        "name": b"dir/name",
        "mode": b"0004751",
        "uid": b"0000001",
        "gid": b"0000012",
        "size": b"00001234567",
        "mtime": b"14000000000",
        "type": b"1",
        "link": b"target",
        "magic": b"ustar\x0000",
        "owners": b"",
        "devmajor": b"0000010",
        "devminor": b"0000021",
        "prefix": b"",
        "rest": b"",
    }


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("mode", 0, b"0000000\0"),
        ("mode", 0o7777, b"0007777\0"),
        ("uid", 2097151, b"7777777\0"),
        ("gid", 2097151, b"7777777\0"),
        ("size", 8589934591, b"77777777777\0"),
        ("mtime", 0, b"00000000000\0"),
        ("mtime", 8589934591, b"77777777777\0"),
        ("devmajor", 4095, b"0007777\0"),
        ("devminor", 1048575, b"3777777\0"),
    ],
)
def test_header_holds_the_largest_octal_number(name: str, value: int, text: bytes) -> None:
    assert field(ustar_block(b"f", **{name: value}), name) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uid", 2097152),
        ("uid", 2**32 - 1),
        ("gid", 2097152),
        ("size", 8589934592),
        ("mtime", 8589934592),
        ("mtime", -1),
        ("mtime", -(2**63)),
    ],
)
def test_header_holds_zero_for_a_number_that_does_not_fit(name: str, value: int) -> None:
    found = blocks(encode(b"f", **{name: value}))
    assert len(found) == 3
    assert field(found[2], name) == b"0" * (FIELDS[name][1] - 1) + b"\0"


@pytest.mark.parametrize("size", [0, 1, 2097151, 8589934591])
def test_header_keeps_numbers_that_fit_beside_one_that_does_not(size: int) -> None:
    block = main_block(b"f", uid=2097152, gid=5, size=size, mtime=7)
    assert field(block, "gid") == b"0000005\0"
    assert field(block, "size") == b"%011o\0" % size
    assert field(block, "mtime") == b"00000000007\0"


@pytest.mark.parametrize("kind", b"0123456")
def test_header_writes_each_typeflag(kind: int) -> None:
    assert field(ustar_block(b"f", type=kind), "type") == bytes([kind])
    assert field(main_block(b"f", type=kind, xattrs=XATTR), "type") == bytes([kind])


def test_header_checksum_counts_unsigned_bytes_with_spaces_in_its_place() -> None:
    # A main block never holds bytes over 127, so only the sum itself can be wrong.
    block = ustar_block(b"z" * 100, link=b"z" * 100, mode=0o7777, uid=2097151, gid=2097151)
    assert field(block, "checksum") == b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    assert sum(block[:148]) > 0o17777


def test_header_pads_nothing_with_leftovers() -> None:
    # encode() fills its buffer with 0xaa first.
    assert b"\xaa" not in encode(b"f")
    assert b"\xaa" not in encode(b"d/f", xattrs=XATTR, link=b"l" * 101, type=ord("2"))


# ---- which format -----------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": b"n" * 100},
        {"name": b"f", "link": b"l" * 100, "type": ord("2")},
        {"name": b"p" * 155 + b"/" + b"n" * 100},
        {"name": bytes(range(1, 47)) + bytes(range(48, 101))},
        {"name": b"n" * 92 + b"\x7f" * 8},
    ],
)
def test_header_is_ustar_where_that_suffices(arguments: dict) -> None:
    assert len(encode(**arguments)) == BLOCK


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": b"f", "xattrs": [(b"user.empty", b"")]},
        {"name": b"f", "link": b"l" * 101, "type": ord("2")},
        {"name": b"f", "link": b"l\x80", "type": ord("2")},
        {"name": b"n" * 101},
        *({"name": b"n" * at + b"\x80" + b"n" * (17 - at)} for at in range(18)),
    ],
)
def test_header_is_pax_where_ustar_cannot_say_it(arguments: dict) -> None:
    assert len(encode(**arguments)) == 3 * BLOCK


# ---- ustar split ------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        (b"", b"d/" + b"f" * 98),  # 100 bytes: never split
        (b"", b"d/" + b"f" * 97 + b"/"),
        (b"d", b"f" * 99),
        (b"d", b"f" * 100),
        (b"d", b"f" * 99 + b"/"),  # the slash of a directory counts
        (b"p" * 155, b"f"),
        (b"p" * 155, b"f" * 100),
        (b"p" * 154, b"a/"),  # 157 bytes: the window ends before the trailing slash by itself
        (b"p" * 153, b"a/"),  # 156 bytes: the window must leave it out
        (b"a/" * 58 + b"a", b"a/"),  # as far right as allowed, but not at the trailing slash
        (b"a/" * 50 + b"a", b"aa"),
        (b"a" * 50 + b"/" + b"b" * 104, b"c" * 10),  # a prefix of 155 bytes
        (b"a" * 80, b"b" * 75 + b"/" + b"c" * 5),  # the further slash is out of the window
        (b"p" * 54 + b"/" + b"p" * 100, b"f" * 99 + b"/"),
    ],
)
def test_header_splits_a_long_name_as_far_right_as_allowed(prefix: bytes, name: bytes) -> None:
    block = ustar_block(prefix + b"/" + name if prefix else name, link=b"l" * 100)
    assert field(block, "prefix") == prefix.ljust(155, b"\0")
    assert field(block, "name") == name.ljust(100, b"\0")
    assert field(block, "link") == b"l" * 100


@pytest.mark.parametrize(
    "name",
    [
        b"f" * 101,
        b"f" * 100 + b"/",
        b"d/" + b"f" * 101,
        b"d/" + b"f" * 100 + b"/",
        b"p" * 155 + b"/",
        b"p" * 156 + b"/",
        b"p" * 156 + b"/f",
        b"/" + b"f" * 100,
        b"a" * 50 + b"/" + b"b" * 105 + b"/" + b"c" * 10,
        b"p" * 155 + b"/" + b"f" * 101,
    ],
)
def test_header_leaves_whole_what_cannot_be_split(name: bytes) -> None:
    block = main_block(name)
    assert len(encode(name)) > BLOCK
    assert field(block, "prefix") == bytes(155)


def test_header_does_not_split_a_name_in_pax() -> None:
    name = b"d" * 60 + b"/" + b"f" * 60
    assert field(ustar_block(name), "prefix").rstrip(b"\0") == b"d" * 60
    block = main_block(name, xattrs=XATTR)
    assert field(block, "prefix") == bytes(155)
    assert field(block, "name") == b"d" * 60 + b"/" + b"f" * 39


# ---- names that do not fit ----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"n" * 101, b"n" * 100),
        (b"n" * 99 + b"/" + b"x" * 150, b"n" * 99),  # cut right behind a slash
        (b"n" * 98 + b"/" + b"x" * 150, b"n" * 98 + b"/x"),
        (b"n" * 95 + b"/" * 5 + b"x" * 150, b"n" * 95 + b"\0////"),  # what is behind the NUL stays
        (b"n" * 94 + b"/n" + b"/" * 4 + b"x" * 150, b"n" * 94 + b"/n\0///"),
        (b"/" * 120 + b"x" * 150, b"\0" + b"/" * 99),
        (b"\xc3\xa9" + b"n" * 99 + b"/", b"n" * 99 + b"/"),  # 100 bytes are left: nothing is cut
        (b"\xc3\xa9" + b"n" * 99 + b"/x", b"n" * 99),
        (b"n\xc3\xa9" * 60 + b"end", b"n" * 60 + b"end"),
        (b"\xff", b""),
        (b"\xff/", b"/"),
    ],
)
def test_header_cuts_names_and_targets_that_pax_carries(text: bytes, kept: bytes) -> None:
    assert field(main_block(text), "name") == kept.ljust(100, b"\0")
    assert field(main_block(b"f", type=ord("2"), link=text), "link") == kept.ljust(100, b"\0")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (b"f", b"PaxHeaders.0/f"),
        (b"d/f", b"d/PaxHeaders.0/f"),
        (b"a/b/f", b"a/b/PaxHeaders.0/f"),
        (b"d/", b"d/PaxHeaders.0"),
        (b"a/b/", b"a/b/PaxHeaders.0"),
        (b"\xc3\xa9", b"PaxHeaders.0"),
        (b"\xc3\xa9/", b"/PaxHeaders.0"),
        (b"\xc3\xa9/f", b"/PaxHeaders.0/f"),
        (b"d/\xc3\xa9", b"d/PaxHeaders.0"),
        (b"d/\xc3\xa9/", b"d//PaxHeaders.0"),
        (b"d/\xc3\xa9/f", b"d//PaxHeaders.0/f"),
        (b"f" * 87, b"PaxHeaders.0/" + b"f" * 87),
        (b"f" * 200, b"PaxHeaders.0/" + b"f" * 87),
        (b"d" * 85 + b"/ff", b"d" * 85 + b"/PaxHeaders.0/f"),
        (b"d" * 86 + b"/f", b"d" * 86 + b"/PaxHeaders.0"),  # 100 bytes would end with a slash
        (b"d" * 87 + b"/", b"d" * 87 + b"/PaxHeaders.0"),
        (b"d" * 88 + b"/", b"d" * 88 + b"/PaxHeaders."),
        (b"d" * 98 + b"/f", b"d" * 98 + b"/P"),
        (b"d" * 99 + b"/f", b"d" * 99),
        (b"d" * 95 + b"/" * 5 + b"f", b"d" * 95),
        (b"d" * 100 + b"/f", b"d" * 100),
        (b"d" * 300 + b"/f", b"d" * 100),
        (b"\xff" * 90 + b"d" * 85 + b"/" + b"\xff" * 90 + b"ff", b"d" * 85 + b"/PaxHeaders.0/f"),
    ],
)
def test_header_names_the_extended_block_after_its_entry(name: bytes, kept: bytes) -> None:
    assert field(x_block(name, xattrs=XATTR), "name") == kept.ljust(100, b"\0")


def test_header_extended_block_says_nothing_of_the_entry_but_its_name() -> None:
    block = x_block(
        b"f", type=ord("3"), mode=0o755, uid=5, gid=6, mtime=9, devmajor=1, devminor=2, xattrs=XATTR
    )
    # "25 SCHILY.xattr.user.a=1\n" is 25 = 0o31 bytes
    expected = (
        b"PaxHeaders.0/f".ljust(100, b"\0")
        + b"0000000\0" * 3
        + b"00000000031\0"
        + b"00000000000\0"
        + b" " * 8
    )
    expected += b"x" + bytes(100) + b"ustar\x0000" + bytes(247)
    assert block[148:156] == b"%06o\0 " % sum(expected)
    assert block[:148] + b" " * 8 + block[156:] == expected


# ---- against others -----------------------------------------------------------


def cut(text: bytes, size: int) -> bytes:
    """A string field (tar-bytes 5.2)."""
    if len(text) > size and text[size - 1 : size] == b"/":
        kept = text[: size - 1].rstrip(b"/")
        text = kept + b"\0" + text[len(kept) + 1 :]
    return text[:size].ljust(size, b"\0")


def one_block(name: bytes, numbers: list[int], kind: bytes, link: bytes, tail: bytes) -> bytes:
    widths = (7, 7, 7, 11, 11)
    octal = b"".join(b"%0*o\0" % (width, number) for width, number in zip(widths, numbers, strict=True))
    before, after = name + octal, kind + link + b"ustar\x0000" + bytes(64) + tail
    return before + b"%06o\0 " % (sum(before) + 256 + sum(after)) + after


def record(key: bytes, value: bytes) -> bytes:
    text = b" " + key + b"=" + value + b"\n"
    return next(b"%d" % n + text for n in range(len(text), len(text) + 9) if len(b"%d" % n + text) == n)


def model(
    name: bytes,
    *,
    link: bytes,
    type: int,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    devmajor: int,
    devminor: int,
    xattrs: list[tuple[bytes, bytes]],
) -> bytes:
    """A second encoder, written from the text of tar-bytes 5 and not from the core."""
    records = {b"SCHILY.xattr." + key: value for key, value in xattrs}
    for key, value, most in (
        (b"uid", uid, 0o7777777),
        (b"gid", gid, 0o7777777),
        (b"size", size, 0o77777777777),
        (b"mtime", mtime, 0o77777777777),
    ):
        if not 0 <= value <= most:
            records[key] = b"%d" % value
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
    prefix, short = b"", name
    if len(name) > 100 and name.isascii():
        window = 156 if len(name) > 156 else len(name) - name.endswith(b"/")
        at = name.rfind(b"/", 0, window)
        if at > 0 and 1 <= len(name) - at - 1 <= 100:
            prefix, short = name[:at], name[at + 1 :]
    unsplit = len(name) > 100 and not prefix
    extended = b""
    if records or unsplit or not name.isascii():
        if len(name) > 100 or not name.isascii():
            records[b"path"] = name
        data = b"".join(record(key, records[key]) for key in sorted(records))
        folder, _, file = name.rpartition(b"/")
        folder = folder + b"/" if b"/" in name else b""
        title = folder + b"PaxHeaders.0" + (b"/" + file if file else b"")
        title = bytes(b for b in title if b < 128)[:100].rstrip(b"/")
        extended = one_block(cut(title, 100), [0, 0, 0, len(data), 0], b"x", bytes(100), bytes(183))
        extended += data + bytes(-len(data) % 512)
        prefix = b""
        short, link = (bytes(b for b in text if b < 128) for text in (name, link))
    numbers = [
        mode,
        *(0 if key in records else n for key, n in ((b"uid", uid), (b"gid", gid))),
        *(0 if key in records else n for key, n in ((b"size", size), (b"mtime", mtime))),
    ]
    tail = b"%07o\0%07o\0" % (devmajor, devminor) + cut(prefix, 155) + bytes(12)
    return extended + one_block(cut(short, 100), numbers, bytes([type]), cut(link, 100), tail)


def around(*edges: int, low: int, high: int) -> st.SearchStrategy[int]:
    near = st.sampled_from([n for e in edges for n in (e - 1, e, e + 1) if low <= n <= high])
    return near | st.integers(low, high)


NO_NUL_NO_EQUALS = bytes.maketrans(b"\0=", b"ne")

# Lengths cluster where names are cut and split.
LETTER = st.sampled_from([b"a", b"b", b"\x7f", b"\xc3\xa9", b"\xff", b" ", b"\n"])
PIECE = st.builds(
    lambda letter, times, end: (letter * times + end)[:255].strip(b"/") or b"z",
    LETTER,
    around(1, 50, 85, 100, 155, low=1, high=255),
    st.binary(max_size=3).map(lambda b: b.replace(b"\0", b"n").replace(b"/", b"s")),
)
NAME = st.lists(PIECE, min_size=1, max_size=4).map(b"/".join).filter(lambda n: not n.startswith(b"/"))
ENTRY = st.fixed_dictionaries(
    {
        "mode": st.integers(0, 0o7777),
        "uid": around(0, 2097151, low=0, high=2**32 - 1),
        "gid": around(0, 2097151, low=0, high=2**32 - 1),
        "mtime": around(0, 8589934591, low=-9223372037, high=9223372037),
        "xattrs": st.dictionaries(
            st.binary(min_size=1, max_size=9).map(
                lambda b: b"user." + b.replace(b"=", b"e").replace(b"\0", b"n")
            ),
            st.binary(max_size=1200),
            max_size=3,
        ).map(lambda d: sorted(d.items())),
    }
)
KIND = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just(ord("0")), "size": around(0, 8589934591, low=0, high=2**50), "link": st.just(b"")}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(b"12"), "link": NAME}),
    st.fixed_dictionaries({"type": st.sampled_from(b"34"), "devmajor": st.integers(0, 4095)}),
    st.fixed_dictionaries({"type": st.sampled_from(b"56"), "devminor": st.integers(0, 1048575)}),
)
DEFAULTS = {"link": b"", "size": 0, "devmajor": 0, "devminor": 0}


@given(NAME, ENTRY, KIND)
def test_header_equals_a_second_encoder(name: bytes, entry: dict, kind: dict) -> None:
    everything = DEFAULTS | entry | kind
    name += b"/" if kind["type"] == ord("5") else b""
    assert encode(name, **everything) == model(name, **everything)


@given(NAME, ENTRY, KIND)
def test_header_is_read_back_by_tarfile(name: bytes, entry: dict, kind: dict) -> None:
    everything = DEFAULTS | entry | kind
    encoded = encode(name + (b"/" if kind["type"] == ord("5") else b""), **everything)
    with tarfile.open(fileobj=io.BytesIO(encoded + bytes(1024)), errors="surrogateescape") as tar:
        member = tar.next()
    assert member is not None
    assert member.offset_data == len(encoded)
    assert os.fsencode(member.name) == name
    assert os.fsencode(member.linkname) == everything["link"]
    assert member.type == bytes([everything["type"]])
    for what in ("mode", "uid", "gid", "size", "mtime", "devmajor", "devminor"):
        assert getattr(member, what) == everything[what], what
    found = {
        key.removeprefix("SCHILY.xattr."): value
        for key, value in member.pax_headers.items()
        if key.startswith("SCHILY.xattr.")
    }
    assert {os.fsencode(k): os.fsencode(v) for k, v in found.items()} == dict(everything["xattrs"])
