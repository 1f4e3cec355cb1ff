"""The command as a user runs it: real processes, real pipes, a real terminal."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
COMMAND = [sys.executable, "-m", "tarcast"]
CLEAN = {k: v for k, v in os.environ.items() if k not in ("SOURCE_DATE_EPOCH", "TERM", "NO_COLOR", "COLUMNS")}


def run(*arguments: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[bytes]:
    """`tarcast ARGUMENTS` with both outputs as bytes."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([*COMMAND, *arguments], env=CLEAN | (env or {}), timeout=60, check=False, **options)


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    """A line of sh in which $TARCAST is the command."""
    return subprocess.run(
        ["sh", "-c", line],
        env=CLEAN | {"TARCAST": " ".join(COMMAND)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def without_override() -> list[str]:
    """What makes the command that follows obey permission bits; root would read everything."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root reads everything, and setpriv can't take that away here")
    return prefix


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return [member.name for member in tar]


def lines(data: bytes) -> list[str]:
    return data.decode().splitlines()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory, with the tree `d`: a, s/b."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d" / "s").mkdir(parents=True)
    (tmp_path / "d" / "a").write_text("hello")
    (tmp_path / "d" / "s" / "b").write_text("world")
    return tmp_path


class TestStart:
    @pytest.mark.parametrize("option", ["--version", "-V"])
    def test_version(self, option):
        done = run(option)
        assert (done.returncode, done.stderr) == (0, b"")
        assert re.fullmatch(rb"tarcast \d+\.\d+\.\d+\S*\n", done.stdout)

    def test_version_is_the_packages(self):
        from importlib.metadata import PackageNotFoundError, version

        try:
            installed = version("tarcast")
        except PackageNotFoundError:
            pytest.skip("the package is not installed")
        assert lines(run("--version").stdout) == [f"tarcast {installed}"]

    def test_version_imports_next_to_nothing(self):
        done = run("--version", env={"PYTHONPROFILEIMPORTTIME": "1"})
        imported = {line.rpartition("|")[2].strip() for line in lines(done.stderr)}
        assert "tarcast.cli" in imported
        assert not imported & {"argparse", "dataclasses", "typing", "json", "tqdm", "hashlib", "subprocess"}

    @pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["create", "--help"]])
    def test_help(self, arguments):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"usage: tarcast ")

    @pytest.mark.parametrize("arguments", [[], ["crate"], ["--vers"], ["create"], ["create", "d", "--epo=1"]])
    def test_wrong_usage_is_one_line_and_status_2(self, arguments):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, b"")
        assert re.fullmatch(r"tarcast: error: .*--help'", lines(done.stderr)[0])
        assert len(lines(done.stderr)) == 1

    @pytest.mark.parametrize("option", ["--version", "-V"])
    def test_version_takes_nothing_more(self, option):
        done = run(option, "x")
        assert (done.returncode, done.stdout) == (2, b"")
        assert lines(done.stderr) == [f"tarcast: error: {option} takes no arguments; see 'tarcast --help'"]


# Begins as the command that pip installs (argument 1: module and function), or as python -m; Ctrl-C comes
# when the module of argument 2 is to be imported.
INTERRUPTED = """
import importlib, runpy, signal, sys

class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == at:
            signal.raise_signal(signal.SIGINT)

_, entry, at, *sys.argv[1:] = sys.argv
sys.meta_path.insert(0, Finder)
if entry == "-m":
    runpy.run_module("tarcast", run_name="__main__", alter_sys=True)
module, _, function = entry.partition(":")
sys.exit(getattr(importlib.import_module(module), function)())
"""


class TestInterruptedAtTheStart:
    @pytest.fixture(params=["script", "-m"])
    def entry(self, request):
        if request.param == "-m":
            return request.param
        with open(PROJECT, "rb") as file:
            return tomllib.load(file)["project"]["scripts"]["tarcast"]

    @pytest.mark.parametrize(
        "module",
        [
            "tarcast.cli",
            "tarcast.cli.stdio",
            "tarcast.errors",
            "tarcast.cli.create",
            "argparse",
            "inspect",
            "tarcast._core.export",
            "tarcast._core.match",
            "tarcast._core.fill",
        ],
    )
    def test_no_traceback(self, entry, module):
        words = [sys.executable, "-c", INTERRUPTED, entry, module, "create", "d", "-o", "out"]
        done = subprocess.run(words, env=CLEAN, capture_output=True, timeout=60, check=False)
        assert done.returncode == 130
        assert done.stderr in (b"", b"tarcast: interrupted\n")
        assert not os.path.exists("out")


class TestCreate:
    def test_file(self, folder):
        done = run("create", "d", "-o", "out.tar")
        assert (done.returncode, done.stdout) == (0, b"")
        assert names((folder / "out.tar").read_bytes()) == ["a", "s", "s/b"]
        assert re.fullmatch(
            r"tarcast: out\.tar: 3 entries, 3\.58 kB in \d+\.\d\d s \([\d.]+ [kMG]?B/s\)",
            lines(done.stderr)[0],
        )
        assert len(lines(done.stderr)) == 1
        assert sorted(os.listdir(folder)) == ["d", "out.tar"]

    @pytest.mark.parametrize("output", [["-o", "-"], []])
    def test_standard_output_holds_the_archive_alone(self, folder, output):
        run("create", "d", "-o", "out.tar")
        done = run("create", "d", *output, "--digest", "sha256", "--progress", "json")
        assert done.returncode == 0
        assert done.stdout == (folder / "out.tar").read_bytes()

    def test_standard_output_by_name(self, folder):
        expected = run("create", "d", "-o", "-").stdout
        done = shell("(printf HEAD; $TARCAST create d -o /dev/stdout; printf TAIL) > ht")
        assert done.returncode == 0
        assert (folder / "ht").read_bytes() == b"HEAD" + expected + b"TAIL"
        done = run("create", "d", "-o", "/dev/stdout")
        assert (done.returncode, done.stdout) == (0, expected)

    @pytest.mark.parametrize("options", ["", "--align --index i.jsonl"])
    def test_what_a_shell_substitutes(self, options):
        done = shell(f"bash -c '$TARCAST create d {options} -o >(cat) | cat'")
        assert done.returncode == 0, done.stderr
        assert names(done.stdout) == ["a", "s", "s/b"]

    @pytest.mark.parametrize("output", ["-", "/dev/stdout"])
    def test_aligned_and_indexed_behind_other_data(self, folder, output):
        done = shell(f"printf HEAD > out; $TARCAST create d -o {output} --align --index i.jsonl >> out")
        assert done.returncode == 0, done.stderr
        data = (folder / "out").read_bytes()
        assert data[:4] == b"HEAD"
        (folder / "out").write_bytes(data[4:])
        assert lines(run("ls", "--index", "i.jsonl", "out").stdout) == ["a", "s/", "s/b"]

    def test_side_by_side(self):
        done = run("create", "linux/amd64=d", "d")
        assert names(done.stdout) == ["d", "d/a", "d/s", "d/s/b", "linux_amd64"] + [
            f"linux_amd64/{name}" for name in ("a", "s", "s/b")
        ]

    def test_names_that_collide_are_wrong_usage(self):
        assert run("create", "a/b=d", "a_b=d").returncode == 2

    def test_filters_are_for_every_tree(self, folder):
        (folder / "ignore").write_text("# all but one\ns\n")
        done = run("create", "x=d", "y=d", "--exclude-from", "ignore")
        assert names(done.stdout) == ["x", "x/a", "y", "y/a"]
        assert names(run("create", "d", "--include", "s/*").stdout) == ["s", "s/b"]
        assert names(run("create", "d", "--exclude", "*", "--exclude", "!a").stdout) == ["a"]

    def test_follow(self, folder):
        (folder / "d" / "link").symlink_to("s/b")
        assert names(run("create", "d", "--follow", "link").stdout) == ["link", "s", "s/b"]

    def test_a_malformed_pattern_is_wrong_usage(self):
        done = run("create", "d", "--exclude", "[", "-o", "out")
        assert done.returncode == 2
        assert not os.path.exists("out")

    def test_id_map(self, folder):
        uid, gid = os.stat("d/a").st_uid, os.stat("d/a").st_gid
        done = run("create", "d", "--uidmap", f"7:{uid}:1", "--gidmap", f"8:{gid}:1")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            assert {(member.uid, member.gid) for member in tar} == {(7, 8)}
        done = run("create", "d", "--idmap", f"0:{uid + 1}:1")
        assert names(done.stdout) == []
        assert "3 left out by the id map" in lines(done.stderr)[0]

    def test_digest(self, folder):
        done = run("create", "d", "-o", "out", "--digest", "sha256", "--digest", "md5", "--digest", "sha256")
        data = (folder / "out").read_bytes()
        expected = f", sha256 {hashlib.sha256(data).hexdigest()}, md5 {hashlib.md5(data).hexdigest()}"
        assert lines(done.stderr)[0].endswith(expected)
        assert lines(done.stderr)[0].count("sha256") == 1

    def test_threads_and_fsync_change_no_byte(self):
        plain = run("create", "d").stdout
        assert run("create", "d", "--threads", "1").stdout == plain
        assert run("create", "d", "--threads", "4").stdout == plain
        assert run("create", "d", "--fsync", "-o", "out").returncode == 0
        with open("out", "rb") as file:
            assert file.read() == plain

    @pytest.mark.parametrize("quiet", [["--quiet"], ["--progress", "none"]])
    def test_quiet(self, quiet):
        done = run("create", "d", "-o", "out", *quiet)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


class TestEpoch:
    def times(self, *arguments: str, epoch: str | None = None) -> set[float]:
        done = run("create", "d", *arguments, env={} if epoch is None else {"SOURCE_DATE_EPOCH": epoch})
        assert done.returncode == 0
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            return {member.mtime for member in tar}

    def test_option(self):
        assert self.times("--epoch", "0") == {0}

    def test_environment(self):
        assert self.times(epoch="1700000000") == {1700000000}

    def test_the_option_wins(self):
        assert self.times("--epoch", "5", epoch="6") == {5}
        assert self.times("--epoch", "5", epoch="nonsense") == {5}

    def test_empty_is_unset(self):
        assert self.times(epoch="") == self.times()

    def test_malformed_is_wrong_usage(self):
        done = run("create", "d", env={"SOURCE_DATE_EPOCH": "yesterday"})
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"SOURCE_DATE_EPOCH" in done.stderr


class TestFailure:
    def test_input(self, folder):
        done = run("create", "missing", "-o", "out.tar")
        assert done.returncode == 3
        assert re.match(r"tarcast: error: missing: .*ENOENT", lines(done.stderr)[0])
        assert os.listdir(folder) == ["d"]

    def test_output(self):
        done = run("create", "d", "-o", "missing/out.tar")
        assert done.returncode == 4
        assert "missing" in lines(done.stderr)[0]
        assert len(lines(done.stderr)) == 1

    def test_a_full_disk(self):
        done = shell("$TARCAST create d > /dev/full")
        assert done.returncode == 4
        assert b"ENOSPC" in done.stderr

    def test_a_reader_that_goes_away(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = run("create", "d", stdout=writer)
        os.close(writer)
        assert done.returncode == 4
        assert b"EPIPE" in done.stderr
        assert b"Traceback" not in done.stderr

    def test_an_unreadable_entry(self, folder):
        command = " ".join([*without_override(), "$TARCAST create d -o out.tar"])
        os.chmod(folder / "d" / "a", 0)
        done = shell(command)
        assert done.returncode == 3
        assert re.match(r"tarcast: error: \S*a: .*EACCES", lines(done.stderr)[0])
        assert not os.path.exists("out.tar")

        done = shell(f"{command} --on-error skip --summary-json s.json")
        assert done.returncode == 1
        assert names((folder / "out.tar").read_bytes()) == ["s", "s/b"]
        summary = json.loads((folder / "s.json").read_text())
        assert (summary["exit_status"], summary["skipped"], summary["error"]) == (1, 1, None)
        assert [warning["errno"] for warning in summary["warnings"]] == [13]
        assert summary["warnings"][0]["path"].endswith("a")
        assert lines(done.stderr)[0].startswith("tarcast: warning: ")
        assert "1 skipped" in lines(done.stderr)[-1]

    def test_closed_standard_error(self):
        assert shell("$TARCAST create d -o out 2>&-").returncode == 0
        assert shell("$TARCAST create d -o out --progress plain 2>&-").returncode == 0
        done = shell("$TARCAST create d 2>&-")
        assert (done.returncode, names(done.stdout)) == (0, ["a", "s", "s/b"])
        assert shell("$TARCAST create missing 2>&-").returncode == 3

    def test_full_standard_error(self):
        assert shell("$TARCAST create d -o out 2>/dev/full").returncode == 0

    def test_closed_standard_output(self):
        done = shell("$TARCAST create d -o - >&-")
        assert done.returncode == 4
        assert b"standard output is closed" in done.stderr
        done = shell("$TARCAST create d -o /dev/stdout >&-")
        assert done.returncode == 4
        assert b"standard output is closed" in done.stderr
        assert shell("$TARCAST create d >&-").returncode == 2
        assert shell("$TARCAST create d -o out >&-").returncode == 0
        assert shell("$TARCAST create --help >&-").stderr == b""

    def test_all_closed(self):
        assert shell("$TARCAST create d -o out <&- >&- 2>&-").returncode == 0
        with open("out", "rb") as file:
            assert names(file.read()) == ["a", "s", "s/b"]

    @pytest.mark.parametrize("what", ["--version", "--help", "create --help"])
    def test_text_that_nobody_takes(self, what):
        done = shell(f"$TARCAST {what} | true")
        assert done.stderr == b""
        done = shell(f"$TARCAST {what} > /dev/full")
        assert done.returncode == 4
        assert b"ENOSPC" in done.stderr

    def test_names_are_made_printable(self):
        done = run("create", "mis\x1b[31m\nsing", "-o", "out")
        assert lines(done.stderr)[0].startswith("tarcast: error: mis\\x1b[31m\\nsing")


class TestInterrupt:
    """Signals while an export runs: the status, one line, nothing left behind."""

    @pytest.fixture(autouse=True)
    def big(self, folder):
        with open(folder / "d" / "big", "wb") as file:
            file.truncate(1 << 30)

    def start(self, *arguments: str, **options) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*COMMAND, "create", "d", *arguments], env=CLEAN, **options)

    @pytest.mark.parametrize(
        ("number", "status", "word"),
        [
            (signal.SIGINT, 130, "interrupted"),
            (signal.SIGTERM, 143, "terminated"),
            (signal.SIGHUP, 129, "hung up"),
        ],
    )
    def test_while_a_pipe_is_full(self, number, status, word):
        process = self.start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.read(1024)  # it is running; nobody reads on
        process.send_signal(number)
        assert process.wait(10) == status
        assert process.stderr is not None
        assert process.stderr.read().decode().splitlines() == [f"tarcast: {word}"]
        process.stdout.close()
        process.stderr.close()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_leaves_no_file(self, folder, number):
        (folder / "to").mkdir()
        options = ["-o", "to/out.tar", "--summary-json", "s.json", "--progress", "json"]
        process = self.start(*options, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert b'"progress"' in process.stderr.readline()  # it is writing, though the file has no name yet
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        process.stderr.close()
        assert os.listdir("to") == []
        summary = json.loads((folder / "s.json").read_text())
        assert summary["exit_status"] == 128 + number
        assert summary["error"]["message"] == ("interrupted" if number == signal.SIGINT else "terminated")


class TestSummary:
    def test_success(self, folder):
        done = run("create", "d", "-o", "out", "--digest", "sha256", "--summary-json", "s.json", "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        data = (folder / "out").read_bytes()
        summary = json.loads((folder / "s.json").read_text())
        assert summary.pop("seconds") >= 0
        assert summary == {
            "version": lines(run("--version").stdout)[0].split()[1],
            "exit_status": 0,
            "entries": 3,
            "bytes_written": len(data),
            "bytes_cloned": 0,
            "skipped": 0,
            "dropped": 0,
            "compression": None,
            "digests": {"sha256": hashlib.sha256(data).hexdigest()},
            "output_bytes": len(data),
            "output_digests": {"sha256": hashlib.sha256(data).hexdigest()},
            "warnings": [],
            "warnings_lost": 0,
            "error": None,
        }

    def test_failure(self, folder):
        assert run("create", "missing", "-o", "out", "--summary-json", "s.json").returncode == 3
        summary = json.loads((folder / "s.json").read_text())
        assert summary["exit_status"] == 3
        assert summary["error"]["type"] == "InputError"
        assert summary["error"]["path"] == "missing"
        assert summary["error"]["errno"] == 2
        assert set(summary["error"]) == {"type", "path", "step", "message", "errno"}

    def test_to_standard_output(self):
        done = run("create", "d", "-o", "out", "--summary-json", "-")
        assert json.loads(done.stdout)["entries"] == 3

    def test_never_into_the_archive(self):
        assert run("create", "d", "-o", "-", "--summary-json", "-").returncode == 2
        assert run("create", "d", "-o", "-", "--summary-json", "/dev/stdout").returncode == 2
        assert run("create", "d", "-o", "/dev/stdout", "--summary-json", "-").returncode == 2
        assert run("create", "d", "-o", "x", "--summary-json", "x").returncode == 2
        assert shell("$TARCAST create d --summary-json x > x").returncode == 2

    def test_never_into_the_index(self):
        for name in ("i.sqlite", "./i.sqlite"):
            done = run("create", "d", "-o", "out", "--index", "i.sqlite", "--summary-json", name)
            assert done.returncode == 2
            assert b"index and summary are the same file" in done.stderr
        assert not os.path.exists("out")

    def test_that_cannot_be_written_is_an_output_failure(self):
        done = run("create", "d", "-o", "out", "--summary-json", "/dev/full")
        assert done.returncode == 4
        assert b"write the summary" in done.stderr
        assert os.path.exists("out")
        done = run("create", "d", "-o", "out", "--summary-json", "/dev/full", "--progress", "json")
        end = json.loads(lines(done.stderr)[-1])
        assert (end["done"], end["exit_status"], end["error"]["errno"]) == (True, 4, 28)


def read_terminal(descriptor: int, process: subprocess.Popen[bytes]) -> str:
    """What a process writes to the terminal behind `descriptor` until it ends."""
    data = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                data += os.read(descriptor, 65536)
            except OSError:  # the other side is closed
                break
        elif process.poll() is not None:
            break
    process.wait(10)
    return data.decode()


class TestTerminal:
    @pytest.fixture
    def terminal(self):
        ours, theirs = pty.openpty()
        yield ours, theirs
        os.close(ours)
        os.close(theirs)

    @pytest.mark.parametrize("output", [["-o", "-"], [], ["-o", "/dev/stdout"]])
    def test_no_archive_on_a_terminal(self, terminal, output):
        done = run("create", "d", *output, stdout=terminal[1])
        assert done.returncode == 2
        assert re.search(r"standard output is a terminal|an archive to a terminal", lines(done.stderr)[0])
        assert not select.select([terminal[0]], [], [], 0)[0]

    def slow_export(self, terminal, *arguments: str, **env: str) -> tuple[str, subprocess.Popen[bytes]]:
        """An export into a pipe that nobody reads for a while; what it draws meanwhile."""
        with open("d/big", "wb") as file:
            file.truncate(64 << 20)
        process = subprocess.Popen(
            [*COMMAND, "create", "d", *arguments],
            stdout=subprocess.PIPE,
            stderr=terminal[1],
            env=CLEAN | env,
        )
        assert process.stdout is not None
        time.sleep(1.5)
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        process.stdout.close()
        text = read_terminal(terminal[0], process)
        drain.wait(10)
        return text, process

    def test_auto_draws_a_line_and_wipes_it(self, terminal):
        text, process = self.slow_export(terminal, TERM="xterm")
        assert process.returncode == 0
        drawn, _, last = text.rstrip("\r\n").rpartition("\r")
        assert last.startswith("tarcast: standard output: 4 entries, 67.1 MB in ")
        assert re.search(r"\d [kM]?B, [\d.]+ [kM]?B/s, 00:0\d, \d entr", drawn)
        assert "\n" not in drawn
        assert "?" not in drawn  # nothing of an unknown total, rate or time to go

    def test_a_dumb_terminal_gets_whole_lines(self, terminal):
        text, process = self.slow_export(terminal, TERM="dumb")
        assert process.returncode == 0
        assert "\r" not in text.replace("\r\n", "\n")
        assert "\x1b" not in text

    def test_no_color(self, terminal):
        text, _ = self.slow_export(terminal, TERM="xterm", NO_COLOR="1")
        assert "\x1b[3" not in text

    def test_none_draws_nothing(self, terminal):
        assert self.slow_export(terminal, "--quiet", TERM="xterm")[0] == ""


class TestProgress:
    def test_json_lines(self, folder):
        done = run("create", "d", "-o", "out", "--progress", "json", "--digest", "md5")
        events = [json.loads(line) for line in lines(done.stderr)]
        assert [event["event"] for event in events[:-1]] == ["progress"] * (len(events) - 1)
        end = events[-1]
        assert (end["event"], end["done"], end["exit_status"], end["entries"]) == ("end", True, 0, 3)
        assert end["digests"] == {"md5": hashlib.md5((folder / "out").read_bytes()).hexdigest()}
        assert end["error"] is None

    def test_json_tells_failures_too(self):
        done = run("create", "missing", "-o", "out", "--progress", "json")
        end = json.loads(lines(done.stderr)[-1])
        assert (end["done"], end["exit_status"], end["error"]["type"]) == (True, 3, "InputError")

    def test_plain_ends_with_a_line(self):
        done = run("create", "d", "-o", "out", "--progress", "plain")
        assert len(lines(done.stderr)) == 1
        assert "3 entries" in lines(done.stderr)[0]

    def test_auto_is_silent_without_a_terminal_but_for_the_end(self):
        assert len(lines(run("create", "d", "-o", "out").stderr)) == 1
