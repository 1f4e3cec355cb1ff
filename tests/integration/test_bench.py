"""`tarcast bench` with real peers on a small tree: results, and what is left when it fails or is ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tarcast.bench import rounds
from tarcast.bench.measure import Place
from tarcast.cli.bench import run
from tarcast.errors import OutputError
from tests.support.faults import COMMAND, command, make_files, obeying_modes, tmpfs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    make_files(tmp_path / "tree", a=b"a" * 100_000, b=b"b")
    make_files(tmp_path / "tree" / "sub", c=b"c" * 10)
    os.link(tmp_path / "tree" / "a", tmp_path / "tree" / "hard")
    return tmp_path / "tree"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Where the outputs go; empty again when a test is over."""
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs"


def bench(tree: Path, outputs: Path, *options: object, status: int = 0, **more: Any) -> tuple[Any, str]:
    """The JSON results and standard error of `tarcast bench`; nothing of it is left."""
    result = outputs.parent / "results.json"
    words = ["bench", tree, "--temp-dir", outputs, "--rounds", "2", "--json", result, *options]
    done = command(*words, **more)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert b"Traceback" not in done.stderr
    assert not list(outputs.iterdir())
    return json.loads(result.read_text()) if status < 2 else None, done.stderr.decode()


def row(results: Any, name: str) -> Any:
    return next(peer for peer in results["peers"] if peer["name"] == name)


@pytest.mark.parametrize("sink", ["file", "pipe"])
@pytest.mark.parametrize("compression", ["none", "gzip:1", "zstd", "xz:0"])
def test_who_is_there_has_times_and_who_is_not_a_reason(
    tree: Path, outputs: Path, sink: str, compression: str
) -> None:
    found, said = bench(tree, outputs, "--to", sink, "--compress", compression)
    assert said == ""
    assert found["tree"]["entries"] == 5
    assert found["tree"]["bytes"] == 100_011
    assert found["exit_status"] == 0
    for peer in found["peers"]:
        assert peer["error"] is None
        assert len(peer["seconds"]) == (2 if peer["absent"] is None else 0)
        if peer["absent"] is None:
            assert peer["output_bytes"] > (100_011 if compression == "none" else 100)
    compressor = compression.partition(":")[0]
    there = {
        "gnu-tar": ["tar", compressor],
        "bsdtar": ["bsdtar"],
        "tarcast-one-thread": [],
        "tarcast-create": [],
    }
    for name, programs in there.items():
        needed = [program for program in programs if program != "none"]
        assert (row(found, name)["absent"] is None) == all(map(shutil.which, needed))
    ours, process = row(found, "tarcast"), row(found, "tarcast-create")
    assert ours["output_bytes"] == process["output_bytes"]
    assert process["peak_memory"] > 4 << 20
    assert (ours["ratio_to_tarcast"], ours["startup_included"]) == (1.0, False)


def test_the_table_goes_to_standard_output(tree: Path, outputs: Path) -> None:
    done = command("bench", tree, "--temp-dir", outputs, "--rounds", "1", "--fsync", "--progress", "plain")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("tree     tree: 5 entries, 100 kB of files, on ")
    assert ", until it is on the disk; warm cache, 1 round in turn" in lines[1]
    assert any(line.startswith("tarfile ") for line in lines)
    assert "tarcast: warm-up, tarcast" in done.stderr.decode().splitlines()
    assert "tarcast: round 1/1, tarfile" in done.stderr.decode().splitlines()


