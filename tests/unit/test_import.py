"""Importing the package and its core, when something is in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {error}

sys.meta_path.insert(0, Refuse())
import tarcast._core
"""


@pytest.mark.parametrize("module", ["inspect", "dis", "tarcast._core.match"])
@pytest.mark.parametrize(("error", "status"), [("ImportError", 1), ("KeyboardInterrupt", -2)])
def test_what_fails_within_the_cores_import_is_an_exception(module: str, error: str, status: int) -> None:
    program = REFUSE.format(module=module, error=error)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert error in done.stderr
    assert done.returncode == status  # Python ends by SIGINT itself after a KeyboardInterrupt


@pytest.mark.parametrize("module", ["shutil", "asyncio", "multiprocessing", "fsspec", "grpc", "tqdm"])
def test_the_command_imports_nothing_large_that_it_does_not_need(tmp_path: Path, module: str) -> None:
    program = f"import sys; from tarcast.__main__ import main; sys.exit(main() or {module!r} in sys.modules)"
    (tmp_path / "tree").mkdir()
    command = [sys.executable, "-c", program, "create", "tree", "-o", "out.tar"]
    subprocess.run(command, check=True, cwd=tmp_path)
