"""What `tarcast ls`, `tarcast cat` and `tarcast verify` accept."""

from __future__ import annotations

import argparse

from tarcast.cli.parser import (
    Parser,
    add_choice,
    add_idmaps,
    add_refs,
    cut_at_dashes,
    epoch_seconds,
    not_empty,
)

_LS = """\
List what an archive holds: anybody's, uncompressed or compressed with gzip, xz,
bzip2 or (with the extra tarcast[zstd]) zstd. With an index nothing of the
archive but its beginning is read; of an uncompressed file without one, only the
headers. Control characters in names are escaped.

A PATTERN is of the language of --exclude (see 'tarcast create --help'); one
that matches a directory selects what is below it too."""

_CAT = """\
Write the data of members of an archive to standard output, one behind the
other. With an index only their bytes are read. A hard link gives the data of
its target, a sparse member its holes as zeros. Where the index has digests they
are checked."""

_INDEX = """
the index:
  An ARCHIVE.sqlite, .db, .jsonl or .parquet beside the archive is used without
  being named, if it is of this archive. 'tarcast create --index' writes one.
"""

_LS_EXAMPLES = (
    """\
examples:
  tarcast ls out.tar
      the names of all members
  tarcast ls -l out.tar.gz 'usr/bin/*'
      mode, owner, size and time of some
  curl -s https://example.org/x.tar | tarcast ls --json -
      a line of JSON for each member of an archive that comes by a pipe
"""
    + _INDEX
    + """
exit status:
  0 done   2 wrong usage   3 can't be read, or a PATTERN matches nothing
  4 writing failed   130 interrupted"""
)

_CAT_EXAMPLES = (
    """\
examples:
  tarcast cat out.tar etc/motd
      one file; by out.tar.sqlite at once, if that is there
  tarcast cat --index out.sqlite out.tar etc/passwd etc/group
      two, by an index that has a name of its own
  ssh host cat out.tar.zst | tarcast cat - etc/motd
      of an archive that comes by a pipe
"""
    + _INDEX
    + """
exit status:
  0 done   2 wrong usage   3 can't be read, or a MEMBER is not there or no file
  4 writing failed   130 interrupted"""
)

_VERIFY = """\
Compare an archive with the trees that it should be of. What 'tarcast create'
would write for them now, with the same options, is compared with what is in the
archive: member by member, in any order, whoever wrote it. One line is printed
for each difference."""

_VERIFY_EXAMPLES = """\
examples:
  tarcast create src -o src.tar && tarcast verify src.tar src
      no line and status 0: the archive is what the tree is
  tarcast verify backup.tar.gz --exclude '**/*.pyc' src
      with the options by which the archive was made
  tar -C src -cf - . | tarcast verify --ignore xattrs - src
      an archive of GNU tar, which stores no extended attributes

differences:
  missing     the tree has it, the archive has not
  extra       the archive has it, the tree has not
  duplicate   the archive has it once more; its first member is compared
  type, mode, owner, mtime, size, device, link, xattrs, content

exit status:
  0 no difference   1 some   2 wrong usage   3 archive or tree can't be read
  4 writing failed   130 interrupted"""


def parse_ls(arguments: list[str]) -> argparse.Namespace:
    """`archive` and `patterns`.

    Raises:
        OptionError: an option is unknown or its value wrong, or the archive is missing.
    """
    args = _mixed(ls_parser(), arguments)
    args.archive, *args.patterns = args.names
    return args


def ls_parser() -> Parser:
    """The parser behind `parse_ls`; also good for its help text."""
    parser = Parser(
        prog="tarcast ls",
        usage="tarcast ls [OPTION]... ARCHIVE|- [PATTERN]...",
        description=_LS,
        epilog=_LS_EXAMPLES,
    )
    parser.add_argument("names", metavar="ARCHIVE|- [PATTERN]", nargs="*", help="what to list, what of it")
    _add_index(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-l", dest="long", action="store_true", help="mode, owner, size, time and target too")
    how.add_argument("--json", action="store_true", help="a line of JSON for each, with an index's fields")
    return parser


def parse_cat(arguments: list[str]) -> argparse.Namespace:
    """`archive` and `members`. Raises OptionError as the others, also without a member."""
    parser = cat_parser()
    args = _mixed(parser, arguments)
    args.archive, *args.members = args.names
    if not args.members:
        parser.error("a member is missing: expected ARCHIVE MEMBER")
    return args


def cat_parser() -> Parser:
    """The parser behind `parse_cat`; also good for its help text."""
    parser = Parser(
        prog="tarcast cat",
        usage="tarcast cat [OPTION]... ARCHIVE|- MEMBER...",
        description=_CAT,
        epilog=_CAT_EXAMPLES,
    )
    parser.add_argument(
        "names", metavar="ARCHIVE|- MEMBER", nargs="*", help='names with or without a "./" or "/" before them'
    )
    _add_index(parser)
    return parser


def parse_verify(arguments: list[str]) -> argparse.Namespace:
    """`archive` and `trees`. Raises OptionError as the others, also without a tree."""
    parser = verify_parser()
    args = _mixed(parser, arguments)
    args.archive, *args.trees = args.names
    if not args.trees and not args.refs:
        parser.error("a directory is missing: expected [NAME=]DIR or --ref")
    return args


def verify_parser() -> Parser:
    """The parser behind `parse_verify`; also good for its help text."""
    from tarcast.compare import KINDS

    parser = Parser(
        prog="tarcast verify",
        usage="tarcast verify [OPTION]... ARCHIVE|- [NAME=]DIR...",
        description=_VERIFY,
        epilog=_VERIFY_EXAMPLES,
    )
    parser.add_argument("names", metavar="ARCHIVE|- [NAME=]DIR", nargs="*", help="the archive, and its trees")
    add_refs(parser)
    add_choice(parser)
    how = parser.add_argument_group("how it was written")
    add_idmaps(how)
    how.add_argument(
        "--epoch", metavar="SECONDS", type=epoch_seconds, help="every modification time, since 1970"
    )
    what = parser.add_argument_group("what is compared, and how it is told")
    what.add_argument(
        "--no-content", dest="content", action="store_false", help="sizes, but not the data of the files"
    )
    what.add_argument(
        "--ignore",
        metavar="KIND",
        action="append",
        default=[],
        choices=KINDS,
        help="a kind of difference that does not count, see below (repeatable)",
    )
    told = what.add_mutually_exclusive_group()
    told.add_argument("--json", action="store_true", help="a line of JSON for each difference")
    told.add_argument("--quiet", action="store_true", help="say nothing, and stop at the first difference")
    return parser


def _add_index(parser: Parser) -> None:
    index = parser.add_mutually_exclusive_group()
    index.add_argument("--index", metavar="FILE", type=not_empty, help="the archive's index, see below")
    index.add_argument(
        "--no-index", dest="index", action="store_false", help="don't use an index beside the archive"
    )
    parser.set_defaults(index=None)


def _mixed(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """Options and `names` in any order; `--` ends the options. Raises OptionError: there is no name."""
    before, behind = cut_at_dashes(arguments)
    args = parser.parse_intermixed_args(before)
    args.names = [*(args.names or ()), *behind]
    if not args.names or not args.names[0]:
        parser.error("the archive is missing")
    return args
