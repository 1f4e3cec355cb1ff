"""What an index says, whatever its format: the columns, the archive's own record, names that are no text."""

from __future__ import annotations

import os

from .._core.scan import Member
from ..errors import InputError, OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = "tarcast-index"
VERSION = 1

# How the archive's name goes on for an index that is found without being named; in this order.
SUFFIXES = {".sqlite": "sqlite", ".db": "sqlite", ".jsonl": "jsonl", ".parquet": "parquet"}

# What the beginning of an archive must hash to for an index to be of it; so much of it.
HEAD = 65536

COLUMNS = (
    "name",
    "raw_name",
    "type",
    "header_offset",
    "data_offset",
    "size",
    "stored",
    "mode",
    "uid",
    "gid",
    "mtime",
    "mtime_nsec",
    "devmajor",
    "devminor",
    "link",
    "raw_link",
    "sparse",
    "digest",
)


def format_of(path: str | bytes | os.PathLike[str]) -> str:
    """ "sqlite", "jsonl" or "parquet", by the suffix.

    Raises:
        OptionError: it is none of these.
    """
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()
    if suffix not in SUFFIXES:
        raise OptionError("the name of an index says its format", path=path, hint=f"end it in {_listed()}")
    return SUFFIXES[suffix]


def _listed() -> str:
    *some, last = SUFFIXES
    return f"{', '.join(some)} or {last}"


class Meta:
    """What an index says of its archive.

    Attributes:
        entries: how many members there are.
        size: length of the archive in bytes, uncompressed; all offsets are of that.
        file_size: length of the file that holds it; other than `size` if that is compressed, and then
            None where it was not known.
        compression: "gzip" and the like, or None.
        head: SHA-256 of its first 64 KiB, uncompressed, hexadecimal.
        digests: of the whole archive, hexadecimal, by name of algorithm.
        entry_digest: the algorithm of the members' digests, or None.
    """

    __slots__ = ("compression", "digests", "entries", "entry_digest", "file_size", "head", "size")

    def __init__(
        self,
        *,
        entries: int,
        size: int,
        file_size: int | None,
        compression: str | None,
        head: str,
        digests: dict[str, str],
        entry_digest: str | None,
    ) -> None:
        self.entries: int = entries
        self.size: int = size
        self.file_size: int | None = file_size
        self.compression: str | None = compression
        self.head: str = head
        self.digests: dict[str, str] = digests
        self.entry_digest: str | None = entry_digest

    def as_dict(self) -> dict[str, Any]:
        """With what says that it is an index, as it stands in one."""
        return {"format": FORMAT, "version": VERSION} | {name: getattr(self, name) for name in self.__slots__}

    def __repr__(self) -> str:
        return f"<Meta {self.entries} entries, {self.size} bytes>"


def meta_of(values: object, path: str) -> Meta:
    """The archive's record as an index holds it.

    Raises:
        InputError: it is none, or one of a later version.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise not_an_index(path, "it does not say that it is one")
    if values.get("version") != VERSION:
        raise InputError(
            f"an index of version {values.get('version')!r}, and this tarcast knows {VERSION}",
            path=path,
            step="read index",
            hint="make it anew",
        )
    whole = ("entries", "size")
    if not all(isinstance(values.get(name), int) and values[name] >= 0 for name in whole):
        raise not_an_index(path, "the archive's size is missing")
    digests, head = values.get("digests"), values.get("head")
    if not isinstance(digests, dict) or not isinstance(head, str):
        raise not_an_index(path, "the archive's digests are missing")
    return Meta(
        entries=values["entries"],
        size=values["size"],
        file_size=values.get("file_size"),
        compression=values.get("compression"),
        head=head,
        digests=digests,
        entry_digest=values.get("entry_digest"),
    )


def not_an_index(path: str, why: str) -> InputError:
    return InputError(f"is no index of tarcast: {why}", path=path, step="read index", hint="make it anew")


def member_of(row: dict[str, Any], path: str) -> Member:
    """The member that a row of an index stands for; columns of no meaning may be missing.

    Raises:
        InputError: a value makes no sense.
    """
    try:
        raw_name, raw_link, digest = (
            bytes.fromhex(v) if isinstance(v, str) else v
            for v in (row.get("raw_name"), row.get("raw_link"), row.get("digest"))
        )
        return Member(
            row["name"].encode() if raw_name is None else raw_name,
            row["type"],
            raw_linkname=(row.get("link") or "").encode() if raw_link is None else raw_link,
            header_offset=row["header_offset"],
            data_offset=row["data_offset"],
            size=row["size"],
            stored=row.get("stored"),
            mode=row["mode"],
            uid=row["uid"],
            gid=row["gid"],
            mtime=row["mtime"],
            mtime_nsec=row.get("mtime_nsec") or 0,
            devmajor=row.get("devmajor") or 0,
            devminor=row.get("devminor") or 0,
            digest=digest,
            sparse=row.get("sparse"),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise not_an_index(path, f"a row is damaged: {error!r}") from None
