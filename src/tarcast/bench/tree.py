"""What a tree holds. Never inside a timed section."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TreeFacts:
    """`entries` counts every name below the root; `data` the bytes of regular files, each inode once."""

    entries: int
    data: int


def tree_facts(root: str | Path) -> TreeFacts:
    """Look at every name below `root`. Raises OSError where that is not allowed."""
    entries = data = 0
    linked: set[tuple[int, int]] = set()
    pending = [str(root)]
    while pending:
        with os.scandir(pending.pop()) as found:
            for entry in found:
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(status.st_mode):
                    continue
                if status.st_nlink > 1:
                    inode = (status.st_dev, status.st_ino)
                    if inode in linked:
                        continue
                    linked.add(inode)
                data += status.st_size
    return TreeFacts(entries, data)
