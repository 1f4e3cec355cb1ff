"""The benchmark's arithmetic, turn-taking and tables; not one clock is read here."""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import memory, report
from benchmarks.check import count_entries, difference
from benchmarks.machine import facts
from benchmarks.report import HEADINGS, Row, Work
from benchmarks.stats import paired_range
from benchmarks.workloads import make
from tarcast import write_tar
from tarcast.bench.machine import cpu_model, file_system, page_reporting
from tarcast.bench.stats import ratio, running_order, summarize
from tarcast.bench.tree import TreeFacts, tree_facts


def row(name: str, seconds: list[float], **more: object) -> Row:
    kind = "library" if name == "tarcast" else "command"
    made = Row(name, kind, f"{name} OUT TREE", "1.0", seconds=seconds, cpu=[s / 2 for s in seconds])
    for key, value in more.items():
        setattr(made, key, value)
    return made


def work(*rows: Row, name: str = "small", entries: int = 1000) -> Work:
    return Work(name, 1.0, "file", False, 3, TreeFacts(entries, 5_000_000), [*rows])


def test_summary_has_median_extremes_and_quartile_distance() -> None:
    summary = summarize([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (summary.median, summary.low, summary.high) == (3.0, 1.0, 5.0)
    assert summary.iqr_percent == pytest.approx(100 * (4.0 - 2.0) / 3.0)


def test_summary_of_one_run_has_no_spread() -> None:
    summary = summarize([2.5])
    assert (summary.median, summary.low, summary.high, summary.iqr_percent) == (2.5, 2.5, 2.5, 0.0)


def test_summary_of_no_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="no runs"):
        summarize([])


def test_ratio_is_peer_median_over_ours() -> None:
    assert ratio([9.0, 3.0, 6.0], [2.0, 1.0, 40.0]) == 3.0
    assert ratio([], [1.0]) is None
    assert ratio([1.0], []) is None


def test_paired_range_compares_within_each_round() -> None:
    assert paired_range([2.0, 9.0], [1.0, 3.0]) == (2.0, 3.0)
    assert paired_range([], []) is None


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_running_order_is_fair_in_every_pair_of_rounds(count: int) -> None:
    items = list(range(count))
    for first in range(0, 2 * count, 2):
        orders = [running_order(items, first), running_order(items, first + 1)]
        assert all(sorted(order) == items for order in orders)
        assert {sum(order.index(item) for order in orders) for item in items} == {count - 1}


def test_running_order_visits_every_position_equally_often() -> None:
    items = list("abcdefgh")
    seen = Counter((item, running_order(items, r).index(item)) for r in range(16) for item in items)
    assert set(seen.values()) == {2}
    assert len(seen) == 64


def test_running_order_of_nobody_is_empty() -> None:
    assert running_order([], 3) == []


def test_table_aligns_columns_and_lets_remarks_run_on() -> None:
    text = report.table(("who", "s", "x"), [["a", "1.0", "2"], ["longer", "absent: it is not here"]])
    assert text.splitlines() == [
        "who       s  x",
        "------  ---  -",
        "a       1.0  2",
        "longer  absent: it is not here",
    ]


def test_cells_hold_ratios_rates_and_peaks() -> None:
    ours = row("tarcast", [0.5, 0.5, 0.5], peak=3 << 20)
    command = row("tarcast-command", [1.0, 1.0, 1.0])
    peer = row("gnu-tar", [2.0, 1.0, 4.0], peak=5 << 19)
    cells = report.cells(work(ours, command, peer), peer)
    assert len(cells) == len(HEADINGS)
    assert cells == [
        "gnu-tar", "2.0000", "1.0000..4.0000", "75%", "4.00", "2.00", "1.000", "2.5", "2", "500"
    ]  # fmt: skip
    assert report.cells(work(ours), ours)[7] == "+3.0"
    assert report.cells(work(peer), peer)[4:6] == ["-", "-"]
    shared = row("tarcast-align", [0.0006])
    assert report.cells(work(ours, command, shared), shared)[4:6] == ["0.0012", "0.0006"]


def test_absent_and_failed_contestants_stay_in_the_table() -> None:
    absent = row("fastar", [], absent="ModuleNotFoundError: fastar")
    failed = row("tarcast", [1.0], problem="in round 2: exit 3")
    peer = row("gnu-tar", [2.0])
    text = report.plain(work(failed, absent, peer))
    assert "fastar      absent: ModuleNotFoundError: fastar" in text
    assert "tarcast     FAILED: in round 2: exit 3" in text
    assert report.cells(work(failed, peer), peer)[4] == "-", "a failed run is no base for a ratio"


def test_identity_tells_equal_different_and_unchecked_apart() -> None:
    ours, original = row("tarcast", [1.0], sha256="a" * 64), row("go-original", [2.0], sha256="a" * 64)
    assert report.identity(work(ours, original)).startswith("identical output: tarcast, go-original (")
    assert "the original did not take part" in report.identity(
        work(ours, row("tarcast-command", [1.0], sha256="a" * 64))
    )
    assert "not checked" in report.identity(work(ours))
    other = work(ours, row("go-original", [2.0], sha256="b" * 64))
    other.differing = ["tarcast", "go-original"]
    assert report.identity(other).startswith("OUTPUT DIFFERS: tarcast aaaa")


def test_markdown_and_json_hold_every_row_and_run(tmp_path: Path) -> None:
    works = [work(row("tarcast", [1.0, 2.0]), row("a|b", [3.0, 4.0]), row("fastar", [], absent="no"))]
    text = report.markdown({"cpu": "x"}, works)
    assert "| a\\|b | 3.5000 |" in text
    assert "| fastar | absent: no |" in text
    paths = report.save(tmp_path / "sub" / "name-0.1.json", report.as_json({"cpu": "x"}, works), text)
    assert [path.name for path in paths] == ["name-0.1.json", "name-0.1.md"]
    data = json.loads(paths[0].read_text(encoding="utf-8"))
    rows = {r["name"]: r for r in data["works"][0]["rows"]}
    assert rows["a|b"]["seconds"] == [3.0, 4.0]
    assert rows["a|b"]["ratio_to_library"] == pytest.approx(3.5 / 1.5)
    assert rows["a|b"]["paired_ratio_to_library"] == [2.0, 3.0]
    assert rows["fastar"]["absent"] == "no"


def test_remarks_name_who_wrote_other_bytes_and_who_shared_blocks() -> None:
    aligned = row(
        "tarcast-align", [1.0, 1.0], compared=True, cloned=[4_500_000, 4_000_000], output_bytes=5_200_000
    )
    plain, peer = row("tarcast", [1.0, 1.0]), row("gnu-tar", [2.0, 2.0])
    text = report.plain(work(aligned, plain, peer))
    assert "other bytes, content equal to the tree's by GNU tar --compare: tarcast-align\n" in text
    assert "shares the blocks of the tree: tarcast-align 4.0 of 5.2 MB\n" in text, "the least of all runs"
    assert report.remarks(work(plain, peer)) == [report.identity(work(plain, peer))]
    broken = row("tarcast-align", [1.0], compared=True, cloned=[1], problem="a: Contents differ")
    assert report.remarks(work(broken)) == [report.identity(work(broken))], "what failed is not called equal"


def test_title_and_remarks_say_when_runs_were_cold_or_flushed() -> None:
    ours, peer = row("tarcast", [1.0, 1.0], read=[9_000_000, 8_000_000]), row("gnu-tar", [1.0], read=[0])
    usual = work(ours, peer)
    assert "to a file, warm cache, 3 rounds" in usual.title()
    usual.flush = True
    assert "to a file, until it is on the disk, warm cache" in usual.title()
    usual.cold = True
    assert "until it is on the disk, cold cache" in usual.title()
    assert report.remarks(usual)[-1] == (
        "MB read from storage in every run, at least: tarcast 8.0, gnu-tar 0.0"
    ), "a run that was not cold shows"
    assert "| MB read" not in report.markdown({}, [usual])
    assert "MB read from storage" in report.markdown({}, [usual])


def test_memory_table_compares_cost_per_file_with_small() -> None:
    small = work(row("tarcast", [1.0], peak=1 << 20), entries=1_000_000)
    million = work(row("tarcast", [22.0], peak=8 << 20), name="million", entries=20_000_000)
    assert memory.lines([small, million]) == [
        ["small", "default", "1,000,000", "1.000", "1.000", "1.00", "+1.0"],
        ["million", "default", "20,000,000", "22.000", "1.100", "1.10", "+8.0"],
    ]
    assert memory.lines([work(row("tarcast", [], absent="why"))]) == [
        ["small", "default threads: absent: why"]
    ]


def test_memory_table_compares_each_number_of_threads_with_itself() -> None:
    small = work(
        row("tarcast-one-thread", [1.0]), row("tarcast-8-threads", [0.5], peak=1 << 19), entries=1_000_000
    )
    million = work(
        row("tarcast-one-thread", [3.0]),
        row("tarcast-8-threads", [], problem="in round 1: exit 3"),
        name="million",
        entries=2_000_000,
    )
    assert memory.lines([small, million]) == [
        ["small", "1", "1,000,000", "1.000", "1.000", "1.00", "+0.0"],
        ["small", "8", "1,000,000", "0.500", "0.500", "1.00", "+0.5"],
        ["million", "1", "2,000,000", "3.000", "1.500", "1.50", "+0.0"],
        ["million", "8 threads: FAILED: in round 1: exit 3"],
    ]
    million.rows[1].seconds, million.rows[1].problem = [2.0], None
    assert memory.lines([small, million])[-1][5] == "2.00", "not against one thread's cost"
    assert memory.plain([small, million]).count("identical output") == 2
    assert "identical output" not in memory.plain([work(row("tarcast", [1.0]))]), "nobody to compare with"


def test_tree_facts_and_entry_count_agree_on_links(tmp_path: Path) -> None:
    tree = make("links", tmp_path, 0.001)
    found = tree_facts(tree)
    assert found.entries == 3 + 300 + 10 * 5
    assert found.data == sum(512 + i for i in range(10))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tree, arcname=".")
    assert count_entries(tmp_path / "x.tar") == found.entries


