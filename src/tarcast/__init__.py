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
    SessionError,
    TarcastError,
)
from .idmap import IDMap, IDRange
from .result import Progress, Result, Warning
from .tree import Entry, Tree
from .write import write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .exporter import Source, TarExporter
    from .session import LocalSession, SessionManager
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
    "LocalSession",
    "OptionError",
    "OutputError",
    "OverlayRef",
    "PatternError",
    "Progress",
    "ProgressError",
    "Result",
    "SessionError",
    "SessionManager",
    "Source",
    "TarExporter",
    "TarcastError",
    "Tree",
    "Warning",
    "__version__",
    "mounted",
    "write_tar",
]

# What few programs need is imported when it is used.
_LATER = {
    "DirectoryRef": "snapshot",
    "ImageRef": "snapshot",
    "LocalSession": "session",
    "OverlayRef": "snapshot",
    "SessionManager": "session",
    "Source": "exporter",
    "TarExporter": "exporter",
    "mounted": "snapshot",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tarcast' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"tarcast.{_LATER[name]}"), name)
