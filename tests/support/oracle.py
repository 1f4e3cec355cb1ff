"""Builds the small Go programs in tests/oracle, which put our questions to the original."""

from __future__ import annotations

import getpass
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

ORACLE = pathlib.Path(__file__).resolve().parents[1] / "oracle"


def build_oracle(name: str) -> pathlib.Path:
    """The program built from tests/oracle/`name`; built once for each state of its sources.

    Skips the test when it cannot be built, for example because there is no `go`; fails instead when
    TARCAST_REQUIRE_ORACLE=1 is set.
    """
    go = shutil.which("go")
    if go is None:
        _unavailable("the original cannot be asked: there is no `go` on PATH")
    target = _cache_directory() / f"{name}-{_fingerprint(name, go)}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = pathlib.Path(scratch) / name
        command = [go, "build", "-o", str(fresh), f"./{name}"]
        done = _run(command)
        if done.returncode and "updates to go.mod needed" in done.stderr:
            done = _run(command, GOFLAGS="-mod=mod")
        if done.returncode:
            _unavailable(f"the original cannot be built:\n{done.stderr}")
        fresh.replace(target)  # whoever builds the same at the same time puts the same there
    return target


def _unavailable(reason: str) -> None:
    if os.environ.get("TARCAST_REQUIRE_ORACLE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ORACLE, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def _cache_directory() -> pathlib.Path:
    """A directory that belongs to this user alone; a foreign one is not trusted."""
    directory = pathlib.Path(tempfile.gettempdir()) / f"tarcast-oracle-{getpass.getuser()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        pytest.fail(f"{directory} belongs to someone else; remove it")
    return directory


def _fingerprint(name: str, go: str) -> str:
    """Changes whenever the program, what it depends on or the compiler does."""
    digest = hashlib.sha256(_run([go, "version"]).stdout.encode())
    sources = [ORACLE / "go.mod", ORACLE / "go.sum", *sorted((ORACLE / name).rglob("*.go"))]
    for source in sources:
        data = source.read_bytes()
        digest.update(f"{source.relative_to(ORACLE)} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:16]
