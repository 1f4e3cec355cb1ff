"""An end of an export over the wire dies, stalls, has a full disk, cannot read: both are told, and soon."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast.session import connect
from tarcast.session.wire import health
from tests.support.faults import at, tmpfs, wait_until
from tests.support.sessions import (
    VIAS,
    Export,
    Gate,
    GoClient,
    Serving,
    Trees,
    daemon_process,
    record,
    resident,
    same_again,
    settled,
    stock,
)

HALF = 16 << 20
EITHER_WAY = pytest.mark.parametrize("via", VIAS)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    return Trees(tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def daemon(trees: Trees) -> Iterator[Serving]:
    with trees.serving() as serving:
        yield serving


@pytest.fixture
def serving(daemon: Serving) -> Iterator[Serving]:
    """The daemon; behind the test nothing is left of its fault, and it serves new clients."""
    with daemon.fault():
        yield daemon


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with something in it, alone in its directory."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.tar").write_bytes(b"old")
    return tmp_path / "out/x.tar"


def untouched(target: Path) -> bool:
    return target.read_bytes() == b"old" and os.listdir(target.parent) == [target.name]


# ---- the client ----------------------------------------------------------


@EITHER_WAY
def test_a_client_exits_mid_stream(serving: Serving, via: str) -> None:
    with GoClient(serving.address, "-via", via, "-die-after", HALF, tree="tree") as go:
        assert go.end() == 7
        fault = time.monotonic()
    said, when = serving.log.wait()
    assert "ended during the export" in said
    record(f"client exits, {via}", daemon=said, seconds=max(0, when - fault))


@EITHER_WAY
def test_a_client_is_killed_mid_stream(serving: Serving, via: str) -> None:
    with GoClient(serving.address, "-via", via, "-stop-after", HALF, tree="tree") as go:
        go.wait_stopped()
        fault = time.monotonic()
        go.process.kill()
        said, when = serving.log.wait()
    assert when > fault
    assert "ended during the export" in said
    record(f"client killed, {via}", daemon=said, seconds=when - fault)


@EITHER_WAY
def test_a_full_disk_at_a_client_in_go(serving: Serving, tmp_path: Path, via: str) -> None:
    begun = time.monotonic()
    with (
        tmpfs(tmp_path / "disk", "size=8m") as disk,
        GoClient(serving.address, "-via", via, "-out", disk / "x.tar", tree="tree") as go,
    ):
        told = go.answer()["Error"]
    said, _ = serving.log.wait()
    assert "no space left on device" in told
    assert "no space left on device" in said
    assert "; free some space at the client" in said
    record(f"disk of Go client full, {via}", daemon=said, client=told, seconds=time.monotonic() - begun)


@EITHER_WAY
def test_a_full_disk_at_our_client(serving: Serving, tmp_path: Path, via: str) -> None:
    with tmpfs(tmp_path / "disk", "size=8m") as disk, connect(serving.address, via=via) as client:
        target = disk / "x.tar"
        target.write_bytes(b"old")
        begun = time.monotonic()
        with pytest.raises(tarcast.OutputError, match="No space left on device") as caught:
            client.export("tree", target)
        seconds = time.monotonic() - begun
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.path == str(target)
        assert untouched(target)
        said, _ = serving.log.wait()
        assert "free some space at the client" in said
        client.export("small", target)  # the session goes on
    record(f"disk of our client full, {via}", daemon=said, client=str(caught.value), seconds=seconds)


def test_a_client_refuses(serving: Serving, target: Path) -> None:
    for via in VIAS:
        begun = time.monotonic()
        with GoClient(serving.address, "-via", via, "-refuse", tree="tree") as go:
            told = go.answer()["Error"]
        said, when = serving.log.wait(since=begun)
        assert "target already exists" in told
        assert "target already exists; choose another output at the client" in said
        record(f"Go client refuses, {via}", daemon=said, client=told, seconds=when - begun)
        with connect(serving.address, via=via) as client:
            begun = time.monotonic()
            with pytest.raises(tarcast.SessionError, match="target already exists") as caught:
                client.export("tree", {0: target, 1: lambda metadata: None})
            seconds = time.monotonic() - begun
        said, _ = serving.log.wait("target already exists", begun)
        record(f"our client refuses, {via}", daemon=said, client=str(caught.value), seconds=seconds)
    assert untouched(target)


@EITHER_WAY
def test_our_client_cancels(serving: Serving, target: Path, via: str) -> None:
    cancel = threading.Event()
    with connect(serving.address, via=via) as client:
        export = Export(client, "slow", target, cancel=cancel)
        fault = export.wait_moving()
        cancel.set()
        error = export.failure()
        seconds = time.monotonic() - fault
        said, when = serving.log.wait(since=fault)
        assert type(error) is tarcast.Cancelled
        assert untouched(target)
        client.export("small", target)  # the session goes on
    record(f"our client cancels, {via}", daemon=said, client=str(error), seconds=max(seconds, when - fault))


def test_a_file_that_is_complete_does_not_appear_either_if_the_next_is_not(
    serving: Serving, target: Path
) -> None:
    gate, cancel = Gate(HALF), threading.Event()
    with connect(serving.address) as client:
        export = Export(client, "tree", {0: target, 1: gate}, cancel=cancel)
        assert gate.full.wait(15)
        cancel.set()
        serving.log.wait()
        gate.open.set()
        assert type(export.failure()) is tarcast.Cancelled
    assert untouched(target)


# ---- life and death ------------------------------------------------------


@EITHER_WAY
def test_a_client_that_does_not_answer_is_given_up(
    serving: Serving, via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "EVERY", 0.2)
    monkeypatch.setattr(health, "LIMIT", 0.3)
    with GoClient(serving.address, "-via", via, "-stop-after", HALF, tree="tree") as go:
        go.wait_stopped()
        fault = time.monotonic()
        said, when = serving.log.wait()
        assert "ended during the export: it did not answer 2 health checks" in said
        wait_until(lambda: not serving.manager.ids(), "the end of the session")
        go.go_on()
        told = go.answer()["Error"]
    assert told
    record(f"health check lost, {via}", daemon=said, client=told, seconds=when - fault)


@EITHER_WAY
def test_a_client_that_is_slow_is_not_given_up(
    serving: Serving, trees: Trees, via: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "EVERY", 0.1)
    monkeypatch.setattr(health, "LIMIT", 0.8)
    gate = Gate(HALF)
    with connect(serving.address, via=via) as client:
        export = Export(client, "tree", gate)
        with GoClient(serving.address, "-via", via, "-stop-after", HALF, "-hash", tree="tree") as go:
            go.wait_stopped()
            assert gate.full.wait(15)
            time.sleep(0.6)
            go.go_on()
            answer = go.answer()
        time.sleep(0.8)  # nothing moves, but it answers
        gate.open.set()
        size = export.result.result(15).bytes_written
    result = tarcast.write_tar(trees.big, os.devnull, digest=["sha256"])
    assert not answer["Error"]
    assert answer["Files"][0]["SHA256"] == result.digests["sha256"]
    assert size == gate.taken == result.bytes_written


@EITHER_WAY
def test_the_daemon_is_killed(trees: Trees, target: Path, via: str) -> None:
    before = settled(stock)
    with (
        daemon_process(trees.big) as (process, address),
        connect(address, via=via) as client,
        GoClient(address, "-via", via, "-stop-after", 1 << 20, tree="slow") as go,
    ):
        export = Export(client, "slow", target)
        export.wait_moving()
        go.wait_stopped()
        go.go_on()
        fault = time.monotonic()
        process.kill()
        error = export.failure()
        seconds = time.monotonic() - fault
        told = go.answer()["Error"]
        seconds_of_go = time.monotonic() - fault
        assert type(error) is tarcast.DaemonError
        assert untouched(target)
        with pytest.raises(tarcast.DaemonError):
            client.export("small", target)
    assert told
    assert untouched(target)
    same_again(stock, before)
    record(f"daemon killed, our client, {via}", client=str(error), seconds=seconds)
    record(f"daemon killed, Go client, {via}", client=told, seconds=seconds_of_go)


@EITHER_WAY
def test_there_is_no_daemon(tmp_path: Path, via: str) -> None:
    with pytest.raises(tarcast.DaemonError, match="is the daemon running"):
        connect(f"unix://{tmp_path}/none", via=via).close()


@EITHER_WAY
def test_the_daemon_closes(trees: Trees, target: Path, via: str) -> None:
    with (
        trees.serving() as serving,
        connect(serving.address, via=via) as client,
        GoClient(serving.address, "-via", via, "-stop-after", HALF, tree="tree") as go,
    ):
        export = Export(client, "slow", target)
        export.wait_moving()
        go.wait_stopped()
        fault = time.monotonic()
        serving.daemon.close()
        seconds = time.monotonic() - fault
        said, _ = serving.log.wait("'slow'")
        said_of_go, _ = serving.log.wait("'tree'")
        error = export.failure()
        go.go_on()
        told = go.answer()["Error"]
    assert isinstance(error, tarcast.DaemonError)
    assert "the daemon is shutting down" in str(error)
    assert told
    assert untouched(target)
    record(f"daemon closes, our client, {via}", daemon=said, client=str(error), seconds=seconds)
    record(f"daemon closes, stalled Go client, {via}", daemon=said_of_go, client=told, seconds=seconds)


@EITHER_WAY
def test_a_stalled_client_takes_no_memory(trees: Trees, tmp_path: Path, via: str) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/large").touch()
    os.truncate(tmp_path / "tree/large", 300 << 20)
    with daemon_process(tmp_path / "tree") as (process, address):
        with GoClient(address, "-via", via, "-die-after", 4 << 20, tree="tree") as go:
            go.end()  # what the first export makes once
        before = resident(process.pid)
        with GoClient(address, "-via", via, "-stop-after", 4 << 20, tree="tree") as go:
            go.wait_stopped()
            time.sleep(1.0)
            grown = resident(process.pid) - before
            go.go_on()
            answer = go.answer()
    assert grown < 64 << 20
    assert not answer["Error"]
    assert answer["Files"][0]["Bytes"] > 300 << 20
    record(f"client stalls, {via}: the daemon grows by {grown >> 20} MiB of 300", seconds=0)


# ---- the source ----------------------------------------------------------


class Unmountable:
    """A reference that fails, and tells of a place that is nobody's business."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def mount(self, readonly: bool = True) -> Any:
        raise self._error

    def identity_mapping(self) -> None:
        return None


