"""Turns one cleaned pattern into what the matcher in `_core.match` runs.

The original rewrites a pattern to a regular expression, text to text, and lets Go's regexp package read
it. Odd patterns get their meaning from that detour: `[*]`, `\\d`, `^`, a backslash at the end, and that
`{`, `|` and `}` are not escaped, so they repeat and separate alternatives. So the detour is walked here
too: `to_expression` writes the text, `parse_expression` reads it. Each alternative is a straight line of
items, because nothing that comes out of a pattern can nest; see match.pxd.
"""

from __future__ import annotations

from tarcast import _runes
from tarcast._lexical import BAD_BYTE, MalformedError, decode_runes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast._runes import Ranges

    # A kind and its rune, its set, or 0.
    Item = tuple[int, int | Ranges]
    # (head, tail, must a match reach the end of the path?, items between): see split_literals
    Line = tuple[bytes, bytes, bool, list[Item]]

EXACT, PREFIX, SUFFIX, REGEXP = range(4)
RUNE, SET, STAR, MAYBE, SKIP, RUN, BEGIN, END, WORD, NOT_WORD = range(10)

MAX_PATTERN = 65536  # bytes: 16 times the longest path
MAX_ITEMS = 131072  # of one pattern
MAX_REPEAT = 1000

_BEFORE_SLASH = "[^/]"
_ANY_DIRECTORIES = "(.*/)?"
_ANYTHING = ".*"
_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_ASSERTION = {"A": BEGIN, "b": WORD, "B": NOT_WORD, "z": END}
_OCTAL = "01234567"
_HEX = "0123456789abcdefABCDEF"
_DIGITS = "0123456789"


def to_expression(pattern: bytes) -> tuple[int, str]:
    """The mode of a cleaned pattern without its `!`, and its expression, which counts for REGEXP only."""
    runes = decode_runes(pattern)
    if runes.startswith("\ufeff"):
        runes = runes[1:]
    text = ["^"]
    mode, at, size = EXACT, 0, len(runes)
    while at < size:
        rune, start = runes[at], at
        at += 1
        if rune == "*" and runes.startswith("*", at):
            at += 2 if runes.startswith("*/", at) else 1
            if at < size:
                text.append(_ANY_DIRECTORIES)
                mode = REGEXP
            elif mode == EXACT:
                mode = PREFIX
            else:
                text.append(_ANYTHING)
                mode = REGEXP
            if start == 0:
                mode = SUFFIX
        elif rune == "*":
            text.append(_BEFORE_SLASH + "*")
            mode = REGEXP
        elif rune == "?":
            text.append(_BEFORE_SLASH)
            mode = REGEXP
        elif rune in ".+()$":
            text.append("\\" + rune)
        elif rune == "\\":
            text.append(runes[start : at + 1])
            if at < size:
                mode = REGEXP
            at += 1
        else:
            text.append(rune)
            if rune in "[]":
                mode = REGEXP
    return mode, "".join(text) + "$"


def parse_expression(text: str) -> list[Line]:
    """The alternatives of an expression that `to_expression` wrote, ready for the core.

    Raises MalformedError when Go's regexp package (syntax.Perl) would refuse it, when it asks for a script
    (`\\p{Greek}`), repeats a repetition (which takes `\\Q\\E` between the two) or is too large.
    """
    lines: list[Line] = []
    done = 0  # items in them
    items: list[Item] = []
    once = False  # was the last thing read something that may be repeated?
    at = 0
    while at < len(text):
        rune = text[at]
        repeats = _parse_repeat(text, at) if rune == "{" else None
        if repeats is not None:
            least, most, at = repeats
            if not once:
                raise MalformedError("a {repetition} has nothing to repeat")
            _repeat(items, least, most)
            once = False
        elif rune == "|":
            lines.append(split_literals(items))
            done += len(items) + 1
            items = []
            once = False
            at += 1
        elif rune == "[":
            ranges, at = _parse_class(text, at)
            starred = text.startswith("*", at)
            at += starred
            items.append((STAR, ranges) if starred else _one_of(ranges))
            once = not starred
        elif rune == "\\":
            before = len(items)
            at = _parse_escape(text, at, items)
            once = once or len(items) > before
        elif text.startswith(_ANY_DIRECTORIES, at):
            items += [(SKIP, 0), (RUN, 0)]
            at += len(_ANY_DIRECTORIES)
            once = False
        elif text.startswith(_ANYTHING, at):
            items.append((STAR, _runes.NOT_NEWLINE))
            at += len(_ANYTHING)
            once = False
        else:
            items.append((BEGIN, 0) if rune == "^" else (END, 0) if rune == "$" else (RUNE, ord(rune)))
            at += 1
            once = True
        if len(items) + done > MAX_ITEMS:
            raise MalformedError("it is too large")
    lines.append(split_literals(items))
    return lines


