"""`tarcast create`: arguments to trees, options and a sink, then one call of the library."""

from __future__ import annotations

import os
import sys

from tarcast.cli.parser import default_epoch, parse_create
from tarcast.cli.running import carry_out
from tarcast.compression import promised_suffix, suffix_name
from tarcast.errors import OptionError, OutputError
from tarcast.sinks.descriptor import named_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Any

    from tarcast.cleanup import Cleanup
    from tarcast.idmap import IDMap, IDRange
    from tarcast.result import Result
    from tarcast.snapshot import Reference
    from tarcast.tree import Tree

_SEE = "see 'tarcast create --help'"


def run(arguments: list[str]) -> int:
    """Do what `tarcast create ARGUMENTS` says and return the exit status."""
    args = parse_create(arguments)
    args.output = output_of(args.output, compresses=True, compression=args.compress)
    return carry_out(args, lambda display: _export(args, display))


def _export(args: argparse.Namespace, display: Callable[..., None]) -> Result:
    from tarcast.cleanup import Cleanup
    from tarcast.write import write_tar

    epoch = default_epoch(os.environ) if args.epoch is None else args.epoch
    with Cleanup() as cleanup:
        trees = trees_in(args, cleanup)
        return write_tar(
            trees,
            args.output,
            epoch=epoch,
            digest=tuple(dict.fromkeys(args.digest)),
            compression=args.compress,
            index=args.index,
            index_digest=args.index_digest,
            align=args.align,
            sparse=args.sparse,
            threads=args.threads,
            memory_limit=args.memory_limit,
            progress=display,
            count_first=args.count_first,
            on_error=args.on_error,
            fsync=args.fsync,
        )


def trees_in(args: argparse.Namespace, cleanup: Cleanup) -> Tree | dict[str, Tree]:
    """What is to be written: directories, and references, mounted until `cleanup`.

    Raises:
        OptionError, InputError: an argument makes no sense, or can't be read.
    """
    from tarcast.tree import Tree

    options = tree_options(args)
    references = references_of(args.refs)
    named = trees_of(args.trees, beside=bool(references)) if args.trees else {}
    if isinstance(named, str):  # then there are no references
        return Tree(named, **options)
    _check_names(named, references)
    trees = {name: Tree(path, **options) for name, path in named.items()}
    for name, reference in references.items():
        from tarcast.snapshot.mounting import mount_tree

        tree = mount_tree(reference, cleanup, **options)
        if name is None:  # and so it is alone
            return tree
        trees[name] = tree
    return trees


