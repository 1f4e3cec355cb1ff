"""Id maps: which numeric owner of the host becomes which owner in the archive.

As in BuildKit, a host id `h` becomes `container + (h - host)` in the first range with
`host <= h < host + size`; an entry whose owner no range holds is left out of the archive.
"""

from __future__ import annotations

import os
from operator import index

from tarcast.errors import IDMapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    Ranges = Iterable["IDRange | tuple[int, int, int]"]

LIMIT = 1 << 32  # ids are unsigned 32-bit numbers
_EXAMPLE = "CONTAINER:HOST:SIZE such as 0:100000:65536"


class IDRange(tuple[int, int, int]):
    """`size` host ids from `host` on, which become container ids from `container` on.

    A named triple: it unpacks and compares as `(container, host, size)`.

    Raises:
        IDMapError: a start is negative, `size` is below 1, or either side reaches beyond 2**32.
        TypeError: a value is no integer.
    """

    __slots__ = ()

    def __new__(cls, container: int, host: int, size: int) -> Self:
        container, host, size = index(container), index(host), index(size)
        problem = _problem(container, host, size)
        if problem:
            raise IDMapError(f'id range "{container}:{host}:{size}": {problem}')
        return super().__new__(cls, (container, host, size))

    @property
    def container(self) -> int:
        """The first id inside."""
        return self[0]

    @property
    def host(self) -> int:
        """The first id outside."""
        return self[1]

    @property
    def size(self) -> int:
        """How many ids."""
        return self[2]

    def __getnewargs__(self) -> tuple[int, int, int]:
        return self[0], self[1], self[2]

    def __repr__(self) -> str:
        return f"IDRange(container={self[0]}, host={self[1]}, size={self[2]})"


class IDMap:
    """How owners of the host are written; immutable and hashable.

    Args:
        uid: ranges for user ids, tried in this order; None keeps every id as it is, and an empty
            sequence maps none, so that no entry is left.
        gid: the same for group ids.

    Ranges may overlap: the first that holds an id wins, as in BuildKit.

    Raises:
        IDMapError: a range is not valid.
    """

    __slots__ = ("gid", "uid")

    uid: tuple[IDRange, ...] | None
    gid: tuple[IDRange, ...] | None

    def __init__(self, uid: Ranges | None = None, gid: Ranges | None = None) -> None:
        for kind, ranges in (("uid", uid), ("gid", gid)):
            value = None if ranges is None else tuple(IDRange(*triple) for triple in ranges)
            object.__setattr__(self, kind, value)

    @classmethod
    def parse(cls, text: str | None = None, /, *, uid: str | None = None, gid: str | None = None) -> Self:
        """The map that triples describe: `IDMap.parse("0:100000:65536,65536:1000:1")`.

        Args:
            text: CONTAINER:HOST:SIZE, or several with commas between, for user and group ids alike.
            uid: such a text for user ids alone, instead of `text`; without it they stay as they are.
            gid: such a text for group ids alone.

        Raises:
            IDMapError: a text is empty or a part of it no valid triple; the message names both.
            TypeError: neither or both forms are used.
        """
        if (text is None) == (uid is None and gid is None):
            raise TypeError("IDMap.parse takes one text for both kinds, or uid= and/or gid=")
        if text is not None:
            both = _triples(text)
            return cls(both, both)
        return cls(None if uid is None else _triples(uid), None if gid is None else _triples(gid))

    @classmethod
    def parse_proc(cls, uid_map: str | None, gid_map: str | None) -> Self:
        """The map that texts in the form of /proc/PID/uid_map and gid_map describe (user_namespaces(7)).

        Args:
            uid_map: lines of three numbers: first id inside, first id outside, count. A text without
                lines maps nothing, as a namespace whose map was not written yet; None keeps the ids.
            gid_map: the same for group ids.

        Raises:
            IDMapError: a line is malformed; the message holds it and its number.
        """
        return cls(
            None if uid_map is None else _proc_ranges(uid_map, "uid_map"),
            None if gid_map is None else _proc_ranges(gid_map, "gid_map"),
        )

    @classmethod
    def from_files(
        cls, uid_map: str | os.PathLike[str] | None = None, gid_map: str | os.PathLike[str] | None = None
    ) -> Self:
        """The map that files in the form of /proc/PID/uid_map hold; a kind without a file stays as it is.

        Raises:
            IDMapError: a file can't be read or a line of it is malformed.
        """
        return cls(
            None if uid_map is None else _proc_ranges(_read(uid_map), os.fspath(uid_map)),
            None if gid_map is None else _proc_ranges(_read(gid_map), os.fspath(gid_map)),
        )

    @classmethod
    def from_proc(cls, pid: int | str = "self") -> Self:
        """The map of a running process's user namespace, as this process sees it.

        Args:
            pid: a process id, or "self".

        Raises:
            IDMapError: there is no such process, or it may not be inspected.
        """
        if pid != "self" and not str(pid).isdecimal():
            raise IDMapError(f'process "{pid}": expected a process id or "self"')
        return cls.from_files(f"/proc/{pid}/uid_map", f"/proc/{pid}/gid_map")

    @classmethod
    def from_subid(
        cls,
        name: str | int,
        subuid: str | os.PathLike[str] | None = "/etc/subuid",
        subgid: str | os.PathLike[str] | None = "/etc/subgid",
    ) -> Self:
        """The map of a user's subordinate ids (subuid(5)), as Docker's userns-remap builds it.

        All lines of the user count, in file order; container ids run from 0 without gaps. Group ids
        are looked up under the user's name too, not under a group's.

        Args:
            name: the user's name or numeric user id; lines under either are found when the system
                knows the user.
            subuid: the file of user ids, lines of USER:START:COUNT; None keeps them as they are.
            subgid: the same for group ids.

        Raises:
            IDMapError: a file can't be read, has no line for the user, or a malformed one.
        """
        names = _names_of(str(name))
        return cls(
            None if subuid is None else _subid_ranges(names, subuid),
            None if subgid is None else _subid_ranges(names, subgid),
        )

    def to_container(self, uid: int, gid: int) -> tuple[int, int] | None:
        """The owner `uid`, `gid` of the host as the archive has it; None if either has no counterpart."""
        user, group = _lookup(self.uid, uid), _lookup(self.gid, gid)
        return None if user is None or group is None else (user, group)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"IDMap is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"IDMap is immutable: cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return (self.uid, self.gid) == (other.uid, other.gid) if isinstance(other, IDMap) else NotImplemented

    def __hash__(self) -> int:
        return hash((IDMap, self.uid, self.gid))

    def __reduce__(self) -> tuple[type[IDMap], tuple[tuple[IDRange, ...] | None, tuple[IDRange, ...] | None]]:
        return type(self), (self.uid, self.gid)

    def __repr__(self) -> str:
        return f"IDMap(uid={self.uid!r}, gid={self.gid!r})"


