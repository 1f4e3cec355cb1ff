"""Building the Go programs that tests compare with, each once for all runs.

    python3 -m tests.support.gobuild

builds all of them, for CI, which does so next to other work. It needs Python alone: no virtual environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "oracle"
BUILDKIT = ("buildkitd", "buildctl")
# Without symbols for debuggers: linking them takes time, and twice the room.
_LEAN = "-ldflags=-s -w"
# Without optimizations: BuildKit is large and a few builds small, so a third less to compile is worth more.
_QUICK = "-gcflags=all=-N -l"
_BUILDKIT_COMMANDS = [f"github.com/moby/buildkit/cmd/{name}" for name in BUILDKIT]


class UnavailableError(Exception):
    """What building needs cannot be had here; the message says what."""


def build_program(name: str) -> Path:
    """The built `tests/oracle/<name>`; with a slash in it, of the module in that directory.

    Raises:
        UnavailableError: there is no Go, or the sources it builds on cannot be downloaded.
        RuntimeError: it does not compile.
    """
    place = SOURCES / name
    files = [*place.parent.glob("go.*"), *place.rglob("*")]
    # As BuildKit itself where that is compiled, too: so it is once for both.
    flags = [_LEAN] if place.parent == SOURCES else [_LEAN, _QUICK]
    return _build(name.replace("/", "-"), place.parent, [f"./{place.name}"], flags, files) / place.name


def build_buildkit() -> Path:
    """The directory with BuildKit's own daemon and client, of the version in `tests/oracle/buildkit`.

    Building takes about a minute. Raises what `build_program` raises.
    """
    module = SOURCES / "buildkit"
    return _build("buildkit", module, _BUILDKIT_COMMANDS, [_LEAN, _QUICK], list(module.iterdir()))


def _build(
    name: str, module: Path, packages: Sequence[str], flags: Sequence[str], files: Sequence[Path]
) -> Path:
    """A directory with the programs of `packages`; its name tells what `files` held and how it was built."""
    command = ["build", "-mod=readonly", *flags, *packages]
    key = hashlib.sha256(repr(command).encode())
    for file in sorted(p for p in files if p.is_file()):
        key.update(file.name.encode() + b"\0" + file.read_bytes())
    cache = Path(tempfile.gettempdir()) / f"tarcast-oracle-{os.getuid()}"
    built = cache / f"{name}-{key.hexdigest()[:20]}"
    if built.is_dir():
        return built
    if shutil.which("go") is None:
        raise UnavailableError("the oracle needs the go command")
    # Downloads the modules that are compiled, and none of the many that are only mentioned.
    listed = _go(module, "list", "-mod=readonly", "-deps", *packages)
    if listed.returncode:
        raise UnavailableError(f"sources of {name}: {listed.stderr.strip()}")
    cache.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch) / name
        fresh.mkdir()
        done = _go(module, command[0], "-o", f"{fresh}/", *command[1:])
        if done.returncode:
            raise RuntimeError(f"go build {' '.join(packages)}:\n{done.stderr}")
        try:
            os.rename(fresh, built)
        except OSError:
            if not built.is_dir():  # somebody else was faster
                raise
    return built


def _go(module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Nothing of C: a compiler is not needed, and users are looked up in /etc/passwd alone.
    environment = os.environ | {"CGO_ENABLED": "0"}
    return subprocess.run(["go", *arguments], cwd=module, capture_output=True, text=True, env=environment)


if __name__ == "__main__":
    try:
        for main in sorted(SOURCES.rglob("main.go")):
            print(build_program(str(main.parent.relative_to(SOURCES))), flush=True)
        print(build_buildkit(), flush=True)
    except (UnavailableError, RuntimeError) as problem:
        sys.exit(str(problem))
