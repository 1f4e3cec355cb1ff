"""Compression of archives on their way out, by libraries: gzip, zstd, xz.

The archive is cut into blocks of a size that the setting alone decides, whatever the number of threads
and however the bytes come, so the same setting and the same library give the same bytes.
"""

from __future__ import annotations

from .choice import Compression, choose, promised_suffix, suffix_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sink import CompressedSink

__all__ = ["CompressedSink", "Compression", "choose", "promised_suffix", "suffix_name"]

if not TYPE_CHECKING:  # which would take any name for a good one

    def __getattr__(name: str) -> object:
        if name != "CompressedSink":  # which brings threads with it: for those who compress
            raise AttributeError(f"module 'tarcast.compression' has no attribute {name!r}")
        from .sink import CompressedSink

        return CompressedSink
