"""Who exports to a session of BuildKit's client, that client, and what processor time they took."""

from __future__ import annotations

import abc
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, TIMEOUT, RunFailed, environment
from benchmarks.sessions_report import Run

# How sessions are opened: as Docker's client does, and as BuildKit's own does.
DOORS = ("upgrade", "control")
STOP_SECONDS = 15.0
BUILDKIT = ROOT / "tests" / "oracle" / "buildkit"
TICKS = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """What is to be measured cannot run here; the message says why."""


def build(cache: Path, buildkitd: bool) -> Path:
    """The directory with `receive`, `serve` and perhaps `buildkitd`, built as the project they are from does.

    The tests build them without optimizations, which compiles sooner and runs slower: theirs must not.
    """
    go = shutil.which("go")
    if go is None:
        raise Unavailable("no go on PATH to build tests/oracle/buildkit with")
    packages = ["./receive", "./serve"]
    if buildkitd:
        packages.append("github.com/moby/buildkit/cmd/buildkitd")
    place = cache / "buildkit"
    place.mkdir(exist_ok=True)
    command = [go, "build", "-mod=readonly", "-buildvcs=false", "-o", f"{place}/", *packages]
    env = environment() | {"CGO_ENABLED": "0"}
    done = subprocess.run(command, cwd=BUILDKIT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"go build failed: {done.stderr.strip()[-2000:]}")
    return place


def buildkit_version() -> str:
    """Of the sources that everything of theirs is built from."""
    found = re.search(r"github\.com/moby/buildkit (v\S+)", (BUILDKIT / "go.mod").read_text(encoding="utf-8"))
    return found[1] if found else "unknown"


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def ticks(stats: Mapping[int, str], root: int) -> int:
    """Clock ticks of a process, of all below it, and of those of them that were waited for.

    `stats` has what /proc/PID/stat says of each process.
    """
    fields = {pid: text.rpartition(")")[2].split() for pid, text in stats.items()}
    parents = {pid: int(words[1]) for pid, words in fields.items()}
    family, new = set(), {root} & fields.keys()
    while new:
        family |= new
        new = {pid for pid, parent in parents.items() if parent in new} - family
    return sum(sum(map(int, fields[pid][11:15])) for pid in family)


def cpu_seconds(root: int) -> float:
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                stats[int(entry.name)] = (entry / "stat").read_text(encoding="ascii", errors="replace")
    return ticks(stats, root) / TICKS


def busy(stat: str) -> int:
    """Clock ticks that the machine spent, by the first line of /proc/stat, or could not have (stolen)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.split()[1:9])
    return user + nice + system + irq + softirq + steal


def busy_seconds() -> float:
    with open("/proc/stat", encoding="ascii") as stat:
        return busy(stat.readline()) / TICKS


class Server(abc.ABC):
    """A contestant: a running process that answers the client's request for a tree."""

    name = ""
    doors: tuple[str, ...] = DOORS
    command = ""
    version = ""
    pid = 0

    @abc.abstractmethod
    def asked(self, work: str, tree: Path) -> list[str]:
        """What the client is given to get that tree from here."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it, and remove what it made."""


class _Process(Server):
    """One that is started here, and says `ready`."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment(), cwd=ROOT
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            raise RunFailed(f"{self.name} does not start: {log.read_text(errors='replace').strip()[-2000:]}")

    def close(self) -> None:
        process = self._process
        for end in (self._end, process.terminate, process.kill):
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                return

    def _end(self) -> None:
        """In the way that it likes best."""
        self._process.terminate()


class Original(_Process):
    """BuildKit's exporter, session manager and wire, without the rest of its daemon."""

    name = "buildkit-exporter"
    command = "serve -listen SOCKET -upgrade SOCKET"

    def __init__(self, programs: Path, place: Path) -> None:
        self.version = buildkit_version()
        self._control, self._upgrade = place / "theirs", place / "theirs-upgrade"
        words = [programs / "serve", "-listen", self._control, "-upgrade", self._upgrade]
        super().__init__([*map(str, words)], place / "theirs.log")

    def asked(self, work: str, tree: Path) -> list[str]:
        where = ["-addr", f"unix://{self._control}", "-sessions", f"unix://{self._upgrade}"]
        return [*where, "-frontend", "x", "-opt", f"tree={tree}"]


class Tarcast(_Process):
    name = "tarcast"
    command = "tarcast.daemon.Daemon({NAME: TREE}).listen(SOCKET)"

    def __init__(self, trees: Mapping[str, Path], place: Path) -> None:
        self.version = version_of("tarcast")
        self._socket = place / "ours"
        listed = [f"{name}={tree}" for name, tree in trees.items()]
        words = [sys.executable, "-m", "benchmarks.daemon", str(self._socket), *listed]
        super().__init__(words, place / "ours.log")

    def asked(self, work: str, tree: Path) -> list[str]:
        return ["-addr", f"unix://{self._socket}", "-frontend", "tarcast", "-opt", f"tree={work}"]

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()


class Buildkitd(Server):
    """All of BuildKit. It has a copy of the tree as a layer of its own, from the warm-up on."""

    name = "buildkitd"
    doors = ("control",)
    command = "buildkitd, and a result in its cache that is a copy of TREE"

    def __init__(self, programs: Path, below: Path) -> None:
        import pytest  # with which the tests say that something is missing

        from tests.support.buildkit import Daemon

        self.version = buildkit_version()
        try:
            self._daemon = Daemon(lambda: programs, below)
        except pytest.skip.Exception as missing:
            raise Unavailable(str(missing)) from None
        except AssertionError as said:
            raise RunFailed(str(said)) from None
        assert self._daemon._process is not None
        self.pid = self._daemon._process.pid

    def asked(self, work: str, tree: Path) -> list[str]:
        return ["-addr", f"unix://{self._daemon.place}/socket", "-copy", str(tree)]

    def close(self) -> None:
        self._daemon.close()


def run_of(answer: Mapping[str, Any], server: float, machine: float) -> Run:
    """What the client says of a request, and the CPU seconds of the server and of the whole machine.

    Raises RunFailed if there is no whole archive.
    """
    if answer["Error"]:
        raise RunFailed(answer["Error"])
    if len(answer["Files"]) != 1 or not answer["Files"][0]["Closed"]:
        raise RunFailed(f"the client did not get one whole archive: {answer['Files']}")
    file = answer["Files"][0]
    return Run(
        archive=file["Seconds"],
        request=answer["Seconds"],
        client_cpu=answer["CPU"],
        server_cpu=server,
        bytes=file["Bytes"],
        messages=file["Messages"],
        largest=file["Largest"],
        sha256=file["SHA256"] or None,
        others_cpu=max(0.0, machine - server - answer["CPU"]),
    )


def receive(programs: Path, server: Server, door: str, work: str, tree: Path, hashed: bool = False) -> Run:
    """One request by a new client, which counts the bytes and forgets them."""
    words = [str(programs / "receive"), "-via", door, *server.asked(work, tree)]
    if hashed:
        words.append("-hash")
    before, machine = cpu_seconds(server.pid), busy_seconds()
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(),
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunFailed(f"no archive within {TIMEOUT:.0f} s") from None
    machine = busy_seconds() - machine
    took = cpu_seconds(server.pid) - before
    try:
        return run_of(json.loads(done.stdout), took, machine)
    except json.JSONDecodeError:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise RunFailed(f"the client ended with {done.returncode}: {said}") from None
