"""tarcast.open: what can be added, what goes wrong and what is left then."""

from __future__ import annotations

import contextlib
import errno
import gc
import gzip
import hashlib
import io
import lzma
import os
import pickle
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tarcast
from tarcast import (
    ChangedError,
    EncodingError,
    ExistsError,
    InputError,
    MissingError,
    OptionError,
    OutputError,
)
from tests.support.faults import TRAILER, nothing_left_behind
from tests.support.members import members, opened


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where archives go: no descriptor and no temporary file stays."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    gc.collect()
    assert not [name for name in os.listdir(place) if name.startswith(".")]


def info(name: str, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def entry(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return info(name, len(data), **fields), io.BytesIO(data)


class Trickle(io.RawIOBase):
    """Gives its data a few bytes at a time."""

    def __init__(self, data: bytes, step: int = 3) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._step))


# ---- entries ----------------------------------------------------------------


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=2000), st.integers(0, 0o7777), st.integers(0, 2**34))),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_addfile_writes_the_archive_that_tarfile_writes(
    entries: list[tuple[str, bytes, int, int]], format: Any
) -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    with (
        tarcast.open(ours, "w", format=format) as one,
        tarfile.open(fileobj=theirs, mode="w", format=format) as other,
    ):
        for name, data, mode, mtime in entries:
            for tar in (one, other):
                tar.addfile(*entry(name, data, mode=mode, mtime=mtime))
    assert ours.getvalue() == theirs.getvalue()


@given(st.lists(st.tuples(NAMES.filter(lambda name: name.strip("/")), st.binary(max_size=2000))))
def test_add_bytes_is_addfile_with_a_plain_tarinfo(entries: list[tuple[str, bytes]]) -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    with tarcast.open(ours) as one, tarfile.open(fileobj=theirs, mode="w") as other:
        for name, data in entries:
            one.add_bytes(name, data)
            other.addfile(*entry(name, data))
    assert ours.getvalue() == theirs.getvalue()


def test_add_bytes_takes_mode_time_and_any_buffer() -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        tar.add_bytes("a", bytearray(b"abc"), mode=0o755, mtime=5)
        tar.add_bytes("b", memoryview(b"abcdef")[::2], mtime=1.5)
        tar.add_bytes("c", b"x" * 300_001)
    found = members(out.getvalue())
    assert [(m.name, m.size, m.mode, m.mtime, m.uid) for m in found] == [
        ("a", 3, 0o755, 5, 0),
        ("b", 3, 0o644, 1.5, 0),
        ("c", 300_001, 0o644, 0, 0),
    ]
    with opened(out.getvalue()) as tar:
        assert tar.extractfile("b").read() == b"ace"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": "text"}, "x: add: data must be bytes, not str; encode it"),
        ({"data": 5}, "x: add: data must be bytes, not int"),
        ({"data": None}, "x: add: data must be bytes, not NoneType"),
        ({"data": [1, 2]}, "x: add: data must be bytes, not list"),
        ({"mode": "644"}, "x: add: mode and mtime must be numbers, not '644' and 0"),
        ({"mtime": "now"}, "x: add: mode and mtime must be numbers, not 420 and 'now'"),
    ],
)
def test_add_bytes_refuses_what_is_none(arguments: dict[str, Any], words: str) -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        with pytest.raises(OptionError) as caught:
            tar.add_bytes("x", **{"data": b"", **arguments})
        tar.add_bytes("y", b"")
    assert str(caught.value) == words
    assert [m.name for m in members(out.getvalue())] == ["y"]


def test_names_are_paths(tmp_path: Path) -> None:
    wrong: Any = 5
    with tarcast.open(io.BytesIO()) as tar:
        for call in (
            lambda: tar.add(wrong),
            lambda: tar.add(tmp_path, arcname=wrong),
            lambda: tar.add_tree(tmp_path, wrong),
            lambda: tar.gettarinfo(wrong),
            lambda: tar.gettarinfo(tmp_path, arcname=wrong),
        ):
            with pytest.raises(OptionError, match="a name is a path, not int"):
                call()
        with pytest.raises(OptionError, match="no open file with a name"):
            tar.gettarinfo(fileobj=io.BytesIO())


