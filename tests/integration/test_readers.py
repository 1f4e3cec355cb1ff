"""Pipes and sockets whose reader is slow, stalled for good, or gone; file objects that take their time."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.integration.test_interrupt import PATIENCE
from tests.support.faults import Deadline, in_child, make_files, nothing_left_behind
from tests.support.files import remove_tree
from tests.support.judge import assert_same_archive
from tests.support.memory import in_new_process
from tests.support.sanitizer import without_sanitizer

MIB = 1 << 20
BUFFER = 32 << 10  # of a socket, so that a stalled reader soon means a stalled writer
MEMORY_LIMIT = 32 * MIB
LEAST_MEMORY = 1 * MIB
# Besides the chunks: names, stacks, what the interpreter needs to run an export at all.
ALLOWANCE = 8 * MIB
# Of half a second: a look at a flag every 40 ms takes next to nothing, a loop without a wait all of it.
IDLE_SECONDS = 0.05

Ends = Callable[[], tuple[int, int]]


def pipe() -> tuple[int, int]:
    """(write end, read end)"""
    reader, writer = os.pipe()
    return writer, reader


def small(one: socket.socket) -> socket.socket:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return one


def unix() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return small(ours).detach(), small(theirs).detach()


def tcp() -> tuple[int, int]:
    with small(socket.create_server(("127.0.0.1", 0))) as server:
        ours = small(socket.create_connection(server.getsockname()))
        theirs, _ = server.accept()
        return ours.detach(), theirs.detach()


ENDS: dict[str, Ends] = {"pipe": pipe, "unix": unix, "tcp": tcp}
EVERY_END = pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
THREADS = pytest.mark.parametrize("threads", [1, 2, 8])


@pytest.fixture(scope="module")
def trees(scratch: Path) -> Iterator[Path]:
    """`small`: bodies below what a pipe splices; `large`: one far above; `mixed`: both; `holes`: 300 MiB."""
    root = scratch / "readers"
    rng = random.Random(3)
    make_files(root / "small", **{f"f{i:03}": rng.randbytes(30_000 + i) for i in range(140)})
    make_files(root / "large", a=b"a", f=rng.randbytes(6 * MIB + 1), z=b"z")
    make_files(
        root / "mixed",
        **{f"f{i:03}": rng.randbytes(rng.randrange(3_000)) for i in range(300)},
        **{f"f{i:03}~": rng.randbytes(65_534 + i % 4) for i in range(0, 48, 4)},
        **{f"f{i:03}~": rng.randbytes(65_536 + i * 1_000) for i in range(50, 300, 25)},
        g=rng.randbytes(MIB + 1),
    )
    with open(make_files(root / "mixed") / "f100~~", "wb") as file:
        file.truncate(300_000)
    for name, count, size in (("short", 2_000, 60_000), ("long", 60, 3 * MIB)):
        (root / "holes" / name).mkdir(parents=True)
        for i in range(count):
            with open(root / "holes" / name / f"{i}", "wb") as file:
                file.truncate(size)
    yield root
    remove_tree(root)


def archive_of(tree: Path) -> bytes:
    archive = io.BytesIO()
    tarcast.write_tar(tree, archive, threads=1)
    return archive.getvalue()


# ---- slow ----------------------------------------------------------------


def bites(reader: int, seed: int, received: bytearray) -> None:
    """Read in bites of any size, now and then after a pause, some of them longer than the writer's tick."""
    rng = random.Random(seed)
    while True:
        if rng.random() < 0.03:
            time.sleep(rng.choice([0.001, 0.01, 0.06]))
        data = os.read(reader, rng.choice([1, 100, 511, 4_097, 30_000, 65_536, 200_000]))
        if not data:
            return
        received += data


@pytest.fixture(scope="module")
def mixed(trees: Path) -> bytes:
    return archive_of(trees / "mixed")


