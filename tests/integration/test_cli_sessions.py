"""`tarcast serve` and `tarcast receive` as programs, and what their arguments may be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tarcast
from tarcast.cli import main
from tests.support.faults import wait_until
from tests.support.sessions import make_tree

PROGRAM = [sys.executable, "-m", "tarcast"]


@contextmanager
def serving(place: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`tarcast serve`, ready, and its address."""
    address = f"unix://{place}/s"
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--listen", address, *words], stderr=subprocess.PIPE, text=True, cwd=place
    )
    try:
        wait_until(lambda: (place / "s").exists() or process.poll() is not None, "the socket")
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def tree(place: Path) -> Path:
    return make_tree(place / "tree", 1 << 20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_from_start_to_end(
    number: signal.Signals, tree: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tarcast.write_tar(tarcast.Tree(tree, exclude=["link"]), place / "want.tar", epoch=3)
    with serving(place, "--tree", "name=tree", "--exclude", "link") as (process, address):
        words = ["receive", "--from", address, "name", "--epoch", "3", "-o", f"{place}/got.tar"]
        assert main([*words, "--summary-json", f"{place}/summary.json"]) == 0
        assert (place / "got.tar").read_bytes() == (place / "want.tar").read_bytes()
        assert f"tarcast: {place}/got.tar: 3 entries, 1.0" in capsys.readouterr().err
        summary = json.loads((place / "summary.json").read_text())
        assert (summary["exit_status"], summary["entries"], summary["error"]) == (0, 3, None)
        piped = subprocess.run(
            [*PROGRAM, "receive", "--from", address, "name"], stdout=subprocess.PIPE, check=True
        )
        (place / "piped.tar").write_bytes(piped.stdout)
        with tarfile.open(place / "piped.tar") as tar:
            assert tar.getnames() == ["dir", "dir/file", "file-000"]

        assert main(["receive", "--from", address, "nome", "-o", f"{place}/no.tar"]) == 3
        assert "export: there is no tree 'nome'; there are name" in capsys.readouterr().err
        assert not (place / "no.tar").exists()
        process.send_signal(number)
        _, log = process.communicate(timeout=20)
        assert process.returncode == 0, log
    assert f"tarcast: serving name at {address}\n" in log
    assert "export of 'name' to session" in log
    assert not (place / "s").exists()
    assert main(["receive", "--from", address, "name", "-o", f"{place}/no.tar"]) == 3
    assert (
        "cannot connect: No such file or directory [ENOENT]; is the daemon running?"
        in capsys.readouterr().err
    )


def test_references_and_tcp(needs_root: None, tree: Path, place: Path) -> None:
    (place / "upper").mkdir()
    (place / "upper" / "new").write_text("new")
    words = ["--ref", "layers=overlay:tree:upper", "--quiet", "--insecure", "--listen", "tcp://127.0.0.1:0"]
    with serving(place, *words) as (process, address):
        assert main(["receive", "--from", address, "layers", "-o", f"{place}/got.tar", "--quiet"]) == 0
        process.terminate()
        assert process.communicate(timeout=20)[1] == ""
    with tarfile.open(place / "got.tar") as tar:
        assert "new" in tar.getnames()
        assert "dir/file" in tar.getnames()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["serve", "--tree", "a=docs"], "required: --listen"),
        (["serve", "--listen", "unix:///x"], "there is nothing to export"),
        (
            ["serve", "--listen", "unix:///x", "--tree", "docs"],
            '"docs" has no name: expected --tree NAME=DIR',
        ),
        (["serve", "--listen", "unix:///x", "--tree", "a=b", "--tree", "a=c"], 'two trees are named "a"'),
        (["serve", "--listen", "unix:///x", "--ref", "dir:x"], "a reference needs a name"),
        (["serve", "--listen", "x", "--tree", "a=."], "'x' is no address"),
        (["serve", "--listen", "tcp://127.0.0.1:0", "--tree", "a=."], "listening on TCP needs TLS"),
        (
            ["serve", "--listen", "tcp://h:0", "--tlscert", "c", "--tree", "a=b"],
            "TLS also needs --tlscacert and --tlskey",
        ),
        (
            ["serve", "--listen", "unix:///x", "--max-exports", "0", "--tree", "a=b"],
            "no number from 1 to 10000",
        ),
        (
            ["serve", "--listen", "unix:///x", "--ref", "a=dir:x", "--exclude", "y"],
            "patterns and id maps are for --tree",
        ),
        (["receive", "--from", "unix:///x", "-o", "y"], "expected NAME"),
        (["receive", "--from", "unix:///x", "-o", "y", ""], "expected NAME"),
        (["receive", "--from", "unix:///x", "-o", "y", "--"], "expected NAME"),
        (["receive", "--from", "unix:///x", "-o", "y", "a", "--", "-b"], "there are 'a' and '-b'"),
        (["receive", "--from", "unix:///x", "-o", "y", "a", "b"], "unrecognized arguments: b"),
        (["receive", "a", "-o", "y"], "required: --from"),
        (["receive", "--from", "unix:///x", "a", "-o", "y.gz"], "written as it comes"),
        (["receive", "--from", "unix:///x", "a", "-o", "y", "--attr", "b"], '"b" is not KEY=VALUE'),
        (["build-export", "-o", "y"], "expected --definition FILE or --frontend NAME"),
        (["build-export", "-o", "y", "--definition", "x", "--frontend", "z"], "one of both"),
        (["build-export", "-o", "y", "--definition", "x", "--opt", "a=b"], "--opt is for a frontend"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(words: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--tree", "a=none"], "none: --tree a: open tree: No such file or directory [ENOENT]"),
        (["--tree", "b=tree", "--tree", "a=file"], "file: --tree a: open tree: Not a directory [ENOTDIR]"),
        (["--ref", "a=dir:none"], "none: --ref a: open tree: No such file or directory [ENOENT]"),
        (["--ref", "a=overlay:tree:none"], "none: --ref a: open tree: No such file or directory [ENOENT]"),
        (["--ref", "a=overlay:file:tree"], "file: --ref a: open tree: Not a directory [ENOTDIR]"),
        (["--ref", "a=image:none"], "none: --ref a: open image: No such file or directory [ENOENT]"),
        (["--ref", "a=image:file"], "file: --ref a: open image: holds no file system that is known"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_served_must_be_there(
    tree: Path,
    place: Path,
    words: list[str],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place / "file").touch()
    monkeypatch.chdir(place)
    # It cannot listen there either, but does not come that far.
    assert main(["serve", "--listen", f"unix://{place}/nowhere/s", *words]) == 3
    assert f"tarcast: error: {error}" in capsys.readouterr().err


def test_a_pattern_is_refused_before_it_listens(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tree", f"a={place}", "--exclude", "["]
    assert main(["serve", "--listen", f"unix://{place}/nowhere/s", *words]) == 2
    assert 'exclude pattern "["' in capsys.readouterr().err


def test_an_address_that_somebody_has(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as local, socket.create_server(("127.0.0.1", 0)) as remote:
        local.bind(f"{place}/s")
        local.listen(1)
        port = remote.getsockname()[1]
        for where in ([f"unix://{place}/s"], [f"tcp://127.0.0.1:{port}", "--insecure"]):
            assert main(["serve", "--tree", f"a={place}", "--listen", *where]) == 4
            assert "[EADDRINUSE]" in capsys.readouterr().err


def test_a_definition_that_cannot_be_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build-export", "--addr", "unix:///nowhere", "-o", f"{place}/out.tar", "--definition"]
    assert main([*words, f"{place}/none"]) == 3
    assert "read the definition: No such file or directory [ENOENT]" in capsys.readouterr().err
    assert main([*words, os.devnull]) == 2
    assert "the definition is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "receive", "build-export"])
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  tarcast {command} --" in text or "| tarcast build-export --" in text
    assert "exit status:" in text
    assert main(["--help"]) == 0
    assert f"  {command} " in capsys.readouterr().out
