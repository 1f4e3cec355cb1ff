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
from tarcast.sinks import RemoteSink


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


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("s3://bucket/x", "pip install 'tarcast[s3]'"),
        ("sftp://host/x", "pip install 'tarcast[ssh]'"),
        ("gs://bucket/x", "pip install gcsfs"),
        ("box://x/y", "pip install what it names"),
    ],
)
def test_url_without_its_back_end_says_how_to_get_it(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, url: str, hint: str
) -> None:
    import fsspec

    def missing(protocol: str) -> Any:
        raise ImportError("Install the back end")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(OptionError) as caught:
        write_tar(folder, url)
    assert str(caught.value) == f"{url}: Install the back end; {hint}"


def test_options_go_to_the_back_end(folder: Path, memory: Any) -> None:
    write_tar(folder, "memory://x/out.tar", storage_options={"global_store": False})
    assert memory.find("/") == []
    with pytest.raises(OptionError, match="nonsense"):
        write_tar(folder, "sftp://127.0.0.1:1/x", storage_options={"nonsense": object()})


def test_url_of_an_unknown_protocol_is_refused(folder: Path, memory: Any) -> None:
    with pytest.raises(OptionError, match="nonsense"):
        write_tar(folder, "nonsense://x/out.tar")


def test_a_file_system_gets_a_temporary_name_first(folder: Path, expected: bytes, tmp_path: Path) -> None:
    output = tmp_path / "out.tar"
    output.write_bytes(b"old")
    seen: list[list[str]] = []

    def look(entry: Any) -> Any:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        assert output.read_bytes() == b"old"
        return entry

    write_tar(Tree(folder, map=look), RemoteSink(f"file://{output}"))
    assert output.read_bytes() == expected
    assert [name for name in seen[0] if name.startswith(".tarcast-") and name.endswith(".tmp")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out.tar"]


@pytest.mark.parametrize("step", ["open", "write", "mv"])
def test_a_file_system_keeps_the_old_file_whatever_fails(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from fsspec.implementations.local import LocalFileOpener, LocalFileSystem

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    (tmp_path / "out.tar").write_bytes(b"old")
    monkeypatch.setattr(LocalFileOpener if step == "write" else LocalFileSystem, step, fail, raising=False)
    with pytest.raises(OutputError, match="no room") as caught:
        write_tar(folder, RemoteSink(f"file://{tmp_path}/out.tar"))
    assert caught.value.errno == errno.ENOSPC
    assert (tmp_path / "out.tar").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out.tar"]


def test_what_a_file_system_cannot_remove_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    def fail(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "may not")

    monkeypatch.setattr(LocalFileSystem, "rm", fail)
    with pytest.raises(InterruptedError, match="stopped") as caught:
        write_tar(Tree(folder, map=interrupt), RemoteSink(f"file://{tmp_path}/out.tar"))
    (note,) = caught.value.__notes__
    (temporary,) = tmp_path.glob(".tarcast-*.tmp")
    assert note.endswith(f"remove what was uploaded: may not [EACCES]; remove {temporary} there")


def interrupt(entry: object) -> None:
    raise InterruptedError("stopped")


def test_a_directory_is_refused(folder: Path, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}", f"file://{tmp_path}/"):
        with pytest.raises(OutputError, match="is a directory"):
            write_tar(folder, RemoteSink(url))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("protocol", ["file", "local"])
def test_a_local_url_is_a_path(folder: Path, expected: bytes, tmp_path: Path, protocol: str) -> None:
    write_tar(folder, f"{protocol}://{tmp_path}/out.tar")
    assert (tmp_path / "out.tar").read_bytes() == expected


class AtClose(io.BytesIO):
    """A file as adlfs has it: closing it publishes it, discarding it does nothing."""

    published = False
    discarded = False

    def close(self) -> None:
        self.published = True

    def discard(self) -> None:
        self.discarded = True


@pytest.mark.parametrize("fails", [True, False])
def test_what_is_given_up_is_not_closed(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    file = AtClose()
    monkeypatch.setattr(type(memory), "open", lambda *args, **kwargs: file)
    if fails:
        with pytest.raises(Custom):
            write_tar(Tree(folder, map=stop), "memory://bucket/out.tar")
    else:
        write_tar(folder, "memory://bucket/out.tar")
    assert (file.published, file.discarded) == (not fails, fails)


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
    with pytest.raises(OutputError, match=": no") as caught:
        write_tar(folder, "memory://bucket/out.tar")
    assert "discard" in file.calls
    assert caught.value.__cause__ is error
    assert caught.value.path == "memory://bucket/out.tar"
    assert caught.value.errno == getattr(error, "errno", None)


def test_url_that_cannot_be_opened_is_an_output_error(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(type(memory), "open", refuse)
    with pytest.raises(OutputError) as caught:
        write_tar(folder, "memory://bucket/out.tar")
    assert (caught.value.step, caught.value.errno) == ("open output", errno.EACCES)


@pytest.mark.parametrize("step", ["close", "commit"])
def test_an_interrupt_while_a_url_is_published_says_that_it_may_be(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file = FakeFile(step, KeyboardInterrupt())
    monkeypatch.setattr(type(memory), "open", lambda *args, **kwargs: file)
    with pytest.raises(KeyboardInterrupt) as caught:
        write_tar(folder, "memory://bucket/out.tar")
    (note,) = caught.value.__notes__
    assert note.endswith(
        "the last request was cut short; the archive may be under its name, and is whole then"
    )


@pytest.mark.parametrize("done", [True, False])
def test_an_interrupt_while_a_file_is_renamed_says_what_came_of_it(
    folder: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    real = LocalFileSystem.mv

    def move(*args: Any, **options: Any) -> None:
        if done:
            real(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalFileSystem, "mv", move)
    (tmp_path / "out.tar").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt) as caught:
        write_tar(folder, RemoteSink(f"file://{tmp_path}/out.tar"))
    assert (tmp_path / "out.tar").read_bytes() == (expected if done else b"old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out.tar"]
    notes = getattr(caught.value, "__notes__", [])
    assert ["the archive may be under its name, and is whole then" in note for note in notes] == [True] * done
