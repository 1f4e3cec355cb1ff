"""Speed of the core's parts, each alone: `pytest benchmarks/test_parts.py`.

The shims in `_testing` loop inside the core without the GIL, so one call does COUNT pieces of work and the
interpreter's share is lost in them. `extra_info` holds the pieces per second at the median.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.workloads import make
from tarcast._core import _testing
from tarcast.bench.tree import tree_facts
from tarcast.patterns import compile_patterns

HEADERS = 100_000
MATCHES = 100_000

NAMES = {
    "short": b"pkg00/mod000/file_0000.txt",
    "split": b"/".join([b"a-directory-of-the-package-store"] * 4) + b"/file_0000.txt",
}
PATTERNS = {
    "one": [b"**/*.pyc"],
    "anchored": [b"usr/share/doc/**"],
    "ignore-file": [
        b"**/.git",
        b"**/node_modules",
        b"**/*.pyc",
        b"build/",
        b"dist/*",
        b"!dist/keep",
        b"docs/**/*.tmp",
        b"[a-c]?x/*.o",
    ],
}


def per_second(benchmark: BenchmarkFixture, pieces: int, name: str) -> None:
    """Leave `name` per second in the saved results; nothing was timed under --benchmark-disable."""
    if benchmark.stats is not None:
        benchmark.extra_info[f"{name}_per_second"] = round(pieces / benchmark.stats.stats.median)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_header_encoding_speed(benchmark: BenchmarkFixture, name: bytes) -> None:
    benchmark(_testing.encode_many, name, HEADERS)
    per_second(benchmark, HEADERS, "headers")


def test_pax_encoding_speed(benchmark: BenchmarkFixture) -> None:
    benchmark(_testing.encode_pax_many, HEADERS)
    per_second(benchmark, HEADERS, "pax_headers")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("small", tmp_path_factory.mktemp("trees"), 0.05)


def test_walk_speed(benchmark: BenchmarkFixture, tree: Path) -> None:
    entries = tree_facts(tree).entries
    counted = benchmark(_testing.walk_count, bytes(tree))
    assert counted == entries
    per_second(benchmark, entries, "entries")


@pytest.mark.parametrize("patterns", PATTERNS.values(), ids=PATTERNS.keys())
def test_match_speed(benchmark: BenchmarkFixture, patterns: list[bytes]) -> None:
    compiled = compile_patterns(patterns, what="exclude")
    benchmark(_testing.match_many, compiled, b"usr/lib/python3/dist-packages/pkg/module.py", MATCHES)
    per_second(benchmark, MATCHES, "paths")
