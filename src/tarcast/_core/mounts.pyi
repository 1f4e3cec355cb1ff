from collections.abc import Iterable

from .descriptor import Descriptor

ATTR_RDONLY: int
ATTR_NOSUID: int
ATTR_NODEV: int
ATTR_NOEXEC: int
ATTR_ATIME: int
ATTR_NOATIME: int
ATTR_STRICTATIME: int
ATTR_NODIRATIME: int
ATTR_NOSYMFOLLOW: int

class MountError(OSError):
    stage: str
    parameter: int | None
    log: str

def make_mount(
    type: bytes | None,
    source: bytes,
    parameters: Iterable[tuple[bytes, bytes | str | None]] = (),
    *,
    attributes: int = 0,
    recursive: bool = False,
    elsewhere: bool = False,
) -> Descriptor: ...
def mount(source: bytes, target: bytes, type: bytes, flags: int, data: bytes) -> None: ...
def detach(path: bytes) -> None: ...
