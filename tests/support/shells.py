"""What real shells complete: a command line is typed at a terminal, and all candidates are read."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

_BASH = r"""
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind '"\t": insert-completions'
"""
_ZSH = r"""
unsetopt zle_bracketed_paste beep prompt_sp
bindkey -e
autoload -U compinit && compinit -u -D
zstyle ':completion:*' completer _all_matches _complete
zstyle ':completion:*' insert true
"""


def candidates(shell: str, setup: str, line: str, where: Path, environment: dict[str, str]) -> list[str]:
    """What `shell` completes at the end of `line`.

    Args:
        shell: bash, zsh or fish; the test is skipped without it.
        setup: commands that load the completion.
        where: the working directory.
        environment: all variables; HOME is replaced by an empty directory.

    Returns:
        The candidates, each a whole word of the line, sorted.
    """
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    home = where / ".home"
    home.mkdir(exist_ok=True)
    environment = environment | {"HOME": str(home), "ZDOTDIR": str(home), "TERM": "xterm", "COLUMNS": "2000"}
    if shell == "fish":
        return _fish(setup, line, where, environment)
    rest, _, word = line.rpartition(" ")
    (home / "setup").write_text(
        (_BASH if shell == "bash" else _ZSH) + setup + "\nprintf '%s-DONE\\n' SET-UP\n"
    )
    start = ["bash", "--norc", "--noprofile", "-i"] if shell == "bash" else ["zsh", "-f", "-i"]
    words = _typed(start, f". {home}/setup", line, where, environment)
    done = rest.split()
    assert words[: len(done)] == done, words
    found = words[len(done) :]
    return [] if found == [word] else sorted(found)


def _fish(setup: str, line: str, where: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{setup}\ncomplete -C $argv[1]", line],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return sorted(found.partition("\t")[0] for found in done.stdout.splitlines())


def _typed(start: list[str], setup: str, line: str, where: Path, environment: dict[str, str]) -> list[str]:
    """The words of the line after `line` and TAB, which inserts all candidates."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        start,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=where,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, f"{setup}\n".encode())
        _read(ours, "SET-UP-DONE")
        # Behind TAB to the begin of the line, to have its words printed instead of run.
        os.write(ours, f"{line}\t\x01printf '<%s>\\n' \x05 END\n".encode())
        text = _read(ours, r"<END>\r?\n")
        return re.findall(r"^<(.+)>\r?$", text, re.M)[:-1]
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(descriptor: int, until: str) -> str:
    text = ""
    deadline = time.monotonic() + 30
    while not re.search(until, text):
        assert time.monotonic() < deadline, text
        if select.select([descriptor], [], [], 0.1)[0]:
            text += os.read(descriptor, 65536).decode(errors="replace")
    return text
