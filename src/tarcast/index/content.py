"""A member's content, as a file that reads from the archive."""

from __future__ import annotations

import bisect
import io

from ..errors import InputError
from .sparse import MapReader, SparseError, check_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._core.scan import Member
    from .source import Source


class MemberFile(io.RawIOBase):
    """A member's content, read from the archive as it is asked for."""

    def __init__(self, source: Source, member: Member) -> None:
        self.name: str = member.name
        self._source = source
        self._size = member.size
        self._pieces = pieces = _layout(source, member)
        self._starts = [offset for offset, _, _ in pieces]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError(f"cannot seek to {offset} from {whence}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._size - self._at)
        if count <= 0:
            return 0
        piece = bisect.bisect_right(self._starts, self._at) - 1
        offset, size, place = self._pieces[piece] if piece >= 0 else (0, 0, 0)
        into = self._at - offset
        if into < size:
            data = self._source.read_at(place + into, min(count, size - into))
            if not data:
                raise InputError("the archive is cut in the middle of it", path=self.name, step="read member")
            count = len(data)
            view[:count] = data
        else:  # in a hole, which ends with the next piece
            if piece + 1 < len(self._starts):
                count = min(count, self._starts[piece + 1] - self._at)
            view[:count] = bytes(count)
        self._at += count
        return count


def _layout(source: Source, member: Member) -> list[tuple[int, int, int]]:
    """(offset in the file, bytes, offset in the archive) of each piece of data."""
    if member.sparse is None:
        return [(0, member.size, member.data_offset)]
    at, stored, pieces = member.data_offset, member.stored, member.map
    try:
        if pieces is None:
            reader = MapReader()
            while not reader.done:
                data = source.read_at(at, min(65536, stored))
                if not data:
                    raise SparseError("the map of a sparse member is cut")
                taken = reader.feed(data)
                at += taken
                stored -= taken
            pieces = reader.pieces
        check_map(pieces, member.size, stored)
    except SparseError as error:
        raise InputError(str(error), path=member.name, step="read member") from None
    layout = []
    for offset, size in pieces:
        layout.append((offset, size, at))
        at += size
    return layout
