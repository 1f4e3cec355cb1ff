"""Whether an archive holds as much as its tree. Never inside a timed section."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

from benchmarks.contestants import gnu_tar_program
from benchmarks.measure import environment


def _is_root(name: str) -> bool:
    return name.rstrip("/") in ("", ".")


def count_entries(archive: Path) -> int:
    """Names in the archive but the root's own, which some writers store; read by GNU tar, or by tarfile."""
    tar = gnu_tar_program()
    if tar is None:
        with tarfile.open(archive, "r|") as members:
            return sum(not _is_root(member.name) for member in members)
    listing = subprocess.Popen(
        [tar, "-tf", str(archive)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
        errors="replace",
    )
    assert listing.stdout is not None
    with listing, listing.stdout as names:
        count = sum(not _is_root(name.rstrip("\n")) for name in names)
    if listing.returncode:
        raise ValueError(f"GNU tar cannot read the archive (exit {listing.returncode})")
    return count


def difference(archive: Path, tree: Path) -> str | None:
    """The first thing in which GNU tar finds an archive's entries to differ from the tree; None if nothing.

    Times are left out: GNU tar wants the nanoseconds of an archive with any pax header, which tarcast drops.
    """
    tar = gnu_tar_program()
    if tar is None:
        raise ValueError("no GNU tar on PATH to compare the archive with the tree")
    done = subprocess.run(
        # The padding in front of aligned bodies has a keyword of libarchive.
        [tar, "--compare", "--warning=no-unknown-keyword", "-f", str(archive), "-C", str(tree)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment(), "LC_ALL": "C"},
        text=True,
        errors="replace",
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if not line.endswith(": Mod time differs")]
    if found:
        return found[0]
    # 1 is "differs", which the times alone are enough for.
    return f"GNU tar --compare ended with {done.returncode}" if done.returncode not in (0, 1) else None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