@EVERY_END
@THREADS
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "nonblocking"])
def test_reader_that_takes_bites_gets_the_same_bytes(
    trees: Path, mixed: bytes, ends: Ends, threads: int, blocking: bool
) -> None:
    with nothing_left_behind():
        writer, reader = ends()
        os.set_blocking(writer, blocking)
        received = bytearray()
        thread = threading.Thread(target=bites, args=(reader, threads, received))
        thread.start()
        try:
            result = tarcast.write_tar(trees / "mixed", writer, threads=threads, cancel=Deadline())
            assert os.get_blocking(writer) is blocking
        finally:
            os.close(writer)
            thread.join()
            os.close(reader)
    assert_same_archive(bytes(received), mixed)
    assert result.bytes_written == len(mixed)


# ---- stalled for good ----------------------------------------------------


def used_when_idle() -> float:
    """Seconds computed in half a second: the first one with next to nothing, or the last of many."""
    used = 0.0
    for _ in range(20):
        before = time.process_time()
        time.sleep(0.5)
        used = time.process_time() - before
        if used < IDLE_SECONDS:
            break
    return used


class Stalled:
    """An export that runs in a thread of its own, to a sink that takes no more."""

    def __init__(self, tree: Path, sink: Any, **options: Any) -> None:
        self.cancel = threading.Event()
        self.error: BaseException | None = None
        self.ended = 0.0
        self._thread = threading.Thread(target=self._run, args=(tree, sink), kwargs=options)
        self._thread.start()

    def _run(self, tree: Path, sink: Any, **options: Any) -> None:
        try:
            tarcast.write_tar(tree, sink, cancel=self.cancel, **options)
        except BaseException as error:
            self.error = error
        self.ended = time.monotonic()

    def end(self) -> float:
        """Cancel it; gives the seconds that this took."""
        assert self._thread.is_alive(), self.error
        begin = time.monotonic()
        self.cancel.set()
        self._thread.join(30)
        assert self.ended, "a cancel was not seen"
        return self.ended - begin


@pytest.mark.parametrize(
    ("end", "tree"), [("pipe", "large"), ("pipe", "holes"), ("unix", "holes"), ("tcp", "holes")]
)
@THREADS
def test_stalled_reader_costs_no_time_until_a_cancel_ends_the_export_at_once(
    trees: Path, end: str, threads: int, tree: str
) -> None:
    """A body of `large` is spliced into a pipe; those of `holes` are copied into anything."""
    with nothing_left_behind():
        writer, reader = ENDS[end]()
        try:
            export = Stalled(trees / tree, writer, threads=threads)
            try:
                used = used_when_idle()
            finally:
                took = export.end()
        finally:
            os.close(writer)
            os.close(reader)
    assert isinstance(export.error, tarcast.Cancelled)
    assert used < IDLE_SECONDS
    assert took < PATIENCE


STALLED_READER = r"""
if arguments["end"] == "pipe":
    reader, writer = os.pipe()
else:
    ours, theirs = socket.socketpair()
    reader, writer = theirs.fileno(), ours.fileno()
found = {}
cancel = threading.Event()

def look():
    found["used"] = wait_until_idle()
    cancel.set()

thread = threading.Thread(target=look)
before = forget_the_peak()
thread.start()
try:
    tarcast.write_tar(arguments["tree"], writer, cancel=cancel, **arguments["options"])
except tarcast.Cancelled:
    thread.join()
    print(json.dumps(found | {"grown": resident("VmHWM") - before}))
"""

LIMITS = pytest.mark.parametrize(
    ("threads", "memory"),
    [(None, LEAST_MEMORY), (2, LEAST_MEMORY), (8, LEAST_MEMORY), (8, MEMORY_LIMIT), (64, LEAST_MEMORY)],
)


@pytest.mark.parametrize("end", ["pipe", "unix"])
@LIMITS
def test_stalled_reader_costs_no_more_memory_than_the_limit(
    trees: Path, end: str, threads: int | None, memory: int
) -> None:
    without_sanitizer()
    options = {"threads": threads, "memory_limit": memory}
    found = in_new_process(STALLED_READER, tree=str(trees / "holes"), end=end, options=options)
    assert found["used"] < IDLE_SECONDS
    assert found["grown"] < memory + ALLOWANCE


