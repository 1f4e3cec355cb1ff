"""The running interpreter that library contestants live in: imports once, then times one call per job.

Started by `measure.Worker` as `python -m benchmarks.worker KIND`. Speaks JSON, one object a line: first
`{"version": ..., "idle": bytes}` or `{"absent": reason}`, then for each job
`{"tree", "sink", "output", "flush"}` an answer `{"seconds", "cpu", "peak", "inblock", "cloned"}` or
`{"error": reason}`. Ends at the end of its input.

With the sink "file" the call writes `output` itself; with "pipe" it writes to a pipe that `cat` empties
into `output`, and the time ends when `cat` has. Starting `cat` is not timed. With `flush` the time ends when
a file is on the disk, which is no part of the CPU.
"""

from __future__ import annotations

import contextlib
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

from benchmarks.calls import Options, options_of
from benchmarks.flush import to_disk

# (tree, path of the output or descriptor of the pipe). The callee may close the descriptor. Gives the bytes
# that share blocks with the tree, if it was asked to share.
Write = Callable[[str, str | int], int | None]


def _tarcast(options: Options) -> tuple[str, Write]:
    module = importlib.import_module("tarcast")

    def write(tree: str, sink: str | int) -> int | None:
        result = module.write_tar(tree, sink, **options)
        return int(result.bytes_cloned) if options.get("align") else None

    return str(getattr(module, "__version__", "unknown")), write


def _fastar() -> tuple[str, Write]:
    module = importlib.import_module("fastar")
    version = importlib.import_module("importlib.metadata").version("fastar")

    def write(tree: str, sink: str | int) -> int | None:
        # It takes paths only; the descriptor's own path opens the same pipe.
        path = sink if isinstance(sink, str) else f"/proc/self/fd/{sink}"
        with module.open(path, "w") as archive:
            archive.append(tree, arcname=".")
        return None

    return str(version), write


def _tarfile() -> tuple[str, Write]:
    def write(tree: str, sink: str | int) -> int | None:
        if isinstance(sink, str):
            with tarfile.open(sink, "w", format=tarfile.PAX_FORMAT) as archive:
                archive.add(tree, arcname=".")
            return None
        with (
            open(sink, "wb", closefd=False) as pipe,
            tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(tree, arcname=".")
        return None

    return f"python {sys.version.split()[0]}", write


KINDS: dict[str, Callable[[], tuple[str, Write]]] = {"fastar": _fastar, "tarfile": _tarfile}


def load(kind: str) -> tuple[str, Write]:
    """Import what a contestant needs; its version, and how it is called."""
    options = options_of(kind)
    return _tarcast(options) if options is not None else KINDS[kind]()


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


def usage() -> tuple[float, int]:
    """Seconds of CPU and blocks read from storage, so far, by all threads of this process."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime, own.ru_inblock


def call(write: Write, job: dict[str, Any]) -> dict[str, float | None]:
    """Run one job and say how long it took, what CPU it used and how large this process became."""
    gc.collect()
    if job["sink"] == "file":
        reset_high_water()
        before, start = usage(), time.perf_counter()
        cloned = write(job["tree"], job["output"])
        after = usage()
        if job["flush"]:
            to_disk(job["output"])
        seconds = time.perf_counter() - start
    else:
        with open(job["output"], "wb") as output:
            cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output)
        assert cat.stdin is not None
        descriptor = os.dup(cat.stdin.fileno())
        cat.stdin.close()
        reset_high_water()
        before, start = usage(), time.perf_counter()
        try:
            cloned = write(job["tree"], descriptor)
        finally:
            with contextlib.suppress(OSError):  # closed by the callee
                os.close(descriptor)
            status = cat.wait()
        seconds, after = time.perf_counter() - start, usage()
        if status:
            raise RuntimeError(f"cat ended with {status}")
    return {
        "seconds": seconds,
        "cpu": after[0] - before[0],
        "peak": high_water(),
        "inblock": after[1] - before[1],
        "cloned": cloned,
    }


def main() -> int:
    # Answers go out on a private descriptor, so that nothing a contestant prints can break the protocol.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)

        def answer(message: dict[str, Any]) -> None:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

        try:
            version, write = load(sys.argv[1])
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
    with contextlib.suppress(KeyboardInterrupt):  # the runner says it once, for all of us
        sys.exit(main())
