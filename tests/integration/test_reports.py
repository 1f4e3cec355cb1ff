"""What goes wrong is told in the archive's order, and takes little memory, however much it is."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.support.disks import MakeDirectory
from tests.support.faults import Deadline, in_child, leave_descriptors, make_files, wait_until
from tests.support.memory import in_new_process
from tests.support.sanitizer import without_sanitizer
from tests.support.sinks import through

Write = Callable[..., Any]
THREADS = pytest.mark.parametrize("threads", [1, 4])


@contextlib.contextmanager
def drained() -> Iterator[int]:
    """The end of a pipe to write to; what arrives at the other one is lost."""
    read_end, write_end = os.pipe()
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read_end, 1 << 20), b"")])
    reader.start()
    try:
        yield write_end
    finally:
        os.close(write_end)
        reader.join()
        os.close(read_end)


def spoiled(tree: Path) -> tarcast.Tree:
    """When `a` is about to be written it becomes less than its header will say, and `c` vanishes."""
    make_files(tree, a=b"x" * (1 << 20), b=b"b", c=b"c", d=b"d")

    def spoil(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "a":
            os.truncate(tree / "a", 1000)
            os.unlink(tree / "c")
        return entry

    return tarcast.Tree(tree, map=spoil)


@pytest.fixture(params=["spliced", "shared"])
def write_directly(request: pytest.FixtureRequest, tmp_path: Path, disks: MakeDirectory) -> Write:
    """write(threads=, on_error=) of `spoiled`, whose large body the kernel moves, when its turn has come."""

    def write(**options: Any) -> tarcast.Result:
        if request.param == "spliced":
            with drained() as write_end:
                return tarcast.write_tar(spoiled(tmp_path / "t"), write_end, **options)
        disk = disks("xfs")
        return tarcast.write_tar(spoiled(disk / "t"), disk / "out.tar", align=True, **options)

    return write


@THREADS
def test_first_error_in_the_archive_is_raised_also_if_a_later_one_is_seen_first(
    write_directly: Write, threads: int
) -> None:
    with pytest.raises(tarcast.ChangedError) as caught:
        write_directly(threads=threads)
    assert os.path.basename(caught.value.path or "") == "a"
    assert (caught.value.expected, caught.value.seen) == (1 << 20, 1000)


def test_first_error_in_the_archive_is_raised_also_if_a_later_one_is_seen_once_it_has_ended_the_export(
    disks: MakeDirectory,
) -> None:
    disk = disks("xfs")
    make_files(disk / "t", a=b"x" * (1 << 20), b=b"b", c=b"c")
    threads = len(os.listdir("/proc/self/task"))

    def spoil(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "a":
            os.truncate(disk / "t" / "a", 1000)
        if entry.path == "c":
            wait_until(lambda: len(os.listdir("/proc/self/task")) == threads, "the workers' end")
            os.truncate(disk / "t" / "c", 0)
        return entry

    with pytest.raises(tarcast.ChangedError) as caught:
        tarcast.write_tar(tarcast.Tree(disk / "t", map=spoil), disk / "out.tar", align=True, threads=4)
    assert os.path.basename(caught.value.path or "") == "a"


@THREADS
def test_warnings_come_in_archive_order_also_of_bodies_that_are_written_late(
    write_directly: Write, threads: int
) -> None:
    result = write_directly(threads=threads, on_error="skip")
    assert [os.path.basename(warning.path or "") for warning in result.warnings] == ["a", "c"]


@THREADS
def test_what_is_before_an_error_is_written_first_but_for_a_chunk(tmp_path: Path, threads: int) -> None:
    make_files(tmp_path / "t", a=b"a" * 300_000, b=b"b" * 10, c=b"c")

    def remove(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "a":
            os.unlink(tmp_path / "t" / "c")
        return entry

    def write(target: int) -> None:
        with pytest.raises(tarcast.ChangedError):
            tarcast.write_tar(tarcast.Tree(tmp_path / "t", map=remove), target, threads=threads)

    read_end, write_end = os.pipe()
    got = through(write_end, read_end, write)
    assert 512 + 300_000 <= len(got) <= 512 + 300_032 + 512 + 512
    assert not got.endswith(bytes(1024))


@pytest.mark.parametrize("count", range(22, 35))
@THREADS
def test_bodies_that_wait_leave_a_descriptor_for_a_parent_that_is_written_late(
    tmp_path: Path, count: int, threads: int
) -> None:
    make_files(tmp_path / "t", **{f"a{i:02}": b"x" * 65_536 for i in range(count)})
    make_files(tmp_path / "t" / "z", keep=b"k")

    def export() -> int:
        leave_descriptors(34)
        with drained() as write_end:
            tree = tarcast.Tree(tmp_path / "t", include=["a*", "z/keep"])
            return tarcast.write_tar(tree, write_end, threads=threads, cancel=Deadline()).entries

    assert in_child(export) == count + 2
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 34


MANY_WARNINGS = """
directory = arguments["directory"]
grown = []

class Sink:
    "Names leave themselves out that are links to it: those are the warnings."
    def __init__(self):
        self.file = open(os.path.join(directory, "a"), "r+b", buffering=0)
    def fileno(self):
        return self.file.fileno()
    def write(self, view):
        if not grown:
            before = resident("VmRSS")
            wait_until_idle()
            grown.append(resident("VmRSS") - before)
        return len(view)

result = tarcast.write_tar(directory, Sink(), threads=arguments["threads"])
print(json.dumps([grown[0], len(result.warnings) + result.warnings_lost]))
"""


@pytest.mark.parametrize("threads", [2, 8])
def test_warnings_do_not_pile_up_while_the_output_stalls(tmp_path: Path, threads: int) -> None:
    """A warning takes some 500 bytes here, and an entry that is left out takes no room that might fill up."""
    without_sanitizer()
    count = 40_000
    directory = tmp_path / "t"
    make_files(directory, a=b"", b=b"x" * 600_000)
    for i in range(count):
        os.link(directory / "a", directory / f"n{i:06}{'x' * 100}")
    grown, warnings = in_new_process(MANY_WARNINGS, directory=os.fspath(directory), threads=threads)
    assert warnings == count + 1
    assert grown < 6 << 20
