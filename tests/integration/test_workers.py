"""Several workers at one archive: it always goes on, and always ends."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarcast
from tests.support.faults import in_child, make_files
from tests.support.files import remove_tree


@pytest.fixture(scope="module")
def medium(scratch: Path) -> Iterator[Path]:
    """Directories of files on both sides of the size from which a pipe takes a body without a copy."""
    directory = scratch / "medium"
    sizes = random.Random(1)
    for i in range(60):
        make_files(
            directory / f"d{i:02}",
            **{f"f{j:02}": b"x" * sizes.choice((10, 100, 3000, 30_000, 66_000, 80_000)) for j in range(40)},
        )
    yield directory
    remove_tree(directory)


class Digest:
    """What is written, without keeping it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, view: memoryview) -> int:
        self.hash.update(view)
        return len(view)


def digest_of(tree: Path | tarcast.Tree, **options: object) -> str:
    sink = Digest()
    tarcast.write_tar(tree, sink, **options)  # type: ignore[call-overload]
    return sink.hash.hexdigest()


def digest_through_a_pipe(tree: Path, **options: object) -> str:
    """The same, through a pipe that is always read. A stuck export ends by a cancel, which fails the test."""
    read_end, write_end = os.pipe()
    found = hashlib.sha256()

    def drain() -> None:
        with open(read_end, "rb", buffering=0) as file:
            while data := file.read(1 << 20):
                found.update(data)

    reader = threading.Thread(target=drain)
    stuck = threading.Event()
    watchdog = threading.Timer(20, stuck.set)
    reader.start()
    watchdog.start()
    try:
        tarcast.write_tar(tree, write_end, cancel=stuck, **options)  # type: ignore[arg-type]
    finally:
        watchdog.cancel()
        os.close(write_end)
        reader.join()
        watchdog.join()
    return found.hexdigest()


@pytest.mark.parametrize("threads", [2, 4, 16])
@pytest.mark.parametrize("memory", [1 << 20, 4 << 20])
def test_archive_goes_on_with_little_memory_and_bodies_that_need_none(
    medium: Path, threads: int, memory: int
) -> None:
    expected = digest_of(medium, threads=1)
    for _ in range(3):  # it depends on who is where when
        assert digest_through_a_pipe(medium, threads=threads, memory_limit=memory) == expected


@pytest.fixture(scope="module")
def large(scratch: Path) -> Iterator[Path]:
    """Directories of files of which some are more than a worker takes at a time."""
    directory = scratch / "large"
    sizes = random.Random(2)
    for i in range(30):
        for below in ("", "s"):
            make_files(
                directory / f"d{i:02}" / below,
                **{f"f{j:02}": b"x" * sizes.choice((1000, 70_000, 400_000, 1_500_000)) for j in range(8)},
            )
    yield directory
    remove_tree(directory)


@pytest.mark.parametrize("threads", [2, 8, 32])
@pytest.mark.parametrize("free", [8, 12, 20])
@pytest.mark.parametrize("align", [False, True])
def test_descriptors_that_are_enough_for_one_worker_are_enough_for_many(
    large: Path, threads: int, free: int, align: bool
) -> None:
    def limited() -> list[str]:
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, lowest + free))
        return [digest_of(large, threads=threads, align=align) for _ in range(3)]

    assert set(in_child(limited)) == {digest_of(large, threads=1, align=align)}


MANY_CORES = """
import os, sys, threading, time
from tarcast._core import Export

def tasks():
    return len(os.listdir("/proc/self/task"))

first = threading.Thread(target=tasks)      # a sanitizer adds one of its own when the first one starts
first.start()
first.join()
time.sleep(0.1)     # a thread that was joined may still be seen for a moment
before = tasks()
end_of_patience = time.monotonic() + 1.5
threads = set()

def write(view):    # slowly, so that all workers but one are sent to rest; then not, so that more are wanted
    if time.monotonic() < end_of_patience:
        time.sleep(0.003)

root = os.open(sys.argv[1], os.O_RDONLY)
roots = [(root, b"%03d/" % i, None, None, None, None, None, None, None) for i in range(40)]
export = Export(roots, write=write, threads=0, cores=500,
                on_tick=lambda: threads.add(tasks()))
print(export.run(), max(threads) - before < 32)
"""


def test_more_cores_than_there_can_be_workers(tmp_path: Path) -> None:
    make_files(tmp_path / "small", **{f"f{i:04}": b"x" * 3000 for i in range(5000)})
    words = [sys.executable, "-c", MANY_CORES, tmp_path / "small"]
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"True True\n"), done.stderr
