"""The scanner of tar streams: what it makes of headers, whoever wrote them, in any slices, also damaged."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tarcast
from tarcast._core.scan import Member, ScanError, Scanner
from tarcast.index.sparse import SparseError, sparse_digest
from tests.golden.test_golden import HERE
from tests.support.foreign import FORMATS, by_tarfile, tar_infos

EXAMPLES = int(os.environ.get("TARCAST_EXAMPLES", "60"))
BLOCK = 512
ARCHIVES = sorted(HERE.glob("*/*.tar"))


def hashing() -> Scanner:
    return Scanner(digest=hashlib.sha256, sparse_digest=sparse_digest(hashlib.sha256))


def scanned(archive: bytes, scanner: Scanner | None = None, step: int = 1 << 18) -> list[Member]:
    scanner = scanner or Scanner()
    found = []
    view = memoryview(archive)
    for at in range(0, len(view), step):
        found += scanner.feed(view[at : at + step])
    scanner.close()
    assert scanner.position == len(archive)
    return found


def said(member: Member) -> tuple[object, ...]:
    names = ("raw_name", "raw_linkname", "type", "size", "mode", "uid", "gid", "mtime_ns", "header_offset")
    more = ("data_offset", "stored", "xattrs", "digest", "devmajor", "devminor", "sparse", "map")
    return tuple(getattr(member, name) for name in (*names, *more))


def block(name: bytes = b"a", type: bytes = b"0", size: int = 0, **fields: bytes) -> bytes:
    """A header; `fields` says what stands where: at_124=b"..."."""
    header = bytearray(BLOCK)
    header[: len(name)] = name
    for at, value in {100: b"0000644\0", 108: b"0000001\0", 116: b"0000002\0", 136: b"00000000003\0"}.items():
        header[at : at + len(value)] = value
    header[124:136] = b"%011o\0" % size
    header[156:157] = type
    header[257:265] = b"ustar\00000"
    for at, value in fields.items():
        header[int(at[3:]) : int(at[3:]) + len(value)] = value
    if "at_148" not in fields:
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def extended(*records: bytes, type: bytes = b"x") -> bytes:
    data = b"".join(records)
    return block(b"pax", type, len(data)) + padded(data)


END = bytes(2 * BLOCK)


def one(archive: bytes) -> Member:
    (member,) = scanned(archive + END)
    return member


class TestOthers:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(tar_infos(), st.sampled_from(list(FORMATS)), st.integers(0, 1 << 30))
    def test_what_tarfile_writes_is_what_it_reads(self, entries, format, seed):
        rng = random.Random(seed)
        archive, _ = by_tarfile(entries, format)
        scanner = hashing()
        found, at = [], 0
        while at < len(archive):
            step = rng.choice([1, 511, 512, 513, 5000, 100_000])
            found += scanner.feed(memoryview(archive)[at : at + step])
            at += step
        scanner.close()
        with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as tar:
            for member, info in zip(found, tar, strict=True):
                assert member.name == info.name.rstrip("/")
                assert member.linkname == info.linkname or (not info.islnk() and not info.issym())
                assert (member.mode, member.uid, member.gid) == (info.mode, info.uid, info.gid)
                assert member.mtime_ns == int(info.mtime * 4) * 250_000_000  # all are quarters
                assert member.size == (info.size if info.isreg() else 0)
                assert (member.header_offset, member.data_offset) == (info.offset, info.offset_data)
                if info.isdev() and not info.isfifo():
                    assert (member.devmajor, member.devminor) == (info.devmajor, info.devminor)
                file = tar.extractfile(info) if info.isreg() else None
                want = None if file is None else hashlib.sha256(file.read()).digest()
                assert member.digest == want

    @pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
    def test_the_originals_archives(self, archive):
        data = archive.read_bytes()
        whole = [said(m) for m in scanned(data, hashing())]
        with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as tar:
            names = [m.name for m in tar.getmembers()]
        assert [m[0].decode(errors="surrogateescape") for m in whole] == names
        for step in (1, 100, 511, 513, 70_001):
            if step > 1 or len(data) < 100_000:
                assert [said(m) for m in scanned(data, hashing(), step)] == whole

    def test_aligned_and_sparse_ones_of_our_own(self, tmp_path):
        top = tmp_path / "t"
        top.mkdir()
        with open(top / "hole", "wb") as file:
            file.write(b"begin")
            file.seek(1 << 21)
            file.write(b"middle")
            file.truncate(3 << 20)
        (top / "large").write_bytes(os.urandom(200_000))
        os.setxattr(top / "large", "user.x", b"a=b\n\0")
        archive = io.BytesIO()
        tarcast.write_tar(top, archive, sparse=True, align=True)
        hole, large = scanned(archive.getvalue(), hashing())
        assert (hole.name, hole.size, hole.sparse) == ("hole", 3 << 20, "pax 1")
        assert hole.stored < 100_000
        assert hole.digest == hashlib.sha256((top / "hole").read_bytes()).digest()
        assert large.data_offset % 4096 == 0
        assert large.digest == hashlib.sha256((top / "large").read_bytes()).digest()
        assert large.xattrs == ((b"user.x", b"a=b\n\0"),)


class TestHeaders:
    @pytest.mark.parametrize(
        ("field", "number"),
        [
            (b"0000017\0", 15),
            (b"     17 ", 15),
            (b"17\0\0\0\0\0\0", 15),
            (b"77777777", 0o77777777),
            (b"\0" * 8, 0),
            (b"\x80\0\0\0\xff\xff\xff\xff", 2**32 - 1),
            (b"\xff" * 8, -1),
            (b"\xff\xff\xff\xff\xff\xff\xff\0", -256),
        ],
    )
    def test_numbers(self, field, number):
        assert one(block(at_108=field)).uid == number

    @pytest.mark.parametrize("field", [b"\x80" + b"\xff" * 11, b"12a\0", b"-1\0", b"8\0"])
    def test_what_is_no_number(self, field):
        with pytest.raises(ScanError, match="time is no number"):
            one(block(at_136=field))

    def test_times_have_64_bits(self):
        assert one(block(at_136=b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7)).mtime == 2**63 - 1
        assert one(block(at_136=b"\xff" * 4 + b"\x80" + bytes(7))).mtime == -(2**63)

    def test_v7(self):
        member = one(block(b"n" * 100, b"\0", at_257=bytes(8), at_345=b"junk", at_329=b"junk"))
        assert (member.raw_name, member.type, member.is_gnu) == (b"n" * 100, "file", True)
        assert one(block(b"d/", b"\0", at_257=bytes(8))).type == "directory"

    def test_a_gnu_header_has_no_prefix(self):
        member = one(block(b"a", at_257=b"ustar  \0", at_345=b"12345"))
        assert (member.raw_name, member.is_gnu) == (b"a", True)
        assert one(block(b"a", at_345=b"b/c")).raw_name == b"b/c/a"

    def test_a_prefix_of_star_is_short(self):
        assert one(block(b"a", at_345=b"p" * 131 + b"t" * 20, at_508=b"tar\0")).raw_name == b"p" * 131 + b"/a"

    def test_a_sum_of_signed_bytes(self):
        header = bytearray(block(b"\xe9"))
        header[148:156] = b"%06o\0 " % (int(header[148:154], 8) - 256)
        assert one(bytes(header)).raw_name == b"\xe9"
        header[148:156] = b"0000000\0"
        with pytest.raises(ScanError, match="checksum"):
            one(bytes(header))

    @pytest.mark.parametrize("flag", [b"1", b"2", b"3", b"4", b"5", b"6"])
    def test_what_has_no_data_has_none_whatever_it_says(self, flag):
        first, second = scanned(block(b"a", flag, 600) + block(b"b") + END)
        assert (first.size, first.stored, second.raw_name) == (0, 0, b"b")

    def test_unknown_types_are_passed_by(self):
        first, second = scanned(block(b"a", b"V", 600) + bytes(1024) + block(b"b") + END)
        assert (first.type, first.size, second.raw_name) == ("unknown", 600, b"b")

    def test_what_follows_the_end_is_passed_over(self):
        assert [m.raw_name for m in scanned(block() + END + b"x" * 5000)] == [b"a"]


class TestExtended:
    @pytest.mark.parametrize(
        ("text", "time"),
        [
            (b"1", 1_000_000_000),
            (b"1.5", 1_500_000_000),
            (b"1.0000000019", 1_000_000_001),
            (b"-1", -1_000_000_000),
            (b"-1.5", -1_500_000_000),
            (b"-0.25", -250_000_000),
            (b"-1.0000000001", -1_000_000_001),
            (repr(1e-05).encode(), 10_000),  # as tarfile writes it
            (b"-1.5e-07", -150),
            (b"1e-300", 0),
            (b"1e+16", 10**25),
        ],
    )
    def test_times(self, text, time):
        assert one(extended(record(b"mtime", text)) + block()).mtime_ns == time

    def test_records_of_a_global_header_hold_until_taken_back(self):
        globally = extended(record(b"uid", b"7"), record(b"path", b"nonsense"), type=b"g")
        found = scanned(
            globally + block(b"a") + extended(record(b"uid", b"")) + block(b"b") + block(b"c") + END
        )
        assert [(m.raw_name, m.uid) for m in found] == [(b"a", 7), (b"b", 1), (b"c", 7)]
        assert [m.header_offset for m in found] == [1024, 1536, 3072]

    def test_gnu_long_names(self):
        long, link = b"l" * 300, b"k" * 200
        archive = block(b"././@LongLink", b"K", 201) + padded(link + b"\0")
        archive += block(b"././@LongLink", b"L", 301) + padded(long + b"\0") + block(b"l" * 100, b"2")
        member = one(archive)
        assert (member.raw_name, member.raw_linkname, member.header_offset) == (long, link, 0)

    def test_old_gnu_sparse_maps(self):
        pieces = [(1000 * i, 10) for i in range(30)]
        entries = [b"%011o\0%011o\0" % piece for piece in pieces]
        head = block(
            b"s", b"S", 300, at_257=b"ustar  \0", at_386=b"".join(entries[:4]), at_482=b"\1",
            at_483=b"%011o\0" % 40_000,
        )  # fmt: skip
        more = padded(b"".join(entries[4:25]) + b"\1") + padded(b"".join(entries[25:]))
        data = bytes(range(1, 31)) * 10
        (member,) = scanned(head + more + padded(data) + END, hashing())
        assert (member.size, member.stored, member.map, member.data_offset) == (40_000, 300, pieces, 1536)
        content = bytearray(40_000)
        for i, (offset, size) in enumerate(pieces):
            content[offset : offset + size] = data[10 * i : 10 * i + 10]
        assert member.digest == hashlib.sha256(content).digest()

    @pytest.mark.parametrize(
        ("records", "what"),
        [
            ([b"5 a=b"], "longer than its header|does not end"),
            ([b"9999999999999999999999 a=b\n"], "longer than its header"),
            ([b"x"], "does not begin with its length"),
            ([b"6 a=b\nx"], "does not begin"),
            ([b"4 a\n"], "has no key"),
            ([b"5 =b\n"], "has no key"),
            ([record(b"size", b"-1")], "'size' cannot be '-1'"),
            ([record(b"size", b"9223372036854775808")], "'size' cannot be"),
            ([record(b"size", b"9223372036854775807")], "beyond the end"),
            ([record(b"uid", b"1x")], "'uid' cannot be"),
            ([record(b"mtime", b"1.x")], "'mtime' cannot be"),
            ([record(b"mtime", b"1e19")], "'mtime' cannot be '1e19'"),
            ([record(b"mtime", b"1e999")], "'mtime' cannot be"),
            ([record(b"mtime", b"1e")], "'mtime' cannot be"),
            ([record(b"mtime", b"0" * 30 + b"1e5")], "'mtime' cannot be"),
            ([record(b"GNU.sparse.map", b"1,2,3")], "cannot be '1,2,3'"),
            ([record(b"GNU.sparse.map", b"1,x")], "cannot be"),
            ([record(b"GNU.sparse.numbytes", b"1")], "cannot be"),
            ([record(b"GNU.sparse.major", b"1")], "without its size"),
            ([record(b"GNU.sparse.offset", b"1"), record(b"GNU.sparse.numblocks", b"1"),
              record(b"GNU.sparse.size", b"9")], "half a map"),
        ],
    )  # fmt: skip
    def test_records_that_make_no_sense(self, records, what):
        with pytest.raises(ScanError, match=what):
            one(extended(*records) + block())

    def test_there_is_a_limit(self):
        with pytest.raises(ScanError, match="5000000 bytes, and 4194304 is the limit") as caught:
            scanned(block(b"a") + block(b"pax", b"x", 5_000_000))
        assert caught.value.offset == 512

    @pytest.mark.parametrize("type", [b"x", b"g"])
    def test_it_is_for_all_headers_of_a_member_together(self, type):
        attribute = extended(record(b"SCHILY.xattr.user.a", bytes(1 << 20)), type=type)
        scanner = Scanner()
        for _ in range(3):
            assert scanner.feed(attribute) == []
        with pytest.raises(ScanError, match="and 4194304 is the limit"):
            scanner.feed(attribute)

    def test_long_names_and_sparse_maps_count(self):
        name = block(b"././@LongLink", b"L", 1 << 20) + bytes(1 << 20)
        pieces = record(b"GNU.sparse.offset", b"1") + record(b"GNU.sparse.numbytes", b"0")
        sparse = extended(pieces * ((3 << 20) // len(pieces)))
        scanner = Scanner()
        scanner.feed(name)
        scanner.feed(sparse)
        with pytest.raises(ScanError, match="and 4194304 is the limit"):
            scanner.feed(sparse)

    def test_every_member_may_have_so_much(self):
        some = extended(record(b"SCHILY.xattr.user.a", bytes(3 << 20)))
        assert len(scanned((some + block()) * 3 + END)) == 3
        comment = extended(record(b"comment", bytes(3 << 20)), type=b"g")  # of which nothing is kept
        assert len(scanned(comment * 3 + block() + END)) == 1


class TestEnds:
    @pytest.mark.parametrize(
        ("archive", "what"),
        [
            (b"", "is empty"),
            (block(), "mark of its end is missing"),
            (block()[:300], "middle of a header"),
            (block(size=600) + bytes(100), "924 bytes of a member are missing"),
            (block(size=600) + bytes(600), "424 bytes of a member are missing"),
            (block(b"p", b"x", 600) + b"9" * 300, "middle of a header"),
            (extended(record(b"uid", b"1")), "middle of a header"),
            (extended(record(b"uid", b"1")) + END, "ends behind an extended header"),
            (b"\x1f\x8b" + bytes(600), "checksum is wrong"),
            (block(size=0o77777777777, at_124=b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7), "beyond the end"),
        ],
    )
    @pytest.mark.parametrize("make", [Scanner, hashing])
    def test_cut_or_none(self, archive: bytes, what: str, make: Callable[[], Scanner]):
        with pytest.raises(ScanError, match=what):
            scanned(archive, make())

    def test_what_comes_before_the_damage_is_given_first(self):
        scanner = Scanner()
        assert [m.raw_name for m in scanner.feed(block(b"good") + b"x" * 512)] == [b"good"]
        assert scanner.failed
        for _ in range(2):
            with pytest.raises(ScanError, match="at byte 512"):
                scanner.feed(END)
        with pytest.raises(ScanError):
            scanner.close()

    def test_bodies_need_not_be_fed(self):
        scanner = Scanner()
        assert scanner.ahead == 0
        scanner.feed(block(size=1 << 32))
        assert scanner.ahead == 1 << 32
        with pytest.raises(ValueError, match="passed by"):
            scanner.pass_by((1 << 32) + 1)
        scanner.pass_by(5)
        scanner.pass_by(scanner.ahead)
        assert scanner.position == (1 << 32) + 512
        assert [m.header_offset for m in scanner.feed(block(b"b") + END)] == [(1 << 32) + 512]
        assert scanner.ended

    def test_a_hash_that_raises(self):
        class Bad:
            def update(self, data):
                raise ZeroDivisionError

            def digest(self):
                raise AssertionError

        with pytest.raises(ZeroDivisionError):
            Scanner(digest=Bad).feed(block(size=5) + padded(b"12345"))


class Nothing:
    """A hash that costs nothing: a damaged size of a sparse member may be anything."""

    def update(self, data: object) -> None:
        pass

    def digest(self) -> bytes:
        return b""


@settings(max_examples=4 * EXAMPLES, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 12))
def test_damage_ends_in_words(seed: int, damages: int):
    """Bytes of good archives, changed at random, checksums made right again, never do more than raise."""
    seeds = random.Random(seed)
    data = bytearray(seeds.choice(SAMPLES))
    for _ in range(damages):
        at = seeds.randrange(len(data))
        if seeds.random() < 0.3:
            data[at : at + seeds.choice([1, 8, 512])] = seeds.randbytes(seeds.choice([1, 8, 512]))
        else:
            data[at] = seeds.choice(
                [0, 0x20, 0x2D, 0x2E, 0x30, 0x37, 0x39, 0x3D, 0x0A, 0x80, 0xFF, seeds.randrange(256)]
            )
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        header = data[start : start + BLOCK]
        if header[257:262] == b"ustar" and seeds.random() < 0.9:
            header[148:156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    for scanner in (Scanner(), Scanner(digest=Nothing, sparse_digest=sparse_digest(Nothing))):
        at = 0
        try:
            while at < len(data):
                step = seeds.choice([7, 512, 4096, 1 << 20])
                for member in scanner.feed(memoryview(data)[at : at + step]):
                    assert 0 <= member.header_offset < member.data_offset <= len(data)
                    assert member.size >= 0
                at += step
            scanner.close()
        except (ScanError, SparseError):
            pass


def _samples() -> list[bytes]:
    samples = [path.read_bytes() for path in ARCHIVES if path.stat().st_size < 60_000]
    sparse = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
    sparse += record(b"GNU.sparse.name", b"s") + record(b"GNU.sparse.realsize", b"9000")
    body = padded(b"2\n0\n10\n5000\n10\n") + b"0123456789" * 2
    samples.append(extended(sparse) + block(b"s", size=len(body)) + padded(body) + END)
    sparse = record(b"GNU.sparse.size", b"9000") + record(b"GNU.sparse.numblocks", b"2")
    pieces = [(b"offset", b"0"), (b"numbytes", b"10"), (b"offset", b"5000"), (b"numbytes", b"10")]
    sparse += b"".join(record(b"GNU.sparse." + k, v) for k, v in pieces)
    samples.append(extended(sparse) + block(b"s", size=20) + padded(b"0123456789" * 2) + END)
    entries = b"%011o\0%011o\0" % (0, 10) + b"%011o\0%011o\0" % (5000, 10)
    fields = {"at_257": b"ustar  \0", "at_386": entries, "at_483": b"%011o\0" % 9000}
    samples.append(block(b"s", b"S", 20, **fields) + padded(b"0123456789" * 2) + END)
    samples.append(block(b"././@LongLink", b"L", 301) + padded(b"l" * 300 + b"\0") + block() + END)
    return samples


SAMPLES = _samples()


@pytest.mark.parametrize("flag", [b"\x80", b"\xff"])
def test_a_type_that_nobody_knows_is_unknown(flag: bytes) -> None:
    (member,) = scanned(block(type=flag) + bytes(1024))
    assert member.type == "unknown"


def test_attributes_for_all_are_shared_and_have_a_limit() -> None:
    def global_header(count: int) -> bytes:
        records = b"20 SCHILY.xattr.aa=\n" * count
        return block(type=b"g", size=len(records)) + records + bytes(-len(records) % BLOCK)

    files = b"".join(block(name=b"f%d" % i) for i in range(3)) + bytes(1024)
    found = scanned(global_header(4096) + files)
    assert len({id(member.xattrs) for member in found}) == 1
    assert found[0].xattrs == ((b"aa", b""),) * 4096
    for archive in (global_header(4097) + files, global_header(4000) + global_header(97) + files):
        with pytest.raises(ScanError, match="more than 4096 extended attributes"):
            scanned(archive)
