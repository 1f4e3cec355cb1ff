"""What a run was measured on. Nothing that names the machine or its user."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.machine() or "unknown"


def file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds an absolute path: the longest mount point above it."""
    best, kind = -1, "unknown"
    for line in filter(None, mountinfo.split("\n")):  # splitlines would cut at others, which a name may have
        fields, _, rest = line.partition(" - ")
        # The kernel escapes white space and backslashes by three octal digits, and nothing else.
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields.split(" ")[4])
        if (path == Path(point) or Path(point) in path.parents) and len(point) >= best:
            best, kind = len(point), rest.split(" ")[0]
    return kind


def page_reporting(
    parameter: Path = Path("/sys/module/page_reporting/parameters/page_reporting_order"),
) -> str:
    """The order from which a guest gives free pages back to its host, which makes writing slow at random."""
    try:
        return f"order {parameter.read_text(encoding='ascii').strip()}"
    except OSError:
        return "none"


def available_memory(meminfo: str) -> int:
    """Bytes that can be had without swapping, of which the page cache may have most; 0: it is not told."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # a container may hide it
        return ""


def facts(tree: str, outputs: str) -> dict[str, Any]:
    """What the results depend on, now; memory in bytes.

    Args:
        tree: what is measured.
        outputs: the directory that the outputs go to.
    """
    mounts = _read("/proc/self/mountinfo")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(_read("/proc/cpuinfo")),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "memory_available": available_memory(_read("/proc/meminfo")),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "tree_file_system": file_system(Path(tree).resolve(), mounts),
        "output_file_system": file_system(Path(outputs).resolve(), mounts),
        "page_reporting": page_reporting(),
    }
