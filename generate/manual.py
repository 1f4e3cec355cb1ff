"""The manual: tarcast(1), and a page for each command, in man(7) of the parsers and their help texts."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import Any

from tarcast.cli import COMMANDS, help, parser_of

# Without a date and a version, which would be wrong as soon as something else changes.
_TOP = """\
.\\" Made by 'make generated'; change the parsers instead.
.TH {name} 1 "" tarcast "tarcast manual"
.nh
.ad l
.SH NAME
{title} \\- {text}
.SH SYNOPSIS
.nf
{usage}
.fi
.SH DESCRIPTION
{description}
"""

_HEADING = re.compile(r"^(\S.*):$")
_TERM = re.compile(r"^  (\S(?:.*?\S)?)(?: {2,}(\S.*))$")
_STATUS = re.compile(r"(\d+(?: \+ N)?) (.+?)(?= {3}|$)")


def pages() -> dict[str, str]:
    """File name and text of each page."""
    found = {"tarcast.1": _overview()}
    for command in COMMANDS:
        found[f"tarcast-{command}.1"] = _command(command)
    return found


def _overview() -> str:
    text = _top("tarcast", "turn directory trees into tar streams", help.USAGE, help.DESCRIPTION)
    text += ".SH COMMANDS\n"
    for command, (_, what, _) in COMMANDS.items():
        text += _item(f"\\fBtarcast\\-{_escaped(command)}\\fR(1)", what)
    return _tidy(text + _sections(help.EPILOG) + _see_also("tarcast"))


def _command(command: str) -> str:
    parser = parser_of(command)
    usage = parser.format_usage().removeprefix("usage: ")
    text = _top(f"tarcast-{command}", COMMANDS[command][1], usage, parser.description or "")
    text += ".SH OPTIONS\n"
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        if not actions:
            continue
        if group.title not in ("positional arguments", "options"):
            text += f".SS {_escaped(str(group.title))}\n"
        for action in actions:
            text += _item(_invocation(action), _help(parser, action))
    return _tidy(text + _sections(parser.epilog or "") + _see_also(f"tarcast-{command}"))


def _tidy(page: str) -> str:
    """A heading begins a paragraph by itself; PP behind it is what mandoc warns of."""
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", page, flags=re.M)


def _top(title: str, text: str, usage: str, description: str) -> str:
    return _TOP.format(
        name=_escaped(title.upper()),
        title=_escaped(title),
        text=_escaped(text),
        usage="\n".join(map(_escaped, usage.strip().splitlines())),
        description="\n.PP\n".join(_paragraph(part) for part in description.strip().split("\n\n")),
    )


def _invocation(action: argparse.Action) -> str:
    value = action.metavar
    if value is None and action.choices is not None:
        value = "|".join(map(str, action.choices))
    value = "" if value is None else f"\\fI{_escaped(str(value))}\\fR"
    if not action.option_strings:
        return value
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in action.option_strings)
    return names if action.nargs == 0 else f"{names} {value}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):
        return "tell the essence of this page"
    values: dict[str, Any] = {**vars(action), "prog": parser.prog}
    return (action.help or "") % values


def _sections(epilog: str) -> str:
    """The parts of an epilog, each a heading with lines below it; a paragraph of its own stays one."""
    text = ""
    for part in epilog.strip("\n").split("\n\n"):
        first, _, rest = part.partition("\n")
        heading = _HEADING.match(first)
        if heading is None:
            text += f".PP\n{_paragraph(part)}\n"
            continue
        title = heading[1]
        text += f".SH {_escaped(title.upper())}\n"
        body = rest.splitlines()
        if title == "examples":
            text += _examples(body)
        elif title == "exit status":
            for number, meaning in _STATUS.findall("   ".join(line.strip() for line in body)):
                text += _item(f"\\fB{_escaped(number)}\\fR", meaning)
        else:
            text += _definitions(body)
    return text


def _examples(lines: list[str]) -> str:
    """Commands, two columns in; what they do, six columns in; the rest of a long command, ten."""
    text = ""
    for line in lines:
        told = line.startswith("      ") and not line.startswith("          ")
        if told:
            text += f".RS 4\n{_paragraph(line)}\n.RE\n"
        elif line.startswith("          "):
            text = text.removesuffix("\n.fi\n") + f"\n    \\fB{_escaped(line.strip())}\\fR\n.fi\n"
        else:
            text += f".PP\n.nf\n\\fB{_escaped(line.strip())}\\fR\n.fi\n"
    return text


def _definitions(lines: list[str]) -> str:
    """Words with an explanation beside them, whose lines go on further in; and plain text."""
    text, inside = "", ""
    for line in lines:
        found = _TERM.match(line)
        if found:
            text += _item(f"\\fB{_escaped(found[1])}\\fR", found[2])
            inside = "term"
        elif line.startswith("   ") and inside:
            text += f"{_paragraph(line)}\n"
        else:
            text += f"{'' if inside == 'text' else '.PP' + chr(10)}{_paragraph(line)}\n"
            inside = "text"
    return text


def _item(term: str, text: str) -> str:
    return f".TP\n{term}\n{_paragraph(text)}\n"


def _paragraph(text: str) -> str:
    """Text that is filled anyway, in short lines."""
    return "\n".join(map(_escaped, textwrap.wrap(text, 70, break_on_hyphens=False, break_long_words=False)))


def _see_also(own: str) -> str:
    names = ["tarcast", *(f"tarcast-{command}" for command in COMMANDS)]
    return ".SH SEE ALSO\n" + ",\n".join(f"\\fB{_escaped(n)}\\fR(1)" for n in names if n != own) + "\n"


def _escaped(text: str) -> str:
    """`text` as roff shows it unchanged: no escape, no request, and quotes and dashes that can be pasted."""
    for character, name in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha")):
        text = text.replace(character, name)
    text = text.replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith(".") else text
