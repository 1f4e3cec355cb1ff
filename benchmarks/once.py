"""One call of write_tar that waits for the word, for tools that watch a process from outside.

Started by `attach.Call` as `python -m benchmarks.once JOB`. JOB is JSON, `{"tree", "output", "options"}`; the
output is a path or the number of an inherited descriptor. Calls once unwatched, which warms all caches; says
`ready`; waits for a word; calls again; and says `{"seconds", "entries", "bytes"}` or `{"error": reason}`.
Then it waits for the end of its input: a tool can be gone before this process begins to end.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from typing import Any

import tarcast


def call(tree: str, output: str | int, options: dict[str, Any]) -> tarcast.Result:
    if isinstance(output, str):
        with contextlib.suppress(FileNotFoundError):  # to replace a file takes other calls
            os.unlink(output)
    return tarcast.write_tar(tree, output, **options)


def answer(message: str) -> None:
    os.write(1, f"{message}\n".encode())


def wait() -> bool:
    """Whether a word came before the end of the input; asked for in a way that tarcast asks for nothing."""
    return os.readv(0, [bytearray(64)]) > 0


def main() -> int:
    job = json.loads(sys.argv[1])
    output = job["output"]
    try:
        call(job["tree"], os.dup(output) if isinstance(output, int) else output, job["options"])
    except Exception as error:
        answer(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    gc.collect()
    answer("ready")
    if not wait():
        return 0
    start = time.perf_counter()
    try:
        result = call(job["tree"], output, job["options"])
    except Exception as error:
        answer(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    seconds = time.perf_counter() - start
    answer(json.dumps({"seconds": seconds, "entries": result.entries, "bytes": result.bytes_written}))
    wait()
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # who started this says it
        sys.exit(main())
