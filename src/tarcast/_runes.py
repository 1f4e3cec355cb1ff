"""Sets of runes for character classes, as sorted ranges (lo, hi, lo, hi, ...), both ends included."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Ranges = tuple[int, ...]

MAX_RUNE = 0x10FFFF
ANY: Ranges = (0, MAX_RUNE)
NOT_NEWLINE: Ranges = (0, 9, 11, MAX_RUNE)

# What \d, \s and \w stand for: ASCII only.
PERL: dict[str, Ranges] = {
    "d": (0x30, 0x39),
    "s": (0x09, 0x0A, 0x0C, 0x0D, 0x20, 0x20),
    "w": (0x30, 0x39, 0x41, 0x5A, 0x5F, 0x5F, 0x61, 0x7A),
}

# What [:name:] stands for inside a class.
POSIX: dict[str, Ranges] = {
    "alnum": (0x30, 0x39, 0x41, 0x5A, 0x61, 0x7A),
    "alpha": (0x41, 0x5A, 0x61, 0x7A),
    "ascii": (0x00, 0x7F),
    "blank": (0x09, 0x09, 0x20, 0x20),
    "cntrl": (0x00, 0x1F, 0x7F, 0x7F),
    "digit": (0x30, 0x39),
    "graph": (0x21, 0x7E),
    "lower": (0x61, 0x7A),
    "print": (0x20, 0x7E),
    "punct": (0x21, 0x2F, 0x3A, 0x40, 0x5B, 0x60, 0x7B, 0x7E),
    "space": (0x09, 0x0D, 0x20, 0x20),
    "upper": (0x41, 0x5A),
    "word": PERL["w"],
    "xdigit": (0x30, 0x39, 0x41, 0x46, 0x61, 0x66),
}

# The long names of Unicode's general categories, without case and separators.
_LONG_NAMES = {
    "casedletter": "lc",
    "closepunctuation": "pe",
    "combiningmark": "m",
    "connectorpunctuation": "pc",
    "control": "cc",
    "cntrl": "cc",
    "currencysymbol": "sc",
    "dashpunctuation": "pd",
    "decimalnumber": "nd",
    "digit": "nd",
    "enclosingmark": "me",
    "finalpunctuation": "pf",
    "format": "cf",
    "initialpunctuation": "pi",
    "letter": "l",
    "letternumber": "nl",
    "lineseparator": "zl",
    "lowercaseletter": "ll",
    "mark": "m",
    "mathsymbol": "sm",
    "modifierletter": "lm",
    "modifiersymbol": "sk",
    "nonspacingmark": "mn",
    "number": "n",
    "openpunctuation": "ps",
    "other": "c",
    "otherletter": "lo",
    "othernumber": "no",
    "otherpunctuation": "po",
    "othersymbol": "so",
    "paragraphseparator": "zp",
    "privateuse": "co",
    "punctuation": "p",
    "punct": "p",
    "separator": "z",
    "spaceseparator": "zs",
    "spacingmark": "mc",
    "surrogate": "cs",
    "symbol": "s",
    "titlecaseletter": "lt",
    "unassigned": "cn",
    "uppercaseletter": "lu",
}

_categories: dict[str, Ranges] = {}


def merge(ranges: Iterable[Ranges]) -> Ranges:
    """The union, as sorted ranges that neither overlap nor touch."""
    pairs = sorted((one[at], one[at + 1]) for one in ranges for at in range(0, len(one), 2))
    merged: list[int] = []
    for low, high in pairs:
        if merged and low <= merged[-1] + 1:
            merged[-1] = max(merged[-1], high)
        else:
            merged += (low, high)
    return tuple(merged)


def invert(ranges: Ranges) -> Ranges:
    """Every rune that sorted, separate ranges leave out."""
    edges = [0]
    for at in range(0, len(ranges), 2):
        edges += (ranges[at] - 1, ranges[at + 1] + 1)
    edges.append(MAX_RUNE)
    starts = (at for at in range(0, len(edges), 2) if edges[at] <= edges[at + 1])
    return tuple(edge for at in starts for edge in edges[at : at + 2])


def by_property(name: str) -> Ranges | None:
    """The runes of a Unicode property as in `\\p{name}`: a general category, Any, Assigned or ASCII.

    None if the name is unknown or a script (Greek, Han, ...): scripts are not supported. Categories are
    those of the Unicode version that this Python knows; Go's may be a little older or younger.
    """
    if not name.isascii():
        return None
    key = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    if key == "any":
        return ANY
    if key == "ascii":
        return POSIX["ascii"]
    if not _categories:
        _load_categories()
    if key == "assigned":
        return invert(_categories["cn"])
    key = _LONG_NAMES.get(key, key)
    if key == "lc":
        return merge(_categories[part] for part in ("lu", "ll", "lt"))
    if not key:
        return None
    return merge(ranges for category, ranges in _categories.items() if category.startswith(key)) or None


def _load_categories() -> None:
    from unicodedata import category

    found: dict[str, list[int]] = {}
    for rune in range(MAX_RUNE + 1):
        bounds = found.setdefault(category(chr(rune)), [])
        if bounds and bounds[-1] == rune - 1:
            bounds[-1] = rune
        else:
            bounds += (rune, rune)
    _categories.update((key.lower(), tuple(bounds)) for key, bounds in found.items())
