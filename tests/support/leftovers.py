"""What an export must not leave behind."""

from __future__ import annotations

import gc
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

# Images of another run of the tests, at the same time, are none of this one's.
_PLACES = tuple(filter(None, (tempfile.gettempdir(), os.environ.get("TARCAST_SCRATCH"), "/var/tmp")))


class Leftovers(NamedTuple):
    """What there is now of all that an export makes for a while."""

    mounts: list[str]
    loops: list[str]
    descriptors: list[str]
    threads: int
    temporary: list[str]


def left() -> Leftovers:
    """Take stock."""
    gc.collect()  # tracebacks hold what their frames hold
    loops = subprocess.run(
        ["losetup", "-n", "-O", "BACK-FILE,NAME"], capture_output=True, text=True, check=True
    )
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptors.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # that of the listing itself
            continue
    return Leftovers(
        Path("/proc/self/mountinfo").read_text().splitlines(),
        [line for line in loops.stdout.splitlines() if line.startswith(_PLACES)],
        sorted(descriptors),
        threading.active_count(),
        sorted(
            name
            for name in os.listdir(tempfile.gettempdir())
            if name.startswith("tarcast-") and "oracle" not in name
        ),
    )
