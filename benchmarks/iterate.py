"""What iterating costs: `iter_tar` and `aiter_tar` beside `write_tar` to a file object, in turn.

python -m benchmarks.iterate [--work small] [--work mid] [--dir DIR] [--rounds 7]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tarcast
from benchmarks.workloads import TREES, make
from tarcast.bench.table import table

HEADINGS = ("work, call", "median s", "min", "max", "GB/s", "against write_tar")


class Counter:
    """A file object that takes everything and keeps its length."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, view: memoryview) -> int:
        self.size += len(view)
        return len(view)


def write(tree: Path) -> int:
    counter = Counter()
    tarcast.write_tar(tree, counter)
    return counter.size


def iterate(tree: Path, copy: bool) -> int:
    return sum(len(chunk) for chunk in tarcast.iter_tar(tree, copy=copy))


def iterate_async(tree: Path, copy: bool) -> int:
    async def consume() -> int:
        size = 0
        async for chunk in tarcast.aiter_tar(tree, copy=copy):
            size += len(chunk)
        return size

    return asyncio.run(consume())


CALLS: dict[str, Callable[[Path], int]] = {
    "write_tar": write,
    "iter_tar": lambda tree: iterate(tree, True),
    "iter_tar, copy=False": lambda tree: iterate(tree, False),
    "aiter_tar": lambda tree: iterate_async(tree, True),
    "aiter_tar, copy=False": lambda tree: iterate_async(tree, False),
}


def measure(tree: Path, rounds: int) -> list[list[str]]:
    seconds: dict[str, list[float]] = {name: [] for name in CALLS}
    size = CALLS["write_tar"](tree)  # a warm-up
    for _ in range(rounds):
        for name, call in CALLS.items():
            start = time.perf_counter()
            if call(tree) != size:
                raise SystemExit(f"{name} gave another archive")
            seconds[name].append(time.perf_counter() - start)
    usual = statistics.median(seconds["write_tar"])
    lines = []
    for name, times in seconds.items():
        median = statistics.median(times)
        numbers = (median, min(times), max(times))
        cells = [
            *(f"{value:.3f}" for value in numbers),
            f"{size / median / 1e9:.1f}",
            f"{median / usual:.2f}",
        ]
        lines.append([f"{tree.name}, {name}", *cells])
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.iterate", description=__doc__.splitlines()[0])
    parser.add_argument("--work", action="append", choices=sorted(TREES), help="small and mid by default")
    parser.add_argument("--dir", type=Path, help="where trees are made and kept; a temporary one by default")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tarcast-iterate-") as temporary:
        lines = []
        for name in args.work or ["small", "mid"]:
            lines += measure(make(name, args.dir or Path(temporary), 1.0), args.rounds)
    print(table(HEADINGS, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
