"""What is told at the end of an export: warnings, the final line, the error, the JSON summary."""

from __future__ import annotations

import os
import sys

from tarcast.cli.files import check_file, write_file
from tarcast.cli.progress import Display, say_json
from tarcast.cli.stdio import say
from tarcast.errors import InputError, OptionError, OutputError, TarcastError, os_error, printable
from tarcast.sinks.descriptor import named_descriptor
from tarcast.wording import amounts, human, json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tarcast.result import Result
    from tarcast.session.client import Received

    Finished = Result | Received

WARNINGS_SHOWN = 20
_OUTPUT_ERRORS = frozenset({"ENOSPC", "EDQUOT", "EFBIG", "EPIPE", "EROFS"})


class Outcome:
    """How an export ended.

    Attributes:
        status: the exit status, see `tarcast.cli.main`.
        result: what the library returned, or None if it raised.
        error: what it raised, or None.
        seconds: the whole time.
    """

    __slots__ = ("error", "result", "seconds", "status")

    def __init__(self) -> None:
        self.status: int = 0
        self.result: Finished | None = None
        self.error: BaseException | None = None
        self.seconds: float = 0.0

    def finished(self, result: Finished) -> None:
        """The archive is complete."""
        self.result = result
        self.status = 1 if result.skipped else 0

    def failed(self, error: BaseException, output: str | None) -> None:
        """The export ended with `error`; `output` is what it wrote to, to tell whose fault an OSError is."""
        if isinstance(error, OSError) and not isinstance(error, TarcastError):
            error = _whose(error, output)
        self.error = error
        if isinstance(error, TarcastError):
            self.status = error.exit_code
        else:  # KeyboardInterrupt, or a signal that ends like one
            self.status = 128 + getattr(error, "signal_number", 2)


def _whose(error: OSError, output: str | None) -> InputError | OutputError:
    import errno

    mine = error.filename is not None and os.fsdecode(error.filename) == output
    name = errno.errorcode.get(error.errno or 0, "")
    kind = OutputError if mine or name in _OUTPUT_ERRORS else InputError
    path = error.filename if isinstance(error.filename, str | bytes) else None
    return os_error(kind, error, path=path, step="")


def show(outcome: Outcome, display: Display, output: str | None) -> None:
    """Tell people, or programs with --progress json, how it ended; on standard error."""
    result = outcome.result
    if result is not None:
        for warning in result.warnings[:WARNINGS_SHOWN]:
            if display.json_lines:
                say_json("warning", _warning(warning))
            else:
                say(f"tarcast: warning: {warning}")
        more = len(result.warnings) + result.warnings_lost - WARNINGS_SHOWN
        if more > 0 and not display.json_lines:
            say(f"tarcast: warning: and {more:,} more")
    if display.json_lines:
        values = summary(outcome, display)
        values["warning_count"] = 0 if result is None else len(result.warnings) + result.warnings_lost
        del values["warnings"]
        say_json("end", {"done": True, "path": None, **values})
    elif outcome.error is not None:
        say(_error_line(outcome.error))
    elif result is not None and display.final_line:
        say(_final_line(result, output))


def _error_line(error: BaseException) -> str:
    if isinstance(error, TarcastError):
        return f"tarcast: error: {error}".replace("on_error='skip'", "--on-error skip")
    return f"tarcast: {error_message(error)}"


def error_message(error: BaseException) -> str:
    """What the error says; an interrupt says just that."""
    return error.message if isinstance(error, TarcastError) else str(error) or "interrupted"


def _final_line(result: Finished, output: str | None) -> str:
    name = "standard output" if output == "-" else printable(output or "")
    parts = [f"tarcast: {name}: {amounts(result.entries, result.bytes_written, result.seconds)}"]
    if result.bytes_cloned:
        parts.append(f"{human(result.bytes_cloned)} of it shared with the files")
    if result.skipped:
        parts.append(f"{result.skipped:,} skipped")
    if result.dropped:
        parts.append(f"{result.dropped:,} left out by the id map")
    compressed = result.compression is not None
    if compressed:
        parts.append(f"{human(result.output_bytes)} written as {result.compression}")
    whose = " of the archive" if compressed else ""
    parts += [f"{kind}{whose} {digest}" for kind, digest in result.digests.items()]
    if compressed:
        parts += [f"{kind} of the file {digest}" for kind, digest in result.output_digests.items()]
    return ", ".join(parts)


