"""The options of `write_tar` and of `Tree` as types, for those that pass them on and for tests."""

from __future__ import annotations

from typing import TypedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .compression import Compression
    from .idmap import IDMap
    from .result import Progress
    from .tree import MapFunction, Patterns
    from .write import Cancel, OnError


class Options(TypedDict, total=False):
    """Keyword arguments of `write_tar`, where they are described."""

    epoch: int | None
    digest: Iterable[str]
    compression: str | Compression | None
    index: str | bytes | os.PathLike[str] | None
    index_digest: str | None
    align: bool
    sparse: bool
    threads: int | None
    memory_limit: int
    progress: Callable[[Progress], object] | None
    count_first: bool
    cancel: Cancel | None
    on_error: OnError
    fsync: bool
    storage_options: Mapping[str, Any] | None


class TreeOptions(TypedDict, total=False):
    """Keyword arguments of `Tree`, where they are described."""

    include: Patterns
    exclude: Patterns
    follow: Patterns
    idmap: IDMap | None
    epoch: int | None
    map: MapFunction | None
