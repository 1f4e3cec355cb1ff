"""Numbers about numbers: medians, spread, ratios, and whose turn it is. Pure; no clock, no files."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass(frozen=True)
class Summary:
    """What a row of the table says about one contestant's runs, in the runs' own unit."""

    median: float
    low: float
    high: float
    iqr_percent: float


def summarize(values: Sequence[float]) -> Summary:
    """Median, extremes, and the distance between the quartiles in percent of the median."""
    if not values:
        raise ValueError("no runs to summarize")
    median = statistics.median(values)
    iqr = 0.0
    if len(values) > 1:
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        iqr = third - first
    percent = 100 * iqr / median if median else 0.0
    return Summary(median, min(values), max(values), percent)


def too_close(one: Summary, other: Summary) -> bool:
    """Whether the order of two may be chance: one's median is among the other's runs."""
    return one.low <= other.median <= one.high or other.low <= one.median <= other.high


def ratio(peer: Sequence[float], ours: Sequence[float]) -> float | None:
    """The peer's median over our median: above 1 means that we are faster. None if either has no runs."""
    if not peer or not ours:
        return None
    base = statistics.median(ours)
    return statistics.median(peer) / base if base else None


def running_order(items: Sequence[T], round_number: int) -> list[T]:
    """The order of one round, counted from 0.

    Every pair of rounds starts one further along, and the second of a pair is the first mirrored. So over
    each pair everyone has the same average position, and nobody always follows the same predecessor.
    """
    if not items:
        return []
    shift = (round_number // 2) % len(items)
    order = [*items[shift:], *items[:shift]]
    return order[::-1] if round_number % 2 else order