def summary(outcome: Outcome, display: Display) -> dict[str, object]:
    """The JSON summary.

    Keys: version, exit_status, entries, bytes_written, bytes_cloned, seconds, skipped, dropped,
    digests (name: hex, of the archive, not compressed), output_bytes and output_digests (of what was
    written), compression (setting and library, or null), warnings (path, step, message, errno each),
    warnings_lost (how many more there were) and error: null, or type, path, step, message, errno.
    After a failure, entries and bytes_written are those of the last progress report.
    """
    from tarcast._version import __version__

    result, last = outcome.result, display.last
    counted = result or last
    return {
        "version": __version__,
        "exit_status": outcome.status,
        "entries": counted.entries if counted else 0,
        "bytes_written": counted.bytes_written if counted else 0,
        "bytes_cloned": result.bytes_cloned if result else 0,
        "seconds": round(result.seconds if result else outcome.seconds, 6),
        "skipped": result.skipped if result else 0,
        "dropped": result.dropped if result else 0,
        "digests": dict(result.digests) if result else {},
        "output_bytes": result.output_bytes if result else 0,
        "output_digests": dict(result.output_digests) if result else {},
        "compression": result.compression if result else None,
        "warnings": [_warning(warning) for warning in result.warnings] if result else [],
        "warnings_lost": result.warnings_lost if result else 0,
        "error": None if outcome.error is None else _error(outcome.error),
    }


def _warning(warning: Any) -> dict[str, object]:
    return {
        "path": json_text(warning.path),
        "step": warning.step,
        "message": json_text(warning.message),
        "errno": warning.errno,
    }


def _error(error: BaseException) -> dict[str, object]:
    own = error if isinstance(error, TarcastError) else None
    return {
        "type": type(error).__name__,
        "path": json_text(own.path) if own else None,
        "step": own.step if own else "",
        "message": json_text(error_message(error)),
        "errno": own.errno if own else None,
    }


def check_summary_file(path: str, output: str, index: str | None = None) -> None:
    """Find out before the work whether the summary can go to `path` beside an archive and its index.

    Args:
        path: the summary's; "-" is standard output.
        output: the archive's; "-" is standard output.
        index: the index's, if there is to be one.

    Raises:
        OptionError: it is the place of one of the others, or `path` is a directory or in none.
        OutputError: `path` is "-" and standard output is closed.
    """
    if "://" not in output and _is_same(path, output):
        if output == "-" or path == "-":
            raise OptionError("the archive goes to standard output, the summary can't: name a file")
        raise OptionError("archive and summary are the same file", path=path)
    if path == "-":
        if sys.stdout is None:
            raise OutputError("standard output is closed, the summary can't go there")
        return
    if index is not None and _is_same(path, index):
        raise OptionError("index and summary are the same file", path=path)
    check_file(path, "the summary")


def _is_same(one: str, other: str) -> bool:
    """Whether what is written to both would go to one place; "-" is standard output."""
    if "-" not in (one, other) and os.path.realpath(one) == os.path.realpath(other):
        return True
    numbers = [1 if path == "-" else named_descriptor(path) for path in (one, other)]
    if numbers == [None, None]:  # of one file with two names each name gets a file of its own
        return False
    try:
        places = [
            os.stat(path) if n is None else os.fstat(n) for path, n in zip((one, other), numbers, strict=True)
        ]
    except OSError:
        return False
    return os.path.samestat(*places)


def write_summary(path: str, values: dict[str, object]) -> None:
    """Write `values` to `path` as JSON: at once under that name, or into it if it is a pipe or device.

    Args:
        path: a file name, or "-" for standard output.
        values: what `summary` returned.

    Raises:
        OutputError: the file can't be written; nothing is left behind.
    """
    import json

    write_file(path, json.dumps(values, indent=2).encode("ascii") + b"\n", step="write the summary")
