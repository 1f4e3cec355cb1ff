"""`tarcast serve`: arguments to trees and addresses, and a daemon until a signal ends it."""

from __future__ import annotations

import contextlib
import signal
import threading

from tarcast.cli.create import references_of, tree_options
from tarcast.cli.session_parsers import parse_serve, quiet_grpc, tls_of
from tarcast.cli.stdio import say
from tarcast.errors import InputError, OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from tarcast.exporter.source import Exportable


def run(arguments: list[str]) -> int:
    """Do what `tarcast serve ARGUMENTS` says and return the exit status."""
    args = parse_serve(arguments)
    tls = tls_of(args)
    if (tls is not None or args.insecure) and all(map(_is_unix, args.listen)):
        raise OptionError("TLS and --insecure are for tcp; a Unix socket has its mode")
    exports = _exports(args)
    for name, export in exports.items():
        _check(name, export)
    quiet_grpc()

    from tarcast.daemon import Daemon

    limits: dict[str, Any] = {} if args.max_exports is None else {"max_exports": args.max_exports}
    ended = threading.Event()
    restore = _end_by_event(ended)
    try:
        with Daemon(
            exports,
            threads=args.threads,
            memory_limit=args.memory_limit,
            say=None if args.quiet else _log,
            **limits,
        ) as daemon:
            for address in args.listen:
                tcp = not _is_unix(address)
                where = daemon.listen(address, tls=tls if tcp else None, insecure=tcp and args.insecure)
                if not args.quiet:
                    say(f"tarcast: serving {', '.join(exports)} at {where}")
            while not ended.wait(0.1):
                pass
    finally:
        restore()
    return 0


def _is_unix(address: str) -> bool:
    return address.startswith("unix:")


def _exports(args: argparse.Namespace) -> dict[str, Exportable]:
    from tarcast.tree import Tree

    options = tree_options(args)
    exports: dict[str, Exportable] = {}
    for argument in args.trees:
        name, equals, path = argument.partition("=")
        if not equals or not name or not path:
            raise OptionError(
                f'"{argument}" has no name: expected --tree NAME=DIR', hint="clients ask for it"
            )
        _add(exports, name, Tree(path, **options))
    references = references_of(args.refs)
    if references and any(value is not None for value in options.values()):
        # A reference is mounted for each export; its own owners are what an id map would be for.
        raise OptionError(
            "patterns and id maps are for --tree, not for --ref", hint="serve the two by two commands"
        )
    for named, reference in references.items():
        if named is None:
            raise OptionError("a reference needs a name: expected --ref NAME=KIND:WHERE")
        _add(exports, named, reference)
    return exports


def _add(exports: dict[str, Exportable], name: str, tree: Exportable) -> None:
    if name in exports:
        raise OptionError(f'two trees are named "{name}"', hint="rename one")
    exports[name] = tree


def _check(name: str, export: Exportable) -> None:
    """So that a slip is told here, and not to the first client.

    Raises:
        InputError: a directory or image is not there, or is something else.
        PatternError: a pattern is malformed.
    """
    from tarcast.roots import open_root
    from tarcast.snapshot import DirectoryRef, ImageRef, OverlayRef
    from tarcast.snapshot.image import file_system_of
    from tarcast.tree import Tree

    trees: list[Tree] = []
    option = "--ref"
    if isinstance(export, Tree):
        trees, option = [export], "--tree"
    elif isinstance(export, DirectoryRef):
        trees = [Tree(export.path)]
    elif isinstance(export, OverlayRef):
        trees = [Tree(layer) for layer in export.lower]
    try:
        if isinstance(export, ImageRef):
            file_system_of(export.path)
        for tree in trees:
            with contextlib.ExitStack() as stack:
                open_root(b"", tree, None, stack)
    except InputError as error:
        error.step = f"{option} {name}: {error.step}"
        raise


def _log(line: str) -> None:
    say(f"tarcast: {line}")


def _end_by_event(ended: threading.Event) -> Callable[[], None]:
    """Have SIGINT, SIGTERM and SIGHUP set `ended`; a second SIGINT interrupts. Returns what undoes that."""

    def end(number: int, frame: FrameType | None) -> None:
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    if threading.current_thread() is not threading.main_thread():  # signals are for the main thread
        return lambda: None
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    old = {number: signal.signal(number, end) for number in numbers}

    def restore() -> None:
        for number, handler in old.items():
            signal.signal(number, handler)

    return restore
