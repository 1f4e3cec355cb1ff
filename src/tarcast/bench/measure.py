"""One run of one peer: whole commands, or one call in an interpreter of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from dataclasses import dataclass

from .peers import OUT, TREE
from .processes import PeakWatch, Pipeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from .peers import Peer

_DROP_CACHES = "/proc/sys/vm/drop_caches"
_READ = 1 << 20  # bytes that the reader of a pipe takes at once
_SAID = 200  # characters of a complaint that are shown
# How GNU tar and bsdtar end when they have complained before: the reason is in the line above.
_NO_REASON = re.compile(r"failure status due to previous errors|delayed from previous errors")


class PeerFailed(Exception):
    """A peer that is there did not do its work; the message says why."""


@dataclass(frozen=True)
class Sample:
    """One run: seconds, bytes of output, and the peak of memory in bytes where it was looked for.

    The peak is that of all processes of a command; of a call, what it added to its interpreter.
    """

    seconds: float
    size: int
    peak: int | None


@dataclass(frozen=True)
class Place:
    """A directory of ours alone: `path` gets the outputs, `empty` has nothing in it."""

    path: str
    empty: str


def may_drop_caches() -> bool:
    """Whether this process may empty the page cache."""
    return os.access(_DROP_CACHES, os.W_OK)


def drop_caches() -> None:
    with open(_DROP_CACHES, "w", encoding="ascii") as file:
        file.write("3\n")


def use_memory(place: Place, size: int) -> None:
    """Fill a file with `size` bytes and remove it."""
    path = os.path.join(place.path, "memory")
    block = bytes(_READ)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, path)
        file = stack.enter_context(open(path, "wb", buffering=0))
        for _ in range(0, size, _READ):
            file.write(block)


def run(
    peer: Peer, tree: str, place: Place, *, pipe: bool = False, fsync: bool = False, watch: bool = False
) -> Sample:
    """Write `tree` once, to a fresh file that is removed at once, or to a pipe that this process empties.

    Args:
        peer: who does it; it is not absent.
        tree: an absolute path.
        place: where the output goes.
        pipe: to a pipe, in place of a file.
        fsync: the time ends when the file is on the disk.
        watch: look for the peak of commands, which takes time; that of calls is always known.

    Raises:
        PeerFailed: it can't be started, says that it failed, or left no output.
        OSError: there is no room for the output, or the like.
    """
    output = None if pipe else os.path.join(place.path, "output")
    with contextlib.ExitStack() as stack:
        if output is not None:
            stack.callback(_remove, output)
        said = stack.enter_context(_memory("said"))
        report = stack.enter_context(_memory("report"))
        pipeline = stack.enter_context(Pipeline())
        commands, redirected = _commands(peer, tree, output, place, report.fileno())
        if pipe:
            reader, stdout = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, reader)
        else:
            reader, stdout = -1, _sink(output if redirected else None)
        began = time.perf_counter()
        try:
            passed = [report.fileno()] if peer.call else []
            pids = pipeline.start(commands, stdout=stdout, stderr=said, cwd=place.path, pass_fds=passed)
        except OSError as error:
            raise PeerFailed(f"cannot start: {error}") from error
        finally:
            os.close(stdout)
        watcher = PeakWatch(pids) if watch and not peer.call else None
        try:
            size = _drain(reader) if pipe else 0
            drained = time.perf_counter()
            statuses = pipeline.wait()
            ended = time.perf_counter()
        finally:
            peak = watcher.stop() if watcher is not None else 0
        _check(statuses, said)
        if peer.call:  # its interpreter's start and end are left out
            answer = _answer(report)
            began, peak = answer["start"], answer["peak"]
            ended = max(answer["end"], drained) if pipe else answer["end"]
        seconds = ended - began
        if output is not None:
            size, flushed = _finish(output, fsync)
            seconds += flushed
    return Sample(seconds, size, peak or None)


def _commands(
    peer: Peer, tree: str, output: str | None, place: Place, report: int
) -> tuple[list[list[str]], bool]:
    """What is started, and whether the output is where the last of them writes unasked."""
    if peer.call:
        job = {
            "call": peer.call,
            "options": peer.options,
            "tree": tree,
            "output": output,
            "empty": place.empty,
            "report": report,
        }
        # -P: what lies around in a directory is not imported.
        return [[sys.executable, "-P", "-m", "tarcast.bench.worker", json.dumps(job)]], False
    places = {TREE: tree, OUT: "-" if output is None else output}
    commands = [[places.get(word, word) for word in words] for words in peer.commands]
    return commands, OUT not in peer.commands[-1]


def _memory(name: str) -> IO[bytes]:
    """A file that takes no room on any disk."""
    return open(os.memfd_create(name), "w+b")


def _sink(path: str | None) -> int:
    return os.open(os.devnull if path is None else path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _drain(reader: int) -> int:
    """Read until the end; gives how many bytes there were."""
    buffer = bytearray(_READ)
    total = 0
    while count := os.readv(reader, [buffer]):
        total += count
    return total


def _finish(output: str, fsync: bool) -> tuple[int, float]:
    """The size of the output, and how long it took to get it to the disk, if that is asked for."""
    try:
        with open(output, "rb") as file:
            start = time.perf_counter()
            if fsync:
                os.fsync(file.fileno())
            took = time.perf_counter() - start if fsync else 0.0
            return os.fstat(file.fileno()).st_size, took
    except OSError as error:
        raise PeerFailed(f"no output: {error.strerror}") from error


def _check(statuses: list[int], said: IO[bytes]) -> None:
    """Raise PeerFailed if one of a pipeline failed, with the last reason that was given."""
    failed = [status for status in statuses if status]
    if not failed:
        return
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    reasons = [line.strip() for line in lines if line.strip() and not _NO_REASON.search(line)]
    how = f"killed by signal {-failed[-1]}" if failed[-1] < 0 else f"exit status {failed[-1]}"
    raise PeerFailed(f"{how}{f': {reasons[-1][:_SAID]}' if reasons else ''}")


def _answer(report: IO[bytes]) -> dict[str, Any]:
    """What a worker reported."""
    report.seek(0)
    answer: dict[str, Any] = json.loads(report.read())
    if "error" in answer:
        raise PeerFailed(str(answer["error"])[:_SAID])
    return answer
