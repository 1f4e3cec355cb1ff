"""Where trees are kept between runs, and who may have made them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def private_directory(path: Path) -> Path:
    """A directory of our own under a shared one; anyone else's would let them choose what we run."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise SystemExit(f"{path} is not ours alone; remove it")
    return path


def cache_directory() -> Path:
    return private_directory(Path(tempfile.gettempdir()) / f"tarcast-bench-{os.geteuid()}")


def base_directory(asked: Path | None, cache: Path) -> Path:
    base = asked.absolute() if asked else cache
    base.mkdir(parents=True, exist_ok=True)
    return base


def trees_directory(base: Path, scale: float) -> Path:
    """Trees of another size have the same names, and so another directory."""
    trees = base if scale == 1 else base / f"scale-{scale:g}"
    trees.mkdir(parents=True, exist_ok=True)
    return trees
