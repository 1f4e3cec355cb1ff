"""What has to work wherever a wheel is installed: a small tree in, a tar out, paths of both kinds."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

import tarcast

LARGE = os.urandom(3 << 20)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, which is the current one; `tree` is in it."""
    top = tmp_path / "tree"
    (top / "dir" / "empty").mkdir(parents=True)
    (top / "dir" / "file").write_bytes(b"content")
    (top / "dir" / ("n" * 120)).write_bytes(b"a long name")
    (top / "large").write_bytes(LARGE)
    os.link(top / "dir" / "file", top / "linked")
    (top / "link").symlink_to("dir/file")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(archive: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        kinds = {member.name: member.type for member in tar}
        assert kinds == {
            "dir": tarfile.DIRTYPE,
            "dir/empty": tarfile.DIRTYPE,
            "dir/file": tarfile.REGTYPE,
            "dir/" + "n" * 120: tarfile.REGTYPE,
            "large": tarfile.REGTYPE,
            "link": tarfile.SYMTYPE,
            "linked": tarfile.LNKTYPE,
        }
        for name, content in {
            "large": LARGE,
            "linked": b"content",
            "dir/" + "n" * 120: b"a long name",
        }.items():
            body = tar.extractfile(name)
            assert body is not None
            assert body.read() == content


@pytest.mark.parametrize("threads", [1, 4])
def test_a_relative_path_to_a_relative_path(here: Path, threads: int) -> None:
    result = tarcast.write_tar("tree", "out.tar", threads=threads, digest="sha256")
    check((here / "out.tar").read_bytes())
    assert result.entries == 7
    assert sorted(os.listdir(here)) == ["out.tar", "tree"]


def test_an_absolute_path_to_a_file_object(here: Path) -> None:
    out = io.BytesIO()
    tarcast.write_tar(here / "tree", out)
    check(out.getvalue())


def test_into_a_pipe(here: Path) -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        status = 1
        try:
            tarcast.write_tar("tree", write_end)
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        check(pipe.read())
    assert os.waitpid(child, 0)[1] == 0


def test_by_chunks(here: Path) -> None:
    check(b"".join(tarcast.iter_tar("tree")))


def test_what_was_written_is_what_is_there(here: Path) -> None:
    tarcast.write_tar("tree", "out.tar.gz")
    assert list(tarcast.verify("out.tar.gz", "tree")) == []
    with tarcast.Archive("out.tar.gz") as archive:
        assert archive.read("dir/file") == b"content"
