"""Every block of the README and the guide does what it says, as pasted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
NOT_HERE = ("make ", "pip ", ". .venv/")  # what sets up this very environment


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (TOP / document).read_text(), re.S | re.M)


@pytest.fixture
def checkout(tmp_path):
    """The parts of a checkout that the examples name, as a place to run them in."""
    top = tmp_path / "checkout"
    for name in ("docs", "src"):
        shutil.copytree(TOP / name, top / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (top / "src" / "tarcast" / "built.so").write_bytes(b"\x7fELF")
    shutil.copy(TOP / ".dockerignore", top)
    (top / "rootfs" / "tmp").mkdir(parents=True)
    (top / "rootfs" / "tool").write_bytes(b"#!")
    return top


def run(command: list[str], where: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=where, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/compression.md",
        "docs/guide.md",
        "docs/index.md",
        "docs/moving-from-tarfile.md",
        "docs/sessions.md",
        "docs/storage.md",
        "docs/streaming.md",
    ],
)
def test_python_blocks_run(checkout, document):
    found = blocks(document, "python")
    assert found
    for block in found:
        run([sys.executable, "-c", block], checkout)
    made = {
        "README.md": ["both.tar", "docs.tar", "package.tar", "rootfs.tar"],
        "docs/compression.md": [],
        "docs/guide.md": ["counted.tar", "rootfs.tar", "safe.tar"],
        "docs/index.md": ["docs.tar"],
        "docs/moving-from-tarfile.md": ["layer.tar"],
        "docs/sessions.md": ["received.tar"],
        "docs/storage.md": ["docs.tar"],
        "docs/streaming.md": ["streamed.tar"],
    }[document]
    assert sorted(p.name for p in checkout.glob("*.tar")) == made


def test_shell_blocks_run(checkout):
    if not (Path(sys.executable).parent / "tarcast").exists():
        pytest.skip("the tarcast command is not installed beside this Python")
    commands = [c for b in blocks("README.md", "sh") for c in b.splitlines() if not c.startswith(NOT_HERE)]
    assert len(commands) >= 6
    for command in commands:
        done = run(["bash", "-o", "pipefail", "-c", command], checkout)
        assert "warning" not in done.stderr
    listed = run(["tar", "-tzf", "../context.tar.gz"], checkout).stdout.split()
    assert "src/tarcast/write.py" in listed
    assert not [n for n in listed if n.endswith(".so")]
    assert run(["tar", "-tf", "all.tar"], checkout).stdout.split()[0] == "linux_amd64/"


def test_the_shell_blocks_about_indexes_run(checkout):
    for block in blocks("docs/index.md", "sh"):
        run(["bash", "-e", "-c", block], checkout)


def test_make_targets_exist():
    makefile = (TOP / "Makefile").read_text()
    for document in ("README.md", *(f"docs/{p.name}" for p in (TOP / "docs").glob("*.md"))):
        for target in re.findall(r"`make ([a-z-]+)", (TOP / document).read_text()):
            assert re.search(rf"^{target}:", makefile, re.M), f"{document} names make {target}"
