"""Values that the command lines here take: a number, a size, a list of names; nonsense is refused."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks import image
from benchmarks.calls import FORM, MOST_THREADS, options_of
from benchmarks.contestants import NAMES

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def size(text: str) -> int:
    """Bytes, from a number and a binary unit: 512M, 8G, 1.5GiB."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError("must be a size like 8G or 512M")
    return int(float(found[1]) * UNITS[found[2].upper()])


def _list(text: str) -> list[str]:
    """What stands between the commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def names(text: str) -> list[str]:
    found = _list(text)
    unknown = sorted(name for name in found if name not in NAMES and options_of(name) is None)
    if unknown or not found:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown) or 'nothing'}; known: {', '.join(NAMES)}, {FORM}"
        )
    return found


def threads(text: str) -> int:
    value = positive_int(text)
    if value > MOST_THREADS:  # write_tar would take it, and run fewer than the table says
        raise argparse.ArgumentTypeError(f"must be at most {MOST_THREADS}")
    return value


def thread_counts(text: str) -> list[int]:
    found = [threads(part) for part in _list(text)]
    if not found:
        raise argparse.ArgumentTypeError("must be numbers like 1,2,8")
    return found


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that say where trees and outputs are."""
    add = parser.add_argument
    add("--dir", type=Path, help="where trees are kept and outputs are written (default: temp)")
    add("--fs", choices=sorted(image.MAKE), help="a new file system in DIR, for this run alone (root)")
    add("--fs-size", type=size, metavar="SIZE", help="of it, like 8G (default: what the works need)")


def place_refusal(options: argparse.Namespace) -> str | None:
    """Why that place cannot be had."""
    if options.fs is None:
        return "--fs-size is for --fs" if options.fs_size else None
    if options.fs_size and options.fs_size < image.LEAST:
        return f"--fs-size must be at least {image.LEAST // image.MIB}M"
    missing = image.missing(options.fs)
    return None if missing is None else f"--fs {options.fs} {missing}"
