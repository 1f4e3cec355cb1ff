"""The exporter from a request to the client's file, and everything undone whatever happens."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import DirectoryRef, LocalSession, OverlayRef, SessionManager, Source, TarExporter, progress
from tarcast.exporter import Attestation
from tarcast.session import FILE_SEND
from tarcast.snapshot import Mount
from tests.support.leftovers import left

PAUSE = threading.Event()  # never set
PLATFORMS = (
    b'{"Platforms": [{"ID": "linux/amd64", "Platform": {"os": "linux", "architecture": "amd64"}},'
    b' {"ID": "linux/arm64", "Platform": {"os": "linux", "architecture": "arm64"}}]}'
)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = left()
    yield
    assert left() == before


@pytest.fixture
def tree(place: Path) -> Path:
    top = place / "tree"
    (top / "dir").mkdir(parents=True)
    (top / "dir/file").write_text("content")
    os.link(top / "dir/file", top / "link")
    return top


@pytest.fixture
def manager() -> SessionManager:
    return SessionManager()


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def export(manager: SessionManager, source: Source, attrs: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with LocalSession(manager, out) as session:
        result = TarExporter(manager).resolve(0, attrs).export(source, session.id)
    assert result.bytes_written == len(out.getvalue())
    return out.getvalue()


def written(trees: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    tarcast.write_tar(trees, out, **options)
    return out.getvalue()


def test_an_instance_says_what_it_is(manager: SessionManager) -> None:
    instance = TarExporter(manager).resolve(3, {"platform-split": "true"})
    assert (instance.id, instance.name, instance.type) == (3, "exporting to client tarball", "tar")
    assert instance.attrs == {"platform-split": "true"}


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"dest": "x"}, "unknown attribute 'dest'; known are source-date-epoch, platform-split, attest"),
        ({"source-date-epoch": "1_0"}, "must be whole seconds since 1970, not '1_0'; known"),
        ({"platform-split": "yes"}, "platform-split must be true or false, not 'yes'; known"),
    ],
)
def test_attributes_are_checked(manager: SessionManager, attrs: dict[str, str], words: str) -> None:
    with pytest.raises(tarcast.OptionError, match=words):
        TarExporter(manager).resolve(0, attrs)


def test_one_several_and_no_reference(manager: SessionManager, tree: Path) -> None:
    assert export(manager, Source(ref=DirectoryRef(tree))) == written(tree)
    assert export(manager, Source()) == bytes(1024)
    both = Source(
        refs={"linux/amd64": DirectoryRef(tree), "linux/arm64": None}, metadata={"refs.platforms": PLATFORMS}
    )
    assert names(export(manager, both)) == [
        "linux_amd64",
        *(f"linux_amd64/{name}" for name in names(written(tree))),
        "linux_arm64",
    ]


def test_epochs_of_request_platform_and_source(manager: SessionManager, tree: Path) -> None:
    reference = DirectoryRef(tree)
    plain = Source(ref=reference, metadata={"source.date.epoch": "7"})
    assert export(manager, plain) == written(tree, epoch=7)
    assert export(manager, plain, {"source-date-epoch": "9"}) == written(tree, epoch=9)
    assert export(manager, plain, {"source-date-epoch": ""}) == written(tree)
    both = Source(
        refs={"linux/amd64": reference, "linux/arm64": reference},
        metadata={
            "refs.platforms": PLATFORMS,
            "source.date.epoch": "7",
            "source.date.epoch/linux/arm64": b"8",
        },
    )
    expected = {"linux/amd64": tarcast.Tree(tree, epoch=7), "linux/arm64": tarcast.Tree(tree, epoch=8)}
    assert export(manager, both) == written(expected)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (lambda ref: Source(refs={"a": ref, "b": ref}), "missing platforms mapping"),
        (
            lambda ref: Source(ref=ref, metadata={"refs.platforms": PLATFORMS}),
            "multiple platforms without map",
        ),
        (
            lambda ref: Source(refs={"linux/amd64": ref, "x": ref}, metadata={"refs.platforms": PLATFORMS}),
            "failed to find ref for ID linux/arm64",
        ),
        (lambda ref: Source(refs={"a": ref}, metadata={"refs.platforms": b"{}"}), "is empty"),
        (lambda ref: Source(refs={"a": ref}, metadata={"refs.platforms": b"{"}), "is no JSON"),
        (lambda ref: Source(ref=ref, metadata={"source.date.epoch": "x"}), "must be whole seconds"),
        (lambda ref: Source(ref=ref, refs={"a": ref}), "one reference or several"),
        (lambda ref: Source(ref="path"), "is no reference"),
        (lambda ref: Source(attestations={"x": ["statement"]}), "is no Attestation"),
        (lambda ref: Source(attestations={"x": [Attestation(path="x", ref="path")]}), "is no reference"),
    ],
)
def test_sources_are_checked_before_anything_is_mounted(
    manager: SessionManager, tree: Path, source: Callable[[Any], Source], words: str
) -> None:
    with pytest.raises(tarcast.OptionError, match=words):
        export(manager, source(DirectoryRef(tree)))


def test_sessions_are_found_by_id(manager: SessionManager, tree: Path) -> None:
    instance = TarExporter(manager, session_timeout=0.1).resolve(0)
    with pytest.raises(tarcast.SessionError, match="could not access local files without session"):
        instance.export(Source(), "")
    with pytest.raises(tarcast.SessionError, match=r"no active session for gone within 0\.1 s"):
        instance.export(Source(ref=DirectoryRef(tree)), "vertex:gone")
    for wrong in (float("nan"), float("inf"), -1, True, "5"):
        with pytest.raises(tarcast.OptionError, match="session_timeout must be a number"):
            TarExporter(manager, session_timeout=wrong)  # type: ignore[arg-type]
    with LocalSession(manager, io.BytesIO(), id="me"):
        assert instance.export(Source(), "vertex:me").entries == 0
        with pytest.raises(tarcast.SessionError, match="session me already exists"):
            LocalSession(manager, io.BytesIO(), id="me")
    assert manager.ids() == []


def test_a_session_that_comes_late_is_waited_for(manager: SessionManager) -> None:
    out = io.BytesIO()
    late = threading.Timer(0.1, lambda: LocalSession(manager, out, id="late"))
    late.start()
    TarExporter(manager).resolve(0).export(Source(), "late")
    late.join()
    assert out.getvalue() == bytes(1024)


def test_targets_of_a_session(manager: SessionManager, place: Path, tree: Path) -> None:
    told: list[dict[str, str]] = []
    closed: list[int] = []

    class Once(io.FileIO):
        def close(self) -> None:
            closed.append(1)
            super().close()

    file = Once(place / "opened.tar", "wb")

    def opener(metadata: dict[str, str]) -> Any:
        told.append(metadata)
        return file

    source = Source(ref=DirectoryRef(tree))
    targets = {0: place / "path.tar", 1: opener, 2: lambda metadata: None}
    exporter = TarExporter(manager)
    with LocalSession(manager, targets) as session:
        for number in (0, 1):
            exporter.resolve(number).export(source, session.id)
        with pytest.raises(tarcast.SessionError, match="target already exists"):
            exporter.resolve(2).export(source, session.id)
        with pytest.raises(tarcast.SessionError, match="exporter 9 not found; the client has 0, 1, 2"):
            exporter.resolve(9).export(source, session.id)
    assert told == [{}]
    assert file.closed
    assert closed == [1]
    assert (place / "path.tar").read_bytes() == (place / "opened.tar").read_bytes() == written(tree)
    with (
        LocalSession(manager, io.BytesIO(), methods=()) as session,
        pytest.raises(tarcast.SessionError, match=f"method {FILE_SEND} not supported by the client"),
    ):
        exporter.resolve(0).export(source, session.id)


def test_a_session_that_ends_fails_the_export(manager: SessionManager, tree: Path) -> None:
    class Leaving(io.BytesIO):
        def write(self, data: Any) -> int:
            session.close()
            PAUSE.wait(0.1)  # longer than it takes to be noticed
            return super().write(data)

    (tree / "large").write_bytes(bytes(64 << 20))
    session = LocalSession(manager, Leaving())
    with pytest.raises(tarcast.SessionError, match="ended during the export"):
        TarExporter(manager).resolve(0).export(Source(ref=DirectoryRef(tree)), session.id)


def test_progress_has_a_total_if_it_is_counted(manager: SessionManager, tree: Path) -> None:
    reader, writer = progress.pipe()
    exporter = TarExporter(manager, count_first=True).resolve(0)
    with LocalSession(manager, io.BytesIO()) as session:
        result = exporter.export(Source(ref=DirectoryRef(tree)), session.id, writer)
    writer.close()
    last = [update.status for update in reader][-1]
    assert (last.total, last.current, last.eta) == (result.bytes_written, result.bytes_written, 0)


def test_progress_tells_of_start_end_and_failure(manager: SessionManager, tree: Path) -> None:
    instance = TarExporter(manager).resolve(0)
    source = Source(ref=DirectoryRef(tree))
    reader, writer = progress.pipe()
    with LocalSession(manager, io.BytesIO()) as session, writer:
        instance.export(source, session.id, writer)
    (update,) = list(reader)
    assert (update.id, update.status.done, update.status.error) == ("sending tarball", True, None)
    assert (update.status.entries, update.status.current) == (3, len(written(tree)))

    reader, writer = progress.pipe()
    with LocalSession(manager, "/nowhere/x.tar") as session, writer, pytest.raises(tarcast.OutputError):
        instance.export(source, session.id, writer)
    (update,) = list(reader)
    assert "No such file" in update.status.error


class Slow:
    """A reference that is released, and says so."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.events: list[str] = []

    def mount(self, readonly: bool = True) -> Slow:
        self.events.append("mount")
        return self

    def mounts(self) -> list[Mount]:
        return [Mount("bind", str(self.tree), ["bind", "ro"])]

    def identity_mapping(self) -> None:
        return None

    def release(self) -> None:
        self.events.append("release")


