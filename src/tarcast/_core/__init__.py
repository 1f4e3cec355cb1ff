"""The native core. Python uses it through these names; the rest is for tests and benchmarks."""

from .export import Export
from .match import PatternList

__all__ = ["Export", "PatternList"]
