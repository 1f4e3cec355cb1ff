"""Colours, for people at a terminal: which there are, and when there are none."""

from __future__ import annotations

import os
import re

from tarcast.showing import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

# Parameters of "select graphic rendition", ECMA-48.
RED, GREEN, YELLOW, BLUE, CYAN = (f"1;{number}" for number in (31, 32, 33, 34, 36))  # all of them bold

_PREFIXES = {"error:": RED, "internal error;": RED, "warning:": YELLOW}

# Of a help text: a heading, an option with its value, a word that is explained beside it.
_HEADING = re.compile(r"^usage:|(?<=\n\n)\S.*:$", re.M)
_OPTIONS = re.compile(r"^  -\S.*?(?=  |$)", re.M)
_OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*", re.I)
_TERM = re.compile(r"^  [a-z][a-z-]*(?=  )", re.M)


def wanted(stream: TextIO | None, environ: Mapping[str, str], *, data: bool = False) -> bool:
    """Whether what goes to `stream` is to be coloured.

    NO_COLOR wins over FORCE_COLOR and CLICOLOR_FORCE, these over TERM=dumb; each counts if it is not empty,
    the latter two if they are not 0 either (https://no-color.org, https://force-color.org).

    Args:
        stream: standard output or standard error; None if it is closed.
        environ: where the variables are looked up.
        data: it is what programs read, too: never coloured but on a terminal, whatever is forced.
    """
    if environ.get("NO_COLOR"):
        return False
    forced = any(environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    if forced and not data:
        return True
    return is_terminal(stream) and (forced or environ.get("TERM") != "dumb")


def paint(text: str, style: str) -> str:
    """`text` in one of the colours of this module."""
    return f"\x1b[{style}m{text}\x1b[0m"


def message(line: str, stream: TextIO | None) -> str:
    """`line` as it is to be written to `stream`: what kind of message it is stands out."""
    name, _, rest = line.partition(" ")
    for prefix, style in _PREFIXES.items():
        if name == "tarcast:" and rest.startswith(prefix) and wanted(stream, os.environ):
            return f"{name} {paint(prefix[:-1], style)}{rest[len(prefix) - 1 :]}"
    return line


def help_text(text: str) -> str:
    """A help text as it is to be written to standard output: headings, options and terms stand out."""
    import sys

    if not wanted(sys.stdout, os.environ):
        return text
    text = _HEADING.sub(lambda found: paint(found[0], BLUE), text)
    text = _TERM.sub(lambda found: f"  {paint(found[0][2:], CYAN)}", text)
    return _OPTIONS.sub(lambda found: _OPTION.sub(lambda name: paint(name[0], CYAN), found[0]), text)
