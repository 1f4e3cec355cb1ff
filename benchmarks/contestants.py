"""Who takes part: how each is found, what exactly it is asked to do, and why it is absent if it is."""

from __future__ import annotations

import abc
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.calls import name_of, options_of, same_bytes, shown
from benchmarks.measure import ROOT, TIMEOUT, RunFailed, Sample, Worker, environment, run_command

# Stand for the tree and the output in the commands that a report shows.
TREE, OUT = "TREE", "OUT"
ONE_THREAD = name_of({"threads": 1})


class Contestant(abc.ABC):
    """One row of the table.

    `exact` ones owe each other the same bytes. `compared` ones write others on purpose, and the content of
    their archive is compared with the tree instead.
    """

    kind = ""

    def __init__(self, name: str, exact: bool = False, compared: bool = False) -> None:
        self.name = name
        self.exact = exact
        self.compared = compared
        self.version = ""
        self.absent: str | None = None

    def asked(self, sink: str) -> str:
        """What a report shows as this contestant's command."""
        return ""

    @abc.abstractmethod
    def run(self, tree: Path, sink: str, output: Path, watch: bool = False, flush: bool = False) -> Sample:
        """Write `tree` once to `output`; with `watch` its peak memory is looked at, which takes time.

        With `flush` the time ends when the output, a file, is on the disk.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to free
        """Free what `run` needed."""


class Library(Contestant):
    """A call inside an interpreter that runs already."""

    kind = "library"

    def __init__(self, name: str, call: str, exact: bool = False, compared: bool = False) -> None:
        super().__init__(name, exact, compared)
        self._call = call
        self._worker = Worker(name)
        self.version, self.absent = self._worker.version, self._worker.absent

    def asked(self, sink: str) -> str:
        return f"{self._call}, in a running interpreter{', OUT a pipe to cat' if sink == 'pipe' else ''}"

    def run(self, tree: Path, sink: str, output: Path, watch: bool = False, flush: bool = False) -> Sample:
        return self._worker.run(tree, sink, output, flush)

    def close(self) -> None:
        self._worker.close()


class Command(Contestant):
    """A whole process. `words` may hold TREE and OUT; OUT becomes `-` when the sink is a pipe."""

    kind = "command"

    def __init__(self, name: str, program: list[str], words: list[str], exact: bool = False) -> None:
        super().__init__(name, exact)
        self._program, self._words = program, words

    def _argv(self, tree: str, output: str) -> list[str]:
        places = {TREE: tree, OUT: output}
        return [*self._program, *(places.get(word, word) for word in self._words)]

    def asked(self, sink: str) -> str:
        argv = self._argv(TREE, OUT if sink == "file" else "-")
        shown = shlex.join([Path(argv[0]).name, *argv[1:]])
        return shown if sink == "file" else f"{shown} | cat >/dev/null"

    def run(self, tree: Path, sink: str, output: Path, watch: bool = False, flush: bool = False) -> Sample:
        argv = self._argv(str(tree), "-" if sink == "pipe" else str(output))
        return run_command(argv, sink, output, tree.parent, watch, flush)


class Absent(Contestant):
    """Named in the table with its reason, and never run."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name)
        self.absent = reason

    def run(self, tree: Path, sink: str, output: Path, watch: bool = False, flush: bool = False) -> Sample:
        raise RunFailed(f"absent: {self.absent}")


def _output(argv: list[str], cwd: Path | None = None) -> tuple[int, str]:
    """Exit status and all that it said; 127 if it cannot be started."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=cwd,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode(errors="replace").strip()


def _last_line(text: str) -> str:
    return text.splitlines()[-1][:200] if text else "no message"


def gnu_tar_program() -> str | None:
    for name in ("tar", "gtar"):
        path = shutil.which(name)
        if path and "GNU tar" in _output([path, "--version"])[1]:
            return path
    return None


def _gnu_tar(name: str, options: list[str]) -> Contestant:
    path = gnu_tar_program()
    if path is None:
        return Absent(name, "no GNU tar on PATH")
    found = Command(name, [path], [*options, "-cf", OUT, "-C", TREE, "."])
    found.version = _output([path, "--version"])[1].splitlines()[0]
    return found


def _bsdtar() -> Contestant:
    path = shutil.which("bsdtar")
    if path is None:
        return Absent("bsdtar", "no bsdtar on PATH")
    found = Command("bsdtar", [path], ["-cf", OUT, "-C", TREE, "."])
    found.version = _output([path, "--version"])[1].splitlines()[0]
    return found


def _tarcast_command() -> Contestant:
    name = "tarcast-command"
    script = Path(sys.executable).parent / "tarcast"
    if script.exists():
        program = [str(script)]
    elif importlib.util.find_spec("tarcast") is not None:
        program = [sys.executable, "-m", "tarcast"]
    else:
        return Absent(name, f"no tarcast command beside {Path(sys.executable).name}, and no tarcast module")
    status, said = _output([*program, "create", "--help"])
    if status:
        return Absent(name, f"`create --help` ended with {status}: {_last_line(said)}")
    found = Command(name, program, ["create", TREE, "-o", OUT, "--progress", "none"], exact=True)
    status, said = _output([*program, "--version"])
    found.version = _last_line(said) if not status else "unknown"
    return found


def _go_original(cache: Path) -> Contestant:
    """The original writer, called by the small program of our test oracle; built anew if it changed."""
    name, source, binary = "go-original", ROOT / "tests" / "oracle", cache / "writetar"
    if not (source / "writetar").is_dir():
        return Absent(name, "tests/oracle/writetar is not there")
    go = shutil.which("go")
    if go is None:
        return Absent(name, "no go on PATH to build tests/oracle/writetar with")
    status, said = _output([go, "build", "-buildvcs=false", "-o", str(binary), "./writetar"], cwd=source)
    if status:
        return Absent(name, f"go build failed: {_last_line(said)}")
    found = Command(name, [str(binary)], ["-o", OUT, TREE], exact=True)
    found.version = _output([go, "version"])[1].removeprefix("go version ")
    return found


def _library(name: str, call: str, exact: bool = False, compared: bool = False) -> Contestant:
    found = Library(name, call, exact, compared)
    return Absent(name, found.absent) if found.absent is not None else found


def _tarcast_call(name: str) -> Contestant:
    options = options_of(name)
    assert options is not None
    exact = same_bytes(options)
    return _library(name, shown(options), exact=exact, compared=not exact)


def finders(cache: Path) -> dict[str, Callable[[], Contestant]]:
    """Everyone who takes part unasked, in the table's order."""
    xattrs = ["--xattrs", "--xattrs-include=*"]
    return {
        "tarcast": lambda: _tarcast_call("tarcast"),
        ONE_THREAD: lambda: _tarcast_call(ONE_THREAD),
        "tarcast-command": _tarcast_command,
        "gnu-tar": lambda: _gnu_tar("gnu-tar", []),
        "gnu-tar-xattrs": lambda: _gnu_tar("gnu-tar-xattrs", xattrs),
        "bsdtar": _bsdtar,
        "go-original": lambda: _go_original(cache),
        "fastar": lambda: _library("fastar", 'fastar.open(OUT, "w").append(TREE, arcname=".")'),
        "tarfile": lambda: _library(
            "tarfile", 'tarfile.open(OUT, "w", format=PAX_FORMAT).add(TREE, arcname=".")'
        ),
    }


NAMES = tuple(finders(Path(os.devnull)))


def in_order(only: Iterable[str]) -> list[str]:
    """The table's order; calls of tarcast with other options stand behind its usual calls, as asked."""
    names = dict.fromkeys(only)
    calls = NAMES.index(ONE_THREAD) + 1
    asked = [name for name in names if name not in NAMES]
    known = [name for name in NAMES if name in names]
    return [
        *(name for name in known if NAMES.index(name) < calls),
        *asked,
        *(name for name in known if NAMES.index(name) >= calls),
    ]


def find(cache: Path, only: Iterable[str] | None = None) -> list[Contestant]:
    """Look for everyone in `only` (or for all); the absent ones are in the answer, with their reasons."""
    known = finders(cache)
    return [
        known[name]() if name in known else _tarcast_call(name)
        for name in in_order(NAMES if only is None else only)
    ]
