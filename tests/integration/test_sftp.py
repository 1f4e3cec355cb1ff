"""Archives by sftp to OpenSSH's server."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarcast import InputError, OutputError, Tree, write_tar
from tests.support.faults import descriptors, nothing_left_behind, tmpfs
from tests.support.sshd import SSHServer

pytest.importorskip("sshfs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    sshd = SSHServer(tmp_path_factory.mktemp("sshd"))
    yield sshd
    sshd.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    root.mkdir()
    (root / "large").write_bytes(os.urandom(3_500_000))
    (root / "small").write_bytes(b"content")
    return root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    (made / "out.tar").write_bytes(b"old")
    return made


def test_an_archive_takes_the_place_of_the_old_one(server: SSHServer, folder: Path, place: Path) -> None:
    expected = io.BytesIO()
    write_tar(folder, expected)
    seen: list[str] = []

    def look(entry: Any) -> Any:
        seen.append(" ".join(sorted(os.listdir(place))))
        assert (place / "out.tar").read_bytes() == b"old"
        return entry

    url = server.url(place / "out.tar")
    write_tar(Tree(folder, map=look), url, storage_options=server.options())
    assert (place / "out.tar").read_bytes() == expected.getvalue()
    assert ".tarcast-" in seen[0]
    assert os.listdir(place) == ["out.tar"]
    with nothing_left_behind(place):  # now that fsspec's own thread is there: connections end
        write_tar(folder, url, storage_options=server.options())


def test_a_failure_leaves_the_old_file(server: SSHServer, folder: Path, place: Path) -> None:
    def fail(entry: Any) -> Any:
        if entry.path == "small":
            raise InputError("gone", path=entry.path)
        return entry

    before = {name for name in descriptors() if "socket" in name}
    with pytest.raises(InputError, match="gone"):
        write_tar(Tree(folder, map=fail), server.url(place / "out.tar"), storage_options=server.options())
    assert (place / "out.tar").read_bytes() == b"old"
    assert os.listdir(place) == ["out.tar"]
    assert len({name for name in descriptors() if "socket" in name}) <= max(2, len(before))


def test_a_full_disk_there_is_told(server: SSHServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    with tmpfs(tmp_path / "full") as full:
        with pytest.raises(OutputError) as caught:
            write_tar(folder, server.url(full / "out.tar"), storage_options=server.options())
        assert caught.value.cleanup_errors == ()
        assert os.listdir(full) == []


@pytest.mark.parametrize("name", ["missing/out.tar", ""])
def test_where_nothing_can_be_written(server: SSHServer, folder: Path, place: Path, name: str) -> None:
    with pytest.raises(OutputError, match="open output") as caught:
        write_tar(folder, server.url(place) + f"/{name}", storage_options=server.options())
    assert caught.value.cleanup_errors == ()
    assert os.listdir(place) == ["out.tar"]


def test_a_key_that_is_refused(server: SSHServer, folder: Path, place: Path) -> None:
    options = server.options() | {"client_keys": [], "agent_path": None}
    with pytest.raises(OutputError, match=r"(?i)permission denied"):
        write_tar(folder, server.url(place / "out.tar"), storage_options=options)
