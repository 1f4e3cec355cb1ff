"""The native core. Python uses it through these names; the rest is for tests and benchmarks."""

# Each compiled module imports it when it is loaded, and (Cython 3.3) crashes if Ctrl-C ends that.
import inspect  # noqa: F401

from .export import Export
from .match import PatternList

__all__ = ["Export", "PatternList"]
