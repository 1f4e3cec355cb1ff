"""`tarcast.open`: from a name and a mode, as tarfile takes them, to a TarWriter."""

from __future__ import annotations

import os
import re
import tarfile

from ..compression import choose, suffix_name
from ..digest import Digests
from ..errors import OptionError
from ..limits import MEMORY_LIMIT
from ..sinks import make_sink
from ..sinks.file import FileSink
from ..write import check_workers, cores
from .stream import Stream
from .writer import TarWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..sinks import Target
    from ..write import OnError
    from .header import Format

_MODE = re.compile(r"[warx](?:[:|](?:[a-z0-9]+|\*)?)?")
_PLAIN = "mode 'w:'"
_METHODS = {"gz": "gzip", "xz": "xz", "zst": "zstd"}


def open(
    name: Target | None = None,
    mode: str = "w",
    fileobj: Target | None = None,
    *,
    level: int | None = None,
    compresslevel: int | None = None,
    preset: int | None = None,
    format: Format = tarfile.DEFAULT_FORMAT,
    encoding: str | None = None,
    errors: str = "surrogateescape",
    dereference: bool = False,
    tarinfo: type[tarfile.TarInfo] = tarfile.TarInfo,
    pax_headers: dict[str, str] | None = None,
    digest: Iterable[str] = (),
    threads: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    on_error: OnError = "fail",
    fsync: bool = False,
) -> TarWriter:
    """Open an archive for writing, as `tarfile.open` does.

    Args:
        name: what `write_tar` takes as its sink: a path (appears only when complete), an
            open descriptor, a binary file object, "-" or a URL.
        mode: "w", or "x" for a path where nothing may be yet. Alone they compress as the suffix of
            the name says, and so do "w:*" and "w|*"; "w:" and "w|" do not compress, "w:gz", "w:xz",
            "w:zst" and the same with "|" do. A suffix of another compression, such as .bz2, needs one
            of those. Every archive is written as a stream, so "|" makes no difference.
        fileobj: where to write, instead of `name`, which then is only a name.
        level, compresslevel, preset: of the compression; three words for the same.
        format, encoding, errors, dereference, tarinfo, pax_headers: as in tarfile.
        digest, threads, memory_limit, on_error, fsync: as in `write_tar`. Digests are of the
            uncompressed archive.

    Raises:
        OptionError: an argument makes no sense, or asks for reading or appending.
        OutputError: it cannot be written there (ExistsError: "x", and it is there already).
    """
    level = _one_level({"level": level, "compresslevel": compresslevel, "preset": preset})
    compression = compression_of(mode)
    check_workers(threads, memory_limit)
    if on_error not in ("fail", "skip"):
        raise OptionError(f"on_error must be 'fail' or 'skip', not {on_error!r}")
    digests = Digests(digest, threaded=threads != 1)
    target = name if fileobj is None else fileobj
    if target is None:
        raise OptionError("nothing to write to", hint="give a name or a fileobj")
    codec = choose(_with_level(compression, level, target), target, plain=_PLAIN)
    sink = make_sink(target, fsync=fsync)
    if mode[0] == "x" and isinstance(target, (str, bytes, os.PathLike)):
        if not isinstance(sink, FileSink):
            raise OptionError(f"mode {mode!r} is for a path, not for {target!r}")
        sink.exclusive = True
    stream = Stream(
        sink,
        codec,
        digests,
        skip_errors=on_error == "skip",
        threads=threads,
        memory_limit=memory_limit,
        cores=cores(),
    )
    return TarWriter(
        stream,
        name=_absolute(target if name is None else name),
        mode=mode,
        format=format,
        encoding=tarfile.ENCODING if encoding is None else encoding,
        errors=errors,
        dereference=dereference,
        tarinfo=tarinfo,
        pax_headers=pax_headers,
    )


def compression_of(mode: str) -> str | None:
    """What `write_tar` would call the compression of `mode`; None: as the suffix says.

    Raises:
        OptionError: no such mode, or one for reading or appending.
    """
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        raise OptionError(f"mode must be w, x, w:gz, w:xz, w:zst, w|gz or the like, not {mode!r}")
    if mode[0] == "r":
        raise OptionError(
            "tarcast writes archives and does not read them",
            hint="read with tarfile.open, list with tarcast ls",
        )
    if mode[0] == "a":
        raise OptionError("tarcast appends to no archive", hint="write a new one, mode 'w'")
    method = mode[2:]
    if len(mode) == 1 or method == "*":
        return None
    if not method:
        return "none"
    if method not in _METHODS:
        raise OptionError(f"unknown compression {method!r} in mode {mode!r}", hint="gz, xz or zst")
    return _METHODS[method]


def _with_level(compression: str | None, level: int | None, target: object) -> str | None:
    if level is None:
        return compression
    name = compression or suffix_name(target, plain=_PLAIN)
    if name in (None, "none"):
        raise OptionError("there is a level, and no compression", hint="say which, as in mode 'w:gz'")
    return f"{name}:{level}"


def _one_level(levels: dict[str, int | None]) -> int | None:
    given = {word: level for word, level in levels.items() if level is not None}
    if len(given) > 1:
        raise OptionError(f"{' and '.join(given)} are the same", hint="give one of them")
    for word, level in given.items():
        if isinstance(level, bool) or not isinstance(level, int):
            raise OptionError(f"{word} must be a number, not {level!r}")
        return level
    return None


def _absolute(named: object) -> str | None:
    """What the `name` of an archive is, given where it goes."""
    if isinstance(named, str) and (named == "-" or "://" in named):
        return named
    if not isinstance(named, (str, bytes, os.PathLike)):
        named = getattr(named, "name", None)
        if not isinstance(named, (str, bytes, os.PathLike)):
            return None
    return os.path.abspath(os.fsdecode(named)) if named else None