STALLED_FILE = r"""
class File:
    def __init__(self):
        self.sum = 0
        self.size = 0
        self.go_on = threading.Event()

    def write(self, view):
        if self.size > arguments["after"]:
            self.go_on.wait()
        self.sum = zlib.crc32(view, self.sum)
        self.size += len(view)

found = {}
file = File()

def look():
    found["used"] = wait_until_idle()
    found["written"] = file.size
    found["stalled"] = resident("VmHWM") - before
    file.go_on.set()

thread = threading.Thread(target=look)
before = forget_the_peak()
thread.start()
tarcast.write_tar(arguments["tree"], file, **arguments["options"])
thread.join()
print(json.dumps(found | {"grown": resident("VmHWM") - before, "sum": file.sum, "size": file.size}))
"""


class Sum:
    """What is written, without keeping it."""

    def __init__(self) -> None:
        self.sum = 0
        self.size = 0

    def write(self, view: memoryview) -> None:
        self.sum = zlib.crc32(view, self.sum)
        self.size += len(view)


@pytest.fixture(scope="module")
def holes(trees: Path) -> Sum:
    sink = Sum()
    tarcast.write_tar(trees / "holes", sink, threads=1)  # type: ignore[arg-type]
    return sink


@LIMITS
def test_file_object_that_blocks_is_waited_for_within_the_memory_limit(
    trees: Path, holes: Sum, threads: int | None, memory: int
) -> None:
    without_sanitizer()
    options = {"threads": threads, "memory_limit": memory}
    found = in_new_process(STALLED_FILE, tree=str(trees / "holes"), after=20 * MIB, options=options)
    assert found["used"] < IDLE_SECONDS
    assert 20 * MIB < found["written"] < 21 * MIB
    assert max(found["stalled"], found["grown"]) < memory + ALLOWANCE
    assert (found["size"], found["sum"]) == (holes.size, holes.sum)


# ---- gone ----------------------------------------------------------------


def gone_after(taken: int, ends: Ends, tree: Path, threads: int) -> tarcast.OutputError:
    """The error of an export whose reader takes so many bytes and then closes."""
    writer, reader = ends()

    def read() -> None:
        left = taken
        while left > 0:
            left -= len(os.read(reader, left))
        os.close(reader)

    thread = threading.Thread(target=read)
    thread.start()
    if not taken:
        thread.join()
    try:
        with pytest.raises(tarcast.OutputError) as caught:
            tarcast.write_tar(tree, writer, threads=threads, cancel=Deadline())
    finally:
        os.close(writer)
        thread.join()
    return caught.value


@EVERY_END
@THREADS
@pytest.mark.parametrize("tree", ["small", "large"])
@pytest.mark.parametrize("taken", [0, 64 << 10, 2 * MIB + 7], ids=["nothing", "64K", "amid"])
def test_reader_that_goes_away_ends_the_export_by_its_errno(
    trees: Path, ends: Ends, threads: int, tree: str, taken: int
) -> None:
    """All of `small` is copied; nearly all of `large` is one body, spliced into a pipe."""
    with nothing_left_behind():
        error = gone_after(taken, ends, trees / tree, threads)
    # A socket closed with unread bytes in it resets the connection.
    allowed = {errno.EPIPE} if ends is pipe else {errno.EPIPE, errno.ECONNRESET}
    assert error.errno in allowed
    assert (error.step, error.exit_code) == ("write", 4)
    assert "went away" in error.hint


@pytest.mark.parametrize("ends", [unix, tcp])
@THREADS
def test_socket_without_a_reader_kills_nobody_who_would_die_of_sigpipe(
    trees: Path, ends: Ends, threads: int
) -> None:
    def export() -> int | None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        return gone_after(0, ends, trees / "small", threads).errno

    assert in_child(export) in (errno.EPIPE, errno.ECONNRESET)
