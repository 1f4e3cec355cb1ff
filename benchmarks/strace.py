"""Count the system calls of one write_tar with `strace -f -c`, and none of the interpreter around it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attach import Call, Done, ToolError, hear
from benchmarks.measure import environment

ATTACH_SECONDS = 20.0
HEADINGS = ("call", "calls", "per file", "per MiB", "errors")
# What `once` does while the tool watches: waits, as tarcast never does, and writes one answer.
WAITS, ANSWERS = "readv", "write"


@dataclass(frozen=True)
class Count:
    name: str
    calls: int
    errors: int


def parse(summary: str) -> list[Count]:
    """The lines of strace's own table, most calls first, without its total.

    A line has a share, seconds, microseconds a call, calls, errors if there are any, and a name.
    """
    found = []
    for line in summary.splitlines():
        words = line.split()
        if len(words) not in (5, 6) or not words[0].replace(".", "").isdigit() or words[-1] == "total":
            continue
        found.append(Count(words[-1], int(words[3]), int(words[4]) if len(words) == 6 else 0))
    return sorted(found, key=lambda count: (-count.calls, count.name))


def without_own(counts: list[Count]) -> list[Count]:
    """The counts without those of the process around the call."""
    left = [Count(c.name, c.calls - (c.name == ANSWERS), c.errors) for c in counts if c.name != WAITS]
    return sorted((c for c in left if c.calls > 0), key=lambda count: (-count.calls, count.name))


def lines(counts: list[Count], done: Done, entries: int) -> list[list[str]]:
    """The rows of the table, and their sum. `entries` is the tree's names of any type."""

    def row(name: str, calls: int, errors: int) -> list[str]:
        per_file, per_mib = calls / max(1, entries), calls / max(1, done.size) * 2**20
        return [name, f"{calls:,}", f"{per_file:.3f}", f"{per_mib:.2f}", f"{errors:,}" if errors else "-"]

    rows = [row(c.name, c.calls, c.errors) for c in counts]
    return [*rows, row("all", sum(c.calls for c in counts), sum(c.errors for c in counts))]


def program() -> str:
    found = shutil.which("strace")
    if found is None:
        raise ToolError("no strace on PATH; on Debian and Ubuntu: apt-get install strace")
    return found


def count(call: Call, scratch: Path) -> tuple[list[Count], Done]:
    """Watch the call from its first system call to its last, in all its threads."""
    summary = scratch / "strace.txt"
    tool = subprocess.Popen(
        [program(), "-f", "-c", "-o", str(summary), "-p", str(call.pid)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert tool.stderr is not None
    try:
        said = b""
        while b" attached" not in said:
            line = hear(tool.stderr, ATTACH_SECONDS)
            if not line:
                words = said.decode(errors="replace").strip() or "it said nothing"
                raise ToolError(f"strace cannot watch another process here, try as root: {words}")
            said += line
        done = call.go()
        tool.send_signal(signal.SIGINT)  # it lets go, and writes what it counted
        tool.communicate(timeout=ATTACH_SECONDS)
    finally:
        if tool.poll() is None:
            tool.kill()
            tool.wait()
        tool.stderr.close()
    return without_own(parse(summary.read_text(encoding="utf-8", errors="replace"))), done
