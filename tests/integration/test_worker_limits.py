"""Many workers within few descriptors, threads and little memory: less is enough, or they say what is not.

And however an export ends, none of them is left, nor anything they had open.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.support.bulk import all_bodies
from tests.support.faults import (
    NOBODY,
    Deadline,
    at,
    in_child,
    leave_descriptors,
    make_files,
    nothing_left_behind,
    threads,
    tmpfs,
)
from tests.support.files import remove_tree
from tests.support.judge import assert_same_archive
from tests.support.sanitizer import without_sanitizer
from tests.support.sinks import SINKS
from tests.support.trees import make_tree

MANY = pytest.mark.parametrize("workers", [8, 64])


@pytest.fixture(scope="module")
def source(scratch: Path) -> Iterator[Path]:
    """Bodies of every size, and 300 that a pipe splices: each of those holds a descriptor while it waits."""
    directory = scratch / "limits"
    directory.mkdir(mode=0o755)
    make_tree(all_bodies(), os.fsencode(directory))
    make_files(directory / "x", **{f"f{i:03}": bytes([i % 256]) * (65_536 + i) for i in range(300)})
    # A chain of directories deeper than there are descriptors in the tests below.
    (directory / ("y/" * 60)).mkdir(parents=True)
    yield directory
    remove_tree(directory)


@pytest.fixture(scope="module")
def expected(source: Path) -> bytes:
    return archive_of(source)


def archive_of(tree: Any, **options: Any) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(tree, archive, **({"threads": 1} | options))
    return archive.getvalue()


# ---- few descriptors -----------------------------------------------------


@pytest.mark.parametrize("sink", ["path", "pipe", "nonblocking", "socket", "memory"])
@pytest.mark.parametrize("left", [8, 16, 50, 150])
@MANY
def test_few_descriptors_are_enough_for_many_workers(
    source: Path, expected: bytes, tmp_path: Path, sink: str, left: int, workers: int
) -> None:
    def archive() -> bytes:
        def write(target: Any) -> None:
            leave_descriptors(left)
            tarcast.write_tar(source, target, threads=workers, cancel=Deadline())

        return SINKS[sink](write, tmp_path)

    assert_same_archive(in_child(archive), expected)


@MANY
@pytest.mark.parametrize("sink", ["path", "pipe"])
def test_few_descriptors_are_enough_for_aligned_bodies(
    source: Path, tmp_path: Path, sink: str, workers: int
) -> None:
    want = archive_of(source, align=True)

    def archive() -> bytes:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        return SINKS[sink](
            lambda target: tarcast.write_tar(source, target, align=True, threads=workers, cancel=Deadline()),
            tmp_path,
        )

    assert_same_archive(in_child(archive), want)


@MANY
@pytest.mark.parametrize("sink", ["path", "pipe", "memory"])
def test_too_few_descriptors_are_an_error_and_no_hang(
    source: Path, tmp_path: Path, sink: str, workers: int
) -> None:
    """From none that is left upwards: first an error that says what to do, and once it goes it goes."""

    def export(left: int) -> tuple[int | None, str]:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)

        def write(target: Any) -> None:
            leave_descriptors(left)
            try:
                tarcast.write_tar(source, target, threads=workers, cancel=Deadline())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        try:
            SINKS[sink](write, tmp_path)
        except tarcast.TarcastError as error:
            return error.errno, error.hint
        return None, ""

    outcomes = [in_child(lambda left=left: export(left)) for left in range(9)]
    errors = [number for number, _ in outcomes]
    assert errors[:3] == [errno.EMFILE] * 3
    assert errors[-1] is None
    assert errors == sorted(errors, key=lambda number: number is None)
    assert all("ulimit" in hint for number, hint in outcomes if number is not None)


# ---- few threads, little memory ------------------------------------------


@MANY
def test_no_thread_to_be_had_is_no_error(source: Path, expected: bytes, tmp_path: Path, workers: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: runs as a user who may start no thread")
    for directory in (source, *source.parents[:2]):
        directory.chmod(0o755)

    def archive() -> bytes:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        with pytest.raises(RuntimeError):  # or this would test nothing
            threading.Thread(target=int).start()
        return archive_of(source, threads=workers, cancel=Deadline())

    assert_same_archive(in_child(archive, user=NOBODY), expected)


def size_now() -> int:
    """Bytes of address space."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@MANY
@pytest.mark.parametrize("left", [1, 4, 12, 40, 120])
def test_little_address_space_is_enough_or_an_error(
    source: Path, expected: bytes, tmp_path: Path, left: int, workers: int
) -> None:
    """A chunk takes a third of a MiB, a thread half of one, and only what the chunks leave."""
    without_sanitizer()
    with open(tmp_path / "out.tar", "wb") as file:

        def export() -> int | None:
            resource.setrlimit(resource.RLIMIT_AS, (size_now() + (left << 20),) * 2)
            try:
                tarcast.write_tar(source, file, threads=workers, cancel=Deadline())
            except MemoryError:
                return errno.ENOMEM
            except tarcast.InputError as error:
                return error.errno
            return None

        with nothing_left_behind():
            outcome = in_child(export)
    if left >= 4:
        assert outcome is None
    if outcome is None:
        assert_same_archive((tmp_path / "out.tar").read_bytes(), expected)
    else:
        assert outcome == errno.ENOMEM
        assert (tmp_path / "out.tar").read_bytes() != expected


