"""Aligned plain text, for any figures and for those of `tarcast bench`."""

from __future__ import annotations

from ..errors import printable
from ..wording import counted, human
from .results import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .results import Results
    from .rounds import Row
    from .stats import Summary

_LEGEND = (
    "MB/s: of the tree's files, 10^6 bytes; files/s: entries of any type.",
    "/ tarcast: the median over tarcast's; above 1, tarcast is faster.",
    "peak MiB with a plus: a call in an interpreter that runs already, and what it adds to that.",
    "Without: whole processes, start-up included in time and memory.",
)


def table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Aligned plain text: the first column to the left, the others to the right.

    A line with fewer cells than headings is a remark: its last cell runs on, and widens no column.
    """
    full = [headings, *(line for line in lines if len(line) == len(headings))]
    widths = [max(len(line[i]) for line in full) for i in range(len(headings))]
    widths[0] = max([widths[0], *(len(line[0]) for line in lines)])
    text = []
    for line in [headings, ["-" * width for width in widths], *lines]:
        first = line[0].ljust(widths[0])
        if len(line) == len(headings):
            rest = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        else:
            rest = list(line[1:])
        text.append("  ".join([first, *rest]).rstrip())
    return "\n".join(text)


def of_results(results: Results) -> str:
    """What `tarcast bench` prints: the tree, the machine, the table, how to read it, and warnings."""
    compressed = bool(results.conditions.compression)
    headings = [
        "peer",
        "version",
        "median s",
        "min..max s",
        "MB/s",
        "files/s",
        "/ tarcast",
        "peak MiB",
        *(["output MB"] if compressed else []),
    ]
    lines = [_cells(results, row, time, compressed) for row, time in results.ranked()]
    for row in results.rest():
        absent = row.peer.absent
        remark = f"failed: {row.problem}" if absent is None else f"absent: {absent}"
        lines.append([row.peer.label, printable(remark)])
    remarks = [*_LEGEND, *(f"warning: {text}" for text in warnings(results))]
    return "\n".join([*_head(results), "", table(headings, lines), "", *remarks])


def _head(results: Results) -> list[str]:
    machine, conditions, facts = results.machine, results.conditions, results.facts
    tree = f"{counted(facts.entries)}, {human(facts.data)} of files, on {machine['tree_file_system']}"
    sink = "a pipe" if conditions.pipe else f"a fresh file on {machine['output_file_system']}"
    if conditions.fsync:
        sink += ", until it is on the disk"
    if conditions.compression:
        sink += f", {conditions.compression}"
    cache = "cold" if conditions.cold else "warm"
    rounds = f"{conditions.rounds} {'round' if conditions.rounds == 1 else 'rounds'}"
    cores = f"{machine['cores']} {'core' if machine['cores'] == 1 else 'cores'}"
    memory = f"{machine['memory'] / 2**30:.1f} GiB of memory"
    return [
        f"tree     {printable(results.name)}: {tree}",
        f"output   {sink}; {cache} cache, {rounds} in turn after a warm-up",
        f"machine  {machine['cpu']}, {cores}, {memory}, {machine['kernel']}, Python {machine['python']}",
    ]


def _cells(results: Results, row: Row, time: Summary, compressed: bool) -> list[str]:
    ratio = results.ratio(row)
    return [
        row.peer.label,
        row.peer.version,
        f"{time.median:.3f}",
        f"{time.low:.3f}..{time.high:.3f}",
        f"{results.facts.data / 1e6 / time.median:,.0f}",
        f"{results.facts.entries / time.median:,.0f}",
        "-" if ratio is None else f"{ratio:.2f}",
        f"{'+' if row.peer.call else ''}{row.peak / 2**20:.1f}",
        *([f"{row.size / 1e6:,.1f}"] if compressed else []),
    ]
