"""What the command says of itself: help, and words that are misspelt."""

from __future__ import annotations

import re

import pytest

from tarcast.cli import COMMANDS, parser_of
from tests.support.faults import command


def told(*arguments: str, **environment: str) -> str:
    done = command(*arguments, env={"COLUMNS": "80", **environment})
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def refused(*arguments: str) -> str:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    return line.removeprefix("tarcast: error: ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_a_command(name: str) -> None:
    text = told("help", name)
    assert text == told(name, "--help")
    assert text.startswith(f"usage: tarcast {name}")
    assert re.search(rf"\nexamples:\n  .*tarcast {name}", text)
    assert max(map(len, text.splitlines())) <= 80


def test_help_of_all() -> None:
    text = told("help")
    assert text == told("--help") == told("-h")
    for name, (_, what, _) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", text, re.M)
    assert 3 <= text.count("\n  tarcast ") <= 4
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", ["", *sorted(COMMANDS)])
def test_options_of_examples_are_there(name: str) -> None:
    """Every `tarcast COMMAND --option` in a help text is one that the command has."""
    text = told("help", name) if name else told("help")
    for line in re.sub(r" \\\n +", " ", text).splitlines():
        for words in re.findall(r"tarcast ([a-z-]+ [^|&]*)", line) if line.startswith("  ") else []:
            used, *rest = words.split()
            if used in COMMANDS:
                known = parser_of(used)._option_string_actions
                assert {word.strip("'") for word in rest if re.match(r"--?[a-z]", word)} <= set(known), line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["craete"], "there is no command 'craete'; did you mean 'create'? See 'tarcast --help'"),
        (["help", "verfy"], "there is no command 'verfy'; did you mean 'verify'? See 'tarcast --help'"),
        (["xyzzy"], "there is no command 'xyzzy'; see 'tarcast --help'"),
        (["--versoin"], "there is no option '--versoin'; did you mean '--version'? See 'tarcast --help'"),
        (
            ["create", "--exlude", "*.o", "d"],
            "there is no option '--exlude'; did you mean '--exclude'? See 'tarcast create --help'",
        ),
        (
            ["receive", "--form=unix:///s", "x"],
            "there is no option '--form'; did you mean '--from'? See 'tarcast receive --help'",
        ),
        (["create", "--qqq", "d"], "there is no option '--qqq'; see 'tarcast create --help'"),
    ],
)
def test_misspelt_words(arguments: list[str], says: str) -> None:
    assert refused(*arguments) == says


def test_what_only_looks_like_an_option() -> None:
    assert refused("create", "d", "-o", "x", "--", "--exlude", "y/d").startswith('"d" and "y/d"')