def test_one_line_on_a_terminal_is_gone_at_the_end(tree: Path, outputs: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        words = ["bench", tree, "--temp-dir", outputs, "--rounds", "1", "--peer", "tarfile"]
        done = command(*words, stderr=theirs, env={"TERM": "xterm"})
        drawn = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    for text in ("0%|", "warm-up, tarcast", "75%|", "round 1/1, tarfile"):
        assert text in drawn
    assert "\n" not in drawn
    assert not drawn.split("\r")[-1].strip()


def test_json_instead_of_the_table(tree: Path, outputs: Path) -> None:
    done = command(
        "bench", tree, "--temp-dir", outputs, "--rounds", "1", "--json", "-", "--peer", "tarfile", "--quiet"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [peer["name"] for peer in json.loads(done.stdout)["peers"]] == ["tarcast", "tarfile"]


def test_a_table_that_the_encoding_cannot_say(tree: Path, outputs: Path) -> None:
    tree = tree.rename(tree.parent / "é")
    words = ["bench", tree, "--temp-dir", outputs, "--rounds", "1", "--peer", "tarfile", "--quiet"]
    done = command(*words, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xe9: 5 entries" in done.stdout.splitlines()[0]


def test_what_cannot_be_written_takes_nothing_else_along(tree: Path, outputs: Path, tmp_path: Path) -> None:
    words = ["bench", tree, "--temp-dir", outputs, "--rounds", "1", "--peer", "tarfile", "--quiet"]
    with open("/dev/full", "wb") as full:
        done = command(*words, "--json", tmp_path / "b.json", stdout=full)
    assert done.returncode == 4
    assert b"standard output" in done.stderr
    assert len(json.loads((tmp_path / "b.json").read_text())["peers"]) == 2

    done = command(*words, "--json", "/dev/full")
    assert done.returncode == 4
    assert b"/dev/full: write the results" in done.stderr
    assert b"5 entries" in done.stdout
    with open("/dev/full", "wb") as full:
        done = command(*words, "--json", "/dev/full", stdout=full)
    assert done.returncode == 4
    assert [line.split(b": ")[2] for line in done.stderr.splitlines()] == [b"standard output", b"/dev/full"]


def test_with_nobody_on_the_path(tree: Path, outputs: Path) -> None:
    found, _ = bench(tree, outputs, env={"PATH": str(outputs)})
    assert row(found, "gnu-tar")["absent"] == "no GNU tar on PATH"
    assert row(found, "bsdtar")["absent"] == "no bsdtar on PATH"
    assert row(found, "tarfile")["seconds"]


def test_a_plot(tree: Path, outputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    environment = {"DISPLAY": ":none", "MPLBACKEND": "TkAgg"}  # neither is looked at
    bench(tree, outputs, "--plot", tmp_path / "x.svg", "--peer", "tarfile", env=environment)
    assert b">tarfile</text>" in (tmp_path / "x.svg").read_bytes()


def test_a_peer_that_fails_does_not_stop_the_others(tree: Path, outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "bsdtar"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo bsdtar 9.9 && exit\n'
        'echo "bsdtar: ./a: no luck" >&2\n'
        'echo "bsdtar: Error exit delayed from previous errors." >&2\n'
        "exit 1\n"
    )
    fake.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    found, _ = bench(tree, outputs, status=1, env={"PATH": path})
    assert row(found, "bsdtar")["error"] == "exit status 1: bsdtar: ./a: no luck"
    assert row(found, "bsdtar")["version"] == "9.9"
    assert len(row(found, "tarfile")["seconds"]) == 2


def test_a_peer_that_writes_nothing_has_failed(tree: Path, outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bsdtar").write_text("#!/bin/sh\necho bsdtar 9.9\n")
    (tmp_path / "bin" / "bsdtar").chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    found, _ = bench(tree, outputs, "--peer", "bsdtar", status=1, env=environment)
    assert "no output" in row(found, "bsdtar")["error"]
    found, _ = bench(tree, outputs, "--peer", "bsdtar", "--to", "pipe", status=1, env=environment)
    assert "its output has 11 bytes, the files have 100,011" in row(found, "bsdtar")["error"]


def test_a_file_that_nobody_may_read(tree: Path, outputs: Path) -> None:
    (tree / "b").chmod(0)
    words = [*obeying_modes(), *COMMAND, "bench", tree, "--temp-dir", outputs, "--rounds", "1", "--json", "-"]
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert [peer["seconds"] for peer in found["peers"]] == [[]] * len(found["peers"])
    assert "InputError" in row(found, "tarcast")["error"]
    assert "Permission denied" in row(found, "tarfile")["error"]
    assert not list(outputs.iterdir())


def test_no_room_is_found_before_anything_is_written(tree: Path, tmp_path: Path) -> None:
    with open(tree / "huge", "wb") as file:
        file.truncate(3 << 20)
    with tmpfs(tmp_path / "full", "size=1m,mode=0755") as full:
        _, said = bench(tree, full, status=4)
        assert "one output needs 4." in said
        assert "name another with --temp-dir" in said
        bench(tree, full, "--to", "pipe", "--peer", "tarfile")


def test_a_disk_that_others_fill_meanwhile(
    tree: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(place: Place, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", f"{place.path}/memory")

    monkeypatch.setattr(rounds, "use_memory", full)
    with pytest.raises(OutputError, match=r"memory: measure: No space left on device \[ENOSPC\]; free some"):
        run(["--temp-dir", str(outputs), "--peer", "tarfile", str(tree)])
    assert not list(outputs.iterdir())


def test_what_makes_no_sense_is_refused_at_once(tree: Path, outputs: Path, tmp_path: Path) -> None:
    for options, status, why in [
        (["--plot", tmp_path / "x.pdf"], 2, "name it .svg or .png"),
        (["--plot", tmp_path / "no" / "x.svg"], 2, "no such directory for the plot"),
        (["--json", tmp_path], 2, "the JSON needs a file"),
        (["--temp-dir", tree / "sub"], 2, "in the tree that is measured"),
        (["--temp-dir", tmp_path / "no"], 2, "no such directory for the outputs"),
        (["--peer", "cpio"], 2, "nobody to compare with"),
        (["--compress", "lz4"], 2, "write gzip, zstd or xz"),
    ]:
        assert why in bench(tree, outputs, *options, status=status)[1]
    assert "count the tree" in bench(tmp_path / "nowhere", outputs, status=3)[1]


def test_an_empty_tree(tmp_path: Path, outputs: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert "there is nothing to measure" in bench(tmp_path / "nothing", outputs, status=3)[1]


def test_cold_is_for_those_who_may(tree: Path, outputs: Path, tmp_path: Path) -> None:
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        found, _ = bench(tree, outputs, "--cold", "--peer", "tarfile")
        assert found["conditions"]["cold"]
        assert len(row(found, "tarfile")["seconds"]) == 2
    words = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*words, *COMMAND, "bench", "--cold", "/etc"], capture_output=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert b"--cold drops the page cache" in done.stderr


NAP = f"61.{os.getpid()}"  # seconds, and a mark of these very processes
SLOW = f"""#!/bin/sh
[ "$1" = --version ] && echo bsdtar 9.9 && exit
trap '' INT TERM
sleep {NAP} & sleep {NAP}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sink", ["file", "pipe"])
def test_ended_at_once_with_nothing_left(
    tree: Path, outputs: Path, tmp_path: Path, number: signal.Signals, sink: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bsdtar").write_text(SLOW)
    (tmp_path / "bin" / "bsdtar").chmod(0o755)
    process = subprocess.Popen(
        [
            *COMMAND,
            "bench",
            tree,
            "--temp-dir",
            outputs,
            "--peer",
            "bsdtar",
            "--to",
            sink,
            "--progress",
            "plain",
        ],
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
    )
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stderr is not None
        while process.stderr.readline() != b"tarcast: warm-up, bsdtar\n":
            assert process.poll() is None
        deadline = time.monotonic() + 10
        while len(sleepers()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        sent = time.monotonic()
        process.send_signal(number)
        status = process.wait()
        took = time.monotonic() - sent
    finally:
        process.kill()
        process.wait()
        watchdog.cancel()
        watchdog.join()
        said = process.stderr.read()
        process.stderr.close()
    assert status == 128 + number, said
    assert took < 1.0  # generous, for busy machines; what is promised is about 0.1 s
    assert not list(outputs.iterdir())
    deadline = time.monotonic() + 5
    while sleepers():  # killed, but perhaps not yet reaped by whoever inherited them
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sleepers() -> list[str]:
    """The processes that SLOW starts."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if NAP.encode() in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                found.append(name)
        except OSError:
            continue
    return found
