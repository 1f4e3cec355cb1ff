from collections.abc import Callable, Iterable, Sequence

from .links import LinkTable
from .match import PatternList

# (only a notice, step, errno, index of the tree, archive path, attribute, expected bytes, seen bytes)
Note = tuple[bool, str, int, int, bytes, bytes, int, int]
Ranges = Sequence[tuple[int, int, int]] | None
Mapped = tuple[int, int, int, int, list[tuple[bytes, bytes]] | None]
MapHook = Callable[[bytes, int, int, int, int, int, int, bytes, list[tuple[bytes, bytes]]], Mapped | None]
Added = tuple[int, Sequence[tuple[bytes, bytes]], int] | None
Root = tuple[
    int, bytes, PatternList | None, PatternList | None, Ranges, Ranges, int | None, MapHook | None, Added
]

STEPS: dict[int, str]

class Export:
    def __init__(
        self,
        roots: Iterable[Root],
        *,
        fd: int = -1,
        write: Callable[[memoryview], object] | None = None,
        observer: Callable[[memoryview], object] | None = None,
        on_tick: Callable[[], object] | None = None,
        skip_errors: bool = False,
        align: bool = False,
        sparse: bool = False,
        part: LinkTable | None = None,
        named: bool = False,
        threads: int = 1,
        cores: int = 1,
        memory: int = 33554432,
        outputs: Iterable[tuple[int, int]] = (),
    ) -> None: ...
    def count(self) -> tuple[int, int] | None: ...
    def run(self) -> bool: ...
    def cancel(self) -> None: ...
    def current_path(self) -> bytes: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def entries(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def cloned(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def notes(self) -> list[Note]: ...
    @property
    def notes_lost(self) -> int: ...
    @property
    def failure(self) -> Note | None: ...
