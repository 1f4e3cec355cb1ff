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

# name: (module, what it does)
COMMANDS = {"create": ("tarcast.cli.create", "write directory trees as one tar stream")}

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


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        import importlib

        module = importlib.import_module(COMMANDS[arguments[0]][0])
        return int(module.run(arguments[1:]))

    # Spelled out, because argparse alone takes longer than all the rest of `tarcast --version`.
    if arguments == ["--version"]:
        from tarcast._version import __version__

        text = f"tarcast {__version__}"
    elif arguments and arguments[0] in ("-h", "--help"):
        text = _help()
    else:
        problem = f"there is no command {arguments[0]!r}" if arguments else "a command is missing"
        raise OptionError(f"{problem}: expected {' or '.join(COMMANDS)}", hint="see 'tarcast --help'")
    put(text + "\n")
    return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "".join(f"  {name:{width}}  {text}\n" for name, (_, text) in COMMANDS.items())
    return f"""\
usage: tarcast COMMAND ... | --help | --version

Turn directory trees into tar streams, byte-identical to BuildKit's.

commands:
{commands}
'tarcast COMMAND --help' tells more, with examples."""
