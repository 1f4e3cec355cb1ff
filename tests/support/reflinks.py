"""Aligned archives on file systems that can share blocks: making them, and seeing what they share."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import tarcast
from tests.support.disks import BLOCK, blocks
from tests.support.faults import Deadline
from tests.support.members import members

# Smaller bodies are copied.
LEAST = 65_536


def export(tree: Any, sink: Any, **options: Any) -> tarcast.Result:
    return tarcast.write_tar(tree, sink, **({"align": True, "cancel": Deadline()} | options))


def copied(tree: Any, **options: Any) -> bytes:
    """The same archive where nothing can be shared."""
    archive = io.BytesIO()
    assert export(tree, archive, threads=1, **options).bytes_cloned == 0
    return archive.getvalue()


def whole_blocks(size: int) -> int:
    """How many bytes of a file of `size` can be shared."""
    return size // BLOCK * BLOCK if size >= LEAST else 0


def cloneable(archive: bytes) -> int:
    """How many bytes of the archive can be shared."""
    return sum(whole_blocks(m.size) for m in members(archive) if m.isreg())


def members_of(archive: Path) -> dict[str, tarfile.TarInfo]:
    """The entries by name, for archives too large to be read into memory."""
    with tarfile.open(archive) as tar:
        return {member.name: member for member in tar}


def assert_shares(source: Path, archive: Path, path: str) -> None:
    """The file's whole blocks lie where those of its body in the archive do; both know they are shared."""
    member = members_of(archive)[path]
    mine = blocks(source / path, 0, whole_blocks(member.size))
    theirs = blocks(archive, member.offset_data, whole_blocks(member.size))
    assert mine == theirs, path
    assert any(mine), path
    assert all(one is None or one[1] for one in mine), path
