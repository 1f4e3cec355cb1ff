"""Who takes part: how each is found, what exactly it is asked to do, and why it is absent if it is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

from .._version import __version__
from ..compression import Compression
from ..errors import OptionError
from .processes import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Stand for the tree and the output in commands.
TREE, OUT = "TREE", "OUT"
BASE = "tarcast"
LEVELS = {"gzip": 6, "zstd": 3, "xz": 6}
_PATIENCE = 10.0  # seconds that a program may take to say its version


@dataclass(frozen=True)
class Peer:
    """One row of the table: commands that are connected by pipes, or a call of a library.

    Attributes:
        name: what `--peer` takes.
        label: what people read.
        version: of the programs or the library.
        commands: words of each, TREE and OUT among them; who has no OUT writes to standard output.
        call, options: for `worker`, where there are no commands.
        absent: why it is not there, or None.
    """

    name: str
    label: str
    version: str = ""
    commands: tuple[tuple[str, ...], ...] = ()
    call: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    absent: str | None = None


class _Absent(Exception):
    """The message says what is missing."""


def setting(text: str) -> Compression:
    """NAME[:LEVEL] with a level that all peers have; without one, the usual one.

    Raises:
        OptionError: it is not written so, or the level is out of range.
    """
    name, colon, level = text.partition(":")
    if name not in LEVELS or not (level.isascii() and level.isdigit() if colon else True):
        raise OptionError(f"cannot compare peers at {text!r}", hint="write gzip, zstd or xz, or zstd:19")
    number = int(level[:9]) if colon else LEVELS[name]
    if name == "zstd" and not number:
        raise OptionError("zstd is compared at the levels 1 to 22, not 0")
    return Compression(name, number)


def find(only: Sequence[str], compression: Compression | None) -> list[Peer]:
    """Look for the peers, tarcast's own calls first; the absent ones are in the answer, with their reasons.

    Args:
        only: names besides tarcast itself, or none for all that are compared unasked.
        compression: what all of them do at the same level, or None.

    Raises:
        OptionError: a name is unknown, or of somebody who takes no part in this.
    """
    known = _finders(compression)
    for name in only:
        if name not in known:
            hint = "say how with --compress" if name == PARALLEL else f"one of {', '.join(known)}"
            raise OptionError(f"{name!r} is nobody to compare with here", hint=hint)
    wanted = {BASE, *(only or (name for name in known if name not in UNASKED))}
    return [_found(name, *known[name]) for name in known if name in wanted]


def _found(name: str, label: str, finder: Callable[[], dict[str, Any]]) -> Peer:
    try:
        return Peer(name, label, **finder())
    except _Absent as reason:
        return Peer(name, label, absent=str(reason))


PARALLEL = "gnu-tar-parallel"
UNASKED = ("gnu-tar-xattrs",)  # takes part only if it is named


def _finders(how: Compression | None) -> dict[str, tuple[str, Callable[[], dict[str, Any]]]]:
    """name: (label, what finds it), in the order of the table."""
    xattrs = ("--xattrs", "--xattrs-include=*")
    finders: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        BASE: ("tarcast", lambda: _tarcast(how)),
        "tarcast-one-thread": ("tarcast (threads=1)", lambda: _tarcast(how, threads=1)),
        "tarcast-create": ("tarcast create", lambda: _tarcast_create(how)),
        "gnu-tar": ("GNU tar", lambda: _gnu_tar(how)),
        "gnu-tar-xattrs": ("GNU tar --xattrs", lambda: _gnu_tar(how, xattrs)),
    }
    if how is not None:
        words = _compressor(how, parallel=True)
        label = f"GNU tar | {words[0]}{' -T0' if '-T0' in words else ''}"
        finders[PARALLEL] = (label, lambda: _gnu_tar_into(words))
    return finders | {
        "bsdtar": ("bsdtar", lambda: _bsdtar(how)),
        "fastar": ("fastar", lambda: _fastar(how)),
        "tarfile": ("tarfile", lambda: _tarfile(how)),
    }


def _tarcast(how: Compression | None, **options: Any) -> dict[str, Any]:
    options["compression"] = "none" if how is None else str(how)
    if how is not None and "threads" in options:
        options["compression"] += f",threads={options['threads']}"
    return {"version": __version__, "call": "tarcast", "options": options}


def _tarcast_create(how: Compression | None) -> dict[str, Any]:
    options = ["--progress", "none", "--compress", "none" if how is None else str(how)]
    words = (sys.executable, "-P", "-m", "tarcast", "create", TREE, "-o", OUT, *options)
    return {"version": __version__, "commands": (words,)}


def _gnu_tar_words(options: Sequence[str], output: str) -> tuple[str, tuple[str, ...]]:
    """The version, and the words that write `output`."""
    for name in ("tar", "gtar"):
        path = shutil.which(name)
        said = "" if path is None else _said(path, "--version")
        if path is not None and "GNU tar" in said:
            # A path with a colon would be a file on another host.
            words = (path, "--force-local", *options, "-cf", output, "-C", TREE, ".")
            return said.split()[-1], words
    raise _Absent("no GNU tar on PATH")


def _gnu_tar(how: Compression | None, options: Sequence[str] = ()) -> dict[str, Any]:
    version, words = _gnu_tar_words(options, OUT)
    if how is not None:
        compressor = _compressor(how, parallel=False)
        version += f", {compressor[0]} {_version_of(compressor[0])}"
        words = (words[0], "-I", " ".join(compressor), *words[1:])
    return {"version": version, "commands": (words,)}


def _gnu_tar_into(compressor: tuple[str, ...]) -> dict[str, Any]:
    version, words = _gnu_tar_words((), "-")
    version += f", {compressor[0]} {_version_of(compressor[0])}"
    return {"version": version, "commands": (words, (*compressor, "-c"))}


def _compressor(how: Compression, *, parallel: bool) -> tuple[str, ...]:
    """A program that compresses from pipe to pipe, on all cores or on as many as it takes unasked."""
    level = f"-{how.level}"
    if how.name == "gzip":
        return ("pigz" if parallel else "gzip", level)
    cores = ("-T0",) if parallel else ()
    ultra = ("--ultra",) if how.name == "zstd" and (how.level or 0) > 19 else ()
    return (how.name, "-q", *cores, *ultra, level)


def _bsdtar(how: Compression | None) -> dict[str, Any]:
    path = shutil.which("bsdtar")
    if path is None:
        raise _Absent("no bsdtar on PATH")
    options: tuple[str, ...] = ()
    if how is not None:
        options = (f"--{how.name}", "--options", f"{how.name}:compression-level={how.level}")
    words = (path, *options, "-cf", OUT, "-C", TREE, ".")
    return {"version": _number_in(_said(path, "--version")), "commands": (words,)}


def _fastar(how: Compression | None) -> dict[str, Any]:
    if importlib.util.find_spec("fastar") is None:
        raise _Absent("pip install fastar")
    if how is not None and how.name == "xz":
        raise _Absent("it writes no xz")
    mode = "w" if how is None else {"gzip": "w:gz", "zstd": "w:zst"}[how.name]
    version = importlib.metadata.version("fastar")
    if how is not None:
        version += ", own level"
    return {"version": version, "call": "fastar", "options": {"mode": mode}}


def _tarfile(how: Compression | None) -> dict[str, Any]:
    mode, more = "w", {}
    if how is not None:
        if how.name == "zstd" and sys.version_info < (3, 14):
            raise _Absent("it writes zstd from Python 3.14 on")
        mode = {"gzip": "w:gz", "zstd": "w:zst", "xz": "w:xz"}[how.name]
        more = {{"gzip": "compresslevel", "zstd": "level", "xz": "preset"}[how.name]: how.level}
    options = {"mode": mode, "more": more}
    return {"version": f"Python {platform.python_version()}", "call": "tarfile", "options": options}


def _said(*words: str) -> str:
    """The first line that a program writes; "" if it fails."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").partition("\n")[0]


def _version_of(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise _Absent(f"no {program} on PATH")
    return _number_in(_said(path, "--version"))


def _number_in(line: str) -> str:
    """The first word that looks like a version: `xz (XZ Utils) 5.4.1`, `... CLI (64-bit) v1.5.4, by`."""
    words = (word.removeprefix("v").rstrip(",") for word in line.split())
    return next((word for word in words if word[:1].isdigit() and "." in word), "")
