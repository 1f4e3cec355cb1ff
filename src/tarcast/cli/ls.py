"""`tarcast ls`: what an archive holds."""

from __future__ import annotations

import os
import stat
import sys
import time

from tarcast._core.rows import json_lines
from tarcast.cli.archive_parsers import parse_ls
from tarcast.cli.colour import BLUE, CYAN, GREEN, YELLOW, paint, wanted
from tarcast.cli.stdio import flush_bytes, put_bytes, say
from tarcast.compare import plain_name
from tarcast.errors import InputError, printable
from tarcast.index import Archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tarcast._core.match import PatternList
    from tarcast.index import Member

_TYPES = {
    "file": stat.S_IFREG,
    "hardlink": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "directory": stat.S_IFDIR,
    "character device": stat.S_IFCHR,
    "block device": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
}


def run(arguments: list[str]) -> int:
    """Do what `tarcast ls ARGUMENTS` says and return the exit status."""
    args = parse_ls(arguments)
    coloured = wanted(sys.stdout, os.environ, data=True)
    choice = _Choice(args.patterns)
    with Archive(args.archive, index=args.index) as archive:
        if archive.unused:
            say(f"tarcast: warning: {archive.unused}; it is not used")
        for member in choice.of(archive):
            if args.json:
                line = json_lines([member])
            else:
                line = (_long if args.long else _name)(member, coloured).encode()
            if not put_bytes(line):
                return 0
    flush_bytes()
    for pattern in choice.without_match():
        raise InputError("matches nothing in the archive", path=pattern, step="list")
    return 0


class _Choice:
    """The members that one of the patterns selects; all without any."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns: list[tuple[str, PatternList]] = []
        self._unmatched = set(patterns)
        if patterns:
            from tarcast.patterns import compile_patterns

            for pattern in patterns:
                compiled = compile_patterns([pattern.lstrip("/")], what="list")
                assert compiled is not None
                self._patterns.append((pattern, compiled))

    def of(self, archive: Archive) -> Iterator[Member]:
        for member in archive.members():
            if not self._patterns or self._selects(plain_name(member.raw_name)):
                yield member

    def _selects(self, name: bytes) -> bool:
        selected = False
        while name:
            for pattern, compiled in self._patterns:
                if compiled.matches(name):
                    self._unmatched.discard(pattern)
                    selected = True
            name = name.rpartition(b"/")[0]  # what is below a directory is selected with it
        return selected

    def without_match(self) -> list[str]:
        return [pattern for pattern, _ in self._patterns if pattern in self._unmatched]


def _name(member: Member, coloured: bool) -> str:
    return _shown_name(member, coloured) + "\n"


def _shown_name(member: Member, coloured: bool) -> str:
    name = printable(member.name)
    style = _style(member) if coloured else None
    if style is not None:
        name = paint(name, style)
    return name + ("/" if member.type == "directory" else "")


def _style(member: Member) -> str | None:
    if member.type in ("file", "hardlink"):
        return GREEN if member.mode & 0o111 else None
    return {"directory": BLUE, "symlink": CYAN}.get(member.type, YELLOW)


def _long(member: Member, coloured: bool) -> str:
    mode = stat.filemode(_TYPES.get(member.type, 0) | member.mode)
    if member.type == "hardlink":
        mode = f"h{mode[1:]}"
    size = f"{member.devmajor},{member.devminor}" if "device" in member.type else str(member.size)
    target = {"symlink": " -> ", "hardlink": " link to "}.get(member.type, "")
    if target:
        target += printable(member.linkname)
    owner = f"{member.uid}/{member.gid}"
    size = f"{size:>{max(18 - len(owner), 0)}}"
    return f"{mode} {owner} {size} {_time(member.mtime)} {_shown_name(member, coloured)}{target}\n"


def _time(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OSError, OverflowError, ValueError):  # no such year
        return f"@{seconds}"
