"""What the libraries do with blocks of an archive: one class for each format."""

from __future__ import annotations

import os
import struct

from ..errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, Protocol

    from .choice import Compression

    class Encoder(Protocol):
        """Compresses one archive.

        Attributes:
            block: bytes of archive in a block; only the last may be shorter, or empty.
            workers: how many blocks may be encoded at once, by as many threads.
            waiting: how many blocks may be there, encoded or not, besides the one that is filled.
        """

        block: int
        workers: int
        waiting: int

        def head(self) -> bytes:
            """What comes before the first block."""

        def pass_by(self, block: bytearray) -> None:
            """Sees each block in order, in the caller's thread, before it is encoded."""

        def encode(
            self, block: bytearray, before: bytes, last: bool, is_stopped: Callable[[], bool]
        ) -> bytes:
            """The block compressed, without the GIL; `before` is the end of the block before it.

            When `is_stopped` says so, what comes back is of no use and may come early.
            """

        def foot(self) -> bytes:
            """What comes behind the last block."""

        def close(self, *, forked: bool) -> None:
            """End what the library has running; `forked`: in the child of a fork, where that is not there."""

    class Codec(Protocol):
        """A compression that can be had here.

        Attributes:
            name: as in `Compression`.
            described: setting and library, as in "gzip:6 (zlib-ng 2.3.3)": what decides about the bytes.
        """

        name: str
        described: str

        def start(self) -> Encoder: ...


# How far deflate looks back.
DEFLATE_WINDOW = 32768
# Of gzip's blocks: large enough that a block's start costs nothing that can be measured, and an archive
# of a few MiB keeps several cores busy. Part of the format of what is written: another one, other bytes.
_GZIP_BLOCK = 262144
# What libzstd gives a worker at a time, where the overlap between jobs is not longer. By default it would be
# 4 windows: too much for an archive of some MiB to keep several cores busy, and for a cancel, which waits for
# the jobs in hand. Less, or less overlap, costs size at high levels: 2.4 % with 2 MiB at level 19.
_ZSTD_JOB = 4194304
_ZSTD_FEED = 262144
_LONG_WINDOW = 27  # the most that readers take without being asked
_XZ_STEP = 65536
_MEGA = 1048576


def codec_for(setting: Compression) -> Codec:
    """The codec of a setting.

    Raises:
        OptionError: its library is not installed, or cannot do what is asked.
    """
    if setting.name == "gzip":
        return GzipCodec(setting)
    return ZstdCodec(setting) if setting.name == "zstd" else XzCodec(setting)


def _threads(setting: Compression) -> int:
    if setting.threads is not None:
        return setting.threads
    return min(64, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class GzipCodec:
    """Deflate in blocks that know the end of the one before, as pigz does: one member, read by anything."""

    name = "gzip"

    def __init__(self, setting: Compression) -> None:
        self._zlib, library = _zlib_of(setting.library)
        self._level = setting.level
        if self._level is None:
            self._level = 2 if setting.library == "isal" else 6
        self._workers = _threads(setting)
        self.described: str = f"gzip:{self._level} ({library})"

    def start(self) -> Encoder:
        assert self._level is not None
        return _GzipEncoder(self._zlib, self._level, self._workers)


def _zlib_of(library: str | None) -> tuple[ModuleType | Any, str]:
    """The module, and the library's name with its version."""
    if library in (None, "zlib-ng"):
        try:
            from zlib_ng import zlib_ng

            return zlib_ng, f"zlib-ng {zlib_ng.ZLIBNG_RUNTIME_VERSION}"
        except ImportError as error:
            if library is not None:
                raise _missing("gzip by zlib-ng", "gzip") from error
    if library == "isal":
        try:
            import isal
            from isal import isal_zlib

            return isal_zlib, f"isal {isal.__version__}"
        except ImportError as error:
            raise _missing("gzip by isal", "gzip") from error
    import zlib

    return zlib, f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


def _missing(what: str, extra: str) -> OptionError:
    return OptionError(f"{what} needs a package", hint=f"pip install 'tarcast[{extra}]'")


class _GzipEncoder:
    block = _GZIP_BLOCK

    def __init__(self, zlib: Any, level: int, workers: int) -> None:
        self._zlib = zlib
        self._level = level
        self.workers = workers
        self.waiting = 2 * workers + 2
        self._crc = 0
        self._size = 0

    def head(self) -> bytes:
        extra = {9: 2, 1: 4}.get(self._level, 0)  # of the levels alone, as in RFC 1952
        return struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 0, 0, extra, 255)  # no name, no time, no system

    def pass_by(self, block: bytearray) -> None:
        self._crc = self._zlib.crc32(block, self._crc)
        self._size += len(block)

    def encode(self, block: bytearray, before: bytes, last: bool, is_stopped: Callable[[], bool]) -> bytes:
        zlib = self._zlib
        options = {"zdict": before} if before else {}
        stream = zlib.compressobj(level=self._level, method=zlib.DEFLATED, wbits=-15, **options)
        return b"".join([stream.compress(block), stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)])

    def foot(self) -> bytes:
        return struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)

    def close(self, *, forked: bool) -> None:
        pass


