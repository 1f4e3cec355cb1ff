"""Build every `_native/**/*.pyx` as the extension module that its path names. The rest: pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

NATIVE = Path("_native")

# "address" or "thread": an instrumented build for the sanitizer job, never for users.
SANITIZER = os.environ.get("TARCAST_SANITIZE", "")

compile_args = ["-O3", "-std=gnu11", "-Wall", "-Werror=implicit-function-declaration"]
link_args: list[str] = []
if SANITIZER:
    compile_args += ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZER}"]
    link_args += [f"-fsanitize={SANITIZER}"]
    if SANITIZER == "address":
        compile_args += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
        link_args += ["-fsanitize=undefined"]
if sys.platform == "linux":
    link_args += ["-Wl,-z,relro,-z,now"]

extensions = [
    Extension(
        ".".join(path.relative_to(NATIVE).with_suffix("").parts),
        [str(path)],
        include_dirs=[str(NATIVE / "tarcast" / "_core")],
        depends=[str(p) for p in sorted(NATIVE.rglob("*.h"))],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    for path in sorted(NATIVE.rglob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        include_path=[str(NATIVE)],
        build_dir="build/cython",
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": True,
        },
    )
)
