"""One update as a line of text for people."""

from __future__ import annotations

from ..errors import printable
from ..result import seconds_left
from ..wording import counted, how_far, pace, still
from .status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .status import Update


def line(update: Update, *, first: bool = False) -> str:
    """`sending tarball: 12,345 entries, 1.23 GB in 0.52 s (2.37 GB/s)`, and how it ended.

    Args:
        update: what to tell; a value that is no Status is told as its text.
        first: the thing has just started.

    Returns:
        One line without its end, control characters escaped; seconds are those at the time of writing.
    """
    status = update.status
    if not isinstance(status, Status):
        return printable(f"{update.id}: {status}")
    name = f"{update.id}: {status.action}" if status.action else update.id
    return printable(f"{name}: {_state(status, status.seconds_at(update.timestamp), first)}")


def _state(status: Status, seconds: float, first: bool) -> str:
    if status.error is not None:
        return f"failed after {seconds:.1f} s: {status.error}"
    amounts = _amounts(status)
    took = ""
    if status.started is not None:
        took = pace(status.current, seconds) if status.current else f" in {seconds:.2f} s"
    if status.done:
        return f"done, {amounts}{took}" if amounts else f"done{took}"
    if amounts:
        rate = status.current / seconds if seconds > 0 else 0.0
        return f"{amounts}{took}{still(seconds_left(status.current, status.total, rate))}"
    return "started" if first or status.started is None else f"running for {seconds:.1f} s"


def _amounts(status: Status) -> str:
    """What was counted: bytes, entries, both or, as "", nothing."""
    parts = [] if status.entries is None else [counted(status.entries)]
    if status.current or status.total is not None:
        parts.append(how_far(status.current, status.total))
    return ", ".join(parts)
