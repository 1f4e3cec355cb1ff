"""Colours: on a real terminal, by the variables that people set, and never where a program reads."""

from __future__ import annotations

import os
import pty
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.integration.test_cli import read_terminal
from tests.support.faults import COMMAND, command, make_files

VARIABLES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS", "SOURCE_DATE_EPOCH")
PLAIN = {name: value for name, value in os.environ.items() if name not in VARIABLES}
BOLD = "\x1b[1;"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree `t` and its archive out.tar, which lacks a file, has another one too many, and one changed."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    make_files(tmp_path / "t", same=b"1", gone=b"2", other=b"3")
    make_files(tmp_path / "t" / "sub", tool=b"#!")
    os.chmod("t/sub/tool", 0o755)
    os.symlink("same", "t/link")
    os.mkfifo("t/pipe")
    assert command("create", "--quiet", "t", "-o", "out.tar").returncode == 0
    os.unlink("t/gone")
    (tmp_path / "t" / "new").write_bytes(b"")
    os.utime("t/new", (0, 0))
    os.chmod("t/other", 0o600)
    return tmp_path


def on_terminal(*arguments: str, **environment: str) -> str:
    """What `tarcast ARGUMENTS` writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=PLAIN | environment,
    )
    os.close(theirs)
    try:
        return read_terminal(ours, process).replace("\r\n", "\n")
    finally:
        os.close(ours)


def piped(*arguments: str, **environment: str) -> str:
    done = command(*arguments, env=environment)
    return (done.stdout + done.stderr).decode()


EACH = [
    ["--help"],
    ["ls", "--help"],
    ["crate"],
    ["ls", "-l", "out.tar"],
    ["ls", "out.tar"],
    ["verify", "out.tar", "t"],
]


@pytest.mark.parametrize("arguments", EACH, ids=" ".join)
class TestWhen:
    def test_on_a_terminal(self, arguments: list[str]) -> None:
        coloured = on_terminal(*arguments, TERM="xterm")
        assert BOLD in coloured
        without = coloured.replace("\x1b[0m", "")
        for code in (31, 32, 33, 34, 36):
            without = without.replace(f"{BOLD}{code}m", "")
        assert without == piped(*arguments)

    @pytest.mark.parametrize(
        "environment",
        [
            {"TERM": "dumb"},
            {"TERM": "xterm", "NO_COLOR": "1"},
            {"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"},
        ],
        ids=str,
    )
    def test_not_on_a_terminal(self, arguments: list[str], environment: dict[str, str]) -> None:
        assert "\x1b" not in on_terminal(*arguments, **environment)

    @pytest.mark.parametrize(
        "environment",
        [
            {"TERM": "xterm", "NO_COLOR": ""},
            {"TERM": "xterm", "FORCE_COLOR": "0"},
            {"TERM": "dumb", "FORCE_COLOR": "1"},
            {"TERM": "dumb", "CLICOLOR_FORCE": "1"},
        ],
        ids=str,
    )
    def test_still_on_a_terminal(self, arguments: list[str], environment: dict[str, str]) -> None:
        assert BOLD in on_terminal(*arguments, **environment)

    def test_in_a_pipe(self, arguments: list[str]) -> None:
        assert "\x1b" not in piped(*arguments, TERM="xterm", FORCE_COLOR="0")

    def test_forced_in_a_pipe(self, arguments: list[str]) -> None:
        """Messages and help for logs; what a program reads stays as it is."""
        data = arguments[-1] != "--help" and arguments[0] in ("ls", "verify")
        for variable in ("FORCE_COLOR", "CLICOLOR_FORCE"):
            assert (BOLD in piped(*arguments, **{variable: "1"})) is not data


def test_what_is_coloured_how() -> None:
    assert on_terminal("crate", TERM="xterm").startswith(
        f"tarcast: {BOLD}31merror\x1b[0m: there is no command"
    )
    listed = on_terminal("ls", "out.tar", TERM="xterm").splitlines()
    assert listed == [
        "gone",
        f"{BOLD}36mlink\x1b[0m",
        "other",
        f"{BOLD}33mpipe\x1b[0m",
        "same",
        f"{BOLD}34msub\x1b[0m/",
        f"{BOLD}32msub/tool\x1b[0m",
    ]
    differences = on_terminal("verify", "--ignore", "mtime", "out.tar", "t", TERM="xterm").splitlines()
    assert f"gone: {BOLD}32mextra\x1b[0m" in differences
    assert f"new: {BOLD}31mmissing\x1b[0m" in differences
    assert f"other: {BOLD}33mmode\x1b[0m: archive 0644, tree 0600" in differences


def test_warnings(place: Path) -> None:
    assert command("create", "--quiet", "t", "-o", "out.tar", "--index", "out.tar.sqlite").returncode == 0
    (place / "t" / "more").touch()
    assert command("create", "--quiet", "t", "-o", "out.tar").returncode == 0
    assert f"tarcast: {BOLD}33mwarning\x1b[0m: " in on_terminal("ls", "out.tar", TERM="xterm")


def test_names_bring_no_colours_of_their_own() -> None:
    with tarfile.open("evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("\x1b[31mred"))
    assert on_terminal("ls", "evil.tar", TERM="xterm") == "\\x1b[31mred\n"


def test_archives_and_json_are_never_coloured() -> None:
    forced = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
    assert command("create", "t", env=forced).stdout == command("create", "t").stdout
    assert "\x1b" not in on_terminal("ls", "--json", "out.tar", TERM="xterm")
    assert "\x1b" not in on_terminal("verify", "--json", "out.tar", "t", TERM="xterm")
    assert "\x1b" not in on_terminal("create", "none", "-o", "x", "--progress", "json", TERM="xterm")
