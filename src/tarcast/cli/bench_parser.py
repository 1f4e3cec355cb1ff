"""What `tarcast bench` accepts."""

from __future__ import annotations

import argparse

from tarcast.cli.parser import Parser, not_empty

_DESCRIPTION = """\
Measure tarcast beside its peers on a tree and a machine of yours: GNU tar,
bsdtar, Python's tarfile and fastar, as far as they are installed. Everyone
writes the same tree to a fresh file that is removed at once, first without the
clock, then in turn, round after round. A table goes to standard output."""

_EXAMPLES = """\
examples:
  tarcast bench src
  tarcast bench --plot src.svg --json src.json src
      and a picture, and every single run for programs
  tarcast bench --to pipe --peer gnu-tar --rounds 9 /srv/www
      as into a pipe, beside one peer alone
  tarcast bench --compress zstd --temp-dir /srv/tmp /srv/www
      all at zstd's level 3, outputs on the file system that counts
  sudo tarcast bench --cold /srv/www
      each run begins with an empty page cache

peers (PEER):
  tarcast              tarcast.write_tar in an interpreter that runs already;
                       it takes part whoever else is named
  tarcast-one-thread   the same with threads=1
  tarcast-create       the whole command, start-up included; so are all programs
  gnu-tar              GNU tar, which stores no extended attributes unasked
  gnu-tar-xattrs       GNU tar --xattrs, as tarcast does; only if named
  gnu-tar-parallel     with --compress: GNU tar | pigz, zstd -T0 or xz -T0
  bsdtar, fastar, tarfile

Nothing is filtered: no two peers have the same patterns. There is no --to null,
because GNU tar reads no files when it writes to /dev/null.

exit status:
  0 done   1 a peer failed, its row says why   2 wrong usage
  3 the tree can't be read   4 no room for outputs, table, plot or JSON
  130 interrupted"""


def parse_bench(arguments: list[str]) -> argparse.Namespace:
    """The options, and `tree`.

    Raises:
        OptionError: an option is unknown or its value wrong, or the tree is missing.
    """
    args = bench_parser().parse_args(arguments)
    if args.pipe and args.fsync:
        bench_parser().error("--fsync needs a file: a pipe has nothing to bring to the disk")
    return args


def bench_parser() -> Parser:
    """The parser behind `parse_bench`; also good for its help text."""
    parser = Parser(
        prog="tarcast bench",
        usage="tarcast bench [OPTION]... DIR",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("tree", metavar="DIR", type=not_empty, help="the tree that everyone writes")
    parser.add_argument(
        "--peer",
        metavar="PEER",
        dest="peers",
        action="append",
        default=[],
        help="compare with this one, see below (repeatable; default: with all that are there)",
    )
    parser.add_argument(
        "--rounds", metavar="N", type=_rounds, default=5, help="timed runs of everyone (default: 5)"
    )
    parser.add_argument(
        "--to",
        dest="pipe",
        metavar="file|pipe",
        type=_sink,
        default=False,
        help="a fresh file (default), or a pipe that is read to its end",
    )
    parser.add_argument(
        "--compress",
        metavar="HOW",
        help="gzip, zstd or xz, with a level as in zstd:19: by everyone who can; default: none",
    )
    parser.add_argument(
        "--temp-dir",
        metavar="DIR",
        type=not_empty,
        help="where a directory for the outputs is made; default: TMPDIR or /tmp",
    )
    parser.add_argument("--fsync", action="store_true", help="the time ends when the output is on the disk")
    parser.add_argument(
        "--cold",
        action="store_true",
        help="drop the page cache before each run (root); not those that ZFS and network file systems have",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=not_empty,
        help="draw the throughput as FILE.svg or FILE.png (needs matplotlib: the extra tarcast[plot])",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=not_empty,
        help="write all results as JSON; - prints them in place of the table",
    )
    report = parser.add_mutually_exclusive_group()
    report.add_argument(
        "--progress",
        choices=("auto", "tty", "plain", "none"),
        default="auto",
        help="on standard error: one line on a terminal, or a line for each run; auto is tty on a terminal "
        "and none elsewhere",
    )
    report.add_argument(
        "--quiet", dest="progress", action="store_const", const="none", help="the same as --progress none"
    )
    return parser


def _rounds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:10]) <= 1000:
        raise argparse.ArgumentTypeError(f'"{text}" is no number from 1 to 1000')
    return int(text)


def _sink(text: str) -> bool:
    if text not in ("file", "pipe"):
        hint = "; GNU tar would read nothing for it" if text == "null" else ""
        raise argparse.ArgumentTypeError(f'"{text}" is neither file nor pipe{hint}')
    return text == "pipe"
