"""From measured sessions to tables, Markdown and JSON. Pure; no clock, no files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import markdown_table
from benchmarks.stats import paired_range
from tarcast.bench.stats import ratio, summarize
from tarcast.bench.table import table

OURS = "tarcast"
HEADINGS = (
    "contestant",
    "door",
    "archive s",
    "min..max s",
    "/ tarcast",
    "request s",
    "min..max s",
    "/ tarcast",
    "server CPU s",
    "client CPU s",
    "MB/s",
    "messages",
    "messages/s",
)
LEGEND = (
    "archive s: median, from the first message that the client gets to the archive's end; request s: all "
    "that the client does for it, from connecting on, and so waiting for that first message too.",
    "/ tarcast: this row's median over that of tarcast at the same door; above 1, tarcast is faster.",
    "door: how the client opens its session: upgrade as Docker's (HTTP), control as buildctl (gRPC).",
    "server CPU: the daemon and all processes below it during the request; client CPU: the whole client.",
    "MB/s: bytes of the archive, in units of 10^6, per second of archive s; messages/s likewise.",
)


@dataclass(frozen=True)
class Run:
    """One request as the client saw it, and the processor seconds of both sides."""

    archive: float
    request: float
    client_cpu: float
    server_cpu: float
    bytes: int
    messages: int
    largest: int
    sha256: str | None = None
    others_cpu: float = 0.0  # of everything else on the machine, meanwhile

    def taken(self, cores: int) -> float:
        """What others had of the machine meanwhile, in percent."""
        return 100 * self.others_cpu / (self.request * cores) if self.request else 0.0


@dataclass
class Row:
    """One contestant at one door. `problem` says why its runs do not count."""

    name: str
    door: str
    command: str
    version: str
    absent: str | None = None
    problem: str | None = None
    first: Run | None = None  # the warm-up
    runs: list[Run] = field(default_factory=list)

    def values(self, what: str) -> list[float]:
        return [getattr(run, what) for run in self.runs]

    def valid(self) -> bool:
        return bool(self.runs) and self.absent is None and self.problem is None


@dataclass
class Work:
    """One tree."""

    name: str
    scale: float
    rounds: int
    rows: list[Row]
    cores: int = 1

    def title(self) -> str:
        return f"{self.name} (scale {self.scale:g}): {self.rounds} rounds"

    def failed(self) -> bool:
        return any(row.problem for row in self.rows) or bool(differing(self))


def ours(work: Work, door: str, what: str) -> list[float]:
    """Our runs at that door; none if they do not count."""
    found = (row for row in work.rows if (row.name, row.door) == (OURS, door) and row.valid())
    return next((row.values(what) for row in found), [])


def _spread(row: Row, work: Work, what: str) -> list[str]:
    times = summarize(row.values(what))
    against = ratio(row.values(what), ours(work, row.door, what))
    shown = "-" if against is None else f"{against:.2f}"
    return [f"{times.median:.3f}", f"{times.low:.3f}..{times.high:.3f}", shown]


def cells(work: Work, row: Row) -> list[str]:
    """One line of the table; a contestant without valid runs has its reason in place of numbers."""
    if row.absent is not None:
        return [row.name, row.door, f"absent: {row.absent}"]
    if row.problem is not None:
        return [row.name, row.door, f"FAILED: {row.problem}"]
    if not row.runs:
        return [row.name, row.door, "not run"]
    archive = summarize(row.values("archive")).median
    one = row.runs[0]
    return [
        row.name,
        row.door,
        *_spread(row, work, "archive"),
        *_spread(row, work, "request"),
        f"{summarize(row.values('server_cpu')).median:.2f}",
        f"{summarize(row.values('client_cpu')).median:.2f}",
        f"{one.bytes / 1e6 / archive:,.0f}" if archive else "-",
        f"{one.messages:,}",
        f"{one.messages / archive:,.0f}" if archive else "-",
    ]


def _received(row: Row) -> list[Run]:
    return [*([row.first] if row.first else []), *row.runs]


def differing(work: Work) -> list[str]:
    """What each got, if that is not the same bytes for all in every run: all owe each other that."""
    counts = {run.bytes for row in work.rows for run in _received(row)}
    sums = {run.sha256 for row in work.rows for run in _received(row) if run.sha256 is not None}
    if len(counts) < 2 and len(sums) < 2:
        return []
    told = []
    for row in work.rows:
        got = {f"{run.bytes:,} bytes {(run.sha256 or '')[:16]}".strip() for run in _received(row)}
        told.append(f"{row.name} ({row.door}) {' or '.join(sorted(got)) or 'nothing'}")
    return told


def identity(work: Work) -> str:
    """Whether all got the same."""
    different = differing(work)
    if different:
        return f"OUTPUT DIFFERS: {', '.join(different)}"
    got = [row for row in work.rows if _received(row)]
    names = ", ".join(dict.fromkeys(row.name for row in got))
    if len({row.name for row in got}) < 2:
        return "the same bytes: not checked, fewer than two ran"
    count = f"{_received(got[0])[0].bytes:,} bytes in every run: {names}"
    sums = [run.sha256 for row in got for run in _received(row) if run.sha256 is not None]
    return (
        f"{count} (sha256 of the warm-ups {sums[0][:16]}...)" if sums else f"{count} (counted, not compared)"
    )


def disturbance(work: Work) -> list[str]:
    """How much of the machine was not for those who are measured: the more, the less the seconds mean."""
    shares = [run.taken(work.cores) for row in work.rows for run in row.runs]
    if not shares:
        return []
    share = summarize(shares)
    return [
        f"taken by others, the kernel's threads included, of the machine's {work.cores} cores while someone "
        f"was timed: {share.median:.0f}%, at worst {share.high:.0f}%"
    ]


def remarks(work: Work) -> list[str]:
    return [identity(work), *disturbance(work)]


def plain(work: Work) -> str:
    lines = [cells(work, row) for row in work.rows]
    return "\n".join([work.title(), "", table(HEADINGS, lines), "", *remarks(work), ""])


def markdown(machine: Mapping[str, str], works: Sequence[Work]) -> str:
    text = ["# Sessions", "", markdown_table(("machine", ""), list(machine.items())), ""]
    for work in works:
        lines = [cells(work, row) for row in work.rows]
        text += [f"## {work.title()}", "", markdown_table(HEADINGS, lines), ""]
        for remark in remarks(work):
            text += [remark, ""]
    told = {r.name: f"- {r.name}: `{r.command}` ({r.version})" for w in works for r in w.rows if not r.absent}
    return "\n".join([*text, "Servers:", "", *told.values(), "", *LEGEND, ""])


def _row_json(work: Work, row: Row) -> dict[str, Any]:
    data = dataclasses.asdict(row)
    if row.valid():
        for what in ("archive", "request"):
            base = ours(work, row.door, what)
            data[f"{what}_summary"] = dataclasses.asdict(summarize(row.values(what)))
            data[f"{what}_ratio"] = ratio(row.values(what), base)
            data[f"{what}_paired_ratio"] = paired_range(row.values(what), base)
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