def tree_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the options of `add_choice` and `add_idmaps` say, as Tree takes it.

    Raises:
        InputError, IDMapError: see `excludes` and `id_map`.
    """
    return {
        "include": args.include or None,
        "exclude": excludes(args.excludes) or None,
        "follow": args.follow or None,
        "idmap": id_map(args.idmaps),
    }


def _check_names(named: dict[str, str], references: dict[str | None, Reference]) -> None:
    for name in references:
        if name is None and (len(references) > 1 or named):
            raise OptionError(
                "a reference beside other trees needs a name", hint="write --ref NAME=KIND:WHERE"
            )
        if name is not None and name in named:
            raise OptionError(f'"{named[name]}" and a reference would both be "{name}"', hint="rename one")


def references_of(arguments: Sequence[str]) -> dict[str | None, Reference]:
    """The references that `--ref` names, by the names of their trees.

    Raises:
        OptionError: one is malformed, or two names are the same.
    """
    from tarcast.cli.references import reference_of

    references: dict[str | None, Reference] = {}
    for argument in arguments:
        name, reference = reference_of(argument)
        if name in references:
            problem = "two references have no name" if name is None else f'two references are named "{name}"'
            raise OptionError(problem, hint="write --ref NAME=KIND:WHERE")
        references[name] = reference
    return references


def output_of(output: str | None, *, compresses: bool = False, compression: str | None = None) -> str:
    """Where the archive goes: a path, a URL, or "-" for standard output.

    Args:
        compresses: whether a name may promise what this command can do; others take bytes as they come.
        compression: what was asked for, so that the name is not looked at.

    Raises:
        OptionError: standard output is a terminal, or the name promises a compression that is not there.
        OutputError: standard output is closed.
    """
    if output in (None, "-"):
        if sys.stdout is None:
            if output is None:
                raise OptionError("say with -o where the archive goes", hint=_SEE)
            raise OutputError("standard output is closed")
        if os.isatty(1):
            problem = "say with -o where the archive goes" if output is None else "-o - would flood it"
            raise OptionError(f"standard output is a terminal: {problem}", hint="redirect it, or name a file")
        return "-"
    assert output is not None
    if named_descriptor(output) == 1 and sys.stdout is None:
        raise OutputError("standard output is closed", path=output)
    if compression is None:
        suffix = promised_suffix(output)
        if suffix and not compresses:
            raise OptionError(
                f'the archive is written as it comes, and a file ending in "{suffix}" should be compressed',
                path=output,
                hint="name it .tar, or write to standard output and pipe through gzip or zstd",
            )
        suffix_name(output, plain="--compress none")  # before anything is mounted
    return output


def trees_of(arguments: Sequence[str], *, beside: bool = False) -> str | dict[str, str]:
    """The trees that `[NAME=]DIR...` names: one path for the root of the archive, or name -> path.

    `beside` says that there are other trees, so that one alone needs a name too.

    Raises:
        OptionError: an argument, its name or its directory is empty, or two names are the same.
    """
    pairs = [_name_and_path(argument) for argument in arguments]
    if len(pairs) == 1 and pairs[0][0] is None and not beside:
        return pairs[0][1]
    trees: dict[str, str] = {}
    for name, path in pairs:
        if name is None:
            name = os.path.basename(os.path.abspath(path))
            if not name:
                raise OptionError("this directory has no name of its own", path=path, hint="write NAME=DIR")
        if name in trees:
            raise OptionError(f'"{trees[name]}" and "{path}" would both be "{name}"', hint="write NAME=DIR")
        trees[name] = path
    return trees


def _name_and_path(argument: str) -> tuple[str | None, str]:
    if "=" not in argument or os.path.isdir(argument):
        if not argument:
            raise OptionError("a directory is the empty string", hint="is a shell variable unset?")
        return None, argument
    name, _, path = argument.partition("=")
    if not name or not path:
        missing = "directory" if name else "name"
        raise OptionError(f'"{argument}" has no {missing}: expected NAME=DIR', hint=_SEE)
    return name, path


def excludes(options: Sequence[tuple[str, str]]) -> list[str | bytes]:
    """The patterns of `--exclude` and `--exclude-from` in the order given, since the last match decides.

    Raises:
        InputError: a file can't be read.
    """
    patterns: list[str | bytes] = []
    for option, value in options:
        if option == "--exclude":
            patterns.append(value)
            continue
        from tarcast.patterns import read_ignore_file

        patterns += read_ignore_file(value)
    return patterns


def id_map(options: Sequence[tuple[str, str]]) -> IDMap | None:
    """The map that `--idmap`, `--uidmap` and `--gidmap` describe together; None without any.

    A value with a slash is a path, one with a colon triples, anything else a user.

    Raises:
        IDMapError: a value is malformed, or what it names can't be read.
    """
    if not options:
        return None
    from tarcast.idmap import IDMap

    uid: list[IDRange] | None = None
    gid: list[IDRange] | None = None
    for option, value in options:
        part = _id_map_of(option, value)
        if part.uid is not None:
            uid = [*(uid or ()), *part.uid]
        if part.gid is not None:
            gid = [*(gid or ()), *part.gid]
    return IDMap(uid, gid)


def _id_map_of(option: str, value: str) -> IDMap:
    """The map of one option; the kind that the option does not concern is None."""
    from tarcast.errors import IDMapError
    from tarcast.idmap import IDMap

    kinds = ("uid", "gid") if option == "--idmap" else (option[2:5],)
    try:
        if "/" in value:
            if os.path.isdir(value):
                files = {f"{kind}_map": os.path.join(value, f"{kind}_map") for kind in kinds}
                return IDMap.from_files(**files)
            if option != "--idmap":
                return IDMap.from_files(**{f"{kinds[0]}_map": value})
            raise IDMapError(
                "expected a directory that holds uid_map and gid_map",
                path=value,
                hint="for single files use --uidmap and --gidmap",
            )
        if ":" in value:
            return IDMap.parse(**dict.fromkeys(kinds, value))
        subid: dict[str, str | None] = {"subuid": None, "subgid": None}
        subid.update((f"sub{kind}", f"/etc/sub{kind}") for kind in kinds)
        return IDMap.from_subid(value, **subid)
    except IDMapError as error:
        hints = [error.hint, "" if ":" in value or "/" in value else "a path is written with a slash"]
        raise IDMapError(
            f"{error.message} ({option})",
            path=error.path,
            step=error.step,
            errno=error.errno,
            hint="; ".join(filter(None, hints)),
        ) from None
