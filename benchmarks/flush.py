"""Wait until a file is on the disk: inside the time, for everyone alike, where a run asks for it."""

from __future__ import annotations

import os
from pathlib import Path


def to_disk(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
