"""Ending an export early, by Ctrl-C, a callable or another thread: at once, and nothing is left behind."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast._core import Export
from tests.support.faults import COMMAND, make_files, nothing_left_behind

# Generous, for busy machines; what is promised is about 0.1 s. TARCAST_LATENCIES=FILE collects what it was.
PATIENCE = 1.0
# To give up a file that has grown to a gigabyte takes the kernel a while more, on a busy disk above all.
PATIENCE_WITH_A_DISK = 5.0
THREADS = pytest.mark.parametrize("threads", [1, 2])

DRIVER = r"""
import gzip, io, os, socket, sys, threading, time
import tarcast

scenario, tree, place, threads = sys.argv[1:]
said = False

def ready(progress=None):
    global said
    if not said and (progress is None or progress.seconds > 0.2):
        said = True
        os.write(1, b"ready\n")

def slowly(entry):
    ready()
    time.sleep(0.02)
    return entry

def never(entry):
    ready()
    time.sleep(3600)

class Sleeper:
    def write(self, view):
        ready()
        time.sleep(3600)

class Worker:
    def write(self, view):
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass

class Subclass(io.FileIO):
    pass

def state():
    return sorted(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

read_end, write_end = os.pipe()
ours, theirs = socket.socketpair()
os.mkfifo(place + ".fifo")
trees, sink = tree, place
if scenario == "many":
    trees = {f"copy-{i}": tree for i in range(200)}
elif scenario == "named":
    del os.O_TMPFILE
elif scenario == "digest":
    options = {"digest": ["sha256"]}
elif scenario == "pipe":
    sink = write_end
elif scenario == "nonblocking":
    os.set_blocking(write_end, False)
    sink = write_end
elif scenario == "socket":
    sink = ours.fileno()
elif scenario == "buffered":
    sink = open(write_end, "wb", closefd=False)
elif scenario == "subclass":
    sink = Subclass(write_end, "w", closefd=False)
    os.write(write_end, b"x")
elif scenario == "gzip":
    sink = gzip.GzipFile(fileobj=open(write_end, "wb", closefd=False), mode="wb", compresslevel=0)
elif scenario == "fifo":
    sink = place + ".fifo"
elif scenario == "sleeper":
    sink = Sleeper()
elif scenario == "worker":
    sink = Worker()
elif scenario == "map":
    trees = tarcast.Tree(tree, map=slowly)
elif scenario == "endless map":
    trees = tarcast.Tree(tree, map=never)

digest = ["sha256"] if scenario == "digest" else []
first = threading.Thread(target=int)  # a sanitizer adds one of its own when the first one starts
first.start()
first.join()
while os.path.exists(f"/proc/self/task/{first.native_id}"):  # it is still listed for a moment
    time.sleep(0.001)
before = state()
if scenario in ("fifo", "subclass", "gzip"):
    ready()
try:
    tarcast.write_tar(trees, sink, threads=int(threads), digest=digest, progress=ready)
except KeyboardInterrupt:
    raised = time.monotonic()
    for _ in range(100):
        if state() == before:
            break
        time.sleep(0.001)
    else:
        print("left behind:", before, state(), flush=True)
        os._exit(1)
    print(raised, flush=True)
    os._exit(130)
print("not interrupted", flush=True)
os._exit(1)
"""


@dataclass
class Ended:
    status: int
    said: str
    raised_after: float | None
    exited_after: float


def interrupt(words: list[Any], number: int = signal.SIGINT, **options: Any) -> Ended:
    """Start `words`, wait until the process says "ready", send it the signal, and see how long it takes."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, **options)
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.2)  # so that what blocks has begun to
        sent = time.monotonic()
        process.send_signal(number)
        status = process.wait()  # without a timeout, since with one it sleeps in between
        exited = time.monotonic()
        said = process.stdout.read().decode()
    finally:
        process.kill()
        process.wait()
        watchdog.cancel()
        watchdog.join()
        process.stdout.close()
    try:
        raised_after = float(said) - sent
    except ValueError:
        raised_after = None
    return Ended(status, said, raised_after, exited - sent)