def _triples(text: str) -> tuple[IDRange, ...]:
    """The ranges in `text`, as `IDMap.parse` reads them."""
    if not text.strip():
        raise IDMapError(f"the id map is empty: expected {_EXAMPLE}")
    ranges = []
    for number, part in enumerate(text.split(","), 1):
        where = f'id map "{text}"' + (f', part {number} "{part}"' if "," in text else "")
        ranges.append(_range(part.split(":"), where, _EXAMPLE))
    return tuple(ranges)


def _range(fields: list[str], where: str, expected: str) -> IDRange:
    """Three decimal numbers as a range; `where` and `expected` are for the message."""
    fields = [field.strip() for field in fields]
    # int() alone would take "1_0", "+1" and digits of other scripts.
    if len(fields) != 3 or not all(field.isascii() and field.isdigit() for field in fields):
        raise IDMapError(f"{where}: expected {expected}")
    if max(map(len, fields)) > 20:  # before int(): it refuses thousands of digits in its own words
        raise IDMapError(f"{where}: ids end at {LIMIT - 1}")
    container, host, size = map(int, fields)
    problem = _problem(container, host, size)
    if problem:
        raise IDMapError(f"{where}: {problem}")
    return IDRange(container, host, size)


def _problem(container: int, host: int, size: int) -> str:
    """What is wrong with a range, or ""."""
    if container < 0 or host < 0:
        return "ids start at 0"
    if size < 1:
        return "the size must be 1 or more"
    for side, start in (("container", container), ("host", host)):
        if start + size > LIMIT:
            return f"its {side} ids end at {start + size - 1}, above {LIMIT - 1}"
    return ""


def _proc_ranges(text: str, source: str) -> tuple[IDRange, ...]:
    expected = "three numbers: first id inside, first id outside, count"
    return tuple(
        _range(line.split(), f'{source}, line {number} "{line.strip()}"', expected)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    )


def _names_of(name: str) -> set[str]:
    """Both ways in which subuid(5) may name the user: login name and numeric id."""
    if not name or ":" in name or "\n" in name:
        raise IDMapError(f'"{name}" is no user name')
    import pwd

    try:
        user = pwd.getpwuid(int(name)) if name.isascii() and name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError, ValueError):
        return {name}  # The files may name users that this system does not know.
    return {name, user.pw_name, str(user.pw_uid)}


def _subid_ranges(names: set[str], path: str | os.PathLike[str]) -> tuple[IDRange, ...]:
    ranges: list[IDRange] = []
    container = 0
    for number, line in enumerate(_read(path).splitlines(), 1):
        user, *fields = line.strip().split(":")
        if user in names:
            where = f'{os.fspath(path)}, line {number} "{line.strip()}"'
            ranges.append(_range([str(container), *fields], where, "USER:START:COUNT"))
            container += ranges[-1].size
    if not ranges:
        who = " or ".join(sorted(names))
        raise IDMapError(f"no line for user {who}", path=path, hint="add one as subuid(5) describes")
    return tuple(ranges)


def _read(path: str | os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        number = error.errno if isinstance(error, OSError) else None
        message = os.strerror(number) if number else str(error)
        raise IDMapError(message, path=path, step="read the id map", errno=number) from None


def _lookup(ranges: tuple[IDRange, ...] | None, host_id: int) -> int | None:
    if ranges is None:
        return host_id
    for container, host, size in ranges:
        if host <= host_id < host + size:
            return container + (host_id - host)
    return None
