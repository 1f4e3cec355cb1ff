"""However many workers fill an archive, within however little memory, whatever it goes to: the same bytes."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tests.support.bulk import SIZES, all_bodies, many_names, random_nodes
from tests.support.faults import Deadline, nothing_left_behind
from tests.support.files import remove_tree
from tests.support.judge import archive_names, assert_same_archive
from tests.support.oracle import Original
from tests.support.sinks import SINKS
from tests.support.trees import make_tree

LEAST_MEMORY = 1 << 20
# Threads and memory_limit. With the least memory there are three chunks, and everybody waits for one.
WORKERS = pytest.mark.parametrize(
    ("threads", "memory"),
    [
        *((None, LEAST_MEMORY), (1, LEAST_MEMORY), (2, LEAST_MEMORY), (3, LEAST_MEMORY)),
        *((8, LEAST_MEMORY), (64, LEAST_MEMORY), (None, None), (2, None), (64, None)),
    ],
    ids=lambda value: {LEAST_MEMORY: "little"}.get(value, str(value)),
)
EVERY_SINK = pytest.mark.parametrize("sink", SINKS)


def limits(memory: int | None) -> dict[str, int]:
    return {} if memory is None else {"memory_limit": memory}


def archive_of(tree: Any, **options: Any) -> bytes:
    """By one thread, in memory: what all others are compared with."""
    archive = io.BytesIO()
    result = tarcast.write_tar(tree, archive, threads=1, **options)
    assert result.bytes_written == len(archive.getvalue())
    return archive.getvalue()


@pytest.fixture(scope="module", params=["names", "bodies"])
def source(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Path]:
    directory = scratch / f"threads-{request.param}"
    directory.mkdir()
    make_tree(many_names() if request.param == "names" else all_bodies(), os.fsencode(directory))
    yield directory
    remove_tree(directory)


@pytest.fixture(scope="module")
def expected(source: Path) -> bytes:
    return archive_of(source)


def test_one_thread_writes_what_the_original_does(
    source: Path, expected: bytes, original: Original, tmp_path: Path
) -> None:
    assert original.write_tar([(None, os.fsencode(source))], tmp_path / "want.tar") is None
    assert_same_archive(expected, (tmp_path / "want.tar").read_bytes())


def test_tree_of_bodies_has_every_size(scratch: Path) -> None:
    """Or the comparisons below compare less than they seem to."""
    nodes = all_bodies()
    plain = {node.size for node in nodes if node.kind == "file" and not node.hole}
    assert plain >= set(SIZES)
    assert {node.kind for node in nodes} == {"file", "dir", "symlink", "hardlink"}
    assert len(many_names()) > 128 * 70


@EVERY_SINK
@WORKERS
def test_workers_and_sinks_do_not_change_the_bytes(
    source: Path, expected: bytes, tmp_path: Path, sink: str, threads: int | None, memory: int | None
) -> None:
    results: list[tarcast.Result] = []

    def write(target: Any) -> None:
        with nothing_left_behind():
            results.append(
                tarcast.write_tar(source, target, threads=threads, cancel=Deadline(), **limits(memory))
            )

    assert_same_archive(SINKS[sink](write, tmp_path), expected)
    assert (results[0].bytes_written, results[0].entries) == (len(expected), len(archive_names(expected)))
    assert (results[0].warnings, results[0].skipped, results[0].bytes_cloned) == ([], 0, 0)


@EVERY_SINK
@pytest.mark.parametrize("threads", [8])
def test_digests_are_those_of_the_bytes_at_every_sink(
    source: Path, expected: bytes, tmp_path: Path, sink: str, threads: int
) -> None:
    digests: list[dict[str, str]] = []

    def write(target: Any) -> None:
        digests.append(tarcast.write_tar(source, target, threads=threads, digest=["sha256"]).digests)

    assert_same_archive(SINKS[sink](write, tmp_path), expected)
    assert digests == [{"sha256": hashlib.sha256(expected).hexdigest()}]


def seen_by_a_map(seen: list[str]) -> Callable[[tarcast.Entry], tarcast.Entry | None]:
    """A map callable that drops every ninth entry, dresses others and remembers in which order they came."""

    def function(entry: tarcast.Entry) -> tarcast.Entry | None:
        seen.append(entry.path)
        if len(seen) % 9 == 0 and entry.type != "directory":
            return None
        entry.mode &= 0o755
        entry.xattrs = {**entry.xattrs, "user.seen": b"%d" % len(seen)}
        return entry

    return function


@EVERY_SINK
@pytest.mark.parametrize("threads", [8])
def test_map_is_asked_in_archive_order_whatever_the_workers(
    source: Path, tmp_path: Path, sink: str, threads: int
) -> None:
    one: list[str] = []
    want = archive_of(tarcast.Tree(source, map=seen_by_a_map(one)))
    several: list[str] = []

    def write(target: Any) -> None:
        tree = tarcast.Tree(source, map=seen_by_a_map(several))
        tarcast.write_tar(tree, target, threads=threads, memory_limit=LEAST_MEMORY, cancel=Deadline())

    assert_same_archive(SINKS[sink](write, tmp_path), want)
    assert several == one


PATTERNS: dict[str, dict[str, list[str]]] = {
    # Directories that only a match below them brings into the archive: written late, by whoever is in turn.
    "late-parents": {"include": ["**/2", "d/**/*300000*", "**/*65537*", "wide1/f12*"]},
    "exclude": {"exclude": ["wide1", "**/f*7", "deep/d/d/**/1", "d/*262145*", "*.3"]},
    "both": {"include": ["d", "wide*", "deep/**/0"], "exclude": ["**/*5", "!**/*65535*", "!**/f0*5"]},
}


@pytest.mark.parametrize("patterns", PATTERNS.values(), ids=PATTERNS)
def test_patterns_select_the_same_whatever_the_workers(
    source: Path, expected: bytes, tmp_path: Path, patterns: dict[str, list[str]]
) -> None:
    tree = tarcast.Tree(source, **patterns)
    want = archive_of(tree)
    assert 0 < len(archive_names(want)) < len(archive_names(expected))
    for i, (threads, sink) in enumerate(itertools.product([2, 64], SINKS)):
        (tmp_path / str(i)).mkdir()
        got = SINKS[sink](
            lambda target, n=threads: tarcast.write_tar(
                tree, target, threads=n, memory_limit=LEAST_MEMORY, cancel=Deadline()
            ),
            tmp_path / str(i),
        )
        assert_same_archive(got, want, f"{sink}, {threads} threads")


@pytest.mark.parametrize("seed", range(int(os.environ.get("TARCAST_EXAMPLES", "150")) // 15))
def test_random_trees_do_not_depend_on_workers_and_sinks(scratch: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    roots = {}
    for name in ("b", "a", "c")[: rng.choice([1, 1, 3])]:
        roots[name] = scratch / f"random-{seed}-{name}"
        roots[name].mkdir()
        make_tree(random_nodes(rng.random()), os.fsencode(roots[name]))
    try:
        trees: Any = roots if len(roots) > 1 else roots["b"]
        options = {
            "align": rng.random() < 0.4,
            "sparse": rng.random() < 0.4,
            "digest": ["sha1"] if rng.random() < 0.1 else [],
        }
        want = archive_of(trees, **options)
        for sink in SINKS:
            threads = rng.choice([None, 1, 2, 3, 8, 64])
            more = options | limits(rng.choice([LEAST_MEMORY, 3 << 20, None]))
            place = tmp_path / sink
            place.mkdir()
            got = SINKS[sink](
                lambda target, more=more, n=threads: tarcast.write_tar(trees, target, threads=n, **more),
                place,
            )
            assert_same_archive(got, want, f"{sink}, {threads} threads, {more}")
    finally:
        for root in roots.values():
            remove_tree(root)
