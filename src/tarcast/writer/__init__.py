"""`tarcast.open`: archives entry by entry, in the way of the standard library's tarfile."""

from __future__ import annotations

from .opening import open
from .writer import TarWriter

__all__ = ["TarWriter", "open"]