@pytest.mark.parametrize(("options", "size"), [({"align": True}, 200_000), ({"sparse": True}, 1 << 20)])
def test_comparison_finds_content_that_differs_and_nothing_else(
    tmp_path: Path, options: dict[str, bool], size: int
) -> None:
    tree, archive = tmp_path / "tree", tmp_path / "x.tar"
    tree.mkdir()
    (tree / "body").write_bytes(b"x" * 100_000)
    os.truncate(tree / "body", size)
    os.utime(tree / "body", ns=(0, 1_700_000_000_123_456_789))  # whole seconds in the archive
    write_tar(tree, archive, **options)
    assert difference(archive, tree) is None
    with (tree / "body").open("r+b") as file:
        file.write(b"y")
    assert "Contents differ" in str(difference(archive, tree))
    (tree / "body").unlink()
    assert "No such file" in str(difference(archive, tree))
    archive.write_bytes(archive.read_bytes()[:1000])
    assert difference(archive, tree) is not None


def test_machine_facts_are_read_from_the_kernels_words() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2GHz\n") == "Some CPU @ 2GHz"
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:5 / /tmp rw shared:1 - tmpfs tmpfs rw\n"
        "3 1 0:6 / /with\\040space rw - xfs /dev/b rw\n"
    )
    assert file_system(Path("/tmp/a/b"), mounts) == "tmpfs"
    assert file_system(Path("/tmpfoo"), mounts) == "ext4"
    assert file_system(Path("/with space/x"), mounts) == "xfs"


def test_machine_facts_tell_from_which_order_on_free_pages_are_reported(tmp_path: Path) -> None:
    parameter = tmp_path / "page_reporting_order"
    assert page_reporting(parameter) == "none"
    parameter.write_text("9\n", encoding="ascii")
    assert page_reporting(parameter) == "order 9"
    assert "page reporting" in facts(tmp_path)
    assert facts(tmp_path, "a new image")["file system"].endswith(", a new image")
