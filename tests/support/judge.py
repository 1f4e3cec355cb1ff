"""Judges: is this archive that one, byte for byte; is this directory that tree, field for field."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

BLOCK = 512

# Where each header field starts; the last one at or before an offset is the one that holds it.
_FIELDS = {
    0: "name",
    100: "mode",
    108: "uid",
    116: "gid",
    124: "size",
    136: "mtime",
    148: "checksum",
    156: "typeflag",
    157: "linkname",
    257: "magic",
    263: "version",
    265: "uname",
    297: "gname",
    329: "devmajor",
    337: "devminor",
    345: "prefix",
    500: "tail",
}


def assert_same_archive(got: bytes, want: bytes, what: str = "") -> None:
    """Fail with the place of the first difference if the two archives differ."""
    if got != want:
        raise AssertionError(f"{what + ': ' if what else ''}{explain_difference(got, want)}")


def explain_difference(got: bytes, want: bytes) -> str:
    """Which block differs first, whose it is in the wanted archive, which field, and both sides in hex."""
    at = _first_difference(got, want)
    block, offset = divmod(at, BLOCK)
    part, path = _owner(want, block)
    field = ""
    if part in ("header of", "pax header of"):
        field = next(name for start, name in reversed(_FIELDS.items()) if start <= offset)
        field = f", field {field}"
    lines = [
        f"first difference in block {block}, offset {offset}{field}: {part} {path!r}",
        f"  {len(got)} bytes instead of {len(want)}",
    ]
    rows = range(block * BLOCK, (block + 1) * BLOCK, 16)
    differing = [row for row in rows if got[row : row + 16] != want[row : row + 16]]
    for row in differing[:4]:
        for side, archive in (("got ", got), ("want", want)):
            raw = archive[row : row + 16]
            lines.append(f"  {row % BLOCK:3} {side} {raw.hex(' '):47}  {_printable(raw)}")
    _, seen = _owner(got, block)
    if seen != path:
        lines.append(f"  the block belongs to {seen!r} in the other archive")
    return "\n".join(lines)


def _first_difference(a: bytes, b: bytes) -> int:
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:  # a[:low] == b[:low] and a[:high] != b[:high]
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _printable(raw: bytes) -> str:
    return "".join(chr(c) if 32 <= c < 127 else "." for c in raw)


def archive_parts(archive: bytes) -> Iterator[tuple[int, str, bytes]]:
    """(first block, "pax header of" | "pax records of" | "header of" | "data of", path), in order.

    Reads only what tarcast writes (ustar and pax `x` entries), so that a wrong archive cannot confuse it
    into agreement with itself: it is used to name places, never to compare.
    """
    block = 0
    long: dict[bytes, bytes] = {}
    while (block + 1) * BLOCK <= len(archive):
        header = archive[block * BLOCK : (block + 1) * BLOCK]
        if not header.strip(b"\0"):
            return
        size = int(long.get(b"size", b"0")) or int(header[124:135].strip(b"\0 ") or b"0", 8)
        blocks = -(-size // BLOCK)
        if header[156:157] == b"x":
            start = (block + 1) * BLOCK
            long = dict(_records(archive[start : start + size]))
            after = start + blocks * BLOCK
            main = archive[after : after + BLOCK]
            path = long.get(b"path", _string(main[0:100]))
            yield block, "pax header of", path
            yield block + 1, "pax records of", path
        else:
            prefix = _string(header[345:500])
            path = long.get(b"path", (prefix + b"/" if prefix else b"") + _string(header[0:100]))
            long = {}
            yield block, "header of", path
            if blocks:
                yield block + 1, "data of", path
        block += 1 + blocks


def archive_names(archive: bytes) -> list[bytes]:
    """The paths in an archive of ours, in order."""
    return [path for _, part, path in archive_parts(archive) if part == "header of"]


def _owner(archive: bytes, block: int) -> tuple[str, bytes]:
    owner = ("start of archive", b"")
    try:
        for start, part, path in archive_parts(archive):
            if start > block:
                return owner
            owner = (part, path)
    except ValueError:
        return ("something unreadable after", owner[1])
    if block * BLOCK >= len(archive) - 2 * BLOCK:
        return ("end of archive after", owner[1])
    return owner


def _string(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = at + int(data[at:space])
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        yield key, value
        at = end


@dataclass(frozen=True)
class Entry:
    """What a tree says about one path, in the archive's terms: whole seconds, groups of names."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    target: bytes | None
    device: tuple[int, int] | None
    content: str | None
    first_name: bytes | None
    xattrs: tuple[tuple[bytes, bytes], ...]


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def describe_tree(root: bytes) -> dict[bytes, Entry]:
    """Every path below `root`, without the root, with all that an archive should carry."""
    names: dict[tuple[int, int], bytes] = {}
    entries = {}
    for path in _paths(root, b""):
        full = root + b"/" + path
        st = os.lstat(full)
        kind = _KINDS[stat.S_IFMT(st.st_mode)]
        first = None
        if st.st_nlink > 1 and kind != "directory":
            first = names.setdefault((st.st_dev, st.st_ino), path)
        content = None
        if kind == "file":
            with open(full, "rb") as f:
                content = hashlib.file_digest(f, "sha256").hexdigest()
        xattrs = sorted(
            (os.fsencode(x), os.getxattr(full, x, follow_symlinks=False))
            for x in os.listxattr(full, follow_symlinks=False)
        )
        entries[path] = Entry(
            kind=kind,
            mode=stat.S_IMODE(st.st_mode),
            uid=st.st_uid,
            gid=st.st_gid,
            mtime=(st.st_mtime_ns + 500_000_000) // 10**9,
            target=os.readlink(full) if kind == "symlink" else None,
            device=(os.major(st.st_rdev), os.minor(st.st_rdev)) if "device" in kind else None,
            content=content,
            first_name=first,
            xattrs=tuple(xattrs),
        )
    return entries


def _paths(root: bytes, prefix: bytes) -> Iterator[bytes]:
    with os.scandir(os.path.join(root, prefix)) as found:
        children = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in found)
    for name, is_directory in children:
        yield prefix + name
        if is_directory:
            yield from _paths(root, prefix + name + b"/")


def assert_same_tree(
    got: dict[bytes, Entry],
    want: dict[bytes, Entry],
    allowed: Callable[[bytes, Entry], Entry] = lambda path, entry: entry,
) -> None:
    """Fail with all differing fields; `allowed` turns what is wanted into what a tool can restore."""
    problems = [f"missing: {path!r}" for path in want.keys() - got.keys()]
    problems += [f"too much: {path!r}" for path in got.keys() - want.keys()]
    for path in sorted(want.keys() & got.keys()):
        expected = allowed(path, want[path])
        for field in dataclass_fields(Entry):
            ours, theirs = getattr(got[path], field.name), getattr(expected, field.name)
            if ours != theirs:
                problems.append(f"{path!r}: {field.name} is {ours!r}, not {theirs!r}")
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise AssertionError(f"{len(problems)} differences:\n  {shown}{more}")
