"""Turn directory trees into tar streams: exact, fast, with a small memory."""

from __future__ import annotations

from ._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import compression as compression
    from . import daemon as daemon
    from . import errors as errors
    from . import exporter as exporter
    from . import index as index
    from . import options as options
    from . import patterns as patterns
    from . import progress as progress
    from . import session as session
    from . import sinks as sinks
    from . import snapshot as snapshot
    from .compare import Difference, verify
    from .compression import Compression
    from .errors import (
        Cancelled,
        ChangedError,
        CleanupError,
        DaemonError,
        EncodingError,
        ExistsError,
        IDMapError,
        InputError,
        MissingError,
        OptionError,
        OutputError,
        PatternError,
        ProgressError,
        SessionError,
        TarcastError,
    )
    from .exporter import Source, TarExporter
    from .idmap import IDMap, IDRange
    from .index import Archive
    from .iterate import AsyncTarIterator, TarIterator, aiter_tar, iter_tar
    from .result import Progress, Result, Warning
    from .session import LocalSession, SessionManager
    from .snapshot import DirectoryRef, ImageRef, OverlayRef, mounted
    from .tree import Entry, Tree
    from .write import write_tar
    from .writer import TarWriter, open

__all__ = [
    "Archive",
    "AsyncTarIterator",
    "Cancelled",
    "ChangedError",
    "CleanupError",
    "Compression",
    "DaemonError",
    "Difference",
    "DirectoryRef",
    "EncodingError",
    "Entry",
    "ExistsError",
    "IDMap",
    "IDMapError",
    "IDRange",
    "ImageRef",
    "InputError",
    "LocalSession",
    "MissingError",
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
    "TarIterator",
    "TarWriter",
    "TarcastError",
    "Tree",
    "Warning",
    "__version__",
    "aiter_tar",
    "iter_tar",
    "mounted",
    "open",
    "verify",
    "write_tar",
]

# Everything is imported when it is first used, so `tarcast --version` takes little more than Python itself.
_MODULES = (
    "compression",
    "daemon",
    "errors",
    "exporter",
    "index",
    "options",
    "patterns",
    "progress",
    "session",
    "sinks",
    "snapshot",
)
_NAMES = {
    "compare": ("Difference", "verify"),
    "compression": ("Compression",),
    "errors": (
        "Cancelled",
        "ChangedError",
        "CleanupError",
        "DaemonError",
        "EncodingError",
        "ExistsError",
        "IDMapError",
        "InputError",
        "MissingError",
        "OptionError",
        "OutputError",
        "PatternError",
        "ProgressError",
        "SessionError",
        "TarcastError",
    ),
    "exporter": ("Source", "TarExporter"),
    "idmap": ("IDMap", "IDRange"),
    "index": ("Archive",),
    "iterate": ("AsyncTarIterator", "TarIterator", "aiter_tar", "iter_tar"),
    "result": ("Progress", "Result", "Warning"),
    "session": ("LocalSession", "SessionManager"),
    "snapshot": ("DirectoryRef", "ImageRef", "OverlayRef", "mounted"),
    "tree": ("Entry", "Tree"),
    "write": ("write_tar",),
    "writer": ("TarWriter", "open"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

if not TYPE_CHECKING:  # else type checkers would take any name for a good one

    def __getattr__(name: str) -> object:
        import importlib

        if name in _MODULES:
            return importlib.import_module(f"tarcast.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'tarcast' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"tarcast.{_MODULE_OF[name]}"), name)
        globals()[name] = value  # not asked for again
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
