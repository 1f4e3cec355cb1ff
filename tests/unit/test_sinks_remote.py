"""URLs as sinks, by way of fsspec."""

from __future__ import annotations

import builtins
import errno
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarcast import OptionError, OutputError, Tree, write_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    root.mkdir()
    (root / "file").write_bytes(b"content " * 1000)
    return root


@pytest.fixture
def expected(folder: Path) -> bytes:
    archive = io.BytesIO()
    write_tar(folder, archive)
    return archive.getvalue()


class Custom(Exception):
    pass


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


def test_url_gets_the_archive(folder: Path, expected: bytes, memory: Any) -> None:
    result = write_tar(folder, "memory://bucket/out.tar")
    assert memory.cat("/bucket/out.tar") == expected
    assert result.bytes_written == len(expected)


def stop(entry: object) -> None:
    raise Custom


def test_url_that_is_given_up_keeps_its_old_content(folder: Path, memory: Any) -> None:
    with pytest.raises(Custom):
        write_tar(Tree(folder, map=stop), "memory://bucket/new.tar")
    assert memory.find("/") == []
    memory.pipe("/bucket/old.tar", b"old")
    with pytest.raises(Custom):
        write_tar(Tree(folder, map=stop), "memory://bucket/old.tar")
    assert memory.cat("/bucket/old.tar") == b"old"
    assert memory.find("/") == ["/bucket/old.tar"]


def test_url_without_fsspec_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "fsspec":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(OptionError) as caught:
        write_tar(folder, "s3://bucket/out.tar")
    assert str(caught.value) == (
        "s3://bucket/out.tar: writing to a URL needs fsspec; pip install 'tarcast[remote]'"
    )


def test_url_of_an_unknown_protocol_is_refused(folder: Path, memory: Any) -> None:
    with pytest.raises(OptionError, match="nonsense"):
        write_tar(folder, "nonsense://x/out.tar")


class Plain(io.BytesIO):
    """A back end's file that can neither be held back nor given up."""


@pytest.mark.parametrize("fails", [True, False])
def test_url_of_a_back_end_that_cannot_defer_is_removed_on_failure(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(type(memory), "open", lambda *args, **kwargs: Plain())
    monkeypatch.setattr(type(memory), "rm_file", lambda self, path: removed.append(path))
    if fails:
        with pytest.raises(Custom):
            write_tar(Tree(folder, map=stop), "memory://bucket/out.tar")
    else:
        write_tar(folder, "memory://bucket/out.tar")
    assert removed == (["/bucket/out.tar"] if fails else [])


def test_url_leaves_the_shared_back_end_as_it_was(folder: Path, memory: Any) -> None:
    write_tar(folder, "memory://bucket/out.tar")
    with pytest.raises(Custom):
        write_tar(Tree(folder, map=stop), "memory://bucket/new.tar")
    with memory.open("/bucket/other", "wb") as other:
        other.write(b"at once")
    assert memory.cat("/bucket/other") == b"at once"
    assert not memory.transaction.files


class FakeFile:
    """A back end's file whose `step` fails."""

    def __init__(self, step: str, error: BaseException) -> None:
        self.step, self.error = step, error
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: object) -> None:
            self.calls.append(name)
            if name == self.step:
                raise self.error

        return call


@pytest.mark.parametrize("step", ["write", "close", "commit"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), Custom("no")], ids=["OSError", "Custom"])
def test_url_is_given_up_whatever_fails(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    file = FakeFile(step, error)
    monkeypatch.setattr(type(memory), "open", lambda *args, **kwargs: file)
    with pytest.raises((OutputError, Custom)) as caught:
        write_tar(folder, "memory://bucket/out.tar")
    assert "discard" in file.calls
    if isinstance(error, OSError):
        assert type(caught.value) is OutputError
        assert (caught.value.errno, caught.value.path) == (errno.EIO, "memory://bucket/out.tar")
    else:
        assert caught.value is error


def test_url_that_cannot_be_opened_is_an_output_error(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(type(memory), "open", refuse)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, "memory://bucket/out.tar")
    assert (caught.value.step, caught.value.errno) == ("open output", errno.EACCES)
