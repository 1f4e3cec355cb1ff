"""The native core. Python uses it through these names; the rest is for tests and benchmarks."""

# What Cython makes for the limited API imports it while a module begins, and crashes where that raises:
# Ctrl-C in the middle of it, for one. After this it only looks it up.
import inspect  # noqa: F401

from .export import Export
from .match import PatternList

__all__ = ["Export", "PatternList"]