def collect(name: str, ended: Ended) -> None:
    path = os.environ.get("TARCAST_LATENCIES")
    if path:
        with open(path, "a") as file:
            inside = "" if ended.raised_after is None else f"{ended.raised_after * 1000:.1f}"
            file.write(f"{name}\t{inside}\t{ended.exited_after * 1000:.1f}\n")


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`many`: 5,000 small files; `huge`: one of 16 GiB, all hole; `some`: enough to fill any pipe."""
    root = tmp_path_factory.mktemp("trees")
    make_files(root / "many", **{f"f{i:04}": b"x" * 100 for i in range(5000)})
    make_files(root / "some", **{f"f{i:02}": b"x" * 100_000 for i in range(60)})
    (root / "huge").mkdir()
    with open(root / "huge" / "f", "wb") as file:
        file.truncate(16 << 30)
    return root


@pytest.mark.parametrize(
    ("tree", "scenario"),
    [
        ("many", "many"),
        ("huge", "file"),
        ("huge", "named"),
        ("huge", "digest"),
        ("huge", "pipe"),
        ("some", "pipe"),
        ("some", "nonblocking"),
        ("some", "socket"),
        ("some", "buffered"),
        ("some", "subclass"),
        ("some", "gzip"),
        ("some", "fifo"),
        ("huge", "sleeper"),
        ("huge", "worker"),
        ("many", "map"),
        ("many", "endless map"),
    ],
)
@THREADS
def test_interrupt_ends_at_once_and_leaves_nothing(
    trees: Path, tmp_path: Path, tree: str, scenario: str, threads: int
) -> None:
    place = tmp_path / "out.tar"
    ended = interrupt([sys.executable, "-c", DRIVER, scenario, trees / tree, place, str(threads)])
    assert (ended.status, ended.raised_after is not None) == (130, True), ended.said
    collect(f"{scenario} ({tree}), threads={threads}", ended)
    on_disk = scenario in ("file", "named", "digest")
    assert ended.exited_after < (PATIENCE_WITH_A_DISK if on_disk else PATIENCE)
    assert os.listdir(tmp_path) == ["out.tar.fifo"]


@THREADS
@pytest.mark.parametrize("tree", ["huge", "some"])
def test_interrupted_command_ends_at_once_with_one_line(
    trees: Path, tmp_path: Path, tree: str, threads: int
) -> None:
    # `some` goes to a pipe that nobody reads, `huge` to a file.
    reader, writer = os.pipe()
    output = ["-o", "-"] if tree == "some" else ["-o", os.fspath(tmp_path / "out.tar")]
    words = [*COMMAND, "create", trees / tree, *output, "--threads", str(threads), "--progress", "json"]
    process = subprocess.Popen(words, stdout=writer, stderr=subprocess.PIPE)
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        os.close(writer)
        assert process.stderr is not None
        assert b"progress" in process.stderr.readline()
        time.sleep(0.3)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        status = process.wait()
        took = time.monotonic() - sent
        last = process.stderr.read().splitlines()[-1]
    finally:
        process.kill()
        process.wait()
        watchdog.cancel()
        watchdog.join()
        process.stderr.close()
        os.close(reader)
    collect(
        f"command, {output[1] if tree == 'some' else 'file'} ({tree}), threads={threads}",
        Ended(0, "", None, took),
    )
    assert status == 130
    assert b'"interrupted"' in last
    assert took < (PATIENCE if tree == "some" else PATIENCE_WITH_A_DISK)
    assert os.listdir(tmp_path) == []


@THREADS
def test_kill_leaves_no_file(trees: Path, tmp_path: Path, threads: int) -> None:
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except (AttributeError, OSError) as error:
        pytest.skip(f"files have names from the start here: {error}")
    words = [sys.executable, "-c", DRIVER, "file", trees / "huge", tmp_path / "out.tar", str(threads)]
    ended = interrupt(words, signal.SIGKILL)
    assert ended.status == -signal.SIGKILL
    assert os.listdir(tmp_path) == ["out.tar.fifo"]


# ---- callables that raise ------------------------------------------------


class Stop(Exception):
    pass


@pytest.fixture
def stalled() -> Iterator[int]:
    """The write end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    yield writer
    os.close(reader)
    os.close(writer)


def raising(error: BaseException, after: int = 0) -> Callable[[Any], Any]:
    calls = iter(range(after))

    def call(argument: Any) -> Any:
        if next(calls, None) is None:
            raise error
        return argument

    return call


@THREADS
@pytest.mark.parametrize(
    "error", [Stop("x"), KeyboardInterrupt(), SystemExit(3), OSError(5, "mine"), MemoryError()]
)
def test_exception_of_a_map_comes_out_unchanged(
    trees: Path, tmp_path: Path, error: BaseException, threads: int
) -> None:
    tree = tarcast.Tree(trees / "some", map=raising(error, after=30))
    with nothing_left_behind(tmp_path), pytest.raises(type(error)) as caught:
        tarcast.write_tar(tree, tmp_path / "out.tar", threads=threads, on_error="skip")
    assert caught.value is error


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt])
def test_exception_of_a_map_does_not_wait_for_a_reader(tmp_path: Path, kind: type[BaseException]) -> None:
    # The name in hand is not in turn yet: workers are still at the body before it when its reader stalls.
    make_files(tmp_path / "t", **{f"g{i}": b"x" for i in range(9)})
    with open(tmp_path / "t" / "f", "wb") as file:
        file.truncate(200 << 20)
    for _ in range(3):
        reader, writer = socket.socketpair()
        stalled = threading.Event()
        ended = threading.Event()
        raised: list[float] = []

        def drain(reader: socket.socket = reader, stalled: Any = stalled, ended: Any = ended) -> None:
            while not stalled.is_set():
                reader.recv(1 << 16)
            ended.wait(10)
            while reader.recv(1 << 16):
                pass

        def stop(entry: Any, stalled: Any = stalled, raised: list[float] = raised) -> Any:
            if entry.path == "g3":
                stalled.set()
                time.sleep(0.3)  # until all that may be held in memory is
                raised.append(time.monotonic())
                raise kind
            return entry

        thread = threading.Thread(target=drain)
        thread.start()
        try:
            with pytest.raises(kind):
                tarcast.write_tar(tarcast.Tree(tmp_path / "t", map=stop), writer.fileno(), threads=4)
            took = time.monotonic() - raised[0]
        finally:
            ended.set()
            writer.close()
            thread.join()
            reader.close()
        assert took < PATIENCE


