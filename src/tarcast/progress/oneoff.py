"""A thing that starts, goes on and is done, told in a few words."""

from __future__ import annotations

import threading
from time import time

from .status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from .pipe import Writer


def one_off(id: str, writer: Writer | None) -> OneOff:
    """A OneOff on `writer`; with None, one whose calls all do nothing.

    Raises:
        ProgressError: the writer is closed.
    """
    return OneOff(id, writer)


class OneOff:
    """One thing that is done once; told as started when it is made.

    It has a writer of its own, so the pipe does not end before `done`. As a context manager it is done at
    the end, with the exception if there was one; the exception goes on.
    """

    __slots__ = ("_id", "_lock", "_status", "_writer")

    def __init__(self, id: str, writer: Writer | None) -> None:
        self._id = id
        # One thread may be done while another reports; reentrant for the sake of signal handlers.
        self._lock = threading.RLock()
        self._writer = None if writer is None else writer.open()
        self._status = Status(started=time())
        self._write()

    def update(
        self, current: int | None = None, total: int | None = None, entries: int | None = None
    ) -> None:
        """Tell how far it is. After `done` this does nothing: a worker may still report when another gave up.

        Args:
            current: bytes done.
            total: bytes to do.
            entries: entries done. What is None stays as it was.
        """
        given = {"current": current, "total": total, "entries": entries}
        self._write(**{name: value for name, value in given.items() if value is not None})

    def done(self, error: BaseException | None = None) -> None:
        """It ended, with `error` if it failed. Only the first call counts."""
        text = None if error is None else str(error) or type(error).__name__
        with self._lock:
            writer = self._writer
            try:
                self._write(completed=time(), error=text)
            finally:
                self._writer = None
                if writer is not None:
                    writer.close()

    def _write(self, **changes: Any) -> None:
        with self._lock:
            if self._writer is not None:
                self._status = self._status.replace(**changes)
                self._writer.write(self._id, self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done(error)
