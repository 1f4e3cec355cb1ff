"""What `tarcast create` accepts: the options, their values, the help text."""

from __future__ import annotations

import argparse
import os

from tarcast.cli.colour import help_text
from tarcast.cli.stdio import put
from tarcast.cli.suggest import unknown
from tarcast.errors import OptionError
from tarcast.limits import LEAST_MEMORY_LIMIT, MEMORY_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_UNITS = {"K": 10, "M": 20, "G": 30}
LARGEST_EPOCH = (1 << 63) - 1  # seconds are a signed 64-bit number in the core

_DESCRIPTION = """\
Write directory trees as one tar stream, byte-identical to the one of BuildKit.

One plain DIR is the root of the archive. With NAME=DIR, or more than one
argument, the trees stand side by side, each in a directory of its name ("/"
becomes "_"); a plain DIR is named after its last component. An argument that
is itself a directory is never cut at its "="."""

_EXAMPLES = """\
examples:
  tarcast create build/ -o build.tar
      the tree build/ as build.tar; the file appears when it is complete
  tarcast create --exclude-from .dockerignore . | gzip > ../context.tar.gz
      without -o into the pipe, leaving out what .dockerignore says
  tarcast create --epoch 0 --digest sha256 rootfs/ -o rootfs.tar
      the same bytes at any time, and their SHA-256
  tarcast create rootfs/ -o rootfs.tar.zst
      compressed, as the suffix says; --compress zstd:19 makes it smaller
  tarcast create --index rootfs.tar.sqlite rootfs/ -o rootfs.tar
      and a table for 'tarcast cat rootfs.tar etc/motd' to look into
  tarcast create --include 'usr/**' --exclude '**/*.pyc' rootfs/ -o usr.tar
      a part of a tree
  tarcast create --align --sparse /srv/images -o /srv/images.tar
      on XFS or btrfs in no time: the archive shares the blocks of the files
  tarcast create linux/amd64=out/amd64 linux/arm64=out/arm64 -o all.tar
      two trees, as linux_amd64/ and linux_arm64/
  tarcast create --ref overlay:layers/base:layers/app -o rootfs.tar
      layers as overlayfs merges them, without mounting them by hand
  tarcast create --ref image:disk.ext4 -o disk.tar
      what a file-system image holds
  tarcast create --idmap 0:100000:65536 /var/lib/machine -o machine.tar
      owners as the container sees them; host id 100000 becomes 0

id maps (MAP):
  0:100000:65536[,...]  CONTAINER:HOST:SIZE; the first range with an id wins
  /proc/PID             both maps of a process; or a file, /proc/PID/uid_map
  alice                 a user's lines in /etc/subuid and /etc/subgid, from 0 on
  Entries of owners without a counterpart are left out, but not what is below.

progress:
  tty draws one line on a terminal, plain writes a line every 2 seconds, json
  writes JSON lines to standard error: {"event": "progress", "done": false,
  "entries", "bytes_written", "seconds", "path", "total_entries", "total_bytes",
  "rate", "eta"}, {"event": "warning", ...} and last {"event": "end", "done":
  true, "exit_status", ...}. auto is tty on a terminal and none elsewhere.
  Totals and the time to go are known with --count-first, else null.

environment:
  SOURCE_DATE_EPOCH      the value of --epoch when that is not given
  NO_COLOR               no colours; FORCE_COLOR: also where no terminal is
  TERM=dumb              neither colours nor a moving line: auto is plain

exit status:
  0 done   1 finished, some entries skipped   2 wrong usage   3 reading failed
  4 writing failed   130 interrupted"""


def _unmeasured(prog: str) -> argparse.HelpFormatter:
    """For all but help: argparse tries one on each option, and asking for the width would import for 3 ms."""
    return argparse.RawDescriptionHelpFormatter(prog, width=80)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises OptionError and takes no abbreviated option."""

    formatter_class: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_unmeasured, **options)
        self.color = False  # Python 3.14's own colours; ours are the same with every Python

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Ahead of argparse, which would first miss what a misspelt option should have given.
        for word in args or ():
            if word == "--":
                break
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in word and name not in self._option_string_actions:
                raise unknown("option", name, self._option_string_actions, f"{self.prog} --help")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise OptionError(message, hint=f"see '{self.prog} --help'")

    def format_help(self) -> str:
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def print_help(self, file: Any = None) -> None:
        put(help_text(self.format_help()))  # argparse's own passes over a full disk


class _Ordered(argparse.Action):
    """Several options fill one list of (option, value), in the order of the command line."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (option_string, values)])


