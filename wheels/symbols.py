"""`python wheels/symbols.py WHEEL...`: no symbol of a C library newer than the wheel's tag says.

auditwheel looks at versioned symbols only. What the headers declare and the old library lacks may end as an
undefined symbol without a version, and then the import of the wheel fails there. Only Python's may have none.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# What compilers refer to weakly, and the loader provides or not.
_WEAK = {"__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__cxa_finalize"}
_GLIBC = re.compile(r"@GLIBC_(\d+)\.(\d+)")


def problems(wheel: Path) -> list[str]:
    """What is wrong with the extension modules of a Linux wheel, a line each.

    Raises:
        OSError: there is no `readelf`, or the wheel can't be read.
    """
    if "musllinux" in wheel.name or "linux" not in wheel.name:
        return []  # musl has no versions; macOS has no ELF
    tag = re.search(r"manylinux_(\d+)_(\d+)_", wheel.name)
    if tag is None:
        return [f"{wheel.name}: no manylinux tag"]
    newest = (int(tag[1]), int(tag[2]))
    found = []
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as scratch:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
        if not modules:
            return [f"{wheel.name}: no extension module"]
        for name in modules:
            path = archive.extract(name, scratch)
            listing = subprocess.run(
                ["readelf", "--dyn-syms", "--wide", path], check=True, capture_output=True, text=True
            ).stdout
            for line in listing.splitlines():
                fields = line.split()
                if len(fields) < 8 or fields[6] != "UND":
                    continue
                symbol, version = fields[7], _GLIBC.search(fields[7])
                if version is not None and (int(version[1]), int(version[2])) > newest:
                    found.append(f"{wheel.name}: {name}: {symbol} is newer than the tag")
                elif "@" not in symbol and not symbol.startswith(("Py", "_Py")) and symbol not in _WEAK:
                    found.append(f"{wheel.name}: {name}: {symbol} has no version")
    return found


def main() -> int:
    wheels = [Path(name) for name in sys.argv[1:]]
    found = [line for wheel in wheels for line in problems(wheel)]
    print(
        "\n".join(found or [f"symbols: {len(wheels)} wheels, nothing too new and nothing without a version"])
    )
    return bool(found) or not wheels


if __name__ == "__main__":
    sys.exit(main())
