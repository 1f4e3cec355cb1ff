"""`python wheels/complete.py DIRECTORY [TAG]`: is everything there that a release has, and nothing else?

With a tag such as v1.2.3 every file must have version 1.2.3.
"""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename

PYTHONS = ("cp311-abi3", "cp314-cp314t")
PLATFORMS = (
    "manylinux2014_x86_64",
    "manylinux2014_aarch64",
    "musllinux_1_2_x86_64",
    "musllinux_1_2_aarch64",
    "macosx_11_0_arm64",
    "macosx_11_0_x86_64",
)


def problems(names: list[str], tag: str = "") -> list[str]:
    """What is wrong with the names of a release's files, a line each; `tag` is "" where there is none.

    Raises:
        packaging.utils.InvalidWheelFilename, InvalidSdistFilename: a name is neither's.
    """
    missing = {f"{python}-{platform}" for python in PYTHONS for platform in PLATFORMS} | {"sdist"}
    found, versions = [], set()
    for name in names:
        if name.endswith(".whl"):
            _, version, _, parsed = parse_wheel_filename(name)
            tags = set(map(str, parsed))
        else:
            _, version = parse_sdist_filename(name)
            tags = {"sdist"}
        versions.add(str(version))
        if not tags & missing:
            found.append(f"not wanted, or wanted once: {name}")
        missing -= tags
    found += [f"missing: {tag}" for tag in sorted(missing)]
    expected = {tag.removeprefix("v")} if tag else versions
    if versions != expected or len(versions) > 1:
        found.append(f"versions {', '.join(sorted(versions))}" + (f" for the tag {tag}" if tag else ""))
    return found


def main() -> int:
    names = sorted(path.name for path in Path(sys.argv[1]).iterdir())
    found = problems(names, *sys.argv[2:])
    print("\n".join(found or [f"complete: {len(names)} files"]))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
