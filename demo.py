"""`make demo`: export a real tree of this machine, check the archive with other readers and report."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

OUT = Path("demo-out")


def main() -> int:
    tree = Path(sysconfig.get_path("stdlib"))
    OUT.mkdir(exist_ok=True)
    archive, summary = OUT / "stdlib.tar", OUT / "summary.json"
    command = ["create", str(tree), "-o", str(archive), "--digest", "sha256", "--summary-json", str(summary)]
    print(f"$ tarcast {' '.join(command)}", flush=True)
    subprocess.run([sys.executable, "-m", "tarcast", *command, "--progress", "tty"], check=True)

    made = json.loads(summary.read_text())
    members = check_members(archive, tree)
    checked = f"{members} entries read back by Python's tarfile and compared with the tree"
    if shutil.which("tar"):
        listed = subprocess.run(["tar", "-tf", archive], check=True, capture_output=True).stdout.count(b"\n")
        if listed != made["entries"]:
            raise SystemExit(f"tar lists {listed} entries, {made['entries']} were written")
        checked += f", {listed} listed by {version_of('tar')}"
    with archive.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != made["digests"]["sha256"]:
            raise SystemExit("the digest made while writing is not the digest of the file")

    print(f"tree     {tree}")
    print(f"archive  {archive}")
    print(f"entries  {made['entries']}")
    print(f"bytes    {made['bytes_written']}")
    print(f"speed    {made['bytes_written'] / made['seconds'] / 1e6:.0f} MB/s in {made['seconds']:.2f} s")
    print(f"sha256   {made['digests']['sha256']}")
    print(f"checked  {checked}")
    return 0


def check_members(archive: Path, tree: Path) -> int:
    """Compare every member with the tree; the number of members."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            source = tree / member.name
            count += 1
            if member.isfile() and not member.islnk():
                data = tar.extractfile(member)
                if data is None or data.read() != source.read_bytes():
                    raise SystemExit(f"{source}: the archive holds something else")
            elif member.isdir() != (source.is_dir() and not source.is_symlink()):
                raise SystemExit(f"{source}: the archive has another type for it")
            elif member.issym() and member.linkname != os.readlink(source):
                raise SystemExit(f"{source}: the archive has another target for it")
    return count


def version_of(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
