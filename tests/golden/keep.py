"""Keep what the original writes for a case of `trees_more` or `trees_options`, as the archive to be equal to.

    sudo .venv/bin/python -m tests.golden.keep NAME

builds the tree, has the original write it, and puts the archive and its entry of the manifest into `more/`.
It wants Go, root, and a file system as `trees_more` describes it, below TARCAST_SCRATCH or where tests have
trees.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.golden import trees_more, trees_options  # noqa: F401 - they fill CASES
from tests.golden.builder import CASES, Case, Tree
from tests.support.files import remove_tree, scratch_directory, umask
from tests.support.gobuild import build_program

KEPT = Path(__file__).parent / "more"


def command_line(case: Case, directory: Path) -> list[str]:
    """Flags and arguments of the original, which takes one pattern each where the case has a list."""
    line = []
    for flag, value in zip(case.flags[::2], case.flags[1::2], strict=True):
        for one in [value] if flag == "-epoch" else value.split(","):
            line += [flag, one]
    return line + [argument.replace("{}", os.fspath(directory)) for argument in case.args]


def keep(case: Case) -> Path:
    """Build, write and keep; returns where."""
    scratch = scratch_directory()
    kept = KEPT / f"{case.name}.tar"
    try:
        with umask(0):
            tree = Tree(os.fspath(scratch / case.name))
            case.build(tree)
            tree.done()
        original = [build_program("writetar"), *command_line(case, scratch / case.name)]
        kept.write_bytes(subprocess.run(original, cwd=scratch / case.name, check=True, stdout=-1).stdout)
    finally:
        remove_tree(scratch)
    note(case, kept.read_bytes())
    return kept


def note(case: Case, archive: bytes) -> None:
    """Have the manifest say what is kept."""
    manifest = KEPT / "MANIFEST.json"
    entries = {entry["case"]: entry for entry in json.loads(manifest.read_text())}
    entries[case.name] = {
        "case": case.name,
        "flags": list(case.flags),
        "args": list(case.args),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "size": len(archive),
    }
    manifest.write_text(json.dumps(list(entries.values()), indent=1))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name not in CASES:
            sys.exit(f"there is no case {name}; trees_more.py and trees_options.py have {', '.join(CASES)}")
        print(keep(CASES[name]))
