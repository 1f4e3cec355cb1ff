"""Which compression an archive gets: what the caller says, or the suffix of its name."""

from __future__ import annotations

import os

from ..errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .codec import Codec

NAMES = ("gzip", "zstd", "xz")
_SUFFIXES = {
    ".gz": "gzip",
    ".tgz": "gzip",
    ".zst": "zstd",
    ".tzst": "zstd",
    ".xz": "xz",
    ".txz": "xz",
}
# Those of programs whose formats are written here, and of others.
_PROMISES = frozenset(
    f".{name}"
    for names in (
        "gz tgz taz z",
        "zst zstd tzst",
        "xz txz lzma tlz lz",
        "bz2 tbz tbz2 tb2 bz",
        "lz4 lzo tzo br",
    )
    for name in names.split()
)
# What may stand behind a name.
_TAKES_VALUE = {"long": False, "threads": True, "library": True}
_HINT = "write gzip, zstd or xz, with a level as in zstd:19, or none"


class Compression:
    """How an archive is compressed; frozen.

    Args:
        name: "gzip", "zstd" or "xz".
        level: what the library takes (gzip 1-9, by isal 0-3; zstd up to 22, below zero faster still;
            xz 0-9); None for its usual one: 6, 3 and 6.
        threads: how many compress at once, 1 to 256; None for one a core. The bytes never depend on it.
        long: zstd alone: look for repetitions 128 MiB back, as `zstd --long` does.
        library: gzip alone: "zlib-ng", "isal" or "zlib"; None for zlib-ng where it is installed, else zlib.
            Each writes other bytes.

    Raises:
        OptionError: one of them makes no sense. Whether the library is there is found out later.
    """

    __slots__ = ("level", "library", "long", "name", "threads")

    name: str
    level: int | None
    threads: int | None
    long: bool
    library: str | None

    def __init__(
        self,
        name: str,
        level: int | None = None,
        *,
        threads: int | None = None,
        long: bool = False,
        library: str | None = None,
    ) -> None:
        if name not in NAMES:
            raise OptionError(f"unknown compression {name!r}", hint=_HINT)
        if level is not None and (isinstance(level, bool) or not isinstance(level, int)):
            raise OptionError(f"a level of compression is a whole number, not {level!r}")
        if threads is not None and (
            isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 256
        ):
            raise OptionError(f"threads that compress are a number from 1 to 256, not {threads!r}")
        if not isinstance(long, bool):
            raise OptionError(f"long must be True or False, not {long!r}")
        if long and name != "zstd":
            raise OptionError(f"{name} has no long mode", hint="zstd has")
        if library is not None and (name != "gzip" or library not in ("zlib-ng", "isal", "zlib")):
            raise OptionError(
                f"{name} is not written by {library!r}",
                hint="one of zlib-ng, isal and zlib" if name == "gzip" else "it has one library",
            )
        least, most = _levels(name, library)
        if level is not None and not least <= level <= most:
            raise OptionError(f"{name} has the levels {least} to {most}, not {level}")
        values = (level, library, long, name, threads)
        for key, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, key, value)

    @classmethod
    def parse(cls, text: str) -> Compression | None:
        """ "NAME", "NAME:LEVEL", each with ",long", ",threads=N", ",library=L" behind it; None for "none".

        Raises:
            OptionError: it is not written so.
        """
        if text == "none":
            return None
        first, *rest = text.split(",")
        name, colon, level = first.partition(":")
        given: dict[str, Any] = {}
        if colon:
            given["level"] = _number(level, text)
        for word in rest:
            key, equals, value = word.partition("=")
            if key in given or _TAKES_VALUE.get(key) is not bool(equals):
                raise OptionError(f"cannot read the compression {text!r}", hint=_HINT)
            given[key] = True if key == "long" else _number(value, text) if key == "threads" else value
        return cls(name, **given)

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(f"a Compression cannot be changed: {key}")

    def _values(self) -> tuple[object, ...]:
        return self.name, self.level, self.threads, self.long, self.library

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Compression) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return Compression.parse, (str(self),)

    def __str__(self) -> str:
        parts = [self.name if self.level is None else f"{self.name}:{self.level}"]
        parts += ["long"] if self.long else []
        parts += [f"threads={self.threads}"] if self.threads is not None else []
        parts += [f"library={self.library}"] if self.library is not None else []
        return ",".join(parts)

    def __repr__(self) -> str:
        return f"<Compression {self}>"


def _number(text: str, whole: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise OptionError(f"cannot read the compression {whole!r}: {text!r} is no number", hint=_HINT)
    return int(text)


def _levels(name: str, library: str | None) -> tuple[int, int]:
    if name == "gzip":
        return (0, 3) if library == "isal" else (1, 9)
    return (-131072, 22) if name == "zstd" else (0, 9)


def promised_suffix(target: object) -> str:
    """The suffix of a path or URL, as written, if files of that name are compressed; else ""."""
    if isinstance(target, (bytes, os.PathLike)):
        target = os.fsdecode(target)
    if not isinstance(target, str):
        return ""
    if "://" in target:
        target = target.partition("?")[0]
    suffix = os.path.splitext(target)[1]
    return suffix if suffix.lower() in _PROMISES else ""


def suffix_name(target: object, *, plain: str = "compression='none'") -> str | None:
    """The compression that the suffix of a path or URL promises; None for any other target.

    Raises:
        OptionError: it promises one that is not there. `plain` is what to say for none at all.
    """
    suffix = promised_suffix(target)
    name = _SUFFIXES.get(suffix.lower())
    if suffix and name is None:
        raise OptionError(
            f'a file ending in "{suffix}" should be compressed in a way that is not there',
            path=target,  # type: ignore[arg-type]
            hint=f"name it .gz, .zst or .xz, or say {plain}",
        )
    return name


def choose(
    compression: str | Compression | None, target: object = None, *, plain: str = "compression='none'"
) -> Codec | None:
    """What compresses an archive for `target`, or None for nothing.

    Args:
        compression: a Compression, what its `parse` reads, or None: by the suffix of `target`.
        target: what the caller of `write_tar` named; only a path or a URL has a suffix.
        plain: how the caller is to say that there is to be none, for `suffix_name`.

    Raises:
        OptionError: it is unknown or out of range, its library is not installed, or the suffix
            promises one that is not there.
    """
    if compression is None:
        name = suffix_name(target, plain=plain)
        setting = None if name is None else Compression(name)
    elif isinstance(compression, Compression):
        setting = compression
    elif isinstance(compression, str):
        setting = Compression.parse(compression)
    else:
        raise OptionError(f"compression must be a name, not {compression!r}", hint=_HINT)
    if setting is None:
        return None
    from .codec import codec_for

    return codec_for(setting)
