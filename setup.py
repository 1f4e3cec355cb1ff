"""Build every `_native/**/*.pyx` as the extension module that its path names; say where the manual goes and
the scripts for shells. The rest: pyproject.toml."""

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

if sys.platform == "win32":
    sys.exit("tarcast is for Linux and macOS; on Windows, use it in WSL")

NATIVE = Path("_native")

# "address" or "thread": an instrumented build for the sanitizer job, never for users.
SANITIZER = os.environ.get("TARCAST_SANITIZE", "")

# One wheel for Python 3.11 and all later ones (PEP 384); free-threaded Pythons have no such ABI yet.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")

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
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if ABI3 else [],
        py_limited_api=ABI3,
    )
    for path in sorted(NATIVE.rglob("*.pyx"))
]

# Where shells and man look, below the environment's own directory or /usr.
COMPLETIONS = Path("src", "tarcast", "cli", "completions")
data_files = [
    ("share/man/man1", [str(page) for page in sorted(Path("docs", "man").glob("*.1"))]),
    ("share/bash-completion/completions", [str(COMPLETIONS / "tarcast")]),
    ("share/zsh/site-functions", [str(COMPLETIONS / "_tarcast")]),
    ("share/fish/vendor_completions.d", [str(COMPLETIONS / "tarcast.fish")]),
]

setup(
    options={
        "build_ext": {"parallel": os.cpu_count()},
        "bdist_wheel": {"py_limited_api": "cp311" if ABI3 else False},
    },
    data_files=data_files,
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
            # Objects of the core are used by one thread at a time, or lock by themselves.
            "freethreading_compatible": True,
        },
    ),
)