def parse_create(arguments: list[str]) -> argparse.Namespace:
    """The options and trees of `tarcast create`; they may mix, and `--` ends the options.

    Raises:
        OptionError: an option is unknown or its value wrong, or no tree is named.
    """
    parser = create_parser()
    before, behind = cut_at_dashes(arguments)
    args = parser.parse_intermixed_args(before)
    args.trees = [*(args.trees or ()), *behind]
    if not args.trees and not args.refs:
        parser.error("a directory is missing: expected [NAME=]DIR or --ref")
    return args


def cut_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is before the first "--", and what is behind it and is no option.

    Python's parse_intermixed_args takes a dashed argument behind "--" for an option.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def create_parser() -> Parser:
    """The parser behind `parse_create`; also good for its help text."""
    parser = Parser(
        prog="tarcast create",
        usage="tarcast create [OPTION]... [NAME=]DIR... [-o OUT|-|URL]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("trees", nargs="*", metavar="[NAME=]DIR", help="a directory tree")
    add_output(parser)
    add_refs(parser)
    add_choice(parser)

    how = parser.add_argument_group("how it is written")
    add_idmaps(how)
    how.add_argument(
        "--epoch", metavar="SECONDS", type=epoch_seconds, help="every modification time, since 1970"
    )
    how.add_argument(
        "--digest",
        metavar="HASH",
        action="append",
        default=[],
        type=_digest,
        help="hash the archive: sha256 or another name that Python's hashlib knows (repeatable); "
        "also the output, where that is compressed",
    )
    how.add_argument(
        "--compress",
        metavar="HOW",
        type=_compression,
        help="gzip, zstd or xz, with a level as in zstd:19 and options as in zstd:3,long,threads=4; or none. "
        "default: by the suffix of OUT (.gz .tgz .zst .tzst .xz .txz), else none",
    )
    how.add_argument(
        "--index",
        metavar="FILE",
        type=not_empty,
        help="write a table of all members and where they lie: .jsonl, .sqlite, .db or .parquet; "
        "as OUT.sqlite it is found by 'tarcast ls' and 'tarcast cat'",
    )
    how.add_argument(
        "--index-digest", metavar="HASH", type=_digest, help="hash each file for the index: sha256 or another"
    )
    add_workers(how)
    how.add_argument(
        "--align",
        action="store_true",
        help="begin large bodies on file-system blocks, and share those with the files on XFS and btrfs",
    )
    how.add_argument("--sparse", action="store_true", help="store files with holes without their holes")
    how.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="what an entry that can't be read does: fail (default; no output appears) or be skipped",
    )
    add_fsync(how)

    told = add_told(parser)
    told.add_argument(
        "--count-first",
        action="store_true",
        help="find out ahead how much it will be, so that progress tells percent and time to go",
    )
    return parser


