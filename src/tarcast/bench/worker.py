"""One call of a library, timed: `python -m tarcast.bench.worker JOB`, started by `measure`.

JOB is JSON: "call" (a key of `CALLS`), "options", "tree", "output" (a path, or null for standard output),
"empty" (a directory without anything) and "report", a descriptor that gets {"start", "end", "peak"} or
{"error": reason} as JSON. Times are of the clock that all processes share, in seconds; the peak is bytes of
memory above what the interpreter had before the call.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time

from tarcast.bench.processes import high_water

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # (tree, path of the output or descriptor, options)
    Call = Callable[[str, str | int, dict[str, Any]], None]


def _tarcast(tree: str, output: str | int, options: dict[str, Any]) -> None:
    from tarcast import write_tar

    write_tar(tree, output, **options)


def _tarfile(tree: str, output: str | int, options: dict[str, Any]) -> None:
    import tarfile

    mode, more = options["mode"], options["more"]
    if isinstance(output, int) and mode == "w":  # the others seek nowhere, and w|xz takes no level
        mode = "w|"
    with (
        open(output, "wb", closefd=isinstance(output, str)) as file,
        tarfile.open(mode=mode, fileobj=file, **more) as archive,
    ):
        archive.add(tree, arcname=".")


def _fastar(tree: str, output: str | int, options: dict[str, Any]) -> None:
    import importlib

    # It takes paths only; the descriptor's own path opens the same pipe.
    path = f"/proc/self/fd/{output}" if isinstance(output, int) else output
    with importlib.import_module("fastar").open(path, options["mode"]) as archive:
        archive.append(tree, arcname=".")


CALLS: dict[str, Call] = {"tarcast": _tarcast, "tarfile": _tarfile, "fastar": _fastar}


def _timed(job: dict[str, Any]) -> dict[str, float]:
    call, options = CALLS[job["call"]], job["options"]
    call(job["empty"], os.devnull, options)  # what the first call imports is no part of the second
    gc.collect()
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")  # forget the peak so far
    idle = high_water("self")
    start = time.perf_counter()
    call(job["tree"], 1 if job["output"] is None else job["output"], options)
    end = time.perf_counter()
    return {"start": start, "end": end, "peak": max(0, high_water("self") - idle)}


def main() -> None:
    job = json.loads(sys.argv[1])
    with open(job["report"], "w", encoding="ascii") as report:
        try:
            answer: dict[str, Any] = _timed(job)
        except Exception as error:  # whatever it is, the table shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        # Now, so that the end of the interpreter is not waited for.
        os.dup2(2, 1)
        json.dump(answer, report)


if __name__ == "__main__":
    main()
