"""What the numbers were measured on. Nothing that names the machine or its user."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from benchmarks.measure import ROOT
from tarcast.bench.machine import cpu_model, file_system, page_reporting

# Earlier results are no change to what is measured.
STATUS = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if not done.returncode else ""


def commit() -> str:
    """The short commit, with `-dirty` when the work tree differs from it."""
    name = _git("rev-parse", "--short=10", "HEAD") or "no-commit"
    return f"{name}-dirty" if _git(*STATUS) else name


def facts(where: Path, image: str | None = None) -> dict[str, str]:
    """`image` is what there is to say of a file system that was made for this run."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} usable"
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    kind = file_system(where.resolve(), mounts)
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")),
        "cores": cores,
        "memory": f"{memory / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "page reporting": page_reporting(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "file system": f"{kind}, {image}" if image else kind,
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }
