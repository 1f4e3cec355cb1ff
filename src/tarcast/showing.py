"""Which way of showing progress fits a stream: one rule for the library and the command; cheap to import."""

from __future__ import annotations

from .errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

MODES = ("auto", "tty", "plain", "json", "none")


def resolved(mode: str, stream: TextIO | None, environ: Mapping[str, str]) -> str:
    """What `mode` comes to: "tty", "plain", "json" or "none".

    Args:
        mode: auto, tty, plain, json or none. auto is tty on a terminal and none elsewhere; tty without a
            terminal is plain, and so are both on a terminal with TERM=dumb.
        stream: where it is to be shown; None if that is closed.
        environ: where TERM is looked up. NO_COLOR needs no look: no progress is coloured.

    Raises:
        OptionError: `mode` is none of these.
    """
    if mode not in MODES:
        raise OptionError(f"progress can be {', '.join(MODES)}, not {mode!r}")
    if mode in ("auto", "tty"):
        terminal = is_terminal(stream)
        if terminal and environ.get("TERM") != "dumb":
            return "tty"
        return "plain" if terminal or mode == "tty" else "none"
    return mode


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` leads to a terminal; None and closed streams don't."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # all that a stream must have is write; ValueError: it is closed
        return False
