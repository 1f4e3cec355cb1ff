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
        self.path: str | None = path
        self.step: str = step
        self.message: str = message
        self.errno: int = errno
        self.skipped: bool = skipped

    def __str__(self) -> str:
        return ": ".join(
            [*([printable(self.path)] if self.path is not None else []), self.step, self.message]
        )

    def __repr__(self) -> str:
        return f"<Warning {self}>"


class Progress:
    """How far an export is; given to a `progress` callable.

    Attributes:
        entries: headers written so far; None where only bytes are known.
        bytes_written: bytes of archive that the sink has taken.
        seconds: since the start.
        path: archive path of the entry in hand, or None.
        done: True for the last call, after a successful export.
        total_entries, total_bytes: what `count_first` has found that there will be; None if unknown.
        rate: bytes a second over the last few seconds; with `done` over the whole time.
    """

    __slots__ = (
        "bytes_written",
        "done",
        "entries",
        "path",
        "rate",
        "seconds",
        "total_bytes",
        "total_entries",
    )

    def __init__(
        self,
        entries: int | None,
        bytes_written: int,
        seconds: float,
        path: str | None,
        done: bool,
        *,
        total_entries: int | None = None,
        total_bytes: int | None = None,
        rate: float = 0.0,
    ) -> None:
        self.entries: int | None = entries
        self.bytes_written: int = bytes_written
        self.seconds: float = seconds
        self.path: str | None = path
        self.done: bool = done
        self.total_entries: int | None = total_entries
        self.total_bytes: int | None = total_bytes
        self.rate: float = rate

    @property
    def eta(self) -> float | None:
        """Seconds still to go at this rate; None where the total is unknown, or nothing moves."""
        return seconds_left(self.bytes_written, self.total_bytes, self.rate, self.done)

    def __repr__(self) -> str:
        counted = "" if self.entries is None else f"{self.entries} entries, "
        total = "" if self.total_bytes is None else f" of {self.total_bytes}"
        return f"<Progress {counted}{self.bytes_written}{total} bytes, {self.seconds:.1f} s>"


def seconds_left(current: int, total: int | None, rate: float, done: bool = False) -> float | None:
    """How long `total` bytes will still take at `rate` bytes a second; None: not to be known."""
    if done:
        return 0.0
    if total is None or rate <= 0:
        return None
    return max(0, total - current) / rate


class Result:
    """What `write_tar` gives.

    Attributes:
        entries: headers written, hard links and directories included.
        bytes_written: length of the archive in bytes, not compressed.
        bytes_cloned: of these, how many share blocks with the files they are from
            (`align=True` on a file system that can).
        skipped: entries, or parts of entries, missing because `on_error="skip"`
            allowed it; each has a warning.
        dropped: entries left out by an id map or a map callable.
        warnings: up to 10,000 of them; `warnings_lost` counts the rest.
        digests: hexadecimal digests of the archive, not compressed, by name of algorithm: that of a layer
            is its diff id.
        output_bytes: how many bytes were written; where nothing was compressed, `bytes_written`.
        output_digests: digests of these by the same algorithms; where nothing was compressed, `digests`.
        compression: what compressed it, library included, as in "gzip:6 (zlib-ng 2.3.3)", or None.
        seconds: wall-clock time.
    """

    __slots__ = (
        "bytes_cloned",
        "bytes_written",
        "compression",
        "digests",
        "dropped",
        "entries",
        "output_bytes",
        "output_digests",
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
        output_bytes: int,
        output_digests: dict[str, str],
        compression: str | None,
        seconds: float,
    ) -> None:
        self.entries: int = entries
        self.bytes_written: int = bytes_written
        self.bytes_cloned: int = bytes_cloned
        self.skipped: int = skipped
        self.dropped: int = dropped
        self.warnings: list[Warning] = warnings
        self.warnings_lost: int = warnings_lost
        self.digests: dict[str, str] = digests
        self.output_bytes: int = output_bytes
        self.output_digests: dict[str, str] = output_digests
        self.compression: str | None = compression
        self.seconds: float = seconds

    def __repr__(self) -> str:
        return f"<Result {self.entries} entries, {self.bytes_written} bytes, {self.seconds:.2f} s>"
