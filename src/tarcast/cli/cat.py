"""`tarcast cat`: the data of members of an archive."""

from __future__ import annotations

import os

from tarcast.cli.archive_parsers import parse_cat
from tarcast.cli.stdio import flush_bytes, put_bytes, say
from tarcast.errors import InputError
from tarcast.index import Archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast.index import Member

_CHUNK = 1 << 20


def run(arguments: list[str]) -> int:
    """Do what `tarcast cat ARGUMENTS` says and return the exit status."""
    args = parse_cat(arguments)
    with Archive(args.archive, index=args.index, spool=True) as archive:
        if archive.unused:
            say(f"tarcast: warning: {archive.unused}; it is not used")
        for member in archive.resolve_all([os.fsencode(name) for name in args.members]):
            if not _copy(archive, member):
                return 0
        flush_bytes()
    return 0


def _copy(archive: Archive, member: Member) -> bool:
    """Write the member's data; False: nobody wants it any more."""
    hash = None
    if member.digest is not None and archive.index is not None:
        from tarcast.index.writing import hash_maker

        make = hash_maker(archive.index.meta.entry_digest)
        hash = make and make()
    with archive.open(member) as file:
        while data := file.read(_CHUNK):
            if hash is not None:
                hash.update(data)
            if not put_bytes(data):
                return False
    if hash is not None and hash.digest() != member.digest:
        raise InputError("is not what the index has a digest of", path=member.name, step="read member")
    return True
