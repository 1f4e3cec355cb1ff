"""What is told about one thing that goes on: its state, and the state with a name and a time."""

from __future__ import annotations

from time import time

from ..result import seconds_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, Self


class Status:
    """How far one thing is. Not to be changed once written: `replace` makes another one.

    Attributes:
        action: what is being done, for example "extracting", or "" where the id says it all.
        current: bytes done.
        total: bytes to do, or None if unknown.
        entries: entries of an archive done, or None where there are none to count.
        started: when it began, in seconds since 1970, or None.
        completed: when it ended, well or not, in seconds since 1970, or None.
        error: what it failed with, or None.
    """

    __slots__ = ("action", "completed", "current", "entries", "error", "started", "total")

    def __init__(
        self,
        *,
        action: str = "",
        current: int = 0,
        total: int | None = None,
        entries: int | None = None,
        started: float | None = None,
        completed: float | None = None,
        error: str | None = None,
    ) -> None:
        self.action: str = action
        self.current: int = current
        self.total: int | None = total
        self.entries: int | None = entries
        self.started: float | None = started
        self.completed: float | None = completed
        self.error: str | None = error

    @property
    def done(self) -> bool:
        """Whether it ended, well or not."""
        return self.completed is not None or self.error is not None

    @property
    def seconds(self) -> float:
        """From start to completion, or to now; 0.0 if it has not started."""
        return self.seconds_at(time())

    @property
    def rate(self) -> float:
        """Bytes a second since the start; 0.0 if no time has passed."""
        seconds = self.seconds
        return self.current / seconds if seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds still to go at this rate; None where the total is unknown, or nothing moves."""
        return seconds_left(self.current, self.total, self.rate, self.done)

    def seconds_at(self, now: float) -> float:
        """`seconds` as they were at `now`, in seconds since 1970."""
        if self.started is None:
            return 0.0
        # Not below 0: the clock may have been set back.
        return max(0.0, (now if self.completed is None else self.completed) - self.started)

    def replace(self, **changes: Any) -> Self:
        """Another Status with these attributes changed.

        Raises:
            TypeError: there is no such attribute.
        """
        return type(self)(**{**self._values(), **changes})

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Status.__slots__}

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Status) else NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self._values().items() if value is not None)
        return f"Status({told})"


class Update:
    """One piece of news, as a reader gives it.

    Attributes:
        id: which thing it is about.
        timestamp: when it was written, in seconds since 1970.
        status: a Status, or whatever else was written.
        metadata: what the writer was opened with; read-only.
    """

    __slots__ = ("id", "metadata", "status", "timestamp")

    def __init__(self, id: str, timestamp: float, status: Any, metadata: Mapping[str, Any]) -> None:
        self.id: str = id
        self.timestamp: float = timestamp
        self.status: Any = status
        self.metadata: Mapping[str, Any] = metadata

    def __repr__(self) -> str:
        return f"<Update {self.id!r} {self.status!r}>"
