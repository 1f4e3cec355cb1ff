"""Sparse members: where their pieces of data are, in the file and in the archive."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from .._core.scan import Hash, Member

    Piece = tuple[int, int]

_BLOCK = 512
_MOST_PIECES = 1 << 20
# A line of a map is a number of up to 64 bits.
_LONGEST_LINE = 20
_ZEROS = bytes(1 << 18)


class SparseError(ValueError):
    """A sparse member's map makes no sense."""


class MapReader:
    """Reads the map that stands before the data of a sparse member of pax 1.0: decimal numbers, one a line.

    Attributes:
        pieces: (offset, size) of those read so far.
        size: bytes of archive that the map takes, once it is `done`.
    """

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.size: int = 0
        self.done: bool = False
        self._rest = b""
        self._numbers: list[int] = []
        self._wanted: int | None = None

    def feed(self, data: bytes) -> int:
        """Take what belongs to the map; gives how many bytes that are, all of them unless it is `done`."""
        at = 0
        while self._wanted is None or len(self._numbers) < self._wanted:
            end = data.find(b"\n", at)
            line = self._rest + data[at : end if end >= 0 else len(data)]
            if len(line) > _LONGEST_LINE or not (line.isdigit() or (end < 0 and not line)):
                raise SparseError("the map of a sparse member is no list of numbers")
            if end < 0:
                self._rest = line
                self.size += len(data)
                return len(data)
            self._rest = b""
            at = end + 1
            if self._wanted is None:
                self._wanted = 2 * int(line)
                if self._wanted > 2 * _MOST_PIECES:
                    raise SparseError(f"the map of a sparse member has more than {_MOST_PIECES} pieces")
            else:
                self._numbers.append(int(line))
        # What fills the last block.
        taken = min(at + -(self.size + at) % _BLOCK, len(data))
        self.size += taken
        if self.size % _BLOCK == 0:
            self.pieces = list(zip(self._numbers[::2], self._numbers[1::2], strict=True))
            self.done = True
        return taken


def check_map(pieces: list[Piece], size: int, stored: int) -> None:
    """Raises SparseError unless the pieces are in order, within the file, and as long as the data."""
    end = 0
    for offset, length in pieces:
        if offset < end or length < 0:
            raise SparseError("the map of a sparse member is out of order")
        end = offset + length
    if end > size or sum(length for _, length in pieces) != stored:
        raise SparseError("the map of a sparse member does not fit its data")


class Expander:
    """A hash of a sparse member's content: gets the data as it is stored, and hashes the holes too.

    Raises SparseError from any call where the map makes no sense.
    """

    def __init__(self, hash: Hash, member: Member) -> None:
        self._hash = hash
        self._member = member
        self._reader = MapReader() if member.map is None else None
        self._pieces: list[Piece] = []
        self._next = 0  # piece in hand
        self._into = 0  # bytes of it that have passed
        self._at = 0  # place in the file
        if member.map is not None:
            self._begin(member.map, member.stored)

    def _begin(self, pieces: list[Piece], stored: int) -> None:
        check_map(pieces, self._member.size, stored)
        self._pieces = pieces
        self._reader = None

    def update(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            if self._reader is not None:
                view = view[self._reader.feed(bytes(view[:65536])) :]
                if self._reader.done:
                    self._begin(self._reader.pieces, self._member.stored - self._reader.size)
                continue
            offset, length = self._pieces[self._next]
            count = min(length - self._into, len(view))
            if count:
                self._zeros(offset + self._into - self._at)
                self._hash.update(view[:count])
                self._at += count
                self._into += count
                view = view[count:]
            if self._into == length:
                self._next += 1
                self._into = 0

    def _zeros(self, count: int) -> None:
        while count > 0:
            some = min(count, len(_ZEROS))
            self._hash.update(_ZEROS if some == len(_ZEROS) else bytes(some))
            self._at += some
            count -= some

    def digest(self) -> bytes:
        """Behind the last byte of data."""
        if self._reader is not None:
            raise SparseError("the map of a sparse member is cut")
        self._zeros(self._member.size - self._at)
        return self._hash.digest()


def sparse_digest(digest: Callable[[], Hash]) -> Callable[[Member], Hash]:
    """What Scanner takes to hash sparse members too."""
    return lambda member: Expander(digest(), member)