@pytest.mark.parametrize("name", ["", "/", "a\0b", b"bytes", None])
def test_add_bytes_wants_a_name(name: Any) -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        with pytest.raises(OptionError):
            tar.add_bytes(name, b"")
        tar.add_bytes("good", b"")
    assert [m.name for m in members(out.getvalue())] == ["good"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 65536, 65537, 262144, 262145, 1_000_000])
def test_addfile_reads_as_much_as_the_size_says(size: int) -> None:
    data = os.urandom(size)
    out = io.BytesIO()
    with tarcast.open(out, digest=["sha256"]) as tar:
        source = io.BytesIO(data + b"more")
        tar.addfile(info("one", size), source)
        assert source.read() == b"more"
        tar.addfile(info("two", size), Trickle(data, 50_000))
        tar.add_bytes("three", data)
    with opened(out.getvalue()) as tar:
        assert [tar.extractfile(m).read() == data for m in tar] == [True, True, True]


def test_addfile_keeps_what_tarfile_users_set() -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        tar.addfile(info("x", uname="somebody", gname="all", mtime=1.25, pax_headers={"comment": "héllo"}))
        tar.addfile(info("link", type=tarfile.SYMTYPE, linkname="x"))
        tar.addfile(info("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3))
    x, link, null = members(out.getvalue())
    assert (x.uname, x.gname, x.mtime, x.pax_headers["comment"]) == ("somebody", "all", 1.25, "héllo")
    assert (link.issym(), link.linkname) == (True, "x")
    assert (null.ischr(), null.devmajor, null.devminor) == (True, 1, 3)


def test_entries_of_another_archive_can_be_added() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    with tarcast.open(first) as tar:
        tar.addfile(*entry("ä/name", b"data", mtime=1.5, uname="u"))
        tar.addfile(info("dir", type=tarfile.DIRTYPE))
    with opened(first.getvalue()) as source, tarcast.open(second) as tar:
        for member in source:
            tar.addfile(member, source.extractfile(member))
    assert second.getvalue() == first.getvalue()


@pytest.mark.parametrize(
    ("made", "format", "kind", "words"),
    [
        (info("n" * 101), tarfile.USTAR_FORMAT, OptionError, "name is too long"),
        (info("x", uid=2**30), tarfile.USTAR_FORMAT, OptionError, "overflow"),
        (info("x", mtime=None), tarfile.PAX_FORMAT, OptionError, "mtime may not be None"),
        (info("ä"), tarfile.GNU_FORMAT, EncodingError, "ascii"),
        (info("x", -5), tarfile.GNU_FORMAT, OptionError, "-5 bytes"),
    ],
)
def test_a_header_that_cannot_be_leaves_the_archive_as_it_was(
    made: tarfile.TarInfo, format: Any, kind: type[Exception], words: str
) -> None:
    out = io.BytesIO()
    with tarcast.open(out, format=format, encoding="ascii", errors="strict") as tar:
        tar.add_bytes("before", b"1")
        with pytest.raises(kind, match=words) as caught:
            tar.addfile(made, io.BytesIO())
        assert caught.value.path == made.name
        tar.add_bytes("after", b"2")
    assert [m.name for m in members(out.getvalue())] == ["before", "after"]


def test_an_encoding_error_is_a_unicode_error() -> None:
    with tarcast.open(io.BytesIO(), format=tarfile.USTAR_FORMAT, encoding="ascii", errors="strict") as tar:
        with pytest.raises(UnicodeError) as caught:
            tar.addfile(info("ä"))
        assert type(pickle.loads(pickle.dumps(caught.value))) is EncodingError


@pytest.mark.parametrize("type", [tarfile.REGTYPE, b"Q"])
def test_addfile_without_fileobj_wants_no_size(type: bytes) -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        with pytest.raises(OptionError, match="x: add: has 5 bytes"):
            tar.addfile(info("x", 5, type=type))
        tar.addfile(info("d", 5, type=tarfile.DIRTYPE))  # readers take no data of a directory
        tar.add_bytes("y", b"")
    assert [m.name for m in members(out.getvalue())] == ["d", "y"]


CLOSED = io.BytesIO()
CLOSED.close()


@pytest.mark.parametrize(
    ("fileobj", "words"),
    [
        (io.StringIO("text"), "open for text"),
        (b"text", "bytes is no file object; wrap bytes in io.BytesIO"),
        (5, "int is no file object"),
        (CLOSED, "the file object is closed"),
        (type("F", (), {"read": lambda self, n: "text"})(), "gave str"),
        (type("F", (), {"read": lambda self, n: None})(), "gave None"),
        (type("F", (), {"read": lambda self, n: bytes(n + 1)})(), "gave 5 bytes"),
    ],
)
def test_a_file_object_that_is_none(fileobj: Any, words: str) -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        with pytest.raises(OptionError, match=words):
            tar.addfile(info("x", 4), fileobj)
        tar.add_bytes("y", b"")
    assert [m.name for m in members(out.getvalue())] == ["y"]


# ---- data that ends too early -----------------------------------------------


@pytest.mark.parametrize("size", [10, 262144])
def test_a_small_body_that_ends_too_early_costs_nothing(size: int) -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        with pytest.raises(OSError, match="unexpected end of data") as caught:
            tar.addfile(info("short", size), io.BytesIO(b"123"))
        assert isinstance(caught.value, ChangedError)
        assert (caught.value.expected, caught.value.seen) == (size, 3)
        tar.add_bytes("y", b"")
    assert [m.name for m in members(out.getvalue())] == ["y"]


def test_a_large_body_that_ends_too_early_is_the_end(place: Path) -> None:
    (place / "x.tar").write_bytes(b"old")
    tar = tarcast.open(place / "x.tar")
    with pytest.raises(ChangedError, match="300000 bytes expected, 299999 seen") as caught:
        tar.addfile(info("short", 300_000), io.BytesIO(bytes(299_999)))
    for attempt in (
        lambda: tar.add_bytes("y", b""),
        lambda: tar.add(place),
        lambda: tar.add_tree(place),
        lambda: tar.addfile(info("z")),
        lambda: tar.gettarinfo(place),
        tar.close,
    ):
        with pytest.raises(OutputError, match="half an entry or directory was written") as after:
            attempt()
        assert after.value.__cause__ is caught.value
    assert tar.closed
    assert tar.result is None
    assert (place / "x.tar").read_bytes() == b"old"


@pytest.mark.parametrize("size", [10, 262144, 262145, 1_000_000])
def test_skipping_errors_fills_up_with_zeros(size: int) -> None:
    out = io.BytesIO()
    with tarcast.open(out, on_error="skip") as tar:
        tar.addfile(info("short", size), io.BytesIO(b"123"))
        tar.add_bytes("y", b"yes")
    result = tar.result
    assert result is not None
    assert [str(w) for w in result.warnings] == [
        f"short: read data: unexpected end of data: {size} bytes expected, 3 seen"
    ]
    assert (result.skipped, result.entries) == (1, 2)
    with opened(out.getvalue()) as tar:
        assert tar.extractfile("short").read() == b"123" + bytes(size - 3)
        assert tar.extractfile("y").read() == b"yes"


def test_what_read_raises_is_passed_on() -> None:
    class Bad(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 300_000:
                raise RuntimeError("no more")
            return super().read(size)

    tar = tarcast.open(io.BytesIO())
    with pytest.raises(RuntimeError, match="no more"):
        tar.addfile(info("x", 600_000), Bad(bytes(600_000)))
    with pytest.raises(OutputError, match="half an entry"):
        tar.close()


def test_a_file_object_that_adds_an_entry_itself_is_told() -> None:
    out = io.BytesIO()
    tar = tarcast.open(out)

    class Sneaky(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                tar.add_bytes("within", b"")
            return super().read(size)

    with pytest.raises(OutputError, match="half an entry"):
        tar.addfile(info("x", 600_000), Sneaky(bytes(600_000)))
    tar.abort()


# ---- opening ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r:gz", "r|*", "r:"])
def test_reading_is_told_where_to_go(mode: str) -> None:
    with pytest.raises(OptionError, match=r"tarfile\.open.*tarcast ls"):
        tarcast.open("x.tar", mode)


def test_appending_is_refused() -> None:
    with pytest.raises(OptionError, match="appends to no archive; write a new one"):
        tarcast.open("x.tar", "a")


@pytest.mark.parametrize("mode", ["", "q", "wb", "rw", "w:gz:", "w::", "w;gz", 5, None])
def test_other_modes_are_refused(mode: Any) -> None:
    with pytest.raises(OptionError, match="mode must be "):
        tarcast.open("x.tar", mode)


def test_other_compressions_are_refused() -> None:
    with pytest.raises(OptionError, match="unknown compression 'lz4' in mode 'w:lz4'; gz, xz or zst"):
        tarcast.open("x.tar", "w:lz4")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "stop"}, "on_error"),
        ({"threads": 0}, "threads"),
        ({"memory_limit": 5}, "memory_limit"),
        ({"digest": ["nothing"]}, "unknown digest"),
        ({"level": 1, "preset": 1}, "level and preset are the same"),
        ({"level": "9"}, "level must be a number"),
        ({"mode": "x", "name": "memory://x"}, "is for a path"),
        ({"name": None}, "nothing to write to"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    name = options.pop("name", tmp_path / "x.tar")
    with pytest.raises(OptionError, match=words):
        tarcast.open(name, **options)
    assert os.listdir(tmp_path) == []


def test_names_are_absolute_paths(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for name in ("x.tar", b"x.tar", Path("x.tar")):
        with tarcast.open(name) as tar:
            assert tar.name == str(place / "x.tar")
            assert tar.mode == "w"
    with open("y.tar", "wb") as file, tarcast.open(fileobj=file, mode="w|") as tar:
        assert tar.name == str(place / "y.tar")
    with tarcast.open("given.tar", fileobj=io.BytesIO()) as tar:
        assert tar.name == str(place / "given.tar")
    with tarcast.open(io.BytesIO()) as tar:
        assert tar.name is None
    with tarcast.open("memory://writer/x.tar") as tar:
        assert tar.name == "memory://writer/x.tar"
    assert sorted(os.listdir()) == ["x.tar", "y.tar"]


def test_descriptors_and_pipes(tmp_path: Path) -> None:
    want = io.BytesIO()
    with tarcast.open(want) as tar:
        tar.add_bytes("x", b"data")
    with open(tmp_path / "f", "w+b", buffering=0) as file:
        with tarcast.open(file.fileno()) as tar:
            tar.add_bytes("x", b"data")
        assert file.tell() == 10240
        file.seek(0)
        assert file.read() == want.getvalue()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as pipe:
        with open(writer, "wb") as sink, tarcast.open(sink, "w|") as tar:
            tar.add_bytes("x", b"data")
        assert pipe.read() == want.getvalue()


# ---- compression ------------------------------------------------------------


READERS = {"gz": gzip.decompress, "xz": lzma.decompress}


@pytest.mark.parametrize(
    ("name", "mode", "suffix"),
    [
        ("x.tar.gz", "w", "gz"),
        ("x.tgz", "x", "gz"),
        ("x.txz", "w:*", "xz"),
        ("x.tar", "w|gz", "gz"),
        ("x.tar.gz", "w:xz", "xz"),
        ("x.tar", "w", ""),
        ("x.tar.gz", "w:", ""),
        ("x.tar.gz", "w|", ""),
    ],
)
def test_compression_is_that_of_mode_or_suffix(place: Path, name: str, mode: str, suffix: str) -> None:
    source = place.parent / "tree"
    source.mkdir()
    (source / "f").write_bytes(b"f" * 400_000)

    def add(tar: tarcast.TarWriter) -> None:
        tar.add_bytes("a", b"1")
        tar.add(source, "core")
        tar.add(source, "slow", filter=lambda info: info)

    plain = io.BytesIO()
    with tarcast.open(plain) as tar:
        add(tar)
    with nothing_left_behind(), tarcast.open(place / name, mode, digest=["sha256"]) as tar:
        add(tar)
    data = (place / name).read_bytes()
    assert READERS.get(suffix, bytes)(data) == plain.getvalue()
    result = tar.result
    assert result is not None
    assert result.digests == {"sha256": hashlib.sha256(plain.getvalue()).hexdigest()}
    assert result.output_digests == {"sha256": hashlib.sha256(data).hexdigest()}
    assert (result.bytes_written, result.output_bytes) == (len(plain.getvalue()), len(data))
    assert (result.compression or "").startswith({"gz": "gzip", "xz": "xz"}.get(suffix, ""))


def test_zstandard(place: Path) -> None:
    zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    with tarcast.open(place / "x.tar", "w:zst", level=7) as tar:
        tar.add_bytes("a", b"1" * 1000)
    assert [m.name for m in members(zstd.decompress((place / "x.tar").read_bytes()))] == ["a"]
    assert tar.result is not None
    assert str(tar.result.compression).startswith("zstd:7")


@pytest.mark.parametrize("word", ["level", "compresslevel", "preset"])
def test_three_words_for_a_level(word: str) -> None:
    out = io.BytesIO()
    with tarcast.open(out, "w:gz", **{word: 9}) as tar:  # type: ignore[arg-type]
        tar.add_bytes("a", b"1")
    assert tar.result is not None
    assert str(tar.result.compression).startswith("gzip:9")
    with pytest.raises(OptionError, match="there is a level, and no compression"):
        tarcast.open(io.BytesIO(), "w", **{word: 9})  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="levels 1 to 9, not 10"):
        tarcast.open(io.BytesIO(), "w:gz", **{word: 10})  # type: ignore[arg-type]


def test_a_compressed_archive_that_is_given_up_leaves_nothing(place: Path) -> None:
    (place / "x.tar.gz").write_bytes(b"old")
    with (
        nothing_left_behind(place),
        contextlib.suppress(Halfway),
        tarcast.open(place / "x.tar.gz", digest=["sha256"]) as tar,
    ):
        tar.add_bytes("a", os.urandom(3_000_000))
        raise Halfway
    assert (place / "x.tar.gz").read_bytes() == b"old"
    out = Full(100_000)
    tar = tarcast.open(out, "w:gz", digest=["sha256"])
    with nothing_left_behind(), pytest.raises(OutputError, match="No space left"):
        tar.add_bytes("a", os.urandom(10_000_000))
    with nothing_left_behind(), pytest.raises(OutputError, match="half an entry"):
        tar.close()


# ---- mode "x" ---------------------------------------------------------------


def test_x_makes_a_new_file(place: Path) -> None:
    with tarcast.open(place / "x.tar", "x") as tar:
        tar.add_bytes("a", b"1")
    assert [m.name for m in members((place / "x.tar").read_bytes())] == ["a"]


@pytest.mark.parametrize("old", ["file", "directory", "dangling link"])
def test_x_refuses_what_is_there(place: Path, old: str) -> None:
    if old == "file":
        (place / "x.tar").write_bytes(b"old")
    elif old == "directory":
        (place / "x.tar").mkdir()
    else:
        (place / "x.tar").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="there is one already") as caught:
        tarcast.open(place / "x.tar", "x:")
    assert isinstance(caught.value, ExistsError)
    assert isinstance(caught.value, OutputError)
    assert caught.value.errno == errno.EEXIST
    assert os.listdir(place) == ["x.tar"]


@pytest.mark.parametrize("links", [True, False])
def test_x_does_not_replace_what_came_meanwhile(
    place: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = tarcast.open(place / "x.tar", "x")
    tar.add_bytes("a", b"1")
    (place / "x.tar").write_bytes(b"quicker")
    if not links:
        no_links(monkeypatch)
    with pytest.raises(ExistsError):
        tar.close()
    assert (place / "x.tar").read_bytes() == b"quicker"
    assert os.listdir(place) == ["x.tar"]


def test_x_where_there_are_no_links(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_links(monkeypatch)
    with tarcast.open(place / "x.tar", "x") as tar:
        tar.add_bytes("a", b"1")
    assert [m.name for m in members((place / "x.tar").read_bytes())] == ["a"]


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as FAT is; the name for a moment is still given."""
    real = os.link

    def link(source: Any, target: Any, **options: Any) -> None:
        if not os.fsdecode(target).startswith(".tarcast-"):
            raise PermissionError(errno.EPERM, "no links here")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)


# ---- the end ----------------------------------------------------------------


def test_close_gives_a_result(place: Path) -> None:
    tar = tarcast.open(place / "x.tar", digest=["sha256", "md5"])
    assert not tar.closed
    tar.add_bytes("a", b"x" * 1000)
    assert tar.offset == 512 + 1024
    assert tar.result is None
    assert "1 entries, 1536 bytes" in repr(tar)
    result = tar.close()
    data = (place / "x.tar").read_bytes()
    assert len(data) == 10240 == result.bytes_written == tar.offset
    assert data.endswith(TRAILER)
    assert result.entries == 1
    assert result.digests == {n: hashlib.new(n, data).hexdigest() for n in ("sha256", "md5")}
    assert result.seconds > 0
    assert tar.closed
    assert tar.close() is result is tar.result
    assert "closed" in repr(tar)


def test_nothing_appears_before_the_end(place: Path) -> None:
    with tarcast.open(place / "x.tar") as tar:
        tar.add_bytes("a", bytes(1_000_000))
        assert not (place / "x.tar").exists()
    assert (place / "x.tar").exists()


def test_after_an_exception_a_path_keeps_what_it_had(place: Path) -> None:
    (place / "x.tar").write_bytes(b"old")
    with nothing_left_behind(place), contextlib.suppress(Halfway), tarcast.open(place / "x.tar") as tar:
        tar.add_bytes("a", bytes(1_000_000))
        raise Halfway
    assert tar.closed
    assert tar.result is None
    assert (place / "x.tar").read_bytes() == b"old"
    with pytest.raises(OutputError, match="given up"):
        tar.close()


def test_after_an_exception_a_stream_has_no_trailer() -> None:
    out = io.BytesIO()
    with contextlib.suppress(Halfway), tarcast.open(out, "w|") as tar:
        tar.add_bytes("a", b"a" * 1_000_000)
        raise Halfway
    assert not out.closed
    assert TRAILER not in out.getvalue()
    assert out.getvalue()


def test_a_closed_archive_takes_nothing() -> None:
    tar = tarcast.open(io.BytesIO())
    tar.close()
    with pytest.raises(OSError, match="closed"):
        tar.add_bytes("x", b"")
    with pytest.raises(OutputError, match="closed"), tar:
        pass


def test_one_that_is_forgotten_is_given_up(place: Path) -> None:
    with nothing_left_behind(place):
        tars = [tarcast.open(place / "x.tar")]
        tars[0].add_bytes("a", bytes(1_000_000))
        with pytest.warns(ResourceWarning, match=r"not closed.*x\.tar"):
            tars.clear()


def test_one_that_could_not_be_opened_says_nothing_more(place: Path) -> None:
    with pytest.raises(OutputError, match="create the directory"):
        tarcast.open(place / "missing" / "x.tar")
    gc.collect()


class Halfway(Exception):
    """An error of the program's between two entries."""


class Full(io.BytesIO):
    """Takes so many bytes and no more."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.limit:
            raise OSError(errno.ENOSPC, "full")
        return super().write(data)


@pytest.mark.parametrize("limit", [0, 300_000])
def test_a_sink_that_fails_is_told_and_stays_so(limit: int) -> None:
    out = Full(limit)
    tar = tarcast.open(out)

    def add_many(tar: tarcast.TarWriter) -> None:
        for i in range(2000):
            tar.add_bytes(f"f{i}", b"x" * 1000)

    with pytest.raises(OutputError, match="write: No space left on device") as caught:
        add_many(tar)
    assert caught.value.errno == errno.ENOSPC
    out.limit = 10**9
    with pytest.raises(OutputError, match="half an entry"):
        tar.close()
    assert TRAILER not in out.getvalue()


def test_a_sink_that_fails_at_the_end_is_told() -> None:
    tar = tarcast.open(Full(0))
    tar.add_bytes("x", b"")
    with pytest.raises(OutputError, match="No space left"):
        tar.close()
    assert tar.closed
    with pytest.raises(OutputError, match="given up"):
        tar.close()


def test_a_file_object_may_keep_the_views_it_gets() -> None:
    class Keeper:
        def __init__(self) -> None:
            self.views: list[memoryview] = []

        def write(self, view: memoryview) -> None:
            self.views.append(memoryview(view.obj))

    keeper = Keeper()
    with tarcast.open(keeper) as tar:  # type: ignore[arg-type]
        for i in range(1000):
            tar.add_bytes(f"f{i}", b"%d" % i * 100)
    with opened(b"".join(keeper.views)) as tar:
        assert [tar.extractfile(m).read() for m in tar] == [b"%d" % i * 100 for i in range(1000)]


# ---- gettarinfo -------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "file").write_bytes(b"content")
    os.link(tree / "file", tree / "other")
    (tree / "sym").symlink_to("file")
    os.mkfifo(tree / "fifo")
    return tree


def test_gettarinfo_is_that_of_tarfile(tree: Path) -> None:
    with tarcast.open(io.BytesIO()) as ours, tarfile.open(fileobj=io.BytesIO(), mode="w") as theirs:
        for name in ("dir", "file", "other", "sym", "fifo", "file"):
            for arcname in (None, f"//x/{name}"):
                one = ours.gettarinfo(tree / name, arcname)
                other = theirs.gettarinfo(tree / name, arcname)
                assert one is not None
                assert one.get_info() == other.get_info()
        ours.dereference = theirs.dereference = True
        for name in ("other", "sym", "file"):
            one, other = ours.gettarinfo(tree / name), theirs.gettarinfo(tree / name)
            assert one is not None
            assert one.get_info() == other.get_info()
        with open(tree / "file", "rb") as file:
            one, other = ours.gettarinfo(fileobj=file), theirs.gettarinfo(fileobj=file)
            assert one is not None
            assert one.get_info() == other.get_info()
        with pytest.raises(OptionError):
            ours.gettarinfo()


def test_gettarinfo_makes_the_class_it_is_told(tree: Path) -> None:
    class Mine(tarfile.TarInfo):
        pass

    with tarcast.open(io.BytesIO(), tarinfo=Mine) as tar:
        assert type(tar.gettarinfo(tree / "file")) is Mine
        seen = []
        tar.add(tree / "file", filter=lambda i: seen.append(type(i)) or i)
        assert seen == [Mine]


def test_what_is_not_there_is_a_file_not_found_error(tree: Path) -> None:
    out = io.BytesIO()
    with tarcast.open(out) as tar:
        for attempt in (
            lambda: tar.add(tree / "missing"),
            lambda: tar.gettarinfo(tree / "missing"),
            lambda: tar.add(tree / "file" / "below"),
            lambda: tar.add(tree / "missing", filter=lambda i: i),
        ):
            with pytest.raises(FileNotFoundError, match="stat: ") as caught:
                attempt()
            assert isinstance(caught.value, MissingError)
            assert isinstance(caught.value, InputError)
        with pytest.raises(OptionError):
            tar.add("a\0b")
        tar.add_bytes("x", b"")
    assert [m.name for m in members(out.getvalue())] == ["x"]


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_filter_that_ends_the_archive_ends_add(place: Path, tmp_path: Path, end: str, mode: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(bytes(300_000))
    tar = tarcast.open(place / "out.tar", mode)

    def ending(found: tarfile.TarInfo) -> tarfile.TarInfo:
        getattr(tar, end)()
        return found

    with nothing_left_behind(), pytest.raises(OutputError, match="the archive is closed"):
        tar.add(tmp_path / "d", "d", filter=ending)
    assert (place / "out.tar").exists() == (end == "close")


def test_a_file_that_ends_the_archive_while_it_is_read_writes_nowhere(place: Path) -> None:
    tar = tarcast.open(place / "out.tar", "w")

    class Ending(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            tar.abort()
            return bytes(size or 0)

    with pytest.raises(OutputError, match="in the midst of an entry"):
        tar.addfile(info("f", 3_000_000), Ending())
    assert os.listdir(place) == []


@pytest.mark.parametrize("name", ["a\0b", "\0"])
def test_a_name_with_a_nul_is_refused(place: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_bytes(b"1")
    with tarcast.open(place / "out.tar", "w") as tar:
        for add in (
            lambda: tar.add(tmp_path / "f", name),
            lambda: tar.add(tmp_path / "f", name, filter=lambda found: found),
            lambda: tar.addfile(info(name)),
            lambda: tar.addfile(info("link", type=tarfile.SYMTYPE, linkname=name)),
            lambda: tar.add_bytes(name, b""),
        ):
            with pytest.raises(OptionError, match=r"NUL|cannot be named"):
                add()
        tar.add_bytes("good", b"")
    assert [member.name for member in members((place / "out.tar").read_bytes())] == ["good"]


def test_an_infinite_time_is_refused(place: Path) -> None:
    with tarcast.open(place / "out.tar", "w") as tar, pytest.raises(OptionError, match="infinity"):
        tar.addfile(info("f", mtime=float("inf")))
