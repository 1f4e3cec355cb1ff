"""`count_first`: how exact it is, that it can be stopped, and what a moving tree does to it."""

from __future__ import annotations

import io
import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import Cancelled, IDMap, OptionError, Progress, Tree, write_tar
from tests.integration.test_added import tree  # noqa: F401 - a fixture
from tests.support.bulk import many_names, random_nodes
from tests.support.faults import command, make_deep, nothing_left_behind
from tests.support.layers import make_layers
from tests.support.rich import RICH
from tests.support.sparse import make_shapes
from tests.support.trees import make_tree


def counted(trees: Any, **options: Any) -> tuple[tuple[int | None, int | None], tuple[int, int]]:
    """(entries, bytes) as counted ahead, and as written."""
    seen: list[Progress] = []
    with nothing_left_behind():
        result = write_tar(
            trees, io.BytesIO(), count_first=True, progress=seen.append, on_error="skip", **options
        )
    assert seen[-1].done
    assert seen[-1].eta == 0
    return (seen[-1].total_entries, seen[-1].total_bytes), (result.entries, result.bytes_written)


def assert_exact(trees: Any, **options: Any) -> None:
    for threads in (1, 3):
        ahead, written = counted(trees, threads=threads, **options)
        assert ahead == written


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory, needs_root: None) -> Path:
    root = tmp_path_factory.mktemp("rich")
    make_tree(RICH, os.fsencode(root))
    return root


@pytest.mark.parametrize("options", [{}, {"align": True}, {"sparse": True, "align": True}, {"epoch": 7}])
def test_all_that_tar_can_hold(rich: Path, options: dict[str, Any]) -> None:
    assert_exact(rich, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"include": ["names/**", "links/*"]},
        {"include": ["**/leaf"]},  # directories above come along
        {"include": ["**/leaf"], "exclude": ["names/d*/e*/e*/e*/leaf"]},
        {"exclude": ["xattrs", "!xattrs/*a*"]},
        {"follow": ["sizes/*"]},
        {"idmap": IDMap.parse("0:0:1000")},
        {"idmap": IDMap.parse("0:1:10")},  # nearly everything is left out
    ],
    ids=str,
)
def test_a_part_of_a_tree(rich: Path, options: dict[str, Any]) -> None:
    assert_exact(Tree(rich, **options))


