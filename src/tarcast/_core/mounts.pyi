from collections.abc import Iterable

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

class Descriptor:
    def __init__(self, fd: int = -1) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Descriptor: ...
    def __exit__(self, *error: object) -> None: ...

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