@pytest.mark.parametrize("how", ["cancel", "exception"])
def test_an_ended_export_is_undone(manager: SessionManager, tree: Path, place: Path, how: str) -> None:
    (tree / "large").write_bytes(bytes(64 << 20))
    cancel = threading.Event()

    class Target(io.BytesIO):
        def write(self, data: Any) -> int:
            if how == "exception":
                raise KeyboardInterrupt
            cancel.set()
            PAUSE.wait(0.1)  # longer than it takes to be noticed
            return super().write(data)

    reference = Slow(tree)
    expected = KeyboardInterrupt if how == "exception" else tarcast.Cancelled
    with LocalSession(manager, Target()) as session, pytest.raises(expected):
        TarExporter(manager).resolve(0).export(Source(ref=reference), session.id, cancel=cancel)
    assert reference.events == ["mount", "release"]


def test_async_exports_and_their_cancellation(manager: SessionManager, tree: Path, place: Path) -> None:
    (tree / "large").write_bytes(bytes(64 << 20))
    reference = Slow(tree)
    instance = TarExporter(manager).resolve(0)

    async def run() -> None:
        with LocalSession(manager, place / "out.tar") as session:
            result = await instance.export_async(Source(ref=DirectoryRef(tree)), session.id)
        assert result.bytes_written == (place / "out.tar").stat().st_size
        # nobody's session: the task waits for it until it is cancelled
        task = asyncio.create_task(instance.export_async(Source(ref=reference), "never"))
        while reference.events != ["mount"]:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reference.events == ["mount", "release"]
        with pytest.raises(tarcast.SessionError):
            await instance.export_async(Source(), "")

    asyncio.run(run())


