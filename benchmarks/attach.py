"""A call of write_tar in a process of its own that a tool can be attached to before it begins."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.calls import Options
from benchmarks.measure import ROOT, TIMEOUT, RunFailed, environment


class ToolError(Exception):
    """A tool is not there, or cannot do its work here; the message says why."""


@dataclass(frozen=True)
class Done:
    """What the watched call did. Its time is the tool's as much as its own."""

    seconds: float
    entries: int
    size: int


def hear(stream: IO[bytes], seconds: float) -> bytes:
    """The next line of a child; b"" if it ended, or did not speak in time."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if ready else b""


class Call:
    """Ready to go, once. With the sink "pipe" a `cat` that no tool sees empties the pipe."""

    def __init__(self, tree: Path, sink: str, output: Path, options: Options) -> None:
        self._output, self._cat, inherited = output, None, []
        target: str | int = str(output)
        if sink == "pipe":
            self._cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            assert self._cat.stdin is not None
            target = self._cat.stdin.fileno()
            inherited = [target]
        job = {"tree": str(tree), "output": target, "options": options}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.once", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
            pass_fds=inherited,
        )
        if self._cat is not None and self._cat.stdin is not None:
            self._cat.stdin.close()
        self.pid = self._process.pid

    def __enter__(self) -> Call:
        try:
            said = self._hear()
            if said != b"ready\n":
                self._answer(said)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hear(self) -> bytes:
        assert self._process.stdout is not None
        return hear(self._process.stdout, TIMEOUT)

    def _answer(self, said: bytes) -> dict[str, Any]:
        if not said:
            raise RunFailed("the call ended without a word")
        answer: dict[str, Any] = json.loads(said)
        if "error" in answer:
            raise RunFailed(str(answer["error"]))
        return answer

    def go(self) -> Done:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()
        answer = self._answer(self._hear())
        return Done(float(answer["seconds"]), int(answer["entries"]), int(answer["bytes"]))

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # it died with a word unread
                    stream.close()
        for process in (self._process, self._cat):
            if process is None:
                continue
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._output)