def test_trees_side_by_side(rich: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    os.link(rich / "sizes" / "s512", tmp_path / "other" / "link")  # of no meaning to another tree
    assert_exact({"a/b": rich, "ö" * 60: tmp_path / "other", "z": Tree(rich, include=["**/leaf"])})


def test_holes(tmp_path: Path) -> None:
    make_shapes(tmp_path / "shapes")
    assert_exact(tmp_path / "shapes", sparse=True)
    assert_exact(tmp_path / "shapes", align=True)


@pytest.mark.parametrize("seed", range(3))
def test_random_trees(tmp_path: Path, seed: int) -> None:
    make_tree(random_nodes(seed), os.fsencode(tmp_path))
    assert_exact(tmp_path)


def test_many_names_and_deep_trees(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    make_tree(many_names(), os.fsencode(tmp_path / "many"))
    make_deep(tmp_path / "deep", 300)  # deeper than descriptors are kept
    assert_exact(tmp_path)
    assert_exact(Tree(tmp_path, include=["deep/" + "d/" * 290 + "**"]))


BATCH = 126  # names that a counter takes at once, beside their directory


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches of names of the files of the batch before: long ones, and pax records of many lengths."""
    root = tmp_path_factory.mktemp("linked")
    for pair in range(30):
        first, second, third = (root / f"{pair:02}{letter}" for letter in "abc")
        for directory in (first, second, third):
            directory.mkdir()
        for number in range(BATCH):
            file = first / (f"{number:03}" + "l" * (130 if pair % 3 == 0 else 0))
            file.write_bytes(bytes(600))
            if number % 5 == 0:
                os.setxattr(file, "user.a", bytes(7 * number))
            os.link(file, second / (f"{number:03}" + "l" * (100 + number if pair % 3 != 2 else 0)))
            os.link(file, third / (f"{number:03}" + "é" * (number // 2)))
    return root


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_whichever_name_of_a_file_is_met_first(linked: Path, threads: int) -> None:
    for _ in range(3):
        ahead, written = counted(linked, threads=threads)
        assert ahead == written


def test_sparse_files_by_many_names(tmp_path: Path) -> None:
    for letter in "abcd":
        (tmp_path / letter).mkdir()
        for number in range(BATCH):
            name = tmp_path / letter / (f"{number}" + letter * 30 * (ord(letter) - ord("a")))
            if letter == "a":
                name.write_bytes(b"data")
                os.truncate(name, 1 << 20)
            else:
                os.link(tmp_path / "a" / f"{number}", name)
    assert_exact(tmp_path, sparse=True)


@pytest.mark.parametrize("align", [False, True])
def test_added_files(tree: Tree, align: bool) -> None:  # noqa: F811
    assert_exact(tree, align=align)


def test_layers(tmp_path: Path, needs_root: None) -> None:
    with tarcast.mounted(tarcast.OverlayRef(make_layers(tmp_path))) as mounted:
        assert_exact(mounted)


def test_the_archive_itself_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "out.tar").write_bytes(b"old")
    seen: list[Progress] = []
    result = write_tar(tmp_path, tmp_path / "out.tar", count_first=True, progress=seen.append)
    assert (seen[-1].total_entries, seen[-1].total_bytes) == (1, result.bytes_written)


def test_a_tree_that_changes_is_exported_as_it_is_then(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    seen: list[Progress] = []

    def change(entry: Any) -> Any:
        if entry.path == "a":
            (tmp_path / "b").write_bytes(bytes(100_000))
            (tmp_path / "c").write_bytes(b"")
        return entry

    result = write_tar(Tree(tmp_path, map=change), io.BytesIO(), count_first=True, progress=seen.append)
    assert (seen[-1].total_entries, seen[-1].total_bytes) == (2, 2048)
    assert (result.entries, result.bytes_written) == (2, 102_400)  # the names were read at once
    assert seen[-1].eta == 0


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    os.setxattr(tmp_path / "file", "user.a=b", b"value")
    (ahead, written) = counted(tmp_path)
    assert ahead == written == (1, 2048)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough files that counting them takes some hundred milliseconds."""
    root = tmp_path_factory.mktemp("wide")
    for number in range(20):
        (root / str(number)).mkdir()
        here = os.open(root / str(number), os.O_RDONLY)
        for name in range(1500):
            os.mknod(b"%d" % name, 0o100644, dir_fd=here)
        os.close(here)
    return root


def test_cancel_while_it_counts(wide: Path) -> None:
    cancel = threading.Event()
    reports: list[Progress] = []

    def stop(progress: Progress) -> None:
        reports.append(progress)
        cancel.set()

    begin = time.monotonic()
    with nothing_left_behind(), pytest.raises(Cancelled):
        write_tar(wide, io.BytesIO(), count_first=True, progress=stop, cancel=cancel)
    assert time.monotonic() - begin < 0.5
    assert len(reports) == 1
    assert (reports[0].entries, reports[0].bytes_written, reports[0].total_bytes) == (0, 0, None)


def test_interrupt_and_callables_that_raise_while_it_counts(wide: Path) -> None:
    def interrupt(progress: Progress) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def fail(progress: Progress) -> None:
        raise ZeroDivisionError

    for progress, error in ((interrupt, KeyboardInterrupt), (fail, ZeroDivisionError)):
        with nothing_left_behind(), pytest.raises(error):
            write_tar(wide, io.BytesIO(), count_first=True, progress=progress)


def test_counting_lets_other_threads_run(wide: Path) -> None:
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    write_tar(wide, io.BytesIO(), count_first=True)
    stop.set()
    thread.join()
    assert max(b - a for a, b in itertools.pairwise(ticks)) < 0.25


def test_command(wide: Path, tmp_path: Path) -> None:
    import json

    done = command("create", "--count-first", wide, "-o", tmp_path / "out.tar", "--progress", "json")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["total_entries"] for line in lines if line["event"] == "progress"} <= {None, 30_020}
    assert lines[-1]["entries"] == 30_020


@pytest.mark.parametrize("value", [1, "yes", None])
def test_nonsense_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(OptionError, match="count_first must be True or False"):
        write_tar(tmp_path, io.BytesIO(), count_first=value)
