"""Turn directory trees into tar streams: exact, fast, with a small memory."""

from ._version import __version__
from .errors import (
    Cancelled,
    ChangedError,
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

__all__ = [
    "Cancelled",
    "ChangedError",
    "Entry",
    "IDMap",
    "IDMapError",
    "IDRange",
    "InputError",
    "OptionError",
    "OutputError",
    "PatternError",
    "Progress",
    "ProgressError",
    "Result",
    "TarcastError",
    "Tree",
    "Warning",
    "__version__",
    "write_tar",
]
