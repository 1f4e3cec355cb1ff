"""The command line: `tarcast COMMAND ...`.

Each command is a module with `run(arguments) -> exit status`, imported when it is named, so that
`tarcast --version` costs little more than an empty interpreter.
"""

from __future__ import annotations

import sys

from tarcast.cli.stdio import occupy_standard_descriptors, put, say
from tarcast.errors import OptionError, TarcastError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tarcast.cli.parser import Parser

# name: (module, what it does, what makes the parser of its arguments)
COMMANDS = {
    "create": (
        "tarcast.cli.create",
        "write directory trees as one tar stream",
        "tarcast.cli.parser:create_parser",
    ),
    "ls": (
        "tarcast.cli.ls",
        "list what an archive holds",
        "tarcast.cli.archive_parsers:ls_parser",
    ),
    "cat": (
        "tarcast.cli.cat",
        "write members of an archive to standard output",
        "tarcast.cli.archive_parsers:cat_parser",
    ),
    "verify": (
        "tarcast.cli.verify",
        "compare an archive with a tree",
        "tarcast.cli.archive_parsers:verify_parser",
    ),
    "bench": (
        "tarcast.cli.bench",
        "measure tarcast beside its peers on a tree of yours",
        "tarcast.cli.bench_parser:bench_parser",
    ),
    "serve": (
        "tarcast.cli.serve",
        "export trees to clients that ask, by BuildKit's protocol",
        "tarcast.cli.session_parsers:serve_parser",
    ),
    "receive": (
        "tarcast.cli.receive",
        "take an archive from 'tarcast serve'",
        "tarcast.cli.session_parsers:receive_parser",
    ),
    "build-export": (
        "tarcast.cli.build_export",
        "take an archive from a buildkitd",
        "tarcast.cli.session_parsers:build_export_parser",
    ),
    "completion": (
        "tarcast.cli.completion",
        "print what lets a shell complete tarcast's command lines",
        "tarcast.cli.completion:completion_parser",
    ),
    "help": (
        "tarcast.cli.help",
        "tell about a command",
        "tarcast.cli.help:help_parser",
    ),
}

INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h; Python's own 1 would say "finished with skipped entries"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: the arguments after the program's name; by default those of this process.

    Returns:
        The exit status: 0 done, 1 finished with skipped entries, 2 usage, 3 input failed, 4 output
        failed, 70 a bug (its traceback is on stderr), 128 + N ended by signal N (130: Ctrl-C).
    """
    occupy_standard_descriptors()
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit:  # argparse has printed the help
        status = 0
    except TarcastError as error:
        say(f"tarcast: error: {error}")
        status = error.exit_code
    except KeyboardInterrupt:
        say("tarcast: interrupted")
        status = 130
    except Exception:
        import traceback

        say("tarcast: internal error; please report it with these lines:")
        for line in traceback.format_exc().splitlines():
            say(line)
        status = INTERNAL_ERROR
    return status


def parser_of(command: str) -> Parser:
    """The parser of a command's arguments, made for its help text, the manual and completion."""
    import importlib

    module, _, function = COMMANDS[command][2].partition(":")
    parser: Parser = getattr(importlib.import_module(module), function)()
    return parser


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        import importlib

        module = importlib.import_module(COMMANDS[arguments[0]][0])
        return int(module.run(arguments[1:]))

    # Spelled out, because argparse alone takes longer than all the rest of `tarcast --version`.
    if arguments in (["-V"], ["--version"]):
        from tarcast._version import __version__

        put(f"tarcast {__version__}\n")
    elif arguments and arguments[0] in ("-V", "--version"):
        raise OptionError(f"{arguments[0]} takes no arguments", hint="see 'tarcast --help'")
    elif arguments and arguments[0] in ("-h", "--help"):
        from tarcast.cli.help import put_overview

        put_overview()
    elif arguments:
        from tarcast.cli.suggest import unknown

        dashed = arguments[0].startswith("-")
        what, words = ("option", ("--help", "--version")) if dashed else ("command", tuple(COMMANDS))
        raise unknown(what, arguments[0], words, "tarcast --help")
    else:
        raise OptionError(
            f"a command is missing: expected {' or '.join(COMMANDS)}", hint="see 'tarcast --help'"
        )
    return 0
