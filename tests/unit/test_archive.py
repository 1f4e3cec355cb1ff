"""Archives looked into: members found and read, with an index and without, compressed, sparse, stale."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarcast
from tarcast.compression.codec import zstd_module
from tarcast.errors import InputError, OptionError
from tarcast.index import Archive, make_index
from tests.support.faults import make_files, nothing_left_behind
from tests.support.foreign import by_command
from tests.support.holes import make_islands

ZSTD = zstd_module()
CHECKED = {ZSTD.CompressionParameter.checksum_flag: 1}

COMPRESSORS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: ZSTD.compress(data, options=CHECKED),
    "zstd frames": lambda data: b"".join(
        ZSTD.compress(data[at : at + 70_000], options=CHECKED) for at in range(0, len(data), 70_000)
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = make_files(tmp_path / "t", a=b"alpha", large=os.urandom(600_000), empty=b"")
    make_files(top / "sub", b=b"beta" * 300)
    os.link(top / "a", top / "z-hard")
    (top / "link").symlink_to("a")
    os.mkfifo(top / "fifo")
    return top


@pytest.fixture(params=[False, "jsonl", "sqlite", "parquet"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, tree: Path) -> Iterator[Archive]:
    index = request.param and tmp_path / f"i.{request.param}"
    tarcast.write_tar(tree, tmp_path / "out.tar", index=index or None)
    with Archive(tmp_path / "out.tar", index=index) as opened:
        yield opened


class TestReading:
    def test_members(self, archive: Archive, tree: Path) -> None:
        assert [m.name for m in archive] == [
            "a", "empty", "fifo", "large", "link", "sub", "sub/b", "z-hard",
        ]  # fmt: skip
        for name in ("a", "empty", "large", "sub/b", "z-hard", b"sub/b", "./sub/b", "/a"):
            assert archive.read(name) == (tree / os.fsdecode(name).lstrip("/")).read_bytes()
        assert archive.find("sub/").type == archive.find("sub").type == "directory"

    def test_a_file_object(self, archive: Archive, tree: Path) -> None:
        content = (tree / "large").read_bytes()
        with archive.open("large") as file:
            assert file.read(10) == content[:10]
            assert file.seek(-7, io.SEEK_END) == 599_993
            assert file.read() == content[-7:]
            assert file.read(1) == b""
            assert file.seek(123_456) == file.tell() == 123_456
            assert file.read(300_000) == content[123_456:423_456]
            with pytest.raises(ValueError, match="cannot seek"):
                file.seek(-1)
            assert file.seek(1 << 40) == 1 << 40
            assert file.read() == b""

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("link", "symlink.*leads to 'a'"),
            ("sub", "is a directory"),
            ("fifo", "is a fifo"),
            ("no", "not in the"),
        ],
    )
    def test_what_has_no_data(self, archive: Archive, name: str, says: str) -> None:
        with pytest.raises(InputError, match=says) as caught:
            archive.open(name)
        assert caught.value.path == name

    def test_several_at_once(self, archive: Archive) -> None:
        found = archive.resolve_all(["z-hard", "sub/b", "./a"])
        assert [m.name for m in found] == ["a", "sub/b", "a"]
        with pytest.raises(InputError, match="not in the archive"):
            archive.resolve_all(["a", "no"])


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("indexed", [False, True])
def test_compressed(tmp_path: Path, tree: Path, kind: str, indexed: bool) -> None:
    plain = io.BytesIO()
    tarcast.write_tar(tree, plain)
    path = tmp_path / "out"
    path.write_bytes(COMPRESSORS[kind](plain.getvalue()))
    if indexed:
        make_index(path, tmp_path / "out.jsonl")
    with nothing_left_behind(tmp_path), Archive(path) as archive:
        assert (archive.index is not None) == indexed
        assert len(list(archive.members())) == 8
        for name in ("sub/b", "a", "large", "z-hard"):  # also backwards
            assert archive.read(name) == (tree / name).read_bytes()


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_cut_or_damaged(tmp_path: Path, tree: Path, kind: str) -> None:
    plain = io.BytesIO()
    tarcast.write_tar(tree, plain)
    data = COMPRESSORS[kind](plain.getvalue())
    for bad in (data[: len(data) // 2], data[:2000], data[:1000] + b"\xff" * 3000 + data[4000:]):
        (tmp_path / "bad").write_bytes(bad)
        with nothing_left_behind(tmp_path), Archive(tmp_path / "bad") as archive:
            if kind == "plain" and bad is not data and len(bad) == len(data):
                continue  # damage in a body, which nobody looks at
            with pytest.raises(InputError) as caught:
                list(archive)
            assert caught.value.path == str(tmp_path / "bad")


@pytest.mark.parametrize("kind", ["plain", "gzip"])
@pytest.mark.parametrize("piped", [False, True])
def test_damage_behind_a_good_member(tmp_path: Path, kind: str, piped: bool) -> None:
    """Wherever it comes from, the damage is told and nothing is asked for again."""
    info = tarfile.TarInfo("good")
    data = COMPRESSORS[kind](info.tobuf() + b"x" * 2048)
    path = tmp_path / "bad"
    if piped:
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=[data])
        writer.start()
    else:
        path.write_bytes(data)
    with Archive(path) as archive:
        members = iter(archive)
        assert next(members).name == "good"
        with pytest.raises(InputError, match=r"no header of a tar.*\(at byte 512\)"):
            next(members)
    if piped:
        writer.join()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08", b"x" * 5000])
def test_what_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with nothing_left_behind(tmp_path), pytest.raises(InputError), Archive(tmp_path / "x") as archive:
        list(archive)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path, f"^{tmp_path}: open archive: is a directory, not an archive$"),
        (tmp_path / "no", "No such file"),
        ("a\0b", "cannot be opened"),
    ):
        with nothing_left_behind(tmp_path), pytest.raises(InputError, match=says):
            Archive(path)
    with pytest.raises(OptionError):
        Archive(tmp_path, index=True)


SPARSE = [
    ["tar", "--format=gnu", "--sparse"],
    *(["tar", "--format=posix", "--sparse", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0")),
    ["bsdtar", "--format=pax"],
]


@pytest.mark.parametrize("command", SPARSE, ids=" ".join)
@pytest.mark.parametrize("indexed", [False, True])
def test_sparse_ones_of_others(place: Path, command: list[str], indexed: bool) -> None:
    (place / "t").mkdir()
    islands = [(i * 50_000, 3000) for i in range(40)]
    hole = make_islands(place / "t" / "hole", 3 << 20, islands)
    make_islands(place / "t" / "nothing", 1 << 20, [])
    os.sync()
    (place / "o.tar").write_bytes(by_command(command, place / "t"))
    assert (place / "o.tar").stat().st_size < 1 << 20
    if indexed:
        make_index(place / "o.tar", place / "o.tar.db", digest="sha256")
    content = hole.read_bytes()
    with Archive(place / "o.tar") as archive:
        assert (archive.index is not None) == indexed
        assert archive.find("hole").sparse
        assert archive.read("hole") == content
        assert archive.read("nothing") == bytes(1 << 20)
        with archive.open("hole") as file:
            for at in (1_999_999, 49_000, 3_000_000, 0):
                file.seek(at)
                assert file.read(5000) == content[at : at + 5000]


class TestLinks:
    @staticmethod
    def archive(tmp_path: Path, *links: tuple[str, str]) -> Archive:
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            for name, target in links:
                info = tarfile.TarInfo(name)
                if target:
                    info.type, info.linkname = tarfile.LNKTYPE, target
                    tar.addfile(info)
                else:
                    info.size = 4
                    tar.addfile(info, io.BytesIO(b"data"))
        return Archive(tmp_path / "x.tar")

    def test_links_to_links(self, tmp_path: Path) -> None:
        with self.archive(tmp_path, ("c", "b"), ("b", "./a"), ("a", "")) as archive:
            assert archive.resolve_all(["c"])[0].name == "a"
            assert archive.read("c") == b"data"

    def test_links_that_lead_nowhere(self, tmp_path: Path) -> None:
        with self.archive(tmp_path, ("a", "b"), ("b", "a"), ("c", "d")) as archive:
            for name, says in (("a", "leads to itself"), ("c", "'d', which is not in")):
                with pytest.raises(InputError, match=says):
                    archive.read(name)
                with pytest.raises(InputError, match=says):
                    Archive(archive.name).resolve_all([name])

    def test_the_last_of_a_name_counts(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            for data in (b"old", b"newer"):
                info = tarfile.TarInfo("a")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        for suffix in (None, "jsonl", "sqlite", "parquet"):
            if suffix:
                make_index(tmp_path / "x.tar", tmp_path / f"x.{suffix}")
            with Archive(tmp_path / "x.tar", index=suffix and tmp_path / f"x.{suffix}") as archive:
                assert [m.size for m in archive] == [3, 5]
                assert archive.read("a") == b"newer"
                assert archive.resolve_all(["a"])[0].size == 5


class TestStale:
    @pytest.fixture
    def out(self, tmp_path: Path, tree: Path) -> Path:
        tarcast.write_tar(tree, tmp_path / "out.tar", index=tmp_path / "out.tar.jsonl")
        return tmp_path / "out.tar"

    def test_one_beside_is_used(self, out: Path) -> None:
        with Archive(out) as archive:
            assert archive.index is not None
            assert archive.unused == ""
        with Archive(out, index=False) as archive:
            assert archive.index is None

    def test_another_size(self, out: Path) -> None:
        with open(out, "ab") as file:
            file.write(bytes(512))
        with Archive(out) as archive:
            assert archive.index is None
            assert "bytes now, and had" in archive.unused
            assert archive.read("a") == b"alpha"
        with nothing_left_behind(out.parent), pytest.raises(InputError, match="of another archive"):
            Archive(out, index=f"{out}.jsonl")

    def test_another_beginning(self, out: Path, tree: Path) -> None:
        os.utime(tree / "a", (5, 5))
        tarcast.write_tar(tree, out)
        with Archive(out) as archive:
            assert "begins with other bytes" in archive.unused

    def test_another_member_further_on(self, out: Path) -> None:
        with Archive(out) as archive:
            member = archive.find("sub/b")
            with open(out, "r+b") as file:
                file.seek(member.header_offset)
                file.write(bytes(512))
            with pytest.raises(InputError, match="'sub/b' is not where it says"):
                archive.read("sub/b")
            assert archive.read("a") == b"alpha"

    def test_one_that_is_none(self, out: Path) -> None:
        Path(f"{out}.sqlite").write_bytes(b"something else")
        with Archive(out) as archive:  # looked for first; the other one is good
            assert archive.index is not None
        Path(f"{out}.jsonl").unlink()
        with Archive(out) as archive:
            assert archive.index is None
            assert "is no index" in archive.unused


def test_headers_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "x.tar", "wb") as file:
        for name in ("a", "b", "c"):
            info = tarfile.TarInfo(name)
            info.size = 1 << 32
            file.write(info.tobuf())
            file.seek(1 << 32, os.SEEK_CUR)
        file.write(bytes(1024))
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: read.append(count) or pread(fd, count, at))
    with Archive(tmp_path / "x.tar") as archive:
        assert [m.name for m in archive] == ["a", "b", "c"]
    assert sum(read) < 400_000
