"""JSON as Go's encoding/json reads and writes it, where Python's json module differs.

Go keeps the spelling of raw JSON, escapes <, >, &, U+2028 and U+2029 for HTML, writes numbers as
ECMAScript does and refuses what nests deeper than 10,000 levels. Text is str, in which a byte that is not
UTF-8 is surrogate-escaped.
"""

from __future__ import annotations

import re
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 10000

# Deep nesting makes little JSON into any amount of indentation.
MAX_INDENTED = 1 << 30

_OPEN, _CLOSE, _COMMA, _COLON, _STRING, _NUMBER, _WORD = range(1, 8)  # groups of _TOKEN

_TOKEN = re.compile(
    rb"[ \t\r\n]*+(?:([\[{])|([\]}])|(,)|(:)|"
    rb'("[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")|'
    rb"(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)|(true|false|null))"
)
_SPACE = re.compile(rb"[ \t\r\n]*+")

# What may come next.
_VALUE, _VALUE_OR_CLOSE, _KEY, _KEY_OR_CLOSE, _KEY_END, _MORE_OR_CLOSE, _NOTHING = range(7)

_ESCAPES = {c: f"\\u{ord(c):04x}" for c in (*map(chr, range(0x20)), "<", ">", "&", "\u2028", "\u2029")} | {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_TO_ESCAPE = re.compile(r'[\x00-\x1f"\\<>&\u2028\u2029\ud800-\udfff]')
_RAW_ESCAPES = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
}
_RAW_TO_ESCAPE = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|u([0-9a-f]{4})|(.))", re.IGNORECASE)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {b"true": True, b"false": False, b"null": None}


class JSONError(ValueError):
    """The bytes are no JSON that Go would take."""


class Object(list[tuple[str, object]]):
    """A decoded object: its pairs in the order of the text, duplicates included."""


def quoted(text: str) -> str:
    """`text` as a JSON string; every byte that is not UTF-8 becomes \\ufffd, the escape."""
    if _TO_ESCAPE.search(text) is None:
        return f'"{text}"'
    # Escaped bytes next to each other may be valid UTF-8 after all.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], "\\ufffd")


def indented(data: bytes, level: int, limit: int = MAX_DEPTH) -> bytes:
    """The one JSON value in `data` as json.MarshalIndent with two spaces writes a json.RawMessage.

    Spellings of numbers and strings, the order of keys and duplicates stay, and so do bytes that are
    not UTF-8; only blanks change, and the five characters are escaped.

    Args:
        data: JSON text.
        level: how deep the value lies in the text that it is for; its own first line is not indented.
        limit: the deepest nesting.

    Raises:
        JSONError: `data` is not one JSON value, nests too deep or would grow beyond MAX_INDENTED.
    """
    out = bytearray()
    newlines = [b"\n"]
    opened = False  # the last token was an opening bracket, whose line ends only if something is in it
    for kind, text in _tokens(data, limit):
        if kind == _CLOSE:
            if not opened:
                level -= 1
                out += newlines[level]
        elif opened:
            level += 1
            while len(newlines) <= level:
                newlines.append(newlines[-1] + b"  ")
            out += newlines[level]
        opened = kind == _OPEN
        out += text
        if kind == _COMMA:
            while len(newlines) <= level:
                newlines.append(newlines[-1] + b"  ")
            out += newlines[level]
            if len(out) > MAX_INDENTED:
                raise JSONError(f"grows beyond {MAX_INDENTED} bytes when indented")
        elif kind == _COLON:
            out += b" "
    return _RAW_TO_ESCAPE.sub(lambda found: _RAW_ESCAPES[found[0]], out)


def parsed(data: bytes) -> object:
    """The one JSON value in `data`: Object, list, str, float (infinite if too large), bool or None.

    In strings, bytes that are not UTF-8 and lone surrogates are U+FFFD each, as in Go.

    Raises:
        JSONError: `data` is not one JSON value or nests too deep.
    """
    result: list[object] = []
    holders: list[list[object] | Object] = [result]
    key: str | None = None
    for kind, text in _tokens(data, MAX_DEPTH):
        holder = holders[-1]
        value: object
        if kind == _OPEN:
            value = Object() if text == b"{" else []
        elif kind == _STRING:
            value = _unquoted(text)
            if key is None and isinstance(holder, Object):
                key = value
                continue
        elif kind == _NUMBER:
            value = float(text)
        elif kind == _WORD:
            value = _WORDS[text]
        else:
            if kind == _CLOSE:
                holders.pop()
            continue
        if isinstance(holder, Object):
            assert key is not None
            holder.append((key, value))
            key = None
        else:
            holder.append(value)
        if kind == _OPEN:
            holders.append(value)  # type: ignore[arg-type]
    return result[0]


