"""From measured rows to an aligned table, Markdown and JSON. Pure but for `save`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.stats import paired_range
from tarcast.bench.stats import ratio, summarize
from tarcast.bench.table import table
from tarcast.bench.tree import TreeFacts

LIBRARY, COMMAND, ORIGINAL = "tarcast", "tarcast-command", "go-original"
HEADINGS = (
    "contestant",
    "median s",
    "min..max s",
    "IQR",
    "/ library",
    "/ command",
    "CPU s",
    "peak MiB",
    "MB/s",
    "files/s",
)
LEGEND = (
    "/ library, / command: this row's median over tarcast's own, as a call and as a command; "
    "above 1, tarcast is faster.",
    "peak MiB: resident memory; with a plus, above the idle interpreter that the call runs in.",
    "MB/s: the tree's file data, 10^6 bytes; files/s: names of any type.",
)


@dataclass
class Row:
    """One contestant in one work. `problem` says why it has no runs, or why they do not count."""

    name: str
    kind: str
    command: str
    version: str
    absent: str | None = None
    problem: str | None = None
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int | None = None
    output_bytes: int | None = None
    sha256: str | None = None
    compared: bool = False
    read: list[int] = field(default_factory=list)
    cloned: list[int] = field(default_factory=list)


@dataclass
class Work:
    """One tree under one set of conditions."""

    name: str
    scale: float
    sink: str
    cold: bool
    rounds: int
    facts: TreeFacts
    rows: list[Row]
    differing: list[str] = field(default_factory=list)
    flush: bool = False

    def title(self) -> str:
        tree = f"{self.facts.entries:,} entries, {self.facts.data / 1e6:,.1f} MB"
        sink = f"a {self.sink}, until it is on the disk" if self.flush else f"a {self.sink}"
        cache = "cold cache" if self.cold else "warm cache"
        return f"{self.name} (scale {self.scale:g}): {tree}; to {sink}, {cache}, {self.rounds} rounds"


def _times(work: Work, name: str) -> list[float]:
    return next((row.seconds for row in work.rows if row.name == name and not row.problem), [])


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"  # a thousandth of the time is no 0.00


def _peak(row: Row) -> str:
    if row.peak is None:
        return "-"
    return f"{'+' if row.kind == 'library' else ''}{row.peak / 2**20:.1f}"


def cells(work: Work, row: Row) -> list[str]:
    """One line of the table; a contestant without valid runs has its reason in place of numbers."""
    if row.absent is not None:
        return [row.name, f"absent: {row.absent}"]
    if row.problem is not None:
        return [row.name, f"FAILED: {row.problem}"]
    if not row.seconds:
        return [row.name, "not run"]
    time = summarize(row.seconds)
    return [
        row.name,
        f"{time.median:.4f}",
        f"{time.low:.4f}..{time.high:.4f}",
        f"{time.iqr_percent:.0f}%",
        _ratio(ratio(row.seconds, _times(work, LIBRARY))),
        _ratio(ratio(row.seconds, _times(work, COMMAND))),
        f"{summarize(row.cpu).median:.3f}",
        _peak(row),
        f"{work.facts.data / 1e6 / time.median:,.0f}",
        f"{work.facts.entries / time.median:,.0f}",
    ]


def identity(work: Work) -> str:
    """Whether those who owe each other the same bytes wrote them."""
    exact = [row for row in work.rows if row.sha256 is not None]
    if work.differing:
        sums = ", ".join(f"{row.name} {str(row.sha256)[:16]}" for row in exact)
        return f"OUTPUT DIFFERS: {sums}"
    if len(exact) < 2:
        return "identical output: not checked, fewer than two of tarcast, its command and the original ran"
    names = [row.name for row in exact]
    unproven = "" if ORIGINAL in names else "; the original did not take part"
    return f"identical output: {', '.join(names)} (sha256 {str(exact[0].sha256)[:16]}...){unproven}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def remarks(work: Work) -> list[str]:
    """What is said below a table: whether it can be trusted, and what its seconds do not show."""
    text = [identity(work)]
    valid = [row for row in work.rows if row.seconds and row.problem is None]
    compared = [row.name for row in valid if row.compared]
    if compared:
        text.append(f"other bytes, content equal to the tree's by GNU tar --compare: {', '.join(compared)}")
    shared = [
        f"{row.name} {_megabytes(min(row.cloned))} of {_megabytes(row.output_bytes or 0)} MB"
        for row in valid
        if row.cloned
    ]
    if shared:
        text.append(f"shares the blocks of the tree: {', '.join(shared)}")
    if work.cold:
        read = [f"{row.name} {_megabytes(min(row.read))}" for row in valid if row.read]
        text.append(f"MB read from storage in every run, at least: {', '.join(read) or 'not known'}")
    return text


def plain(work: Work) -> str:
    lines = [cells(work, row) for row in work.rows]
    return "\n".join([work.title(), "", table(HEADINGS, lines), "", *remarks(work), ""])


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    text = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    for line in lines:
        padded = [*map(_escape, line), *[""] * (len(headings) - len(line))]
        text.append(f"| {' | '.join(padded)} |")
    return "\n".join(text)


def markdown(machine: Mapping[str, str], works: Sequence[Work]) -> str:
    text = ["# Benchmark", "", markdown_table(("machine", ""), list(machine.items())), ""]
    for work in works:
        lines = [cells(work, row) for row in work.rows]
        text += [f"## {work.title()}", "", markdown_table(HEADINGS, lines), ""]
        for remark in remarks(work):
            text += [remark, ""]
        text += ["Commands:", ""]
        text += [f"- {r.name}: `{r.command}` ({r.version})" for r in work.rows if r.absent is None]
        text.append("")
    return "\n".join([*text, *LEGEND, ""])


def _row_json(work: Work, row: Row) -> dict[str, Any]:
    data = dataclasses.asdict(row)
    if row.seconds:
        data["summary"] = dataclasses.asdict(summarize(row.seconds))
        for label, base in (("library", _times(work, LIBRARY)), ("command", _times(work, COMMAND))):
            data[f"ratio_to_{label}"] = ratio(row.seconds, base)
            data[f"paired_ratio_to_{label}"] = paired_range(row.seconds, base)
    return data


def as_json(machine: Mapping[str, str], works: Sequence[Work]) -> dict[str, Any]:
    """Every single run, for whoever wants to compute otherwise."""
    return {
        "machine": dict(machine),
        "works": [
            {**dataclasses.asdict(work), "rows": [_row_json(work, row) for row in work.rows]}
            for work in works
        ],
    }


def save(stem: Path, data: Mapping[str, Any], text: str) -> tuple[Path, Path]:
    """Write STEM.json and STEM.md; a `.json` or `.md` at the end of the stem is dropped first."""
    if stem.suffix in (".json", ".md"):
        stem = stem.with_suffix("")
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = (stem.parent / f"{stem.name}.json", stem.parent / f"{stem.name}.md")
    paths[0].write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(text, encoding="utf-8")
    return paths
