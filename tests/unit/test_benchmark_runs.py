"""What is inside the time of one run, and what is left of it when it is broken off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure, worker
from benchmarks.flush import to_disk


@pytest.mark.parametrize("flush", [False, True])
def test_output_is_flushed_inside_the_time_only_where_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flush: bool
) -> None:
    output, flushed = tmp_path / "x", []

    def note(path: Any) -> None:
        flushed.append(Path(path))
        clock[0] += 100

    clock = [0.0]
    monkeypatch.setattr(measure, "to_disk", note)
    monkeypatch.setattr(worker, "to_disk", note)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    command = measure.run_command(["true"], "file", output, tmp_path, flush=flush)
    job = {"tree": "", "sink": "file", "output": str(output), "flush": flush}
    called = worker.call(lambda tree, sink: 7, job)
    assert flushed == ([output, output] if flush else [])
    assert [command.seconds, called["seconds"]] == ([100, 100] if flush else [0, 0])
    assert called["cloned"] == 7


def test_a_flush_waits_for_that_very_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    to_disk(tmp_path / "x")
    assert synced == [(tmp_path / "x").stat().st_ino]


def test_a_command_does_not_outlive_an_interrupted_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*words, **options))
        return started[-1]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure.subprocess, "Popen", remember)
    monkeypatch.setattr(measure.os, "wait4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure.run_command(
            [sys.executable, "-c", "import time; time.sleep(60)"], "file", tmp_path / "x", tmp_path
        )
    assert [process.returncode for process in started] == [-9]
