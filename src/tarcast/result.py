"""What came of an export."""

from __future__ import annotations

from .errors import printable


class Warning:
    """Something worth knowing about one entry; the archive is well-formed all the same.

    Attributes:
        path: the file concerned, as the user would write it, or None.
        step: what was being done.
        message: what happened.
        errno: the system's error number, or 0.
        skipped: True where an entry, or part of it, is missing from the archive
            because of it.
    """

    __slots__ = ("errno", "message", "path", "skipped", "step")

    def __init__(self, path: str | None, step: str, message: str, errno: int, skipped: bool) -> None:
        self.path = path
        self.step = step
        self.message = message
        self.errno = errno
        self.skipped = skipped

    def __str__(self) -> str:
        return ": ".join(
            [*([printable(self.path)] if self.path is not None else []), self.step, self.message]
        )

    def __repr__(self) -> str:
        return f"<Warning {self}>"


class Progress:
    """How far an export is; given to a `progress` callable.

    Attributes:
        entries: headers written so far.
        bytes_written: bytes of archive that the sink has taken.
        seconds: since the start.
        path: archive path of the entry in hand, or None.
        done: True for the last call, after a successful export.
    """

    __slots__ = ("bytes_written", "done", "entries", "path", "seconds")

    def __init__(
        self, entries: int, bytes_written: int, seconds: float, path: str | None, done: bool
    ) -> None:
        self.entries = entries
        self.bytes_written = bytes_written
        self.seconds = seconds
        self.path = path
        self.done = done

    def __repr__(self) -> str:
        return f"<Progress {self.entries} entries, {self.bytes_written} bytes, {self.seconds:.1f} s>"


class Result:
    """What `write_tar` gives.

    Attributes:
        entries: headers written, hard links and directories included.
        bytes_written: length of the archive in bytes.
        bytes_cloned: of these, how many share blocks with the files they are from
            (`align=True` on a file system that can).
        skipped: entries, or parts of entries, missing because `on_error="skip"`
            allowed it; each has a warning.
        dropped: entries left out by an id map or a map callable.
        warnings: up to 10,000 of them; `warnings_lost` counts the rest.
        digests: hexadecimal digests of the archive by name of algorithm.
        seconds: wall-clock time.
    """

    __slots__ = (
        "bytes_cloned",
        "bytes_written",
        "digests",
        "dropped",
        "entries",
        "seconds",
        "skipped",
        "warnings",
        "warnings_lost",
    )

    def __init__(
        self,
        *,
        entries: int,
        bytes_written: int,
        bytes_cloned: int,
        skipped: int,
        dropped: int,
        warnings: list[Warning],
        warnings_lost: int,
        digests: dict[str, str],
        seconds: float,
    ) -> None:
        self.entries = entries
        self.bytes_written = bytes_written
        self.bytes_cloned = bytes_cloned
        self.skipped = skipped
        self.dropped = dropped
        self.warnings = warnings
        self.warnings_lost = warnings_lost
        self.digests = digests
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"<Result {self.entries} entries, {self.bytes_written} bytes, {self.seconds:.2f} s>"
