"""Indexes: what stands in them in each format, when they appear, and what is told instead."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import sqlite3
import tarfile
import threading
from pathlib import Path

import pyarrow.parquet
import pytest

import tarcast
from tarcast.errors import InputError, OptionError, OutputError
from tarcast.index import Archive, Member, make_index, open_index
from tarcast.index.form import COLUMNS, Meta
from tarcast.index.tables import TableFile
from tests.support.disks import MakeDirectory
from tests.support.faults import at, make_files, nothing_left_behind, tmpfs
from tests.support.trees import Node, make_tree

SUFFIXES = ["jsonl", "sqlite", "db", "parquet"]
KINDS = pytest.mark.parametrize("suffix", SUFFIXES)

NODES = (
    Node(b"dir", "dir", mode=0o755, mtime=10**9),
    Node(b"dir/bad\xff\xfe", "file", mtime=10**9, size=700),
    Node(b'dir/"q\\uote"\n', "file", mode=0o4755, mtime=-(10**9), size=1),
    Node("dir/é".encode(), "file", mtime=10**9, size=3),
    Node(b"fifo", "fifo", mtime=10**9),
    Node(b"hard", "hardlink", target=b"dir/bad\xff\xfe"),
    Node(b"link", "symlink", mtime=10**9, target=b"bad\xff"),
    Node(b"n" * 150, "file", mtime=10**9, size=65536),
)


@pytest.fixture
def tree(place: Path) -> Path:
    top = place / "t"
    top.mkdir()
    make_tree(NODES, os.fsencode(top))
    return top


def said(member: Member) -> tuple[object, ...]:
    names = ("raw_name", "raw_linkname", "type", "size", "stored", "mode", "uid", "gid", "mtime_ns")
    more = ("header_offset", "data_offset", "devmajor", "devminor", "sparse")
    return tuple(getattr(member, name) for name in (*names, *more))


@KINDS
def test_it_says_what_the_archive_holds(place: Path, tree: Path, suffix: str) -> None:
    out, table = place / "out.tar", place / f"out.tar.{suffix}"
    result = tarcast.write_tar(tree, out, index=table, index_digest="sha256", digest=["sha1"])
    with Archive(out, index=False) as archive:
        want = list(archive)
    assert len(want) == len(NODES) == result.entries
    with open_index(table) as index:
        assert [said(m) for m in index] == [said(m) for m in want]
        assert [said(m) for m in index] == [said(m) for m in want]  # once more from the start
        for member in want:
            found = index.find(member.raw_name)
            assert found is not None
            assert said(found) == said(member)
            content = None
            if member.type == "file":
                content = hashlib.sha256((tree / member.name).read_bytes()).digest()
            assert found.digest == content
        assert index.find(b"no") is index.find(b"dir/bad\xff") is index.find(b"dir/bad??") is None
        meta = index.meta
    assert (meta.entries, meta.size, meta.file_size) == (len(NODES), out.stat().st_size, out.stat().st_size)
    assert meta.digests == result.digests
    assert meta.head == hashlib.sha256(out.read_bytes()[:65536]).hexdigest()
    assert (meta.entry_digest, meta.compression) == ("sha256", None)


def test_json_lines_are_for_everybody(place: Path, tree: Path) -> None:
    tarcast.write_tar(tree, place / "out.tar", index=place / "i.jsonl")
    first, *lines = [json.loads(line) for line in (place / "i.jsonl").read_text("utf-8").splitlines()]
    assert (first["format"], first["version"], first["entries"]) == ("tarcast-index", 1, len(NODES))
    (odd,) = [line for line in lines if "raw_name" in line]
    assert odd["name"] == "dir/bad\ufffd\ufffd"
    assert bytes.fromhex(odd["raw_name"]) == b"dir/bad\xff\xfe"
    assert "dir/é" in [line["name"] for line in lines]
    assert {key for line in lines for key in line} <= set(COLUMNS)
    with open(place / "out.tar", "rb") as file:  # the documented use: without any of our code
        file.seek(odd["data_offset"])
        assert file.read(odd["size"]) == (tree / "dir" / os.fsdecode(b"bad\xff\xfe")).read_bytes()


def test_sqlite_and_parquet_are_for_everybody(place: Path, tree: Path) -> None:
    for suffix in ("sqlite", "parquet"):
        tarcast.write_tar(tree, place / "out.tar", index=place / f"i.{suffix}")
    database = sqlite3.connect(place / "i.sqlite")
    rows = database.execute("SELECT name, size FROM entries WHERE type = 'file' ORDER BY name").fetchall()
    plan = str(database.execute("EXPLAIN QUERY PLAN SELECT size FROM entries WHERE name = 'x'").fetchall())
    database.close()
    assert "USING INDEX entries_name" in plan
    table = pyarrow.parquet.read_table(place / "i.parquet").to_pylist()
    assert table[0].keys() == set(COLUMNS)
    assert sorted((r["name"], r["size"]) for r in table if r["type"] == "file") == rows


@KINDS
def test_a_failed_export_leaves_the_old_one(place: Path, tree: Path, suffix: str) -> None:
    out, table = place / "out.tar", place / f"i.{suffix}"
    tarcast.write_tar(tree, out, index=table)
    before = out.read_bytes(), table.read_bytes()
    changing = tarcast.Tree(tree, map=at("n" * 150, lambda: os.truncate(tree / ("n" * 150), 5)))
    with nothing_left_behind(place), pytest.raises(tarcast.ChangedError):
        tarcast.write_tar(changing, out, index=table, index_digest="sha256")
    assert (out.read_bytes(), table.read_bytes()) == before
    cancel = threading.Event()
    cancel.set()
    with nothing_left_behind(place), pytest.raises(tarcast.Cancelled):
        tarcast.write_tar(tree, place / "new.tar", index=place / f"new.{suffix}", cancel=cancel)


@KINDS
def test_what_is_written_over_keeps_its_permissions(place: Path, tree: Path, suffix: str) -> None:
    table = place / f"i.{suffix}"
    table.write_bytes(b"old")
    table.chmod(0o640)
    (place / f"link.{suffix}").symlink_to(table.name)
    tarcast.write_tar(tree, place / "out.tar", index=place / f"link.{suffix}")
    assert table.stat().st_mode & 0o777 == 0o640
    with open_index(table) as index:
        assert index.meta.entries == len(NODES)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"index": "i.txt"}, "says its format"),
        ({"index": "i"}, "says its format"),
        ({"index": 7}, "not to int"),
        ({"index": "a\0.db"}, "can have this name"),
        ({"index": "i.db", "index_digest": "nonsense"}, "unknown digest"),
        ({"index": "i.db", "index_digest": "shake_128"}, "unknown digest"),
        ({"index_digest": "sha256"}, "is for an index"),
        ({"index": "fifo.db"}, "regular file"),
        ({"index": "descriptor.db"}, "regular file of its own"),
        ({"index": "out.db"}, "the same file"),
        ({"index": "hard.db"}, "the same file"),
        ({"index": "link.db"}, "the same file"),
    ],
)
def test_what_makes_no_sense_is_said_first(
    place: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], says: str
) -> None:
    monkeypatch.chdir(place)
    os.mkfifo("fifo.db")
    (place / "out.db").write_bytes(b"old")
    (place / "link.db").symlink_to("out.db")
    written = open("hard", "wb")  # noqa: SIM115
    os.symlink(f"/dev/fd/{written.fileno()}", "descriptor.db")
    os.link("hard", "hard.db")
    sink = written if options.get("index") == "hard.db" else "out.db"
    with written, nothing_left_behind(place), pytest.raises(OptionError, match=says):
        tarcast.write_tar(tree, sink, **options)
    assert (place / "out.db").read_bytes() == b"old"
    assert (place / "hard").read_bytes() == b""


@pytest.mark.parametrize("name", ["no/i.db", "t/i.jsonl/x.jsonl", "dir.db"])
def test_a_place_that_takes_none(place: Path, tree: Path, name: str) -> None:
    (place / "dir.db").mkdir()
    sink = bytearray()

    class Sink:
        def write(self, view: memoryview) -> None:
            sink.extend(view)

    with nothing_left_behind(place), pytest.raises(OutputError) as caught:
        tarcast.write_tar(tree, Sink(), index=place / name)
    assert caught.value.path == str(place / name)
    assert not sink


@pytest.mark.parametrize("suffix", ["jsonl", "sqlite", "parquet"])
def test_a_full_disk(suffix: str, place: Path, tmp_path: Path) -> None:
    many = make_files(tmp_path / "many", **{f"f{i:05d}-{'x' * 80}": b"" for i in range(1000)})
    with tmpfs(tmp_path / "full", "size=8k") as full:
        with nothing_left_behind(full, place), pytest.raises(OutputError) as caught:
            tarcast.write_tar(many, place / "out.tar", index=full / f"i.{suffix}", index_digest="sha512")
        assert caught.value.path == str(full / f"i.{suffix}")


def test_a_record_that_is_too_long(place: Path) -> None:
    table = TableFile(place / "i.jsonl")
    digests = {"d" * 2048: "00"}
    meta = Meta(entries=0, size=0, file_size=0, compression=None, head="", digests=digests, entry_digest=None)
    with nothing_left_behind(place), contextlib.ExitStack() as stack:
        stack.callback(table.abort)
        table.open()
        with pytest.raises(OutputError) as caught:
            table.finish(meta)
    says = "write index: the archive's record is too long; ask for fewer digests"
    assert str(caught.value) == f"{place}/i.jsonl: {says}"


def test_an_index_in_the_tree_is_not_of_it(place: Path, tree: Path) -> None:
    for _ in range(2):
        result = tarcast.write_tar(tree, place / "out.tar", index=tree / "i.jsonl")
        with open_index(tree / "i.jsonl") as index:
            assert index.find(b"i.jsonl") is None
            assert index.meta.entries == len(NODES) == result.entries
    assert [w.path for w in result.warnings] == [str(tree / "i.jsonl")]


@pytest.mark.parametrize("digest", [None, "sha256"])
@pytest.mark.parametrize("sink", ["path", "descriptor", "pipe", "append"])
def test_align_is_read_back(place: Path, tree: Path, digest: str | None, sink: str) -> None:
    out = place / "out.tar"
    target: object = out
    if sink == "descriptor":
        target = os.open(out, os.O_WRONLY | os.O_CREAT)
        os.write(target, bytes(4096))
    elif sink == "append":
        out.write_bytes(b"before")
        target = os.open(out, os.O_WRONLY | os.O_APPEND)
    elif sink == "pipe":
        out.write_bytes(b"")
        target = open(out, "ab", buffering=0)  # noqa: SIM115
    result = tarcast.write_tar(tree, target, index=place / "i.jsonl", align=True, index_digest=digest)
    if isinstance(target, int):
        os.close(target)
    elif sink == "pipe":
        target.close()
    data = out.read_bytes()
    assert data.startswith(b"before") == (sink == "append")
    data = data[-result.bytes_written :]
    out.write_bytes(data)
    with Archive(out, index=place / "i.jsonl") as archive:
        large = archive.find("n" * 150)
        assert large.data_offset % 4096 == 0
        assert archive.read(large) == (tree / ("n" * 150)).read_bytes()
        assert [said(m) for m in archive] == [said(m) for m in Archive(out, index=False)]
        assert (large.digest is None) == (digest is None)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_an_index_does_not_keep_blocks_from_being_shared(disks: MakeDirectory, kind: str) -> None:
    disk = disks(kind)
    top = make_files(disk / "t", large=os.urandom(1 << 20))
    result = tarcast.write_tar(top, disk / "out.tar", align=True, index=disk / "out.tar.sqlite")
    assert result.bytes_cloned >= 1 << 19
    with Archive(disk / "out.tar") as archive:
        assert archive.index is not None
        assert archive.read("large") == (top / "large").read_bytes()


class TestReading:
    @pytest.fixture
    def table(self, place: Path, tree: Path) -> Path:
        for suffix in SUFFIXES:
            tarcast.write_tar(tree, place / "out.tar", index=place / f"i.{suffix}")
        return place

    @pytest.mark.parametrize(
        "content",
        [b"", b"text", b"{", b"{}\n", b"[]", b"SQLite format 3\0" + bytes(500), b"PAR1" * 9, b"{" * 5000],
    )
    def test_what_is_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "i.db").write_bytes(content)
        with nothing_left_behind(tmp_path), pytest.raises(InputError, match="is no index"):
            open_index(tmp_path / "i.db")

    def test_other_databases_are_none(self, tmp_path: Path) -> None:
        database = sqlite3.connect(tmp_path / "i.db")
        database.execute("CREATE TABLE archive (key, value)")
        database.commit()
        database.close()
        with pytest.raises(InputError, match="does not say that it is one"):
            open_index(tmp_path / "i.db")
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "i.parquet")
        with pytest.raises(InputError, match="does not say that it is one"):
            open_index(tmp_path / "i.parquet")

    def test_a_later_version(self, table: Path) -> None:
        text = (table / "i.jsonl").read_bytes().replace(b'"version": 1', b'"version": 2')
        (table / "i.jsonl").write_bytes(text)
        with pytest.raises(InputError, match="version 2, and this tarcast knows 1"):
            open_index(table / "i.jsonl")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            open_index(tmp_path / "i.db")
        assert caught.value.errno == 2

    def test_a_cut_one(self, table: Path) -> None:
        lines = (table / "i.jsonl").read_bytes().splitlines(keepends=True)
        (table / "i.jsonl").write_bytes(b"".join(lines[:-1]))
        with open_index(table / "i.jsonl") as index, pytest.raises(InputError, match="it is cut"):
            list(index)
        (table / "i.jsonl").write_bytes(b"".join(lines[:-1]) + b'{"name":7}\n')
        with open_index(table / "i.jsonl") as index, pytest.raises(InputError, match="a row is damaged"):
            list(index)

    @KINDS
    def test_several_read_it_at_once(self, tmp_path: Path, suffix: str) -> None:
        top = make_files(tmp_path / "t", **{f"f{i:04d}": b"" for i in range(3000)})
        tarcast.write_tar(top, tmp_path / "out.tar", index=tmp_path / f"i.{suffix}")
        with open_index(tmp_path / f"i.{suffix}") as index:
            first, second = iter(index), iter(index)
            for i in range(3000):
                assert next(first).name == next(second).name == f"f{i:04d}"
                if i % 500 == 0:
                    found = index.find(b"f%04d" % (2999 - i))
                    assert found is not None
                    assert found.name == f"f{2999 - i:04d}"
            assert next(first, None) is next(second, None) is None

    @KINDS
    def test_threads_share_it(self, table: Path, suffix: str) -> None:
        index = open_index(table / f"i.{suffix}")
        begun = iter(index)
        next(begun)
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            found = other.submit(index.find, b"fifo").result()
            assert found is not None
            assert found.type == "fifo"
            assert other.submit(lambda: len(list(begun))).result() == len(NODES) - 1
            other.submit(index.close).result()

    @KINDS
    def test_a_name_that_another_one_is_shown_as(self, place: Path, suffix: str) -> None:
        top = make_files(place / "odd", **{"\ufffd": b"text"})
        (top / os.fsdecode(b"\xff")).write_bytes(b"bytes")
        tarcast.write_tar(top, place / "out.tar", index=place / f"i.{suffix}")
        with Archive(place / "out.tar", index=place / f"i.{suffix}") as archive:
            assert archive.read("\ufffd") == b"text"
            assert archive.read(b"\xff") == b"bytes"

    @pytest.mark.parametrize("suffix", ["jsonl", "sqlite"])
    def test_damage_ends_in_words(self, table: Path, suffix: str) -> None:
        good = (table / f"i.{suffix}").read_bytes()
        rng = random.Random(5)
        for _ in range(40):
            data = bytearray(good)
            for _ in range(20):
                data[rng.randrange(len(data))] = rng.randrange(256)
            (table / "bad").write_bytes(data)
            with contextlib.suppress(InputError), open_index(table / "bad") as index:
                for member in list(index):
                    index.find(member.raw_name)


class TestMakeIndex:
    @KINDS
    def test_of_an_archive_of_others(self, tmp_path: Path, suffix: str) -> None:
        top = make_files(tmp_path / "t", a=b"1", b=b"22")
        with tarfile.open(tmp_path / "o.tar.xz", "w:xz", format=tarfile.GNU_FORMAT) as tar:
            tar.add(top, arcname=".")
        make_index(tmp_path / "o.tar.xz", tmp_path / f"o.tar.xz.{suffix}", digest="md5")
        with Archive(tmp_path / "o.tar.xz") as archive:
            assert archive.index is not None
            assert archive.index.meta.compression == "xz"
            assert archive.index.meta.size == 10240
            assert archive.index.meta.file_size == (tmp_path / "o.tar.xz").stat().st_size
            assert archive.find("b").digest == hashlib.md5(b"22").digest()
            assert archive.read("/b") == b"22"

    def test_of_what_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_bytes(b"text" * 500)
        with (
            nothing_left_behind(tmp_path),
            pytest.raises(InputError, match=r"checksum.*is it a tar archive\?"),
        ):
            make_index(tmp_path / "x.tar", tmp_path / "x.db")
