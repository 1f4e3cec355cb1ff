"""Measure tarcast side by side with its peers: `python -m benchmarks.run --work small --work mid`.

See the README beside this file for what is measured, and how to read the table.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import image, machine, memory, report
from benchmarks.arguments import add_place, names, place_refusal, positive, positive_int, thread_counts
from benchmarks.calls import FORM
from benchmarks.contestants import NAMES, find
from benchmarks.places import base_directory, cache_directory, trees_directory
from benchmarks.rounds import Conditions, empty_tree, measure_work, say
from benchmarks.signals import end_in_order
from benchmarks.workloads import TREES, make

RESULTS = Path(__file__).resolve().parent / "results"
MEMORY_ROUNDS = 3


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure tarcast side by side with its peers."
    )
    p.add_argument("--work", action="append", choices=sorted(TREES), help="a tree; may be repeated")
    p.add_argument("--rounds", type=positive_int, default=7, help="timed runs of everyone (default 7)")
    p.add_argument("--scale", type=positive, default=1.0, help="size of the trees (default 1)")
    p.add_argument(
        "--only",
        type=names,
        metavar="NAME,...",
        help=f"contestants: {', '.join(NAMES)} (all of these unasked), {FORM}",
    )
    add_place(p)
    p.add_argument("--sink", choices=("file", "pipe"), default="file", help="pipe: into cat")
    p.add_argument(
        "--until-on-disk", action="store_true", help="the time ends when the output is on the disk (fsync)"
    )
    p.add_argument("--cold", action="store_true", help="drop the page cache before each run (root)")
    p.add_argument(
        "--memory",
        action="store_true",
        help=f"only tarcast's call on small and million, at most {MEMORY_ROUNDS} rounds",
    )
    p.add_argument(
        "--threads",
        type=thread_counts,
        metavar="N,...",
        help="with --memory: a row for each number of threads",
    )
    p.add_argument("--save", type=Path, metavar="FILE", help="save as FILE.json and FILE.md")
    return p


def refusal(options: argparse.Namespace) -> str | None:
    """Why these options make no sense together, or here."""
    if options.memory and (options.work or options.only):
        return "--memory chooses its own trees and contestant"
    if not options.memory and not options.work:
        return "name at least one --work, or use --memory"
    if options.threads and not options.memory:
        return f"--threads is for --memory; for a table, name rows with --only: {FORM}"
    if options.until_on_disk and options.sink != "file":
        return "--until-on-disk needs a file: a pipe has nothing to flush"
    if options.cold and os.geteuid() != 0:
        return "--cold must be run by root: it drops the page cache"
    return place_refusal(options)


def default_stem(facts: dict[str, str], options: argparse.Namespace) -> Path:
    """date-commit-works, and whatever was not as usual."""
    parts = [facts["date"][:10], facts["commit"]]
    parts += ["memory"] if options.memory else options.work
    if options.threads:
        parts.append("threads-" + "-".join(map(str, options.threads)))
    if options.fs:
        parts.append(options.fs)
    if options.sink != "file":
        parts.append(options.sink)
    if options.until_on_disk:
        parts.append("on-disk")
    if options.cold:
        parts.append("cold")
    if options.scale != 1:
        parts.append(f"scale-{options.scale:g}".replace(".", "_"))
    return RESULTS / "-".join(parts)


def run(options: argparse.Namespace, cache: Path, place: image.Place) -> int:
    """Measure, print, save; 1 if anyone failed or if outputs that must be equal differ."""
    base = place.path
    trees = trees_directory(base, options.scale)
    where = Path(tempfile.mkdtemp(prefix="outputs-", dir=base))
    rounds = min(options.rounds, MEMORY_ROUNDS) if options.memory else options.rounds
    conditions = Conditions(rounds, options.sink, options.cold, options.scale, where, options.until_on_disk)

    def tree_of(name: str) -> Path:
        say(f"tree {name} (scale {options.scale:g})")
        return make(name, trees, options.scale)

    facts = machine.facts(base, place.image)
    contestants = []
    try:
        empty_tree(where)
        for key, value in facts.items():
            print(f"{key:14} {value}")
        print(flush=True)
        if options.memory:
            rows = memory.contestant_names(options.threads)
            works = memory.measure_memory(lambda: find(cache, rows), tree_of, conditions)
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
    refused = refusal(options)
    if refused is not None:
        p.error(refused)
    end_in_order()
    cache = cache_directory()
    base = base_directory(options.dir, cache)
    try:
        works = memory.TREES if options.memory else options.work
        with image.place(options.fs, options.fs_size, works, options.scale, base) as place:
            return run(options, cache, place)
    except image.ImageError as error:
        say(f"--fs {options.fs}: {error}")
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        say(f"no room: {error}; name another --dir{', or a larger --fs-size' if options.fs else ''}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