@THREADS
@pytest.mark.parametrize("after", [0, 1])
def test_exception_of_a_progress_callable_comes_out_unchanged(
    trees: Path, tmp_path: Path, after: int, threads: int
) -> None:
    error = Stop("enough")
    with nothing_left_behind(tmp_path), pytest.raises(Stop) as caught:
        tarcast.write_tar(
            trees / "huge", tmp_path / "out.tar", progress=raising(error, after), threads=threads
        )
    assert caught.value is error


@THREADS
def test_exception_of_a_progress_callable_ends_a_stalled_export(
    trees: Path, stalled: int, threads: int
) -> None:
    raised: list[float] = []

    def progress(report: tarcast.Progress) -> None:
        if report.seconds > 0.15:
            raised.append(time.monotonic())
            raise Stop

    with nothing_left_behind(), pytest.raises(Stop):
        tarcast.write_tar(trees / "some", stalled, progress=progress, threads=threads)
    assert time.monotonic() - raised[0] < PATIENCE


@pytest.mark.parametrize("after", [0, 3])
def test_exception_of_a_file_object_comes_out_unchanged(trees: Path, after: int) -> None:
    class Bad(io.RawIOBase):
        calls = raising(Stop("full"), after)

        def writable(self) -> bool:
            return True

        def write(self, view: Any) -> int:
            type(self).calls(view)
            return len(view)

    with nothing_left_behind(), pytest.raises(Stop, match="full"):
        tarcast.write_tar(trees / "some", Bad())


def test_os_error_of_a_file_object_is_an_output_error(trees: Path) -> None:
    class Bad:
        name = "the far side"
        write = staticmethod(raising(OSError(28, "No space left on device")))

    with pytest.raises(tarcast.OutputError) as caught:
        tarcast.write_tar(trees / "some", Bad())
    assert (caught.value.errno, caught.value.path) == (28, "the far side")


def test_last_progress_report_that_raises_leaves_no_file(trees: Path, tmp_path: Path) -> None:
    def progress(report: tarcast.Progress) -> None:
        if report.done:
            raise Stop

    with pytest.raises(Stop):
        tarcast.write_tar(trees / "some", tmp_path / "out.tar", progress=progress)
    assert os.listdir(tmp_path) == []


# ---- signals that only pass through --------------------------------------


@THREADS
@pytest.mark.parametrize("ends", ["pipe", "socket"])
def test_signals_that_are_handled_do_not_disturb(trees: Path, ends: str, threads: int) -> None:
    plain = io.BytesIO()
    tarcast.write_tar(trees / "some", plain)
    if ends == "pipe":
        reader, writer = os.pipe()
    else:
        a, b = socket.socketpair()
        reader, writer = a.detach(), b.detach()
    received = bytearray()

    def read() -> None:
        while data := os.read(reader, 20_000):
            received.extend(data)
            time.sleep(0.001)

    handled: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: handled.append(number))
    thread = threading.Thread(target=read)
    thread.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        tarcast.write_tar(trees / "some", writer, threads=threads)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(writer)
        thread.join()
        os.close(reader)
    assert len(handled) > 3
    assert bytes(received) == plain.getvalue()


# ---- cancel --------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sink", ["pipe", "file"])
def test_cancel_from_another_thread_takes_less_than_100_ms(
    trees: Path, tmp_path: Path, stalled: int, sink: str, threads: int
) -> None:
    took = []
    for _ in range(3):  # the best of three, since other processes may keep us waiting
        root = os.open(trees / "huge", os.O_RDONLY)
        out = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        cancelled: list[float] = []
        try:
            to = stalled if sink == "pipe" else out
            export = Export([(root, b"", *[None] * 7)], fd=to, threads=threads)

            def cancel(export: Export = export, cancelled: list[float] = cancelled) -> None:
                time.sleep(0.2)
                cancelled.append(time.monotonic())
                export.cancel()

            with nothing_left_behind():
                thread = threading.Thread(target=cancel)
                thread.start()
                complete = export.run()
                ended = time.monotonic()
                thread.join()
        finally:
            os.close(root)
            os.close(out)
        assert complete is False
        assert export.cancelled
        assert export.failure is None
        took.append(ended - cancelled[0])
    collect(f"cancel, {sink}, threads={threads}", Ended(0, "", min(took), max(took)))
    assert min(took) < 0.1


def test_cancel_before_the_start_ends_the_run(trees: Path, stalled: int) -> None:
    root = os.open(trees / "some", os.O_RDONLY)
    try:
        export = Export([(root, b"", *[None] * 7)], fd=stalled)
        export.cancel()
        assert export.run() is False
    finally:
        os.close(root)