class ZstdCodec:
    """One frame by libzstd's own threads; with jobs of one size, which make the same bytes for any number."""

    name = "zstd"

    def __init__(self, setting: Compression) -> None:
        self._zstd = zstd_module()
        parameter = self._zstd.CompressionParameter
        level = self._zstd.COMPRESSION_LEVEL_DEFAULT if setting.level is None else setting.level
        self._options = {
            parameter.compression_level: level,
            parameter.checksum_flag: 1,
            parameter.nb_workers: _threads(setting),  # never 0, which would write other bytes
            parameter.job_size: _ZSTD_JOB,
        }
        if setting.long:
            self._options[parameter.enable_long_distance_matching] = 1
            self._options[parameter.window_log] = _LONG_WINDOW
        if parameter.nb_workers.bounds()[1] < 1:
            raise OptionError("the zstd library of this Python was built without threads")
        words = f"zstd:{level}" + (",long" if setting.long else "")
        self.described: str = f"{words} (libzstd {self._zstd.zstd_version})"

    def start(self) -> Encoder:
        return _ZstdEncoder(self._zstd, self._options)


def zstd_module() -> Any:
    """`compression.zstd`, in the standard library since Python 3.14, or its backport.

    Raises:
        OptionError: neither is there.
    """
    import importlib

    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise _missing("zstd", "zstd")


class _ZstdEncoder:
    block = _ZSTD_FEED
    workers = 1  # which has those of libzstd behind it
    waiting = 4

    def __init__(self, zstd: Any, options: dict[Any, int]) -> None:
        self._stream: Any = zstd.ZstdCompressor(options=options)
        self._continue = self._stream.CONTINUE
        self._end = self._stream.FLUSH_FRAME

    def head(self) -> bytes:
        return b""

    def pass_by(self, block: bytearray) -> None:
        pass

    def encode(self, block: bytearray, before: bytes, last: bool, is_stopped: Callable[[], bool]) -> bytes:
        out: bytes = self._stream.compress(block, self._end if last else self._continue)
        return out

    def foot(self) -> bytes:
        return b""

    def close(self, *, forked: bool) -> None:
        if forked and self._stream is not None:
            # Freed, it would wait for its threads, for ever.
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._stream))
        self._stream = None  # its threads end with it


class XzCodec:
    """A stream for each block, one behind the other, as the format allows.

    That is what threads can do with the standard library, which has none for xz.
    """

    name = "xz"

    def __init__(self, setting: Compression) -> None:
        try:
            import lzma  # noqa: F401
        except ImportError as error:
            raise OptionError("this Python was built without lzma, which xz needs") from error
        self._level = 6 if setting.level is None else setting.level
        self._workers = _threads(setting)
        self.described: str = f"xz:{self._level} (liblzma)"

    def start(self) -> Encoder:
        return _XzEncoder(self._level, self._workers)


class _XzEncoder:
    # xz's dictionaries in MiB; twice as much of the archive is a block: between memory and size.
    _DICTIONARY = (0.25, 1, 2, 4, 4, 8, 8, 16, 32, 64)

    def __init__(self, level: int, workers: int) -> None:
        self._level = level
        self.block = max(4 * _MEGA, int(2 * _MEGA * self._DICTIONARY[level]))
        self.workers = workers
        self.waiting = workers
        self._seen = 0

    def head(self) -> bytes:
        return b""

    def pass_by(self, block: bytearray) -> None:
        self._seen += len(block)

    def encode(self, block: bytearray, before: bytes, last: bool, is_stopped: Callable[[], bool]) -> bytes:
        import lzma

        if not block and self._seen:
            return b""
        stream = lzma.LZMACompressor(lzma.FORMAT_XZ, lzma.CHECK_CRC64, preset=self._level)
        parts = []
        with memoryview(block) as view:
            for start in range(0, len(view), _XZ_STEP):  # a whole block can take 10 s
                if is_stopped():
                    return b""
                parts.append(stream.compress(view[start : start + _XZ_STEP]))
        return b"".join([*parts, stream.flush()])

    def foot(self) -> bytes:
        return b""

    def close(self, *, forked: bool) -> None:
        pass
