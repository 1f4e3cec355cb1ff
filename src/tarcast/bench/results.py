"""What came of all rounds: who is how fast, what to think of it, and all of it for programs. Pure."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

from .._version import __version__
from ..wording import human, json_text
from .stats import ratio, summarize, too_close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .rounds import Conditions, Row
    from .stats import Summary
    from .tree import TreeFacts

_WIDE = 0.5  # a spread of this part of the median is more than the machine's usual unrest


@dataclass(frozen=True)
class Results:
    """One run of `tarcast bench`.

    Attributes:
        tree: the path of the tree as the user wrote it.
        facts: what it holds.
        machine: see `machine.facts`.
        conditions: what was the same for everyone.
        rows: tarcast itself first.
    """

    tree: str
    facts: TreeFacts
    machine: dict[str, Any]
    conditions: Conditions
    rows: list[Row]

    @property
    def name(self) -> str:
        """What the tree is called in a title."""
        return os.path.basename(os.path.abspath(self.tree)) or self.tree

    @property
    def failed(self) -> bool:
        return any(row.problem is not None for row in self.rows)

    def ranked(self) -> list[tuple[Row, Summary]]:
        """Who has times that count, the fastest first."""
        found = [(row, summarize(row.seconds)) for row in self.rows if row.counts]
        return sorted(found, key=lambda pair: pair[1].median)

    def rest(self) -> list[Row]:
        """Who has none: the failed, then the absent."""
        return sorted(
            (row for row in self.rows if not row.counts), key=lambda row: row.peer.absent is not None
        )

    def ratio(self, row: Row) -> float | None:
        """Its time over tarcast's: above 1, tarcast is faster."""
        return ratio(row.seconds, self.rows[0].seconds) if self.rows[0].counts else None


def warnings(results: Results) -> list[str]:
    """Why the figures, or their order, may not be what they seem."""
    found = []
    ranked = results.ranked()
    if results.conditions.rounds < 3:
        found.append("with less than three rounds nothing is known of the spread")
    else:
        wide = [row.peer.label for row, time in ranked if time.high - time.low > _WIDE * time.median]
        if wide:
            found.append(
                f"the times of {' and '.join(wide)} vary by more than half: don't trust the ranking; "
                "wait until the machine is idle, or take more --rounds"
            )
            if results.machine["page_reporting"] != "none":
                found.append(
                    "this virtual machine gives free memory back to its host (page reporting), "
                    "which alone can make such a spread"
                )
        close = [
            f"{one[0].peer.label} and {two[0].peer.label}"
            for one, two in itertools.pairwise(ranked)
            if too_close(one[1], two[1])
        ]
        if close:
            found.append(f"too close to say who is faster: {'; '.join(close)}")
    available = results.machine["memory_available"]
    if not results.conditions.cold and available and results.facts.data > available:
        found.append(
            f"the tree has {human(results.facts.data)}, the page cache at most {human(available)}: "
            "these are times of the storage too"
        )
    return found


def as_json(results: Results, status: int) -> dict[str, Any]:
    """Everything, with every single run; sizes in bytes, times in seconds."""
    conditions = results.conditions
    return {
        "version": __version__,
        "exit_status": status,
        "tree": {
            "path": json_text(results.tree),
            "entries": results.facts.entries,
            "bytes": results.facts.data,
        },
        "machine": results.machine,
        "conditions": {
            "rounds": conditions.rounds,
            "to": "pipe" if conditions.pipe else "file",
            "cold": conditions.cold,
            "fsync": conditions.fsync,
            "compression": conditions.compression or None,
        },
        "peers": [_row(results, row) for row in results.rows],
        "warnings": warnings(results),
    }


def _row(results: Results, row: Row) -> dict[str, Any]:
    peer = row.peer
    values: dict[str, Any] = {
        "name": peer.name,
        "label": peer.label,
        "version": peer.version,
        "absent": peer.absent,
        "error": json_text(row.problem),
        "startup_included": not peer.call,
        "seconds": [round(seconds, 6) for seconds in row.seconds],
    }
    if not row.counts:
        return values
    time = summarize(row.seconds)
    return values | {
        "median": round(time.median, 6),
        "min": round(time.low, 6),
        "max": round(time.high, 6),
        "bytes_per_second": round(results.facts.data / time.median),
        "entries_per_second": round(results.facts.entries / time.median),
        "ratio_to_tarcast": results.ratio(row),
        "output_bytes": row.size,
        "peak_memory": row.peak,
        "peak_is_above_interpreter": bool(peer.call),
    }
