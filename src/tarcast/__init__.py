"""Turn directory trees into tar streams: exact, fast, with a small memory."""

from .errors import (
    Cancelled,
    ChangedError,
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
    "write_tar",
]
__version__ = "0.1.0.dev0"
