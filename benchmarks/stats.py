"""Ratios of runs that met in one round. The other numbers are in `tarcast.bench.stats`."""

from __future__ import annotations

from collections.abc import Sequence


def paired_range(peer: Sequence[float], ours: Sequence[float]) -> tuple[float, float] | None:
    """The smallest and largest ratio within one round, where both met the same mood of the machine."""
    pairs = [p / o for p, o in zip(peer, ours, strict=False) if o]
    return (min(pairs), max(pairs)) if pairs else None
