"""`tarcast completion` in real shells: what TAB offers, by each of the ways to load the scripts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from generate import TOP, files
from tarcast.cli import COMMANDS
from tests.support.faults import command
from tests.support.setup import run_setup
from tests.support.shells import candidates

LOAD = {
    "bash": 'eval "$(tarcast completion bash)"',
    "zsh": 'eval "$(tarcast completion zsh)"',
    "fish": "tarcast completion fish | source",
}
PATHS = {"docs", "my dir", "my file", "out.tar", "src"}
DIRECTORIES = {"docs", "my dir", "src"}


@pytest.fixture(params=sorted(LOAD))
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three directories, two files, and the command `tarcast`."""
    for name in DIRECTORIES:
        (tmp_path / name).mkdir()
    for name in PATHS - DIRECTORIES:
        (tmp_path / name).touch()
    (tmp_path / ".bin").mkdir()
    script = f'#!/bin/sh\nexec "{sys.executable}" -m tarcast "$@"\n'
    (tmp_path / ".bin" / "tarcast").write_text(script)
    (tmp_path / ".bin" / "tarcast").chmod(0o755)
    return tmp_path


def completed(shell: str, line: str, place: Path, load: str | None = None) -> set[str]:
    environment = os.environ | {"PATH": f"{place}/.bin:{os.environ['PATH']}"}
    found = candidates(shell, load or LOAD[shell], line, place, environment)
    # bash offers names with a dot, too, as it does elsewhere; fish marks directories.
    return {word.rstrip("/") for word in found if not word.startswith(".")}


def test_commands(shell: str, place: Path) -> None:
    assert completed(shell, "tarcast ", place) == set(COMMANDS)
    assert completed(shell, "tarcast c", place) == {"cat", "completion", "create"}
    assert completed(shell, "tarcast help v", place) == {"verify"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tarcast create --al", {"--align"}),
        ("tarcast create docs --exclude", {"--exclude", "--exclude-from"}),
        ("tarcast receive --tls", {"--tlscacert", "--tlscert", "--tlskey", "--tlsservername"}),
        ("tarcast ls --no", {"--no-index"}),
        ("tarcast create --progress ", {"auto", "tty", "plain", "json", "none"}),
        ("tarcast create --progress=p", {"--progress=plain"}),
        ("tarcast create --on-error ", {"fail", "skip"}),
        ("tarcast create --compress z", {"zstd"}),
        ("tarcast create --digest sha51", {"sha512"}),
        ("tarcast create --digest md5 --digest blake", {"blake2b", "blake2s"}),
        ("tarcast verify --ignore xa", {"xattrs"}),
        ("tarcast completion ", {"bash", "zsh", "fish"}),
        ("tarcast bench --to ", {"file", "pipe"}),
    ],
)
def test_options_and_values(shell: str, place: Path, line: str, expected: set[str]) -> None:
    # fish repeats an option with its end where another one goes on from it
    assert {word.rstrip("=") for word in completed(shell, line, place)} == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tarcast create ", DIRECTORIES),
        ("tarcast create docs s", {"src"}),
        ("tarcast create my", {"my dir"}),
        ("tarcast create x=d", {"x=docs"}),
        ("tarcast create x=docs y=s", {"y=src"}),
        ("tarcast create docs -o ", PATHS),
        ("tarcast create docs --exclude-from my", {"my dir", "my file"}),
        ("tarcast create --output=o", {"--output=out.tar"}),
        ("tarcast create --ref overlay:d", {"overlay:docs"}),
        ("tarcast create --ref overlay:docs:s", {"overlay:docs:src"}),
        ("tarcast create --ref x=image:o", {"x=image:out.tar"}),
        ("tarcast serve --tree a=d", {"a=docs"}),
        ("tarcast serve --tree=a=d", {"--tree=a=docs"}),
        ("tarcast ls ", PATHS),
        ("tarcast verify out.tar ", DIRECTORIES),
        ("tarcast verify --json out.tar d", {"docs"}),
    ],
)
def test_paths(shell: str, place: Path, line: str, expected: set[str]) -> None:
    assert completed(shell, line, place) == expected


def test_scripts_in_the_directories_of_the_shells(shell: str, place: Path) -> None:
    """Without the command: as pip puts them, and as people do who follow `tarcast completion --help`."""
    scripts = TOP / "src/tarcast/cli/completions"
    load = {
        "bash": f". {scripts}/tarcast",
        "zsh": f"fpath=({scripts} $fpath); autoload -Uz compinit; compinit -u -D",
        "fish": f"set -p fish_complete_path {scripts}",
    }[shell]
    assert completed(shell, "tarcast create --align d", place, load) == {"docs"}


def test_the_script_is_printed_as_it_is(shell: str) -> None:
    done = command("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() in files().values()


def test_another_shell() -> None:
    for arguments in ([], ["tcsh"], ["bash", "zsh"]):
        done = command("completion", *arguments)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"shell" in done.stderr or b"zsh" in done.stderr


@pytest.mark.parametrize("path", sorted(files()), ids=str)
def test_generated_files_are_fresh(path: Path) -> None:
    assert (TOP / path).read_text() == files()[path], "run 'make generated'"


def test_no_generated_file_is_left_of_something_else() -> None:
    there = {p.relative_to(TOP) for folder in {p.parent for p in files()} for p in (TOP / folder).iterdir()}
    assert there == set(files())


def test_the_wheel_has_them_where_shells_and_man_look(tmp_path: Path) -> None:
    """By the metadata that an install would copy: building the core again would take minutes."""
    run_setup("install_data", "--install-dir", tmp_path)
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    pages = {"tarcast.1", *(f"tarcast-{name}.1" for name in COMMANDS)}
    assert found == {f"share/man/man1/{page}" for page in pages} | {
        "share/bash-completion/completions/tarcast",
        "share/zsh/site-functions/_tarcast",
        "share/fish/vendor_completions.d/tarcast.fish",
    }
