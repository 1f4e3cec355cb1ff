"""What an export takes: run by a fresh interpreter, whose heap hides nothing, looked at from its inside."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PREAMBLE = r"""
import contextlib, json, os, resource, socket, sys, threading, time, zlib
import tarcast

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith(field))

def forget_the_peak():
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return resident("VmRSS")

def wait_until_idle():
    "Half a second in which next to nothing was computed; gives the seconds that were."
    for _ in range(20):
        before = time.process_time()
        time.sleep(0.5)
        used = time.process_time() - before
        if used < 0.05:
            break
    return used

arguments = json.loads(sys.argv[1])
"""


def in_new_process(script: str, timeout: float = 60, **arguments: Any) -> Any:
    """What `script` prints as JSON; it runs behind PREAMBLE and finds `arguments` in a dict of that name."""
    words = [sys.executable, "-c", PREAMBLE + script, json.dumps(arguments)]
    done = subprocess.run(words, capture_output=True, timeout=timeout, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