def failing_sources(top: Path) -> dict[str, tuple[Any, str]]:
    """Of each what fails, and what is to be told."""
    for name in ("shrinks", "gone"):
        (top / name / "dir").mkdir(parents=True)
        (top / name / "a").write_bytes(bytes(8 << 20))
        (top / name / "dir/b").write_bytes(b"b" * 1000)
    shrinks = tarcast.Tree(top / "shrinks", map=at("dir/b", lambda: os.truncate(top / "shrinks/dir/b", 10)))
    gone = tarcast.Tree(top / "gone")
    (top / "gone").rename(top / "elsewhere")
    place = str(top / "lower")
    return {
        "a file shrinks": (shrinks, "dir/b"),
        "the tree is gone": (gone, "No such file or directory"),
        "a mount fails": (
            Unmountable(tarcast.InputError("cannot mount", path=place, step="mount", errno=errno.EIO)),
            "cannot mount",
        ),
        "a mount fails oddly": (Unmountable(OSError(errno.EIO, "odd", place)), "internal error: OSError"),
    }


@EITHER_WAY
def test_a_source_that_fails(trees: Trees, tmp_path: Path, target: Path, via: str) -> None:
    ours, theirs = (failing_sources(tmp_path / name) for name in ("a", "b"))
    exports = {name: source for name, (source, _) in ours.items()}
    exports |= {f"{name} in Go": source for name, (source, _) in theirs.items()}
    with trees.serving(**exports) as serving, serving.fault():
        with connect(serving.address, via=via) as client:
            for name, (_, words) in ours.items():
                begun = time.monotonic()
                with pytest.raises(tarcast.DaemonError, match=words) as caught:
                    client.export(name, target)
                seconds = time.monotonic() - begun
                assert str(tmp_path) not in str(caught.value)
                assert untouched(target)
                said = failure(serving, begun)
                record(f"{name}, our client, {via}", daemon=said, client=str(caught.value), seconds=seconds)
        for name, (_, words) in theirs.items():
            begun = time.monotonic()
            with GoClient(serving.address, "-via", via, tree=f"{name} in Go") as go:
                told = go.answer()["Error"]
            assert words in told
            assert str(tmp_path) not in told
            said = failure(serving, begun)
            seconds = time.monotonic() - begun
            record(f"{name}, Go client, {via}", daemon=said, client=told, seconds=seconds)


@EITHER_WAY
def test_a_session_goes_on_behind_a_source_that_failed(
    trees: Trees, tmp_path: Path, target: Path, via: str
) -> None:
    sources = failing_sources(tmp_path / "a")
    exports = {name: source for name, (source, _) in sources.items()}
    with trees.serving(**exports) as serving, connect(serving.address, via=via) as client:
        for name in exports:
            with pytest.raises(tarcast.DaemonError):
                client.export(name, target)
            client.export("small", target)


def failure(serving: Serving, since: float) -> str:
    """What the log says of an export that failed."""
    said, _ = serving.log.wait("e", since)
    wanted = ("failed", "internal error")
    lines = [text for when, text in serving.log.lines if when >= since and any(w in text for w in wanted)]
    assert lines, said
    return lines[0].splitlines()[-1] if "internal" in lines[0] else lines[0]