def test_platforms_that_would_share_a_directory_are_refused(manager: SessionManager, tree: Path) -> None:
    mapping = PLATFORMS.replace(b"linux/arm64", b"linux_amd64")
    source = Source(refs={"linux/amd64": None, "linux_amd64": None}, metadata={"refs.platforms": mapping})
    with pytest.raises(
        tarcast.OptionError, match="linux/amd64 and linux_amd64 would both be in linux_amd64/"
    ):
        export(manager, source)


def test_a_file_of_a_callable_is_closed_whatever_fails(manager: SessionManager, place: Path) -> None:
    files = []

    def opener(metadata: dict[str, str]) -> Any:
        files.append((place / "out.tar").open("wb"))
        (place / "gone").rmdir()
        return files[0]

    (place / "gone").mkdir()
    own = Slow(place / "gone")
    own.mounts = lambda: [Mount("bind", str(place / "gone"), ["bind"])]  # type: ignore[method-assign]
    with LocalSession(manager, opener) as session, pytest.raises(tarcast.InputError, match="gone: open tree"):
        TarExporter(manager).resolve(0).export(Source(ref=own), session.id)
    assert files[0].closed


def test_attestations_become_files(manager: SessionManager, tree: Path) -> None:
    one = Attestation(path="sbom.json", predicate_type="https://example.com/sbom", content=b'{"a": 1}')
    attrs = {"source-date-epoch": "5", "attestation-prefix": "att-"}
    refs = {"linux/amd64": OverlayRef([tree])}
    metadata = {"refs.platforms": PLATFORMS.replace(b"linux/arm64", b"other")}
    source = Source(refs={**refs, "other": None}, metadata=metadata, attestations={"linux/amd64": [one]})
    archive = export(manager, source, attrs)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == [
            "linux_amd64",
            "linux_amd64/att-sbom.json",
            "linux_amd64/dir",
            "linux_amd64/dir/file",
            "linux_amd64/link",
            "other",
        ]
        member = tar.getmember("linux_amd64/att-sbom.json")
        assert (member.mode, member.uid, member.mtime) == (0o600, 0, 5)
        statement = tar.extractfile(member)
        assert statement is not None
        assert b'"name": "dir/file"' in statement.read()
    with tarfile.open(
        fileobj=io.BytesIO(export(manager, source, {"source-date-epoch": "20000000000"}))
    ) as tar:  # its nanoseconds have more than 64 bits, and the original wraps around
        assert len({member.mtime for member in tar}) == 1
    flat = export(manager, source, {**attrs, "platform-split": "false"})
    assert "linux_amd64/att-sbom.linux_amd64.json" in names(flat)
