"""What `tarcast serve`, `tarcast receive` and `tarcast build-export` accept."""

from __future__ import annotations

import argparse
import os

from tarcast.cli.parser import (
    Parser,
    add_choice,
    add_fsync,
    add_idmaps,
    add_output,
    add_told,
    add_workers,
    cut_at_dashes,
    epoch_seconds,
    not_empty,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SERVE = """\
Export trees to the sessions of clients, by BuildKit's own protocol: to
'tarcast receive', and to programs made of BuildKit's Go packages.

What --tree and --ref list can be asked for by its name, and nothing else; it
must be there when this starts.
It runs until SIGINT or SIGTERM; exports that run then are undone."""

_SERVE_EXAMPLES = """\
examples:
  tarcast serve --listen unix:///run/tarcast.sock --tree docs=docs
      for this user alone: the socket has mode 0600
  tarcast serve --listen tcp://0.0.0.0:8372 --tlscacert ca.pem \\
          --tlscert cert.pem --tlskey key.pem \\
          --ref rootfs=overlay:layers/base:layers/app
      for clients with a certificate that ca.pem signed

exit status:
  0 ended by a signal   2 wrong usage   3 a tree is not there   4 cannot listen
  130 interrupted twice"""

_RECEIVE = """\
Have 'tarcast serve' export one of its trees, and write the archive.

It appears under its name when the daemon says that all went well."""

_RECEIVE_EXAMPLES = """\
examples:
  tarcast receive --from unix:///run/tarcast.sock docs -o docs.tar
      the tree that 'tarcast serve --tree docs=DIR' lists
  tarcast receive --from unix:///run/tarcast.sock docs --epoch 0 \\
          | zstd > docs.tar.zst
      the same bytes at any time, compressed by another program
  tarcast receive --from tcp://build.example:8372 --tlscacert ca.pem \\
          --tlscert me.pem --tlskey me-key.pem rootfs -o rootfs.tar
      from another machine, which knows this one by its certificate
"""

_BUILD = """\
Have a buildkitd build something and export it as a tar archive.

What to build is a definition (LLB), as programs print it for 'buildctl build',
or a frontend with options. It must need no files of this machine."""

_BUILD_EXAMPLES = """\
examples:
  go run ./llb | tarcast build-export --definition - -o out.tar
      what a program of yours defines
  tarcast build-export --definition app.llb -o app.tar \\
          --addr unix:///run/user/1000/buildkit/buildkitd.sock
      by a buildkitd without root's rights
  tarcast build-export --frontend dockerfile.v0 \\
          --opt context=https://example.com/app.git -o app.tar
      by a Dockerfile that the daemon fetches

environment:
  BUILDKIT_HOST          the value of --addr when that is not given
"""

_STATUS = """
exit status:
  0 done   2 wrong usage   3 the daemon refuses, fails or cannot be reached
  4 writing failed   130 interrupted"""

DEFAULT_BUILDKIT = "unix:///run/buildkit/buildkitd.sock"


def parse_serve(arguments: list[str]) -> argparse.Namespace:
    """Raises OptionError: an option is unknown or its value wrong, or one is missing."""
    parser = serve_parser()
    args = parser.parse_args(arguments)
    if not args.trees and not args.refs:
        parser.error("there is nothing to export: expected --tree NAME=DIR or --ref NAME=KIND:WHERE")
    return args


def serve_parser() -> Parser:
    parser = Parser(
        prog="tarcast serve",
        usage="tarcast serve --listen ADDR [OPTION]... --tree NAME=DIR...",
        description=_SERVE,
        epilog=_SERVE_EXAMPLES,
    )
    parser.add_argument(
        "--listen",
        metavar="ADDR",
        action="append",
        required=True,
        type=not_empty,
        help="unix:///path, with mode 0600, or tcp://HOST:PORT (repeatable)",
    )
    parser.add_argument(
        "--tree",
        metavar="NAME=DIR",
        dest="trees",
        action="append",
        default=[],
        type=not_empty,
        help="a directory tree (repeatable)",
    )
    parser.add_argument(
        "--ref",
        metavar="NAME=REF",
        dest="refs",
        action="append",
        default=[],
        type=not_empty,
        help="a tree that is mounted for each export: NAME=overlay:LAYER:LAYER..., the bottom layer first; "
        "NAME=image:FILE, a file-system image; or NAME=dir:PATH (repeatable)",
    )
    safety = parser.add_argument_group("who may connect by TCP")
    _add_tls(safety, "this side's certificate", "who signs the clients' certificates")
    safety.add_argument(
        "--insecure", action="store_true", help="no TLS: whoever can connect gets what is listed"
    )
    add_choice(parser)
    how = parser.add_argument_group("how it is written")
    add_idmaps(how)
    add_workers(how)
    how.add_argument(
        "--max-exports",
        metavar="N",
        type=_count,
        default=None,
        help="exports at once; further ones are refused (default: 64)",
    )
    parser.add_argument("--quiet", action="store_true", help="no log on standard error")
    return parser


def parse_receive(arguments: list[str]) -> argparse.Namespace:
    """The options, and `tree`; they may mix, and `--` ends the options.

    Raises:
        OptionError: an option is unknown or its value wrong, or there is not one tree.
    """
    parser = receive_parser()
    before, behind = cut_at_dashes(arguments)
    args = parser.parse_intermixed_args(before)
    names = [*(() if args.tree is None else (args.tree,)), *behind]
    if not names or not names[0]:
        parser.error("the tree's name is missing: expected NAME")
    if len(names) > 1:
        parser.error(f"one NAME is enough: there are {' and '.join(map(repr, names))}")
    args.tree = names[0]
    return args


def receive_parser() -> Parser:
    parser = Parser(
        prog="tarcast receive",
        usage="tarcast receive --from ADDR NAME [-o OUT|-|URL] [OPTION]...",
        description=_RECEIVE,
        epilog=_RECEIVE_EXAMPLES + _STATUS,
    )
    parser.add_argument("tree", metavar="NAME", nargs="?", help="the tree's name at the daemon")
    parser.add_argument(
        "--from",
        dest="addr",
        metavar="ADDR",
        required=True,
        type=not_empty,
        help="unix:///path or tcp://HOST:PORT",
    )
    add_output(parser)
    how = parser.add_argument_group("how it is written")
    how.add_argument(
        "--epoch", metavar="SECONDS", type=epoch_seconds, help="every modification time, since 1970"
    )
    _add_request(parser, how)
    return parser


def parse_build_export(arguments: list[str]) -> argparse.Namespace:
    """Raises OptionError: an option is unknown or its value wrong, or one is missing."""
    parser = build_export_parser()
    args = parser.parse_args(arguments)
    if (args.definition is None) == (args.frontend is None):
        parser.error("expected --definition FILE or --frontend NAME, one of both")
    if args.opts and args.frontend is None:
        parser.error("--opt is for a frontend")
    return args


def build_export_parser() -> Parser:
    parser = Parser(
        prog="tarcast build-export",
        usage="tarcast build-export --definition FILE|- [-o OUT|-|URL] [OPTION]...",
        description=_BUILD,
        epilog=_BUILD_EXAMPLES + _STATUS,
    )
    parser.add_argument(
        "--addr",
        metavar="ADDR",
        type=not_empty,
        help=f"unix:///path or tcp://HOST:PORT (default: {DEFAULT_BUILDKIT})",
    )
    parser.add_argument(
        "--definition", metavar="FILE", type=not_empty, help="the definition; - is standard input"
    )
    parser.add_argument("--frontend", metavar="NAME", type=not_empty, help="such as dockerfile.v0")
    parser.add_argument(
        "--opt",
        metavar="KEY=VALUE",
        dest="opts",
        action="append",
        default=[],
        type=pair,
        help="for the frontend (repeatable)",
    )
    add_output(parser)
    _add_request(parser, parser.add_argument_group("how it is written"))
    return parser


def _add_request(parser: Parser, how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--attr",
        metavar="KEY=VALUE",
        dest="attrs",
        action="append",
        default=[],
        type=pair,
        help="an attribute of the exporter, such as source-date-epoch=0 (repeatable)",
    )
    add_fsync(how)
    safety = parser.add_argument_group("TLS, for tcp")
    _add_tls(safety, "this side's certificate", "who signs the daemon's certificate")
    safety.add_argument(
        "--tlsservername", metavar="NAME", default="", help="the name in the daemon's certificate"
    )
    add_told(parser)


def _add_tls(group: argparse._ArgumentGroup, cert: str, ca: str) -> None:
    group.add_argument("--tlscacert", metavar="FILE", type=not_empty, help=f"{ca} (PEM)")
    group.add_argument("--tlscert", metavar="FILE", type=not_empty, help=f"{cert} (PEM)")
    group.add_argument("--tlskey", metavar="FILE", type=not_empty, help="its key (PEM)")


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE; anything else is an ArgumentTypeError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f'"{text}" is not KEY=VALUE')
    return key, value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:10]) <= 10000:
        raise argparse.ArgumentTypeError(f'"{text}" is no number from 1 to 10000')
    return int(text)


def quiet_grpc() -> None:
    """Before gRPC is loaded: what it would print of failures is what this program says itself."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def tls_of(args: Any) -> Any:
    """The TLS that the options of `_add_tls` describe, or None without any.

    Raises:
        OptionError: some of them are missing, or a file makes no sense.
    """
    from tarcast.errors import OptionError

    files = {"ca": args.tlscacert, "cert": args.tlscert, "key": args.tlskey}
    server_name = getattr(args, "tlsservername", "")
    if not any(files.values()) and not server_name:
        return None
    missing = [f"--tls{'cacert' if name == 'ca' else name}" for name, file in files.items() if not file]
    if missing:
        raise OptionError(f"TLS also needs {' and '.join(missing)}", hint="both sides show a certificate")
    from tarcast.session.wire.address import TLS

    return TLS(**files, server_name=server_name)
