"""The running interpreter that library contestants live in: imports once, then times one call per job.

Started by `measure.Worker` as `python -m benchmarks.worker KIND`. Speaks JSON, one object a line: first
`{"version": ..., "idle": bytes}` or `{"absent": reason}`, then for each job `{"tree", "sink", "output"}` an
answer `{"seconds", "cpu", "peak"}` or `{"error": reason}`. Ends at the end of its input.

With the sink "file" the call writes `output` itself; with "pipe" it writes to a pipe that `cat` empties
into `output`, and the time ends when `cat` has. Starting `cat` is not timed.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from typing import Any

# (tree, path of the output or descriptor of the pipe). The callee may close the descriptor.
Write = Callable[[str, str | int], object]


def _tarcast() -> tuple[str, Write]:
    module = importlib.import_module("tarcast")
    return str(getattr(module, "__version__", "unknown")), module.write_tar


def _tarcast_one_thread() -> tuple[str, Write]:
    version, write_tar = _tarcast()
    return version, functools.partial(write_tar, threads=1)


def _fastar() -> tuple[str, Write]:
    module = importlib.import_module("fastar")
    version = importlib.import_module("importlib.metadata").version("fastar")

    def write(tree: str, sink: str | int) -> None:
        # It takes paths only; the descriptor's own path opens the same pipe.
        path = sink if isinstance(sink, str) else f"/proc/self/fd/{sink}"
        with module.open(path, "w") as archive:
            archive.append(tree, arcname=".")

    return str(version), write


def _tarfile() -> tuple[str, Write]:
    def write(tree: str, sink: str | int) -> None:
        if isinstance(sink, str):
            with tarfile.open(sink, "w", format=tarfile.PAX_FORMAT) as archive:
                archive.add(tree, arcname=".")
            return
        with (
            open(sink, "wb", closefd=False) as pipe,
            tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(tree, arcname=".")

    return f"python {sys.version.split()[0]}", write


KINDS: dict[str, Callable[[], tuple[str, Write]]] = {
    "tarcast": _tarcast,
    "tarcast-one-thread": _tarcast_one_thread,
    "fastar": _fastar,
    "tarfile": _tarfile,
}


def high_water() -> int:
    """This process's largest resident size so far (or since `reset_high_water`), in bytes."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def reset_high_water() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def call(write: Write, job: dict[str, str]) -> dict[str, float]:
    """Run one job and say how long it took, what CPU it used and how large this process became."""
    gc.collect()
    if job["sink"] == "file":
        reset_high_water()
        cpu, start = cpu_seconds(), time.perf_counter()
        write(job["tree"], job["output"])
        seconds = time.perf_counter() - start
    else:
        with open(job["output"], "wb") as output:
            cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output)
        assert cat.stdin is not None
        descriptor = os.dup(cat.stdin.fileno())
        cat.stdin.close()
        reset_high_water()
        cpu, start = cpu_seconds(), time.perf_counter()
        try:
            write(job["tree"], descriptor)
        finally:
            with contextlib.suppress(OSError):  # closed by the callee
                os.close(descriptor)
            status = cat.wait()
        seconds = time.perf_counter() - start
        if status:
            raise RuntimeError(f"cat ended with {status}")
    return {"seconds": seconds, "cpu": cpu_seconds() - cpu, "peak": high_water()}


def main() -> int:
    # Answers go out on a private descriptor, so that nothing a contestant prints can break the protocol.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)

        def answer(message: dict[str, Any]) -> None:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

        try:
            version, write = KINDS[sys.argv[1]]()
        except Exception as error:  # an import may fail in any way; the table shows how
            answer({"absent": f"{type(error).__name__}: {error}"})
            return 0
        gc.collect()
        reset_high_water()
        answer({"version": version, "idle": high_water()})
        for line in sys.stdin:
            try:
                answer(call(write, json.loads(line)))
            except Exception as error:
                answer({"error": f"{type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
