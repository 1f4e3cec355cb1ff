"""Running `setup.py` of the sources that are tested, without changing anything there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tarcast

TOP = Path(__file__).parents[2]


def run_setup(*arguments: str | Path) -> None:
    """`setup.py ARGUMENTS`, as the version that is installed.

    Its own would be that of the last commit, and would be written into the package.
    """
    env = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_TARCAST": tarcast.__version__}
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", *arguments], cwd=TOP, env=env, check=True, capture_output=True
    )
