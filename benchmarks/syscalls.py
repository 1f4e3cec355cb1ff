"""The system calls of one export, per file and per MiB: `python -m benchmarks.syscalls --work small`.

With --profile also the kernel's and the user's symbols that the time goes to, from a run without strace.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import image, machine, perf, strace
from benchmarks.arguments import add_place, place_refusal, positive, positive_int, threads
from benchmarks.attach import Call, ToolError
from benchmarks.calls import Options, shown
from benchmarks.measure import RunFailed
from benchmarks.places import base_directory, cache_directory, trees_directory
from benchmarks.report import markdown_table
from benchmarks.rounds import say
from benchmarks.signals import end_in_order
from benchmarks.workloads import TREES, make
from tarcast.bench.table import table
from tarcast.bench.tree import tree_facts


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.syscalls", description="Count the system calls of one export."
    )
    p.add_argument("--work", required=True, choices=sorted(TREES), help="the tree")
    p.add_argument("--scale", type=positive, default=1.0, help="size of the tree (default 1)")
    p.add_argument("--threads", type=threads, metavar="N", help="default: tarcast's own choice")
    p.add_argument("--sink", choices=("file", "pipe"), default="file", help="pipe: into cat, not counted")
    p.add_argument("--align", action="store_true", help="ask for align=True")
    p.add_argument("--sparse", action="store_true", help="ask for sparse=True")
    add_place(p)
    p.add_argument("--profile", action="store_true", help="also sample where the time goes, if perf works")
    p.add_argument("--top", type=positive_int, default=15, help="symbols of each kind (default 15)")
    p.add_argument("--markdown", action="store_true", help="print Markdown tables")
    return p


def options_of(arguments: argparse.Namespace) -> Options:
    options: Options = {key: True for key in ("align", "sparse") if getattr(arguments, key)}
    if arguments.threads is not None:
        options["threads"] = arguments.threads
    return options


def run(arguments: argparse.Namespace, place: image.Place) -> int:
    tabulate = markdown_table if arguments.markdown else table
    base = place.path
    tree = make(arguments.work, trees_directory(base, arguments.scale), arguments.scale)
    facts, options = tree_facts(tree), options_of(arguments)
    seen = machine.facts(base, place.image)
    where = Path(tempfile.mkdtemp(prefix="outputs-", dir=base))
    try:
        with Call(tree, arguments.sink, where / "counted.tar", options) as call:
            counts, done = strace.count(call, where)
        print(
            f"{arguments.work} (scale {arguments.scale:g}): {facts.entries:,} entries, "
            f"{done.size / 2**20:,.1f} MiB of archive; {shown(options)}, to a {arguments.sink}\n"
            f"commit {seen['commit']}, kernel {seen['kernel']}, file system {seen['file system']}\n"
        )
        print(tabulate(strace.HEADINGS, strace.lines(counts, done, facts.entries)))
        if arguments.profile:
            print(f"\n{_profile(arguments, tree, where / 'sampled.tar', options)}")
    finally:
        shutil.rmtree(where, ignore_errors=True)
    return 0


def _profile(arguments: argparse.Namespace, tree: Path, output: Path, options: Options) -> str:
    tabulate = markdown_table if arguments.markdown else table
    try:
        with Call(tree, arguments.sink, output, options) as call:
            symbols, done = perf.profile(call, output.parent)
    except ToolError as error:
        return f"no profile: {error}"
    samples = sum(symbol.samples for symbol in symbols)
    text = [f"{samples:,} samples of cpu-clock in {done.seconds:.3f} s; shares are of all of them"]
    for kernel, name in ((True, "kernel"), (False, "user")):
        text += ["", f"{name}: {perf.share(symbols, kernel):.1f}%", ""]
        text.append(tabulate(perf.HEADINGS, perf.lines(symbols, kernel, arguments.top)))
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> int:
    p = parser()
    parsed = p.parse_args(arguments)
    refused = place_refusal(parsed)
    if refused is not None:
        p.error(refused)
    end_in_order()
    base = base_directory(parsed.dir, cache_directory())
    try:
        strace.program()  # before a tree is made in vain
        with image.place(parsed.fs, parsed.fs_size, [parsed.work], parsed.scale, base) as place:
            return run(parsed, place)
    except (ToolError, RunFailed, image.ImageError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
