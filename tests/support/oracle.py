"""The original, as small Go programs in `tests/oracle`: building them, and asking `writetar` for archives."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support import gobuild


def build_oracle(name: str) -> Path:
    """The built `tests/oracle/<name>`; skips the test where it cannot be built.

    With TARCAST_REQUIRE_ORACLE=1 it fails instead, so that a check in CI cannot silently test nothing.
    """
    return _built(lambda: gobuild.build_program(name))


def build_buildkit() -> Path:
    """The directory with the built `buildkitd` and `buildctl`; skips and fails as `build_oracle` does."""
    return _built(gobuild.build_buildkit)


def _built(build: Callable[[], Path]) -> Path:
    try:
        return build()
    except gobuild.UnavailableError as problem:
        if os.environ.get("TARCAST_REQUIRE_ORACLE") == "1":
            pytest.fail(str(problem), pytrace=False)
        pytest.skip(str(problem))
    except RuntimeError as problem:
        pytest.fail(str(problem), pytrace=False)


class Original:
    """One `writetar -serve` process: thousands of archives without thousands of processes."""

    def __init__(self, program: Path) -> None:
        # It complains about undecodable patterns on stderr and goes on: noise here.
        self._process = subprocess.Popen(
            [program, "-serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def write_tar(
        self,
        roots: Sequence[tuple[str | None, bytes]],
        out: Path,
        *,
        include: Sequence[bytes] | None = None,
        exclude: Sequence[bytes] | None = None,
        follow: Sequence[bytes] | None = None,
        idmap: Sequence[str] | None = None,
        epoch: int | None = None,
        trust_walk: bool = False,
    ) -> str | None:
        """Write the archive of `roots`, (name or None, directory) each; the original's error or None.

        With `trust_walk` a file that the walk kept is never refused when it is opened.
        """
        job = {
            "roots": [
                {"name": None if name is None else _text(os.fsencode(name)), "path": _text(path)}
                for name, path in roots
            ],
            "include": _texts(include),
            "exclude": _texts(exclude),
            "follow": _texts(follow),
            "idmap": None if idmap is None else list(idmap),
            "epoch": epoch,
            "trust_walk": trust_walk,
            "out": os.fspath(out),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the oracle ended with status {self._process.wait()}")
        return json.loads(answer)["error"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _texts(patterns: Sequence[bytes] | None) -> list[str] | None:
    return None if patterns is None else [_text(p) for p in patterns]