def add_output(parser: argparse.ArgumentParser) -> None:
    """-o: where the archive goes; see `create.output_of`."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=not_empty,
        help="a file, - for standard output (never a terminal), or a URL of fsspec; "
        "default: standard output if it is not a terminal",
    )


def add_refs(parser: argparse.ArgumentParser) -> None:
    """--ref; see `create.references_of`."""
    parser.add_argument(
        "--ref",
        metavar="REF",
        dest="refs",
        action="append",
        default=[],
        type=not_empty,
        help="a tree that is mounted read-only while the export runs: [NAME=]overlay:LAYER:LAYER..., the "
        "bottom layer first; image:FILE, a file-system image; or dir:PATH (repeatable)",
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """What of a tree goes in."""
    choice = parser.add_argument_group("what goes in (for every tree)")
    choice.add_argument(
        "--include",
        metavar="PATTERN",
        action="append",
        default=[],
        type=_selecting,
        help="only what matches (repeatable)",
    )
    choice.add_argument(
        "--exclude",
        metavar="PATTERN",
        dest="excludes",
        action=_Ordered,
        default=[],
        help="leave out what matches; !PATTERN takes it back, the last match decides (repeatable)",
    )
    choice.add_argument(
        "--exclude-from",
        metavar="FILE",
        dest="excludes",
        action=_Ordered,
        type=not_empty,
        help="exclude patterns from a file written like .dockerignore (repeatable)",
    )
    choice.add_argument(
        "--follow",
        metavar="PATTERN",
        action="append",
        default=[],
        type=_selecting,
        help="include a path and what the symbolic links on it lead to (repeatable)",
    )


def add_idmaps(how: argparse._ArgumentGroup) -> None:
    """Whose the entries are; see `create.id_map`."""
    for option, text in (
        ("--idmap", "map owners by MAP, see below (repeatable, ranges add up)"),
        ("--uidmap", "user ids alone"),
        ("--gidmap", "group ids alone"),
    ):
        how.add_argument(
            option, metavar="MAP", dest="idmaps", action=_Ordered, type=not_empty, default=[], help=text
        )


def add_workers(how: argparse._ArgumentGroup) -> None:
    """How much of the machine an export takes."""
    how.add_argument(
        "--threads",
        metavar="N",
        type=_threads,
        help="how many read at once; 1 starts none. default: one a core, more while they wait for storage",
    )
    how.add_argument(
        "--memory-limit",
        metavar="SIZE",
        type=_size,
        default=MEMORY_LIMIT,
        help="bytes of archive held in memory at once, such as 8M; K, M and G are 1024, ... (default: 32M)",
    )


def add_fsync(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--fsync", action="store_true", help="wait until the output is on the disk")


def add_told(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Progress and summary; gives the group of both."""
    told = parser.add_argument_group("what is told")
    report = told.add_mutually_exclusive_group()
    report.add_argument(
        "--progress",
        choices=("auto", "tty", "plain", "json", "none"),
        default="auto",
        help="on standard error, see below; none also drops the final line",
    )
    report.add_argument(
        "--quiet", dest="progress", action="store_const", const="none", help="the same as --progress none"
    )
    told.add_argument(
        "--summary-json",
        metavar="FILE",
        type=not_empty,
        help="write result, warnings and any error to FILE as JSON, also on failure; - is standard output",
    )
    return told


def epoch_seconds(text: str) -> int:
    """Seconds since 1970 as digits alone; anything else is an ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > LARGEST_EPOCH:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no time: expected whole seconds since 1970, 0 to {LARGEST_EPOCH}'
        )
    return int(text)


def default_epoch(environment: os._Environ[str] | dict[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/); unset or empty is None.

    Raises:
        OptionError: the value is malformed, which the specification asks not to pass over.
    """
    text = environment.get("SOURCE_DATE_EPOCH", "")
    try:
        return epoch_seconds(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise OptionError(f"environment variable SOURCE_DATE_EPOCH: {error}", hint="unset it") from None


def not_empty(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the value is empty")
    return text


def _selecting(pattern: str) -> str:
    """A pattern that says what goes in: the library takes an empty one, and then nothing goes in, or all."""
    if not pattern.strip():
        raise argparse.ArgumentTypeError("the pattern is empty: is a shell variable unset?")
    return pattern


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:10]) <= 1024:
        raise argparse.ArgumentTypeError(f'"{text}" is no number from 1 to 1024')
    return int(text)


def _size(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in tuple(_UNITS) else (text, "")
    if not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise argparse.ArgumentTypeError(f'"{text}" is no size: expected bytes, or a number with K, M or G')
    size = int(number) << _UNITS.get(unit, 0)
    if size < LEAST_MEMORY_LIMIT:
        raise argparse.ArgumentTypeError(f'"{text}" is too little: expected at least 1M')
    return size


def _compression(text: str) -> str:
    from tarcast.compression import Compression

    try:
        Compression.parse(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError("; ".join(filter(None, [error.message, error.hint]))) from None
    return text


def _digest(name: str) -> str:
    import hashlib

    try:
        size = hashlib.new(name, usedforsecurity=False).digest_size
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'"{name}" is no hash that this Python knows; try sha256, sha512 or blake2b'
        ) from None
    if not size:
        raise argparse.ArgumentTypeError(f'"{name}" has no fixed length; try sha256, sha512 or blake2b')
    return name
