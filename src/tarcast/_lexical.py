"""The small rules on bytes that patterns, ignore files and follow paths share.

They do what Go's strings.TrimSpace, filepath.Clean, filepath.Join and filepath.Match do on Unix,
to the byte: the archives depend on it.
"""

from __future__ import annotations

import os

from tarcast import errors

# Everything with the Unicode property White_Space, as UTF-8.
_SPACES = tuple(
    chr(rune).encode()
    for runes in (
        range(9, 14),
        (0x20, 0x85, 0xA0, 0x1680),
        range(0x2000, 0x200B),
        (0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
    )
    for rune in runes
)

BAD_BYTE = 0xFFFD


class MalformedError(ValueError):
    """A pattern breaks the syntax; the text says how. Callers turn it into a PatternError."""


def encode_pattern(pattern: object, what: str) -> bytes:
    """A pattern or path as bytes, `str` as file names are (os.fsencode); PatternError if it cannot be."""
    if isinstance(pattern, bytes):
        return pattern
    if not isinstance(pattern, str):
        kind = type(pattern).__name__
        raise errors.PatternError(f"{what} pattern {pattern!r}: expected str or bytes, not {kind}")
    try:
        return os.fsencode(pattern)
    except UnicodeEncodeError as error:
        raise errors.PatternError(f"{what} pattern {pattern!r}: {error.reason}") from None


def trim_space(text: bytes) -> bytes:
    """`text` without white space, by Unicode's meaning, at either end (strings.TrimSpace)."""
    start, end = 0, len(text)
    while start < end and text.startswith(_SPACES, start, end):
        start += len(next(space for space in _SPACES if text.startswith(space, start, end)))
    while start < end and text.endswith(_SPACES, start, end):
        end -= len(next(space for space in _SPACES if text.endswith(space, start, end)))
    return text[start:end]


def clean_path(path: bytes) -> bytes:
    """The shortest path that means the same without looking at any file (filepath.Clean)."""
    rooted = path.startswith(b"/")
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            parts.append(part)
        elif parts and parts[-1] != b"..":
            parts.pop()
        elif not rooted:
            parts.append(part)
    return (b"/" if rooted else b"") + b"/".join(parts) or b"."


def join_path(*parts: bytes) -> bytes:
    """The non-empty parts with `/` between them, cleaned; b"" when all are empty (filepath.Join)."""
    given = [part for part in parts if part]
    return clean_path(b"/".join(given)) if given else b""


def decode_runes(text: bytes) -> str:
    """`text` as the runes that Go sees: every byte outside valid UTF-8 is one U+FFFD."""
    decoded = text.decode("utf-8", "surrogateescape")
    if decoded.isascii():
        return decoded
    return "".join(chr(BAD_BYTE) if "\udc80" <= rune <= "\udcff" else rune for rune in decoded)


def _rune_at(text: bytes, at: int) -> tuple[int, int]:
    """The rune at this place and its length in bytes; (U+FFFD, 1) for a bad byte, (U+FFFD, 0) at the end."""
    if at >= len(text):
        return BAD_BYTE, 0
    if text[at] < 0x80:
        return text[at], 1
    for width in (2, 3, 4):
        try:
            return ord(text[at : at + width].decode("utf-8")), width
        except (UnicodeDecodeError, TypeError):
            continue
    return BAD_BYTE, 1


def glob_match(pattern: bytes, name: bytes) -> bool:
    """Does the whole of `name` match, `*` and `?` stopping at `/` (filepath.Match)?

    Raises MalformedError exactly when the original reports a bad pattern. That check is lazy: what lies
    behind the point where the outcome is known is not looked at.
    """
    while pattern:
        star, chunk, pattern = _next_chunk(pattern)
        if star and not chunk:
            return b"/" not in name
        rest = _match_chunk(chunk, name)
        if rest is not None and (pattern or not rest):
            name = rest
            continue
        if not star:
            return False
        for skipped in range(len(name)):
            if name[skipped] == 0x2F:
                return False
            rest = _match_chunk(chunk, name[skipped + 1 :])
            if rest is not None and (pattern or not rest):
                name = rest
                break
        else:
            return False
    return not name


def _next_chunk(pattern: bytes) -> tuple[bool, bytes, bytes]:
    """Splits off (leading stars?, what follows up to the next star outside a class, the remainder)."""
    body = pattern.lstrip(b"*")
    star = len(body) < len(pattern)
    at, in_class = 0, False
    while at < len(body):
        byte = body[at]
        if byte == 0x5C:  # backslash: the next byte stands for itself
            at += 1
        elif byte == 0x5B:
            in_class = True
        elif byte == 0x5D:
            in_class = False
        elif byte == 0x2A and not in_class:
            return star, body[:at], body[at:]
        at += 1
    return star, body, b""


def _match_chunk(chunk: bytes, name: bytes) -> bytes | None:
    """What is left of `name` behind a match of `chunk` at its start, or None; checks all of `chunk`."""
    at, used, failed = 0, 0, False
    while at < len(chunk):
        failed = failed or used >= len(name)
        byte = chunk[at]
        at += 1
        if byte == 0x5B:
            rune, width = (0, 0) if failed else _rune_at(name, used)
            used += width
            at, inside = _match_class(chunk, at, rune)
            failed = failed or not inside
            continue
        if byte == 0x3F:
            if not failed:
                failed = name[used] == 0x2F
                used += _rune_at(name, used)[1]
            continue
        if byte == 0x5C:
            if at >= len(chunk):
                raise MalformedError("it ends in a lone backslash")
            byte = chunk[at]
            at += 1
        if not failed:
            failed = byte != name[used]
            used += 1
    return None if failed else name[used:]


def _match_class(chunk: bytes, at: int, rune: int) -> tuple[int, bool]:
    """Reads the class whose `[` ends before `at`: the place behind its `]`, and is `rune` in it?"""
    negated = chunk.startswith(b"^", at)
    at += negated
    inside, first = False, True
    while first or not chunk.startswith(b"]", at):
        first = False
        low, at = _class_rune(chunk, at)
        high = low
        if chunk.startswith(b"-", at):
            high, at = _class_rune(chunk, at + 1)
        inside = inside or low <= rune <= high
    return at + 1, inside != negated


def _class_rune(chunk: bytes, at: int) -> tuple[int, int]:
    """One rune of a class, perhaps escaped, and the place behind it, which must exist."""
    if at >= len(chunk):
        raise MalformedError("a class that starts with [ is not closed with ]")
    if chunk[at] in b"-]":
        mark = chr(chunk[at])
        raise MalformedError(f"a class has {mark} where a character is expected; write \\{mark}")
    if chunk[at] == 0x5C:
        at += 1
    rune, width = _rune_at(chunk, at)
    at += width
    if rune == BAD_BYTE and width == 1:
        raise MalformedError("a class holds a byte that is not UTF-8")
    if at >= len(chunk):
        raise MalformedError("a class that starts with [ is not closed with ]")
    return rune, at
