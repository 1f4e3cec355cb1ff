"""From the bytes of a tar stream, in any slices, to its members."""

from collections.abc import Callable
from typing import Protocol

from typing_extensions import Buffer

TYPES: dict[str, str]

class Hash(Protocol):
    def update(self, data: Buffer, /) -> object: ...
    def digest(self) -> bytes: ...

class ScanError(ValueError):
    """What is read is no whole tar archive.

    Attributes:
        message: what is wrong, in words.
        offset: the byte of the stream where that showed.
    """

    message: str
    offset: int
    def __init__(self, message: str, offset: int) -> None: ...

class Member:
    """One member of an archive: what its header says and where it lies.

    Attributes:
        raw_name, raw_linkname: path, and target of a symlink or first name of a hard link, as bytes; a
            directory's without a slash at the end.
        name, linkname: the same as text, undecodable bytes surrogate-escaped.
        type: "file", "hardlink", "symlink", "character device", "block device", "directory", "fifo" or
            "unknown".
        header_offset: of the first block that belongs to it, extended headers included.
        data_offset: of its first byte of data, or where that would be.
        stored: bytes of data in the archive.
        size: bytes of the file; other than `stored` for sparse files alone.
        mode: permission bits, 0 to 0o7777.
        uid, gid: numeric owner.
        mtime, mtime_nsec: seconds since 1970, and the nanoseconds to add; `mtime_ns` is both.
        devmajor, devminor: of a device, else 0.
        xattrs: (name, value) of its extended attributes, in the archive's order. Not in an index.
        sparse: None, or the form of a sparse member: "pax 1" (the map stands before the data), "pax 0" or
            "gnu".
        map: (offset, size) of each piece of data, for the latter two; else, and in an index, None.
        is_gnu: the header is none of POSIX, so no pax headers with attributes are to be expected.
        has_acl: it has access control lists as GNU tar and bsdtar store them, which are not looked into.
        digest: of the file's content, where that was asked for, or None.
    """

    def __init__(
        self,
        raw_name: bytes,
        type: str,
        *,
        raw_linkname: bytes = b"",
        header_offset: int = 0,
        data_offset: int = 0,
        size: int = 0,
        stored: int | None = None,
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        mtime_nsec: int = 0,
        devmajor: int = 0,
        devminor: int = 0,
        digest: bytes | None = None,
        sparse: str | None = None,
    ) -> None: ...
    @property
    def raw_name(self) -> bytes: ...
    @property
    def raw_linkname(self) -> bytes: ...
    @property
    def digest(self) -> bytes | None: ...
    @property
    def xattrs(self) -> tuple[tuple[bytes, bytes], ...]: ...
    @property
    def sparse(self) -> str | None: ...
    @property
    def map(self) -> list[tuple[int, int]] | None: ...
    @property
    def header_offset(self) -> int: ...
    @property
    def data_offset(self) -> int: ...
    @property
    def stored(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def mtime(self) -> int: ...
    @property
    def mtime_nsec(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def devmajor(self) -> int: ...
    @property
    def devminor(self) -> int: ...
    @property
    def is_gnu(self) -> bool: ...
    @property
    def has_acl(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def linkname(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def mtime_ns(self) -> int: ...

class Scanner:
    """Takes a tar stream in any slices and gives its members.

    Reads ustar, pax with global headers, GNU's long names, numbers in base 256 and sparse files in
    all forms, and v7. What follows the first block of zeros is passed over. More than 4 MiB of
    extended headers for a member, or of attributes for all, and maps of more than a million pieces
    are refused, so memory is bounded.

    Args:
        digest: gives a new hash object for each file, which then comes when its data has passed.
        sparse_digest: the same for sparse ones; gets the member, and the data as it is stored.
        start: offset of the first byte that will be fed.
    """

    def __init__(
        self,
        *,
        digest: Callable[[], Hash] | None = None,
        sparse_digest: Callable[[Member], Hash] | None = None,
        start: int = 0,
    ) -> None: ...
    @property
    def position(self) -> int:
        """Offset of the next byte that is to be fed."""

    @property
    def ahead(self) -> int:
        """So many bytes come next that need not be fed: pass_by() does for them."""

    @property
    def ended(self) -> bool:
        """Whether the mark of the end has passed."""

    @property
    def failed(self) -> bool:
        """Whether damage was seen, which the next feed() or close() tells."""

    def pass_by(self, count: int) -> None:
        """Go on as if `count` bytes, no more than `ahead`, had been fed."""

    def feed(self, view: Buffer) -> list[Member]:
        """The members that these bytes complete: their headers, and their data where there is a digest.

        Raises:
            ScanError: the bytes are none of a tar. What was found before it is given first.
        """

    def close(self) -> None:
        """Everything was fed.

        Raises:
            ScanError: the archive is cut.
        """
