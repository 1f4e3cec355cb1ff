"""What looks over the files of a release, before they are published."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from wheels.complete import PLATFORMS, PYTHONS, problems
from wheels.symbols import problems as symbol_problems


def release(version: str = "1.2.3") -> list[str]:
    names = [f"tarcast-{version}-{python}-{platform}.whl" for python in PYTHONS for platform in PLATFORMS]
    longer = [
        name.replace("manylinux2014_x86_64", "manylinux2014_x86_64.manylinux_2_17_x86_64") for name in names
    ]
    return [f"tarcast-{version}.tar.gz", *longer]


def test_a_release_is_complete() -> None:
    assert problems(release()) == []
    assert problems(release(), "v1.2.3") == []


@pytest.mark.parametrize("at", [0, 1, -1])
def test_what_is_missing_is_named(at: int) -> None:
    names = release()
    del names[at]
    (line,) = problems(names)
    assert line.startswith("missing: ")


def test_what_is_too_much_is_named() -> None:
    assert problems([*release(), "tarcast-1.2.3-cp312-cp312-manylinux2014_x86_64.whl"]) == [
        "not wanted, or wanted once: tarcast-1.2.3-cp312-cp312-manylinux2014_x86_64.whl"
    ]
    assert problems([*release(), release()[1]])


def test_versions_are_those_of_the_tag() -> None:
    assert problems(release(), "v1.2.4") == ["versions 1.2.3 for the tag v1.2.4"]
    assert problems([*release()[:-1], release("1.2.4")[-1]]) == ["versions 1.2.3, 1.2.4"]


def wheel(place: Path, source: str, tag: str = "manylinux_2_17_x86_64") -> Path:
    if shutil.which("gcc") is None or shutil.which("readelf") is None:
        pytest.skip("needs gcc and readelf")
    (place / "module.c").write_text(source)
    command = ["gcc", "-shared", "-fPIC", "-o", place / "module.so", place / "module.c"]
    subprocess.run(command, check=True, capture_output=True)
    path = place / f"tarcast-1-cp311-abi3-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(place / "module.so", "tarcast/module.so")
    return path


def test_symbols_of_python_and_the_old_library_are_fine(tmp_path: Path) -> None:
    source = "#include <unistd.h>\nvoid PyErr_Clear(void);\nint f(void) { PyErr_Clear(); return getpid(); }"
    assert symbol_problems(wheel(tmp_path, source)) == []


def test_symbols_without_a_version_are_found(tmp_path: Path) -> None:
    path = wheel(tmp_path, "int no_such_call(void);\nint f(void) { return no_such_call(); }")
    assert symbol_problems(path) == [f"{path.name}: tarcast/module.so: no_such_call has no version"]


def test_symbols_newer_than_the_tag_are_found(tmp_path: Path) -> None:
    source = "#include <string.h>\nvoid *f(void *a, void *b, unsigned long n) { return memcpy(a, b, n); }"
    path = wheel(tmp_path, source, "manylinux_2_5_x86_64")  # its memcpy is of 2.14
    (line,) = symbol_problems(path)
    assert "memcpy@GLIBC_2.14" in line
    assert line.endswith("is newer than the tag")


def test_a_wheel_without_modules_is_no_wheel_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "tarcast-1-cp311-abi3-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tarcast/__init__.py", "")
    assert symbol_problems(path) == [f"{path.name}: no extension module"]
