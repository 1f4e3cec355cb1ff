"""Everyone once without the clock, then timed in turn, round after round."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .measure import PeerFailed, Sample, drop_caches, run, use_memory
from .stats import running_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .measure import Place
    from .peers import Peer
    from .tree import TreeFacts

_MOST_USED = 1 << 30  # bytes; more than that is never all given back in between


@dataclass(frozen=True)
class Conditions:
    """What is the same for everyone. `compression` is NAME:LEVEL, or "" for none."""

    rounds: int = 5
    pipe: bool = False
    cold: bool = False
    fsync: bool = False
    compression: str = ""


@dataclass
class Row:
    """What one peer did.

    Attributes:
        problem: why it failed, and so has no runs that count; None if it did not, or is absent.
        seconds: of each timed run.
        size: bytes of output.
        peak: bytes of memory; see `measure.Sample`.
    """

    peer: Peer
    problem: str | None = None
    seconds: list[float] = field(default_factory=list)
    size: int = 0
    peak: int = 0

    @property
    def counts(self) -> bool:
        """Whether there is anything to compare."""
        return self.problem is None and bool(self.seconds)

    def note(self, sample: Sample) -> None:
        self.peak = max(self.peak, sample.peak or 0)


def measure(
    peers: Sequence[Peer],
    tree: str,
    facts: TreeFacts,
    place: Place,
    conditions: Conditions,
    tell: Callable[[int, str], object],
) -> list[Row]:
    """Warm up with everyone, then time everyone; who fails is left out from there on.

    Args:
        peers: tarcast itself first; absent ones too.
        tree: an absolute path.
        facts: what it holds.
        place: where the outputs go.
        conditions: what is the same for all.
        tell: called before each run with the round, from 1 on (0: the warm-up), and the peer's label.

    Returns:
        A row for each peer, in the same order.

    Raises:
        OSError: outputs can't be written any more, or the caches not dropped.
    """
    rows = [Row(peer) for peer in peers]
    running = [row for row in rows if row.peer.absent is None]
    for number in range(conditions.rounds + 1):
        for row in running if number == 0 else running_order(running, number - 1):
            if row.problem is not None:
                continue
            tell(number, row.peer.label)
            try:
                if number == 0:
                    _warm_up(row, rows[0], tree, facts, place, conditions)
                else:
                    _timed(row, tree, place, conditions)
            except PeerFailed as error:
                row.problem = str(error) if number == 0 else f"in round {number}: {error}"
    return rows


def _warm_up(row: Row, base: Row, tree: str, facts: TreeFacts, place: Place, conditions: Conditions) -> None:
    sample = run(row.peer, tree, place, pipe=conditions.pipe, watch=True)
    row.note(sample)
    row.size = sample.size
    # Compressed at one level, nobody comes down to a third of the others.
    least = base.size // 3 if conditions.compression else facts.data
    if sample.size < least or not sample.size:
        whose = "tarcast's" if conditions.compression else "the files"
        raise PeerFailed(f"its output has {sample.size:,} bytes, {whose} have {max(least, 1):,}")


def _timed(row: Row, tree: str, place: Place, conditions: Conditions) -> None:
    _settle(row, place, conditions)
    sample = run(row.peer, tree, place, pipe=conditions.pipe, fsync=conditions.fsync)
    if sample.size != row.size and not conditions.compression:
        raise PeerFailed(f"{sample.size:,} bytes, and {row.size:,} before: does the tree change?")
    row.note(sample)
    row.seconds.append(sample.seconds)


def _settle(row: Row, place: Place, conditions: Conditions) -> None:
    """Everybody finds the same: nothing left to be written to the disk, and memory that was in use just now.

    A virtual machine gives memory that is free for seconds back to its host. To get it again costs several
    times what writing to it does, and would be charged to whoever comes behind a slow one.
    """
    os.sync()
    if not conditions.pipe:
        use_memory(place, min(row.size, _MOST_USED))
    if conditions.cold:
        drop_caches()
        run(row.peer, place.empty, place, pipe=conditions.pipe)  # the program is not what should be cold
