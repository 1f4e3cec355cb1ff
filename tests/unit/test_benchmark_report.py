"""The benchmark's arithmetic, turn-taking and tables; not one clock is read here."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import memory, report
from benchmarks.check import TreeFacts, count_entries, tree_facts
from benchmarks.machine import cpu_model, file_system
from benchmarks.report import HEADINGS, Row, Work
from benchmarks.run import main
from benchmarks.stats import paired_range, ratio, running_order, summarize
from benchmarks.workloads import make


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


def test_memory_table_compares_cost_per_file_with_small() -> None:
    small = work(row("tarcast", [1.0], peak=1 << 20), entries=1_000_000)
    million = work(row("tarcast", [22.0], peak=8 << 20), name="million", entries=20_000_000)
    assert memory.lines([small, million]) == [
        ["small", "1,000,000", "1.000", "1.000", "1.00", "+1.0"],
        ["million", "20,000,000", "22.000", "1.100", "1.10", "+8.0"],
    ]
    assert memory.lines([work(row("tarcast", [], absent="why"))]) == [["small", "absent: why"]]


def test_tree_facts_and_entry_count_agree_on_links(tmp_path: Path) -> None:
    tree = make("links", tmp_path, 0.001)
    facts = tree_facts(tree)
    assert facts.entries == 3 + 300 + 10 * 5
    assert facts.data == sum(512 + i for i in range(10))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tree, arcname=".")
    assert count_entries(tmp_path / "x.tar") == facts.entries


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


@pytest.mark.parametrize(
    "arguments",
    [[], ["--work", "nothing"], ["--work", "small", "--only", "zip"], ["--memory", "--work", "small"]],
)
def test_runner_refuses_nonsense_before_it_makes_a_tree(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
