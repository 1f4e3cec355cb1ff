"""Where the time of one call of write_tar goes, by symbol: sampled with `perf record -e cpu-clock`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attach import Call, Done, ToolError
from benchmarks.measure import environment

# Often enough for a third of a second, and no multiple of anything.
HERTZ = 9973
SECONDS = 60.0
HEADINGS = ("symbol", "share", "in")


@dataclass(frozen=True)
class Symbol:
    samples: int
    kernel: bool
    where: str
    name: str


def parse(report: str) -> list[Symbol]:
    """The lines `samples|object|[k] symbol` of perf's report, most samples first."""
    found = []
    for line in report.splitlines():
        fields = [field.strip() for field in line.split("|", 2)]
        if len(fields) != 3 or not fields[0].isdigit():
            continue
        level, _, name = fields[2].partition(" ")
        found.append(Symbol(int(fields[0]), level == "[k]", fields[1], name.strip()))
    return sorted(found, key=lambda symbol: (-symbol.samples, symbol.name))


def lines(symbols: list[Symbol], kernel: bool, top: int) -> list[list[str]]:
    """The rows of one table, the kernel's or the user's; shares are of all samples."""
    everything = sum(symbol.samples for symbol in symbols)
    chosen = [symbol for symbol in symbols if symbol.kernel == kernel][:top]
    return [[s.name, f"{100 * s.samples / everything:.1f}%", s.where] for s in chosen]


def share(symbols: list[Symbol], kernel: bool) -> float:
    everything = sum(symbol.samples for symbol in symbols)
    return 100 * sum(s.samples for s in symbols if s.kernel == kernel) / everything if everything else 0.0


def _last(text: bytes) -> str:
    said = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return said[-1].strip() if said else "it said nothing"


def profile(call: Call, scratch: Path) -> tuple[list[Symbol], Done]:
    """Sample the call alone, in all its threads: perf is told when to begin, and says that it has."""
    perf = shutil.which("perf")
    if perf is None:
        raise ToolError("no perf on PATH; on Debian: apt-get install linux-perf")
    data, said = scratch / "perf.data", scratch / "perf.txt"
    orders, give = os.pipe()
    take, answers = os.pipe()
    with contextlib.ExitStack() as stack:
        for descriptor in (give, take):
            stack.callback(os.close, descriptor)
        try:
            with said.open("wb") as log:
                tool = subprocess.Popen(
                    [
                        *(perf, "record", "-e", "cpu-clock", "-F", str(HERTZ), "-D", "-1"),
                        *("-o", str(data), "--control", f"fd:{orders},{answers}", "-p", str(call.pid)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment(),
                    pass_fds=[orders, answers],
                )
        finally:
            os.close(orders)
            os.close(answers)
        stack.callback(_end, tool)

        def order(word: bytes) -> None:
            try:
                os.write(give, word + b"\n")
                if os.read(take, 64):
                    return
            except OSError:
                pass
            tool.wait()
            raise ToolError(f"perf does not work here: {_last(said.read_bytes())}")

        order(b"enable")
        done = call.go()
        order(b"stop")
        if tool.wait(timeout=SECONDS):
            raise ToolError(f"perf does not work here: {_last(said.read_bytes())}")
    report = subprocess.run(
        [perf, "report", "-i", str(data), "--stdio", "--no-children", "-t", "|", "-F", "sample,dso,sym"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        check=False,
    )
    symbols = parse(report.stdout.decode(errors="replace"))
    if not symbols:
        raise ToolError(f"perf took no samples: {_last(report.stderr)}")
    return symbols, done


def _end(tool: subprocess.Popen[bytes]) -> None:
    if tool.poll() is None:
        tool.kill()
        tool.wait()
