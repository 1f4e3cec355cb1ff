"""Run one contestant once and measure it: a whole command, or one call inside a running interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.flush import to_disk
from tarcast.bench.processes import PeakWatch, environment, high_water

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 1800.0
SECTOR = 512  # the unit of ru_inblock, whatever the disk's


class RunFailed(Exception):
    """A contestant that is there did not do its work; the message says why."""


@dataclass(frozen=True)
class Sample:
    """One run. `peak` is bytes of resident memory: a command's in all, a library's above its idle worker.

    `read` is bytes that came from storage and not from the page cache; `cloned` bytes of the output that
    share blocks with the tree, None from who was not asked for that.
    """

    seconds: float
    cpu: float
    peak: int | None
    read: int = 0
    cloned: int | None = None


def settle(cold: bool) -> None:
    """Let the last run's output reach the disk, so that writing it back does not slow the next run."""
    os.sync()
    if cold:
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")


def warm(tree: Path, scratch: Path) -> None:
    """Read the tree and write as much as an archive of it, then delete that: the same start for every run.

    A virtual machine cools within seconds: the guest's kernel gives free memory back to the host,
    and getting it again costs a fault a page, which would be charged to whoever comes after a pause.
    """
    if shutil.which("tar") is not None:
        try:
            subprocess.run(["tar", "-cf", scratch, "-C", tree, "."], check=True, env=environment())
        except subprocess.CalledProcessError as error:
            raise RunFailed(f"while warming up: {error}") from error
        finally:
            scratch.unlink(missing_ok=True)


def run_command(
    argv: Sequence[str], sink: str, output: Path, cwd: Path, watch: bool = False, flush: bool = False
) -> Sample:
    """Time a whole process, from before it is started until it is reaped (and `cat` too, with a pipe).

    With `flush` the time ends when `output` is on the disk.

    The kernel's own figure for the peak (`ru_maxrss`) starts at what this interpreter had when it started the
    command, so it is given only where it is above that. With `watch` the peak is read from outside instead.
    """
    with tempfile.TemporaryFile() as errors:
        cat = None
        stdout: Any = subprocess.DEVNULL
        if sink == "pipe":
            with output.open("wb") as target:
                cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=target)
            stdout = cat.stdin
        env, floor = environment(), high_water("self")
        start = time.perf_counter()
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors, env=env, cwd=cwd
            )
        except OSError as error:
            raise RunFailed(f"cannot start: {error}") from error
        finally:
            if cat is not None and cat.stdin is not None:
                cat.stdin.close()
        watcher = PeakWatch([process.pid]) if watch else None
        alarm = threading.Timer(TIMEOUT, os.kill, (process.pid, signal.SIGKILL))
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: what still runs would hold on to the tree and the output
            process.kill()
            process.wait()
            raise
        finally:
            alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        piped = cat.wait() if cat is not None else 0
        if flush and not process.returncode:
            to_disk(output)
        seconds = time.perf_counter() - start
        seen = watcher.stop() if watcher else 0
        if process.returncode or piped:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise RunFailed(f"exit {process.returncode}{f': {said[-1]}' if said else ''}"[:300])
    told = usage.ru_maxrss * 1024
    peak = told if told > floor else (seen or None)
    return Sample(seconds, usage.ru_utime + usage.ru_stime, peak, usage.ru_inblock * SECTOR)


class Worker:
    """A running interpreter that has imported one library; `worker.py` says what they tell each other."""

    def __init__(self, kind: str) -> None:
        self.version = ""
        self.absent: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
        )
        try:
            hello = self._hear()
        except RunFailed as error:
            hello = {"absent": str(error)}
        if "absent" in hello:
            self.absent = str(hello["absent"])
            self.close()
            return
        self.version = str(hello["version"])
        self.idle = int(hello["idle"])

    def _hear(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], TIMEOUT)
        if not ready:
            self._process.kill()
            raise RunFailed(f"no answer within {TIMEOUT:.0f} s")
        line = out.readline()
        if not line:
            raise RunFailed(f"the interpreter ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, tree: Path, sink: str, output: Path, flush: bool = False) -> Sample:
        """One call. Its time excludes everything but the call (and `cat`'s last byte, or the flush)."""
        assert self._process.stdin is not None
        job = {"tree": str(tree), "sink": sink, "output": str(output), "flush": flush}
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RunFailed(f"the interpreter is gone: {error}") from error
        answer = self._hear()
        if "error" in answer:
            raise RunFailed(str(answer["error"])[:300])
        peak = max(0, int(answer["peak"]) - self.idle)
        return Sample(
            answer["seconds"], answer["cpu"], peak, answer["inblock"] * SECTOR, answer.get("cloned")
        )

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                with contextlib.suppress(OSError):  # it died with a job unread
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
