"""Turn directory trees into tar streams: exact, fast, with a small memory."""

from __future__ import annotations

from ._version import __version__
from .errors import (
    Cancelled,
    ChangedError,
    CleanupError,
    IDMapError,
    InputError,
    OptionError,
    OutputError,
    PatternError,
    ProgressError,
    TarcastError,
)
from .idmap import IDMap, IDRange
from .result import Progress, Result, Warning
from .tree import Entry, Tree
from .write import write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .snapshot import DirectoryRef, ImageRef, OverlayRef, mounted

__all__ = [
    "Cancelled",
    "ChangedError",
    "CleanupError",
    "DirectoryRef",
    "Entry",
    "IDMap",
    "IDMapError",
    "IDRange",
    "ImageRef",
    "InputError",
    "OptionError",
    "OutputError",
    "OverlayRef",
    "PatternError",
    "Progress",
    "ProgressError",
    "Result",
    "TarcastError",
    "Tree",
    "Warning",
    "__version__",
    "mounted",
    "write_tar",
]

_OF_SNAPSHOT = frozenset({"DirectoryRef", "ImageRef", "OverlayRef", "mounted"})


def __getattr__(name: str) -> Any:
    """What few programs need is imported when it is used."""
    if name not in _OF_SNAPSHOT:
        raise AttributeError(f"module 'tarcast' has no attribute {name!r}")
    from . import snapshot

    return getattr(snapshot, name)
