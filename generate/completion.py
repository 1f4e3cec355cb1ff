"""The scripts of `tarcast completion`, by shtab, with what it leaves open of bash and zsh."""

from __future__ import annotations

import argparse
import hashlib
import re
from typing import Any

import shtab

from tarcast.cli import COMMANDS, parser_of
from tarcast.cli.completion import SCRIPTS

HASHES = sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake_"))

# Functions for values that are paths, perhaps with something before them. In bash and fish they print
# candidates; shtab has bash treat these as file names if "file" or "dir" is in the function's name.
BASH = r"""
_tarcast_files() {
  compgen -f -- "$1"
}
_tarcast_dirs() {
  compgen -d -- "$1"
}
"""
ZSH = r"""
_tarcast_trees() {
  compset -P '*='
  _files -/
}
_tarcast_references() {
  if compset -P '*:'; then
    _files
  else
    compset -P '*='
    compadd -S '' -- overlay: image: dir:
  fi
}
"""
FISH = r"""
# The word at the cursor; of --option=value the value, to which fish adds the rest itself.
function _tarcast_word
  string replace -r '^--[a-z-]+=' '' -- (commandline -ct)
end
function _tarcast_files
  __fish_complete_path (_tarcast_word)
end
function _tarcast_directories
  __fish_complete_directories (_tarcast_word) ''
end
function _tarcast_trees
  set -l before (string match -r '^[^=]*=' -- (_tarcast_word))
  for directory in (__fish_complete_directories (string replace -r '^[^=]*=' '' -- (_tarcast_word)) '')
    echo "$before$directory"
  end
end
function _tarcast_references
  set -l before (string match -r '^.*[:=]' -- (_tarcast_word))
  if string match -q '*:' -- "$before"
    for file in (__fish_complete_path (string replace -r '^.*[:=]' '' -- (_tarcast_word)))
      echo "$before$file"
    end
  else
    printf '%s\n' "$before"{overlay:,image:,dir:}
  end
end
"""
PREAMBLE = {"bash": BASH, "zsh": ZSH, "fish": FISH}

FILE = {"bash": "_tarcast_files", "zsh": "_files", "fish": "(_tarcast_files)"}
DIRECTORY = {"bash": "_tarcast_dirs", "zsh": "_files -/", "fish": "(_tarcast_directories)"}
TREE = {"bash": "_tarcast_dirs", "zsh": "_tarcast_trees", "fish": "(_tarcast_trees)"}
REFERENCE = {"bash": "_tarcast_files", "zsh": "_tarcast_references", "fish": "(_tarcast_references)"}

# What a value is, by what the parsers call it: a list of words, or a dictionary of shells.
VALUES: dict[str, Any] = {
    "ARCHIVE|-": FILE,
    "COMMAND": list(COMMANDS),
    "DIR": DIRECTORY,
    "FILE": FILE,
    "FILE|-": FILE,
    "HASH": HASHES,
    "HOW": ["gzip", "zstd", "xz", "none"],
    "MAP": FILE,
    "NAME=DIR": TREE,
    "NAME=REF": REFERENCE,
    "OUT": FILE,
    "REF": REFERENCE,
    "[NAME=]DIR": TREE,
}

# readline takes "=" and ":" for the ends of words and replaces what is behind them alone.
BASH_WORDS = r"""
# Words as the command gets them, but --option=value as two; of the last one what is behind its last break.
_tarcast() {
  local -a words=()
  local index word joined=
  for (( index = 0; index <= COMP_CWORD; index++ )); do
    word=${COMP_WORDS[index]}
    if [[ $word =~ ^[=:]+$ ]]; then
      if [[ $word == = && ${words[-1]} == --* ]]; then
        (( index == COMP_CWORD )) && words+=("")
      else
        joined=1
        words[-1]+=$word
        (( index == COMP_CWORD )) && words[-1]=
      fi
      continue
    fi
    if [[ -z $joined ]]; then
      words+=("$word")
    elif (( index == COMP_CWORD )); then
      words[-1]=$word
    else
      words[-1]+=$word
    fi
    joined=
  done
  local -a COMP_WORDS=("${words[@]}")
  local COMP_CWORD=$(( ${#words[@]} - 1 ))
  _shtab_tarcast "$@"
}

complete -o bashdefault -F _tarcast tarcast
"""


def scripts() -> dict[str, str]:
    """Name and text of the script of each shell."""
    return {name: _script(shell) for shell, name in SCRIPTS.items()}


def _script(shell: str) -> str:
    text: str = shtab.complete(_root(shell), shell, preamble=PREAMBLE[shell])
    if shell == "bash":
        # Other programs' scripts by other versions of shtab have functions of these names, too.
        text = re.sub(
            r"\b(_set_new_action|_set_parser_defaults|_shtab_replace_nonword)\b", r"_tarcast\1", text
        )
        text = re.sub(r"\ncomplete -o bashdefault .*", BASH_WORDS, text)
    elif shell == "zsh":
        # An argument that may come often; shtab has it exclude the next one like it.
        text = text.replace('"(*)::', '"*:')
    return re.sub(r"# Usage:\n(#.*\n)+", "# 'tarcast completion --help' says what to do with it.\n", text)


def _root(shell: str) -> argparse.ArgumentParser:
    """All of the command line as one parser, as shtab wants it."""
    root = argparse.ArgumentParser(prog="tarcast", add_help=False)
    root.add_argument("-h", "--help", action="help", help="tell about all commands in short")
    root.add_argument("-V", "--version", action="version", help="tell the version")
    commands = root.add_subparsers()
    for name, (_, text, _) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, add_help=False)
        for action in parser_of(name)._actions:
            if action.option_strings:
                _add_option(command, action, shell)
            else:
                _add_arguments(command, action)
    return root


def _add_option(command: argparse.ArgumentParser, action: argparse.Action, shell: str) -> None:
    names = list(action.option_strings)
    if isinstance(action, argparse._HelpAction):
        command.add_argument(*names, action="help", help="tell about this command")
    elif action.nargs == 0:
        command.add_argument(*names, action="store_true", help=action.help)
    else:
        if shell == "zsh":  # where this allows both --option=value and --option value
            names = [f"{name}=" if name.startswith("--") else name for name in names]
        often = isinstance(action.default, list) or "(repeatable" in (action.help or "")
        option = command.add_argument(
            *names,
            dest=action.dest,
            action="append" if often else "store",
            metavar=action.metavar,
            choices=action.choices,
            help=action.help,
        )
        _set_values(option, action.metavar)


def _add_arguments(command: argparse.ArgumentParser, action: argparse.Action) -> None:
    """One for each word of the metavar: only the last of them may come often."""
    names = str(action.metavar or action.dest).split()
    for name in names:
        often = action.nargs == "*" and name == names[-1]
        argument = command.add_argument(name, nargs="*" if often else None, choices=action.choices)
        _set_values(argument, name)


def _set_values(action: argparse.Action, metavar: Any) -> None:
    values = VALUES.get(str(metavar))
    if values is None and re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", str(metavar)):
        values = str(metavar).split("|")
    if isinstance(values, list):
        action.choices = values
    elif values is not None:
        action.complete = values  # type: ignore[attr-defined] # shtab's own
