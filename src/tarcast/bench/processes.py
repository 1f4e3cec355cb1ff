"""Processes that are measured: started in a group of their own, and gone at the end of a block."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType, TracebackType
    from typing import IO, Any, Self

# Set by the user for other purposes, these would change what a peer writes.
_UNWANTED = ("SOURCE_DATE_EPOCH", "TAR_OPTIONS", "TAPE", "POSIXLY_CORRECT", "GZIP", "XZ_OPT", "XZ_DEFAULTS")
_LOOK_SECONDS = 0.001


def environment() -> dict[str, str]:
    """What a peer finds in its environment."""
    return {key: value for key, value in os.environ.items() if key not in _UNWANTED}


def high_water(pid: int | str) -> int:
    """The largest resident size so far of a running process, or of "self", in bytes; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and its like wait until the end of the block: who undoes things then knows what it began."""
    came: list[int] = []
    previous: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                handler = signal.getsignal(number)
                if callable(handler):  # else it kills at once or is ignored, and so it shall stay
                    previous[number] = handler
                    signal.signal(number, note)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


class Pipeline:
    """Commands connected by pipes, in one process group; the end of a `with` block kills what is left."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        commands: Sequence[Sequence[str]],
        *,
        stdout: int,
        stderr: IO[bytes],
        cwd: str,
        pass_fds: Sequence[int] = (),
    ) -> list[int]:
        """Start them all; gives their process ids.

        Args:
            commands: the words of each.
            stdout: a descriptor for the last one.
            stderr: where all of them complain.
            cwd: where they run.
            pass_fds: descriptors that each of them gets, by the same number.

        Raises:
            OSError: one of them can't be started.
        """
        source: Any = subprocess.DEVNULL
        with signals_held():
            for number, words in enumerate(commands, 1):
                process = subprocess.Popen(
                    words,
                    stdin=source,
                    stdout=stdout if number == len(commands) else subprocess.PIPE,
                    stderr=stderr,
                    cwd=cwd,
                    env=environment(),
                    pass_fds=pass_fds,
                    process_group=self._processes[0].pid if self._processes else 0,
                )
                self._processes.append(process)
                if source is not subprocess.DEVNULL:
                    source.close()
                source = process.stdout
        return [process.pid for process in self._processes]

    def wait(self) -> list[int]:
        """Their exit statuses, once all have ended; below zero: the signal that ended one."""
        return [_reaped(process) for process in self._processes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with signals_held():
            if any(process.returncode is None for process in self._processes):
                # The first may be gone: its number stands for the group as long as anybody is in it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._processes[0].pid, signal.SIGKILL)
            for process in self._processes:
                _reaped(process)
                if process.stdout is not None:
                    process.stdout.close()


def _reaped(process: subprocess.Popen[bytes]) -> int:
    if process.returncode is None:
        # Not by its `wait`, which gives a process another quarter of a second at Ctrl-C.
        _, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return int(process.returncode)


class PeakWatch:
    """Reads the peaks of processes and their children, once a millisecond; for untimed runs only.

    The kernel's own figure (`ru_maxrss`) begins at what this interpreter had when it started them.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._peaks: dict[int, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The sum of the peaks, in bytes; 0 if nobody was seen."""
        self._done.set()
        self._thread.join()
        return sum(self._peaks.values())

    def _run(self) -> None:
        while not self._done.is_set():
            for pid in self._pids:
                self._look(pid)
            self._done.wait(_LOOK_SECONDS)

    def _look(self, pid: int) -> None:
        self._peaks[pid] = max(self._peaks.get(pid, 0), high_water(pid))
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
                found = children.read().split()
        except OSError:  # it is gone, or the kernel has no such file
            return
        for child in found:
            self._look(int(child))
