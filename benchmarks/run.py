"""Measure tarcast side by side with its peers: `python -m benchmarks.run --work small --work mid`.

See the README beside this file for what is measured, and how to read the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, memory, report
from benchmarks.contestants import NAMES, find
from benchmarks.rounds import Conditions, empty_tree, measure_work, say
from benchmarks.workloads import TREES, make

RESULTS = Path(__file__).resolve().parent / "results"
MEMORY_ROUNDS = 3


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(NAMES))
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(NAMES)}")
    return names


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure tarcast side by side with its peers."
    )
    p.add_argument("--work", action="append", choices=sorted(TREES), help="a tree; may be repeated")
    p.add_argument("--rounds", type=_positive_int, default=7, help="timed runs of everyone (default 7)")
    p.add_argument("--scale", type=_positive, default=1.0, help="size of the trees (default 1)")
    p.add_argument("--only", type=_names, metavar="NAME,...", help=f"contestants: {', '.join(NAMES)}")
    p.add_argument("--dir", type=Path, help="where trees are kept and outputs are written (default: temp)")
    p.add_argument("--sink", choices=("file", "pipe"), default="file", help="pipe: into cat")
    p.add_argument("--cold", action="store_true", help="drop the page cache before each run (root)")
    p.add_argument(
        "--memory",
        action="store_true",
        help=f"only tarcast's call on small and million, at most {MEMORY_ROUNDS} rounds",
    )
    p.add_argument("--save", type=Path, metavar="FILE", help="save as FILE.json and FILE.md")
    return p


def private_directory(path: Path) -> Path:
    """A directory of our own under a shared one; anyone else's would let them choose what we run."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise SystemExit(f"{path} is not ours alone; remove it")
    return path


def default_stem(facts: dict[str, str], options: argparse.Namespace) -> Path:
    """date-commit-works, and whatever was not as usual."""
    parts = [facts["date"][:10], facts["commit"]]
    parts += ["memory"] if options.memory else options.work
    if options.sink != "file":
        parts.append(options.sink)
    if options.cold:
        parts.append("cold")
    if options.scale != 1:
        parts.append(f"scale-{options.scale:g}".replace(".", "_"))
    return RESULTS / "-".join(parts)


def run(options: argparse.Namespace, cache: Path, base: Path) -> int:
    """Measure, print, save; 1 if anyone failed or if outputs that must be equal differ."""
    trees = base if options.scale == 1 else base / f"scale-{options.scale:g}"
    trees.mkdir(parents=True, exist_ok=True)
    where = Path(tempfile.mkdtemp(prefix="outputs-", dir=base))
    rounds = min(options.rounds, MEMORY_ROUNDS) if options.memory else options.rounds
    conditions = Conditions(rounds, options.sink, options.cold, options.scale, where)

    def tree_of(name: str) -> Path:
        say(f"tree {name} (scale {options.scale:g})")
        return make(name, trees, options.scale)

    facts = machine.facts(base)
    contestants = []
    try:
        empty_tree(where)
        for key, value in facts.items():
            print(f"{key:14} {value}")
        print(flush=True)
        if options.memory:
            works = memory.measure_memory(lambda: find(cache, ["tarcast"])[0], tree_of, conditions)
            print(memory.plain(works))
            text = memory.markdown(facts, works)
        else:
            contestants = find(cache, options.only)
            works = []
            for name in dict.fromkeys(options.work):
                works.append(measure_work(name, tree_of(name), contestants, conditions))
                print(report.plain(works[-1]), flush=True)
            print("\n".join([*report.LEGEND, "", "commands:"]))
            for c in contestants:
                print(
                    f"  {c.name}: {f'absent: {c.absent}' if c.absent is not None else c.asked(options.sink)}"
                )
            text = report.markdown(facts, works)
    finally:
        for contestant in contestants:
            contestant.close()
        shutil.rmtree(where, ignore_errors=True)
    for path in report.save(options.save or default_stem(facts, options), report.as_json(facts, works), text):
        print(f"saved {os.path.relpath(path)}")
    failed = any(work.differing or any(row.problem for row in work.rows) for work in works)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    p = parser()
    options = p.parse_args(arguments)
    if options.memory and (options.work or options.only):
        p.error("--memory chooses its own trees and contestant")
    if not options.memory and not options.work:
        p.error("name at least one --work, or use --memory")
    if options.cold and os.geteuid() != 0:
        p.error("--cold must be run by root: it drops the page cache")
    cache = private_directory(Path(tempfile.gettempdir()) / f"tarcast-bench-{os.geteuid()}")
    base = options.dir.absolute() if options.dir else cache
    base.mkdir(parents=True, exist_ok=True)
    try:
        return run(options, cache, base)
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