def _parse_repeat(text: str, at: int) -> tuple[int, int, int] | None:
    """Reads `{n}`, `{n,}` or `{n,m}`: (least, most or -1, place behind); None if the `{` is just a brace."""
    end = text.find("}", at)
    low, comma, high = text[at + 1 : end].partition(",")
    if end < 0 or not _is_number(low) or (high and not _is_number(high)):
        return None
    least = _bounded(low)
    most = least if not comma else _bounded(high) if high else -1
    if max(least, most) > MAX_REPEAT or 0 <= most < least:
        raise MalformedError(f"{text[at : end + 1]} is no valid repetition (at most {MAX_REPEAT} times)")
    return least, most, end + 1


def _is_number(text: str) -> bool:
    """Digits without a needless zero before them?"""
    return bool(text) and all(digit in _DIGITS for digit in text) and (text == "0" or text[0] != "0")


def _bounded(digits: str) -> int:
    return int(digits) if len(digits) < 5 else MAX_REPEAT + 1


def _repeat(items: list[Item], least: int, most: int) -> None:
    """Replaces the last item by its repetition; most = -1: without limit."""
    item = items.pop()
    kind, argument = item
    if kind not in (RUNE, SET):  # an assertion: true as often as one likes, or not asked for
        items += [item] * min(least, 1)
        return
    items += [item] * least
    ranges = argument if isinstance(argument, tuple) else (argument, argument)
    if most < 0:
        items.append((STAR, ranges))
    else:
        items += [(MAYBE, ranges)] * (most - least)


def _one_of(ranges: Ranges) -> Item:
    """The item for one rune of a class; a class of one rune is that rune."""
    return (RUNE, ranges[0]) if len(ranges) == 2 and ranges[0] == ranges[1] else (SET, ranges)


def _parse_escape(text: str, at: int, items: list[Item]) -> int:
    """Reads the escape at `at` outside a class into `items`; returns the place behind it."""
    letter = text[at + 1 : at + 2]
    if letter in _ASSERTION:
        items.append((_ASSERTION[letter], 0))
        return at + 2
    if letter == "Q":
        end = text.find("\\E", at + 2)
        quoted = text[at + 2 :] if end < 0 else text[at + 2 : end]
        items += [(RUNE, ord(rune)) for rune in quoted]
        return len(text) if end < 0 else end + 2
    ranges, behind = _escaped_class(text, at)
    if ranges is not None:
        items.append(_one_of(ranges))
        return behind
    value, at = _escaped_rune(text, at)
    items.append((RUNE, value))
    return at


def _parse_class(text: str, at: int) -> tuple[Ranges, int]:
    """Reads the class whose `[` is at `at`: its ranges and the place behind its `]`."""
    negated = text.startswith("^", at + 1)
    at += 1 + negated
    found: list[Ranges] = []
    first = True
    while first or not text.startswith("]", at):
        first = False
        if text.startswith("[:", at):
            end = text.find(":]", at + 2)
            if end >= 0:
                found.append(_posix_class(text[at + 2 : end]))
                at = end + 2
                continue
        ranges, behind = _escaped_class(text, at)
        if ranges is not None:
            found.append(ranges)
            at = behind
            continue
        start = at
        low, at = _class_rune(text, at)
        high = low
        if text.startswith("-", at) and at + 1 < len(text) and text[at + 1] != "]":
            high, at = _class_rune(text, at + 1)
            if high < low:
                raise MalformedError(f"the class range {text[start:at]} runs backwards")
        found.append((low, high))
    merged = _runes.merge(found)
    return (_runes.invert(merged) if negated else merged), at + 1


