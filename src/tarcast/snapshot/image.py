"""Which file system an image holds, by the magic numbers that mkfs has left."""

from __future__ import annotations

import os

from tarcast._core.descriptor import open_file
from tarcast.errors import InputError, os_error

# (type for mount(8), offset in bytes, magic), each from the file system's own header in the kernel
_MAGIC = (
    ("ext4", 1080, b"\x53\xef"),  # ext2 and ext3 too: the ext4 driver mounts them
    ("xfs", 0, b"XFSB"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("btrfs", 65600, b"_BHRfS_M"),
)
KNOWN = tuple(name for name, _, _ in _MAGIC)


def file_system_of(path: str, offset: int = 0) -> str:
    """The type of the file system that begins `offset` bytes into the file at `path`.

    Raises:
        InputError: the file cannot be read, or holds none that is known.
    """
    try:
        # A FIFO must not make us wait for a writer; that it is none is found out by reading.
        with open_file(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) as file:
            for name, at, magic in _MAGIC:
                if os.pread(file.fileno(), len(magic), offset + at) == magic:
                    return name
            first = os.pread(file.fileno(), 520, offset)
    except OSError as error:
        raise os_error(InputError, error, path=path, step="open image") from error
    if first[512:520] == b"EFI PART" or first[510:512] == b"\x55\xaa":
        raise InputError(
            "is a disk with partitions, not a file system",
            path=path,
            step="open image",
            hint="give the offset of one in bytes (ImageRef(offset=...)), or copy it out",
        )
    known = ", ".join(KNOWN)
    raise InputError(f"holds no file system that is known: {known}", path=path, step="open image")
