"""`tarcast bench`: tarcast beside its peers, on the user's tree and machine."""

from __future__ import annotations

import json
import os
import sys

from tarcast.cli.bench_parser import parse_bench
from tarcast.cli.files import check_file, write_file
from tarcast.cli.running import ended_by_signals
from tarcast.cli.stdio import put, say
from tarcast.errors import InputError, OptionError, OutputError, os_error
from tarcast.showing import resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from tarcast.bench.peers import Peer
    from tarcast.bench.results import Results
    from tarcast.bench.tree import TreeFacts
    from tarcast.progress.bar import Bar

_LINE = "{percentage:3.0f}%|{bar:12}| {desc}"


def run(arguments: list[str]) -> int:
    """Do what `tarcast bench ARGUMENTS` says and return the exit status."""
    args = parse_bench(arguments)
    return ended_by_signals(lambda: _bench(args))


def _bench(args: argparse.Namespace) -> int:
    from tarcast.bench import machine, place, rounds
    from tarcast.bench.peers import find, setting
    from tarcast.bench.results import Results
    from tarcast.compression import choose

    _check_files(args)
    compression = None if args.compress in (None, "none") else setting(args.compress)
    choose(compression)  # says so if tarcast lacks the library
    if args.cold:
        _check_cold()
    peers = find(args.peers, compression)
    tree = os.path.abspath(args.tree)
    facts = _facts(args.tree)
    parent = _parent(args.temp_dir)
    place.check(parent, tree, None if args.pipe else facts)
    conditions = rounds.Conditions(
        rounds=args.rounds,
        pipe=args.pipe,
        cold=args.cold,
        fsync=args.fsync,
        compression="" if compression is None else str(compression),
    )
    about = machine.facts(tree, parent)
    with place.made(parent) as at, _Progress(args, peers) as tell:
        try:
            rows = rounds.measure(peers, tree, facts, at, conditions, tell)
        except OSError as error:
            path = error.filename if isinstance(error.filename, str) else parent
            raise os_error(OutputError, error, path=path, step="measure") from None
    results = Results(args.tree, facts, about, conditions, rows)
    _show(args, results)
    return 1 if results.failed else 0


def _show(args: argparse.Namespace, results: Results) -> None:
    """Write what was asked for, all that can be: measuring again would take long. Raises OutputError."""
    from tarcast.bench import plot, table
    from tarcast.bench.results import as_json

    def write_json() -> None:
        text = json.dumps(as_json(results, 1 if results.failed else 0), indent=2)
        write_file(args.json, text.encode("ascii") + b"\n", step="write the results")

    steps: list[Callable[[], None]] = []
    if args.json is not None:
        steps.append(write_json)
    if args.plot is not None:
        steps.append(lambda: write_file(args.plot, plot.draw(results, args.plot), step="write the plot"))
    if args.json != "-":
        steps.append(lambda: put(table.of_results(results) + "\n"))
    failure: OutputError | None = None
    for step in steps:
        try:
            step()
        except OutputError as error:
            if failure is None:
                failure = error
            else:
                say(f"tarcast: error: {error}")
    if failure is not None:
        raise failure


def _check_files(args: argparse.Namespace) -> None:
    """Find out before the work whether plot and JSON can be written. Raises OptionError, OutputError."""
    if args.plot is not None:
        from tarcast.bench.plot import check

        check(args.plot)
        check_file(args.plot, "the plot")
    if args.json == "-":
        if sys.stdout is None:
            raise OutputError("standard output is closed, the results can't go there")
    elif args.json is not None:
        check_file(args.json, "the JSON")
        if args.plot is not None and os.path.realpath(args.plot) == os.path.realpath(args.json):
            raise OptionError("plot and results are the same file", path=args.plot)


def _check_cold() -> None:
    from tarcast.bench.measure import may_drop_caches

    if not may_drop_caches():
        raise OptionError("--cold drops the page cache, which only root may do, and not in every container")


def _facts(tree: str) -> TreeFacts:
    from tarcast.bench.tree import tree_facts

    try:
        facts = tree_facts(tree)
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else tree
        raise os_error(InputError, error, path=path, step="count the tree") from None
    if not facts.entries:
        raise InputError("the tree is empty: there is nothing to measure", path=tree)
    return facts


def _parent(temp_dir: str | None) -> str:
    import tempfile

    try:
        return tempfile.gettempdir() if temp_dir is None else temp_dir
    except FileNotFoundError as error:  # none of those that it looks at can be written to
        raise OutputError(str(error), hint="name one with --temp-dir") from None


class _Progress:
    """What is told on standard error before each run."""

    def __init__(self, args: argparse.Namespace, peers: list[Peer]) -> None:
        self._rounds = args.rounds
        self._kind = resolved(args.progress, sys.stderr, os.environ)
        self._total = sum(peer.absent is None for peer in peers) * (args.rounds + 1)
        self._begun = 0
        self._bar: Bar | None = None

    def __enter__(self) -> _Progress:
        if self._kind == "tty":
            from tarcast.progress.bar import open_bar
            from tarcast.progress.outlet import Outlet

            self._bar = open_bar(Outlet(sys.stderr), _LINE, total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, number: int, label: str) -> None:
        """The next run is of round `number` (0: the warm-up) and of `label`."""
        text = f"{f'round {number}/{self._rounds}' if number else 'warm-up'}, {label}"
        if self._kind == "plain":
            say(f"tarcast: {text}")
        elif self._bar is not None:
            self._bar.n = self._begun
            self._bar.set_description_str(text)
        self._begun += 1