def compact(value: object) -> bytes:
    """`value`, as `parsed` gives it, as json.Marshal writes what it has decoded into an `any`.

    Of duplicate keys the last counts; keys are sorted by their bytes.

    Raises:
        JSONError: a number is beyond the range of float64.
    """
    out = bytearray()
    pending = [value]  # bytes among them are finished text
    while pending:
        item = pending.pop()
        if isinstance(item, bytes):
            out += item
        elif isinstance(item, str):
            out += quoted(item).encode()
        elif isinstance(item, Object):
            out += b"{"
            parts: list[object] = []
            for key, inner in sorted(dict(item).items(), key=itemgetter(0)):
                parts += (b"," if parts else b"", quoted(key).encode() + b":", inner)
            pending.append(b"}")
            pending += reversed(parts)
        elif isinstance(item, list):
            out += b"["
            parts = []
            for inner in item:
                parts += (b"," if parts else b"", inner)
            pending.append(b"]")
            pending += reversed(parts)
        elif isinstance(item, float):
            out += _number(item)
        else:
            out += b"null" if item is None else b"true" if item else b"false"
    return bytes(out)


def _tokens(data: bytes, limit: int) -> Iterator[tuple[int, bytes]]:
    """(group of _TOKEN, text) of every token, in an order that the grammar allows."""
    position = 0
    closers = bytearray()  # what ends each open bracket
    expected = _VALUE
    while expected != _NOTHING:
        found = _TOKEN.match(data, position)
        if found is None:
            raise _malformed(data, position)
        kind = found.lastindex or 0
        text = found[kind]
        if kind >= _STRING:
            if expected <= _VALUE_OR_CLOSE:
                expected = _MORE_OR_CLOSE if closers else _NOTHING
            elif kind == _STRING and expected <= _KEY_OR_CLOSE:
                expected = _KEY_END
            else:
                raise _malformed(data, position)
        elif kind == _OPEN:
            if expected > _VALUE_OR_CLOSE:
                raise _malformed(data, position)
            closers += b"}" if text == b"{" else b"]"
            if len(closers) > limit:
                raise JSONError(f"nests deeper than {limit} levels")
            expected = _KEY_OR_CLOSE if text == b"{" else _VALUE_OR_CLOSE
        elif kind == _CLOSE:
            if (
                expected not in (_MORE_OR_CLOSE, _VALUE_OR_CLOSE, _KEY_OR_CLOSE)
                or not closers
                or text[0] != closers.pop()
            ):
                raise _malformed(data, position)
            expected = _MORE_OR_CLOSE if closers else _NOTHING
        elif kind == _COMMA:
            if expected != _MORE_OR_CLOSE:
                raise _malformed(data, position)
            expected = _KEY if closers[-1:] == b"}" else _VALUE
        else:
            if expected != _KEY_END:
                raise _malformed(data, position)
            expected = _VALUE
        position = found.end()
        yield kind, text
    if _SPACE.fullmatch(data, position) is None:
        raise _malformed(data, position)


def _malformed(data: bytes, position: int) -> JSONError:
    space = _SPACE.match(data, position)
    assert space is not None  # it matches nothing as well
    if space.end() == len(data):
        return JSONError("malformed JSON: it ends too early")
    return JSONError(f"malformed JSON at byte {space.end()}")


def _unquoted(token: bytes) -> str:
    try:
        text = token[1:-1].decode()
    except UnicodeDecodeError:
        text = _SURROGATE.sub("\ufffd", token[1:-1].decode("utf-8", "surrogateescape"))
    return _ESCAPED.sub(_unescape, text) if "\\" in text else text


def _unescape(found: re.Match[str]) -> str:
    high, low, code, letter = found.groups()
    if high is not None:
        return chr(0x10000 + (int(high, 16) - 0xD800 << 10) + int(low, 16) - 0xDC00)
    if code is not None:
        return _SURROGATE.sub("\ufffd", chr(int(code, 16)))
    return _LETTERS.get(letter, letter)


def _number(value: float) -> bytes:
    """As ECMAScript writes numbers, but for a negative zero."""
    if value in (float("inf"), float("-inf")):
        raise JSONError("a number is beyond the range of float64")
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)  # where in the digits it is
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    sign = b"-" if str(value).startswith("-") else b""
    if not digits:
        return sign + b"0"
    if -6 < point <= 21:
        if point <= 0:
            text = "0." + "0" * -point + digits
        elif point >= len(digits):
            text = digits + "0" * (point - len(digits))
        else:
            text = f"{digits[:point]}.{digits[point:]}"
    else:
        digits = digits.rstrip("0")
        text = f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1:+d}"
    return sign + text.encode()
