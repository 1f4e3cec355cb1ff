"""The manual: programs that render it find nothing to complain of, and it tells what the parsers know."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from generate import TOP
from tarcast.cli import COMMANDS, parser_of

PAGES = sorted((TOP / "docs" / "man").glob("*.1"))


def output(*words: str | Path, **environment: str) -> str:
    """What a program writes to either output; skips where it is not installed."""
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(
        words,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def rendered(page: str, width: int = 2000) -> str:
    """A page as man shows it, found by the name of it as after an install."""
    environment = {"MANPATH": str(TOP / "docs"), "MANWIDTH": str(width), "LC_ALL": "C.UTF-8"}
    return output("man", "--pager=cat", "--no-hyphenation", TOP / "docs" / "man" / f"{page}.1", **environment)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
class TestPages:
    def test_groff(self, page: Path) -> None:
        text = output("groff", "-ww", "-man", "-Tascii", "-z", page)
        assert text == ""

    def test_mandoc(self, page: Path) -> None:
        lines = output("mandoc", "-Tlint", page).splitlines()
        # A date would be wrong as soon as anything changes, and the synopsis goes as people type it.
        assert [line for line in lines if "missing date" not in line and "longer than 80" not in line] == []

    def test_it_fits_80_columns(self, page: Path) -> None:
        assert max(map(len, rendered(page.stem, 80).splitlines())) <= 80


def test_every_command_has_a_page() -> None:
    assert {page.stem for page in PAGES} == {"tarcast", *(f"tarcast-{name}" for name in COMMANDS)}
    overview = rendered("tarcast")
    for name, (_, what, _) in COMMANDS.items():
        assert re.search(rf"tarcast-{name}\(1\)\n +{re.escape(what)}\n", overview)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_all_that_the_help_says(command: str) -> None:
    text = " ".join(rendered(f"tarcast-{command}").split())
    parser = parser_of(command)
    for action in parser._actions:
        for option in action.option_strings:
            assert f" {option}" in text
    for line in (parser.epilog or "").splitlines():
        for part in re.split(r" {3,}|\\$", line.strip()):
            if not part.endswith(":"):
                assert " ".join(part.split()) in text
