"""Include and exclude patterns: from what the user writes to what the walk evaluates.

The rules are those of `.dockerignore` files as BuildKit applies them, quirks included, with one
difference: a malformed pattern is an error at once, not when some path happens to reach it.

A pattern is trimmed of white space; blank ones count for nothing. The rest is cleaned like a path. A
leading `!` makes it an exception. `?` and `*` stay within one path component, `**` does not, `[...]` is
a class. A pattern matches whole paths relative to the root of the tree, and the walk lets a matched
directory's result count for everything below it.
"""

from __future__ import annotations

import os

from tarcast import errors
from tarcast._core.match import PatternList
from tarcast._follow import include_with_follow, resolve_follow
from tarcast._lexical import MalformedError, clean_path, encode_pattern, glob_match, trim_space
from tarcast._regexp import (
    MAX_PATTERN,
    MAYBE,
    PREFIX,
    REGEXP,
    SET,
    STAR,
    SUFFIX,
    parse_expression,
    to_expression,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tarcast._core.match import CompiledPattern
    from tarcast._regexp import Item
    from tarcast._runes import Ranges

    Pattern = str | bytes

__all__ = [
    "compile_patterns",
    "include_with_follow",
    "parse_ignore_lines",
    "read_ignore_file",
    "resolve_follow",
]

_WILDCARDS = b"*[]?^\\"
_LONGEST_LINE = 65536
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def compile_patterns(patterns: Iterable[Pattern] | None, *, what: str) -> PatternList | None:
    """Compiles a pattern list for the walk.

    Args:
        patterns: the patterns in order; a later one overrules an earlier one. `str` patterns are encoded
            as file names are (os.fsencode).
        what: "include", "exclude" or whatever the list is for: error messages name it.

    Returns:
        None if there are no patterns: no filter. A list of blanks only gives a PatternList of count 0,
        which as an include list selects nothing and as an exclude list removes nothing.

    Raises:
        PatternError: a pattern is malformed, or `patterns` is no list of patterns.

    The rules are those of github.com/moby/patternmatcher, New and compile.
    """
    if patterns is None:
        return None
    if isinstance(patterns, (str, bytes)):
        raise errors.PatternError(
            f"{what} patterns: expected a list, not one pattern", hint="put it in [...]"
        )
    given = [encode_pattern(pattern, what) for pattern in patterns]
    if not given:
        return None
    sets: dict[Ranges, int] = {}
    compiled: list[CompiledPattern] = []
    for pattern in given:
        try:
            entry = _compile(pattern, sets)
        except MalformedError as error:
            raise errors.PatternError(f"{what} pattern {_quoted(pattern)}: {error}") from None
        if entry is not None:
            compiled.append(entry)
    return PatternList((tuple(sets), tuple(compiled)))


def _quoted(pattern: bytes) -> str:
    text = errors.printable(os.fsdecode(pattern))
    return f'"{text if len(text) <= 200 else text[:200] + "..."}"'


def _compile(pattern: bytes, sets: dict[Ranges, int]) -> CompiledPattern | None:
    """One pattern in the form that match.pxd describes, or None if it is blank; adds to `sets`."""
    pattern = trim_space(pattern)
    if not pattern:
        return None
    pattern = clean_path(pattern)
    negated = pattern.startswith(b"!")
    if negated:
        pattern = pattern[1:]
        if not pattern:
            raise MalformedError("there is no pattern behind the !")
    if len(pattern) > MAX_PATTERN:
        raise MalformedError(f"it is longer than {MAX_PATTERN} bytes")
    glob_match(pattern, b".")
    mode, expression = to_expression(pattern)
    bare = pattern.removesuffix(b"/**").removesuffix(b"/*")
    glob = any(byte in _WILDCARDS for byte in bare)
    if mode != REGEXP:
        needle = pattern[:-2] if mode == PREFIX else pattern[2:] if mode == SUFFIX else pattern
        return mode, negated, needle, bare, glob, ()
    lines = tuple(
        (head, tail, to_end, tuple(_number(item, sets) for item in items))
        for head, tail, to_end, items in parse_expression(expression)
    )
    return mode, negated, b"", bare, glob, lines


def _number(item: Item, sets: dict[Ranges, int]) -> tuple[int, int]:
    """The item with its class replaced by the number of that class."""
    kind, argument = item
    if isinstance(argument, tuple):
        assert kind in (SET, STAR, MAYBE)
        return kind, sets.setdefault(argument, len(sets))
    return kind, argument


def read_ignore_file(path: str | bytes | os.PathLike[str]) -> list[bytes]:
    """The patterns of a `.dockerignore` file, in order, for compile_patterns.

    Raises InputError if the file cannot be read, PatternError if a line is too long.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise errors.os_error(errors.InputError, error, path=path, step="read ignore file") from error
    try:
        return parse_ignore_lines(data)
    except errors.PatternError as error:
        raise errors.PatternError(error.message, path=path, step="read ignore file") from None


def parse_ignore_lines(data: bytes) -> list[bytes]:
    """The patterns in the text of a `.dockerignore` file: one a line.

    Blank lines and lines that start with `#` count for nothing. A byte order mark at the very start, white
    space around a line or behind its `!`, and one leading `/` are taken off; paths are cleaned.
    Raises PatternError for a line of 65536 bytes or more.

    The rules are those of github.com/moby/patternmatcher/ignorefile, ReadAll.
    """
    patterns: list[bytes] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) >= _LONGEST_LINE:
            raise errors.PatternError(f"line {number} is longer than {_LONGEST_LINE - 1} bytes")
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.startswith(b"#"):
            continue
        pattern = trim_space(line)
        if not pattern:
            continue
        mark = b"!" if pattern.startswith(b"!") else b""
        if mark:
            pattern = trim_space(pattern[1:])
        if pattern:
            pattern = clean_path(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix(b"/")
        patterns.append(mark + pattern)
    return patterns
