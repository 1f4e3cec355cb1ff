"""`tarcast completion`: the script by which a shell completes tarcast's command lines.

The scripts are made of the parsers by `make generated`, so a TAB starts no Python.
"""

from __future__ import annotations

import os

from tarcast.cli.stdio import put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast.cli.parser import Parser

# Under the names that the shells' own directories of completions want.
SCRIPTS = {"bash": "tarcast", "zsh": "_tarcast", "fish": "tarcast.fish"}
DIRECTORY = os.path.join(os.path.dirname(__file__), "completions")

_DESCRIPTION = """\
Print the script by which a shell completes tarcast's commands, options and
values. pip puts the same scripts below share/ of where it installs; a shell
that looks there needs nothing of this."""

_EXAMPLES = """\
examples:
  eval "$(tarcast completion bash)"
      in ~/.bashrc
  eval "$(tarcast completion zsh)"
      in ~/.zshrc, behind compinit
  tarcast completion fish | source
      in ~/.config/fish/config.fish
  tarcast completion bash \\
          > ~/.local/share/bash-completion/completions/tarcast
      once, for shells that have the package bash-completion
  tarcast completion fish > ~/.config/fish/completions/tarcast.fish
      once, for every fish"""


def run(arguments: list[str]) -> int:
    """Do what `tarcast completion ARGUMENTS` says and return the exit status."""
    # Spelled out as `tarcast --version` is: shells wait for this one when they start.
    alone = len(arguments) == 1 and arguments[0] in SCRIPTS
    shell = arguments[0] if alone else completion_parser().parse_args(arguments).shell
    with open(os.path.join(DIRECTORY, SCRIPTS[shell]), encoding="ascii") as file:
        put(file.read())
    return 0


def completion_parser() -> Parser:
    """The parser of `tarcast completion`."""
    from tarcast.cli.parser import Parser

    parser = Parser(
        prog="tarcast completion",
        usage="tarcast completion bash|zsh|fish",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="whose script")
    return parser