def _class_rune(text: str, at: int) -> tuple[int, int]:
    if at >= len(text):
        raise MalformedError("a class that starts with [ is not closed with ]")
    return _escaped_rune(text, at) if text[at] == "\\" else (ord(text[at]), at + 1)


def _posix_class(name: str) -> Ranges:
    negated = name.startswith("^")
    ranges = _runes.POSIX.get(name[negated:])
    if ranges is None:
        raise MalformedError(f"there is no class [:{name}:]")
    return _runes.invert(ranges) if negated else ranges


def _escaped_class(text: str, at: int) -> tuple[Ranges | None, int]:
    """The ranges of `\\d`, `\\pL` and the like at `at` and the place behind, or (None, at)."""
    if not text.startswith("\\", at):
        return None, at
    letter = text[at + 1 : at + 2]
    ranges = _runes.PERL.get(letter.lower())
    if ranges is not None:
        return (ranges if letter.islower() else _runes.invert(ranges)), at + 2
    if letter not in ("p", "P"):
        return None, at
    end = at + 3
    name = text[at + 2 : end]
    if name == "{":
        end = text.find("}", at) + 1
        name = text[at + 3 : end - 1] if end else ""
    inverted = name.startswith("^")
    ranges = _runes.by_property(name[inverted:])
    if ranges is None:
        raise MalformedError(f"\\{letter} does not know the character category {name}")
    return (ranges if inverted == (letter == "P") else _runes.invert(ranges)), end


def _escaped_rune(text: str, at: int) -> tuple[int, int]:
    """The rune that the backslash at `at` and what follows stand for, and the place behind."""
    letter = text[at + 1 : at + 2]
    if letter in _CONTROL:
        return _CONTROL[letter], at + 2
    if letter == "x":
        digits = text[at + 2 : at + 4]
        if digits.startswith("{"):
            return _braced_hex(text, at)
        if len(digits) == 2 and digits[0] in _HEX and digits[1] in _HEX:
            return int(digits, 16), at + 4
    elif letter and letter in _OCTAL:
        end = at + 2
        while end < at + 4 and end < len(text) and text[end] in _OCTAL:
            end += 1
        if letter == "0" or end > at + 2:
            return int(text[at + 1 : end], 8), end
    elif letter.isascii() and letter and not letter.isalnum():
        return ord(letter), at + 2
    raise MalformedError(f"\\{letter} means nothing here")


def _braced_hex(text: str, at: int) -> tuple[int, int]:
    """The rune of the `\\x{...}` at `at` and the place behind."""
    end = text.find("}", at)
    digits = text[at + 3 : end]
    if end > 0 and digits and all(digit in _HEX for digit in digits):
        digits = digits.lstrip("0")
        if len(digits) < 7 and int(digits or "0", 16) <= _runes.MAX_RUNE:
            return int(digits or "0", 16), end + 1
    raise MalformedError("\\x{...} needs a hexadecimal number up to 10FFFF")


def split_literals(items: list[Item]) -> Line:
    """Takes off an alternative's two ends what plain comparison can do.

    Returns (head, tail, must a match reach the end of the path?, items between). An alternative that does
    not insist on the start of the path may begin anywhere.
    """
    to_end = bool(items) and items[-1][0] == END
    start, end = 0, len(items) - to_end
    if items and items[0][0] == BEGIN:
        start = 1
    else:
        items = [(STAR, _runes.ANY), *items]
        end += 1
    first = start
    while start < end and _is_plain(items[start]):
        start += 1
    last = end
    while to_end and end > start and _is_plain(items[end - 1]):
        end -= 1
    return _as_bytes(items[first:start]), _as_bytes(items[end:last]), to_end, items[start:end]


def _is_plain(item: Item) -> bool:
    """Does this item match exactly one byte string? U+FFFD does not: it stands for any bad byte too."""
    return item[0] == RUNE and item[1] != BAD_BYTE


def _as_bytes(items: list[Item]) -> bytes:
    return "".join(chr(value) for _, value in items if isinstance(value, int)).encode("utf-8")
