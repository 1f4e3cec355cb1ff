"""Turn directory trees into tar streams: exact, fast, with a small memory."""

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
    TarcastError,
)
from .idmap import IDMap, IDRange
from .result import Progress, Result, Warning
from .tree import Entry, Tree
from .write import write_tar

__all__ = [
    "Cancelled",
    "ChangedError",
    "CleanupError",
    "Entry",
    "IDMap",
    "IDMapError",
    "IDRange",
    "InputError",
    "OptionError",
    "OutputError",
    "PatternError",
    "Progress",
    "Result",
    "TarcastError",
    "Tree",
    "Warning",
    "__version__",
    "write_tar",
]
