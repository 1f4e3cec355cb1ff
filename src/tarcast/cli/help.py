"""`tarcast help`, and what `tarcast --help` tells about all commands."""

from __future__ import annotations

from tarcast.cli import COMMANDS, parser_of
from tarcast.cli.stdio import put
from tarcast.cli.suggest import unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast.cli.parser import Parser

USAGE = """\
tarcast COMMAND [OPTION]... [ARGUMENT]...
tarcast help [COMMAND] | --help | --version"""

DESCRIPTION = "Turn directory trees into tar streams, byte-identical to BuildKit's."

EPILOG = """\
examples:
  tarcast create build/ -o build.tar
      the tree build/ as build.tar; the file appears when it is complete
  tarcast create --exclude-from .dockerignore . | gzip > ../context.tar.gz
      into a pipe, leaving out what .dockerignore says
  tarcast ls -l build.tar 'bin/*'
      what is in an archive, or a part of it
  tarcast verify build.tar build/
      whether it is still what the tree is

environment:
  SOURCE_DATE_EPOCH  the value of --epoch when that is not given
  NO_COLOR           no colours anywhere
  FORCE_COLOR        messages and help in colours, also where no terminal is;
                     CLICOLOR_FORCE is the same
  TERM=dumb          neither colours nor a moving progress bar

exit status:
  0 done   1 finished, but entries were skipped, or differ (verify)
  2 wrong usage   3 reading failed   4 writing failed   70 a bug of tarcast
  130 interrupted   128 + N ended by signal N"""

_MORE = "'tarcast help COMMAND' tells more, with examples; so does 'man tarcast-COMMAND'."


def run(arguments: list[str]) -> int:
    """Do what `tarcast help ARGUMENTS` says and return the exit status."""
    command = help_parser().parse_args(arguments).command
    if command is None:
        put_overview()
    elif command in COMMANDS:
        parser_of(command).print_help()
    else:
        raise unknown("command", command, COMMANDS, "tarcast --help")
    return 0


def help_parser() -> Parser:
    """The parser of `tarcast help`; `command` is None for all of them."""
    from tarcast.cli.parser import Parser

    parser = Parser(
        prog="tarcast help",
        usage="tarcast help [COMMAND]",
        description="Tell about a command, with examples, or about all commands in short.",
        epilog="examples:\n  tarcast help\n  tarcast help create",
    )
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="what 'tarcast --help' lists")
    return parser


def put_overview() -> None:
    """Write what `tarcast --help` says to standard output. Raises OutputError as `put` does."""
    from tarcast.cli.colour import help_text

    width = max(map(len, COMMANDS))
    commands = "".join(f"  {name:{width}}  {text}\n" for name, (_, text, _) in COMMANDS.items())
    usage = USAGE.replace("\n", "\n       ")
    put(help_text(f"usage: {usage}\n\n{DESCRIPTION}\n\ncommands:\n{commands}\n{EPILOG}\n\n{_MORE}\n"))