# ---- nothing is left -----------------------------------------------------


class Stop(Exception):
    pass


def ends_well(tree: Path, sink: Any, **options: Any) -> None:
    tarcast.write_tar(tree, sink, **options)


def by_a_file_that_changes(tree: Path, sink: Any, **options: Any) -> None:
    path = tree / "x" / "f150"
    content, times = path.read_bytes(), path.stat()
    hook = at("x/f150", lambda: os.truncate(path, 5))
    try:
        with pytest.raises(tarcast.ChangedError):
            tarcast.write_tar(tarcast.Tree(tree, map=hook), sink, **options)
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def by_an_input_error(tree: Path, sink: Any, **options: Any) -> None:
    """Among names that many workers have in hand: one with an attribute that pax cannot hold."""
    with tempfile.TemporaryDirectory(dir=tree.parent) as directory:
        bad = make_files(Path(directory), f=b"f" * 100_000)
        os.setxattr(bad / "f", "user.a=b", b"")
        with pytest.raises(tarcast.InputError, match=r"user\.a=b"):
            tarcast.write_tar({"a": tree, "b": bad, "c": tree}, sink, **options)


def by_a_cancel(tree: Path, sink: Any, **options: Any) -> None:
    with pytest.raises(tarcast.Cancelled):
        tarcast.write_tar({f"{i}": tree for i in range(500)}, sink, cancel=Deadline(0.15), **options)


def by_a_progress(error: BaseException) -> Callable[..., None]:
    def end(tree: Path, sink: Any, **options: Any) -> None:
        def progress(report: tarcast.Progress) -> None:
            if report.seconds > 0.15:
                raise error

        with pytest.raises(type(error)):
            tarcast.write_tar({f"{i}": tree for i in range(500)}, sink, progress=progress, **options)

    return end


def by_a_map(tree: Path, sink: Any, **options: Any) -> None:
    def function(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "x/f200":
            raise Stop
        return entry

    with pytest.raises(Stop):
        tarcast.write_tar(tarcast.Tree(tree, map=function), sink, **options)


ENDS: dict[str, Callable[..., None]] = {
    "well": ends_well,
    "input-error": by_an_input_error,
    "changed": by_a_file_that_changes,
    "cancel": by_a_cancel,
    "progress": by_a_progress(Stop()),
    "interrupt": by_a_progress(KeyboardInterrupt()),
    "map": by_a_map,
}


@MANY
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("sink", ["path", "null", "call"])
@pytest.mark.parametrize("align", [False, True])
def test_nothing_is_left_however_an_export_ends(
    source: Path, tmp_path: Path, end: Callable[..., None], sink: str, workers: int, align: bool
) -> None:
    class Null:
        def write(self, view: memoryview) -> None:
            pass

    target = {"path": tmp_path / "out.tar", "null": os.devnull, "call": Null()}[sink]
    if sink == "path":
        (tmp_path / "out.tar").touch()
    with nothing_left_behind(tmp_path):
        end(source, target, threads=workers, align=align)


@MANY
@pytest.mark.parametrize("align", [False, True])
def test_nothing_is_left_when_the_disk_is_full(
    source: Path, tmp_path: Path, workers: int, align: bool
) -> None:
    with (
        tmpfs(tmp_path / "m", "size=4m") as place,
        nothing_left_behind(place),
        pytest.raises(tarcast.OutputError),
    ):
        tarcast.write_tar(source, place / "out.tar", threads=workers, align=align, cancel=Deadline())


@MANY
def test_nothing_is_left_when_a_write_raises(source: Path, workers: int) -> None:
    for after in (0, 1, 5, 40):
        calls = iter(range(after))

        class Bad:
            def write(self, view: memoryview, calls: Iterator[int] = calls) -> None:
                if next(calls, None) is None:
                    raise Stop

        with nothing_left_behind(), pytest.raises(Stop):
            tarcast.write_tar(source, Bad(), threads=workers, cancel=Deadline())


@MANY
def test_workers_are_there_meanwhile_and_gone_afterwards(source: Path, workers: int) -> None:
    """What the other tests look for is there to be seen."""
    before = len(threads())
    seen: list[int] = []
    sizes: list[int] = []

    class Counting:
        def write(self, view: memoryview) -> None:
            seen.append(len(threads()) - before)
            sizes.append(len(view))

    tarcast.write_tar(source, Counting(), threads=workers)
    assert max(seen) == workers - 1
    tarcast.write_tar(source, Counting(), threads=1)
    assert seen[-1] == 0
    assert len(threads()) == before


def test_more_workers_than_there_may_be_are_as_many_as_may(source: Path, expected: bytes) -> None:
    before = len(threads())
    seen: list[int] = []
    archive = io.BytesIO()

    class Counting:
        def write(self, view: memoryview) -> None:
            seen.append(len(threads()) - before)
            archive.write(view)

    tarcast.write_tar(source, Counting(), threads=10**9)
    assert max(seen) == 63
    assert_same_archive(archive.getvalue(), expected)
