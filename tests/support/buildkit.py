"""A real BuildKit: its daemon in a world of its own, builds with it, and where it keeps what it built."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.support.files import remove_tree

REMAPPED_USER = "tarcast-remap"
_START_SECONDS = 30.0
_STOP_SECONDS = 3.0
_BUILD_SECONDS = 60.0
_CGROUPS = Path("/sys/fs/cgroup")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Where the daemon sees its directory. Steps of remapped users walk there too, and may not walk everywhere.
_INSIDE = "/run/tarcast"

_CONFIG = f"""\
root = "{_INSIDE}/root"
provenanceEnvDir = "{_INSIDE}/none"
[grpc]
address = ["unix://{_INSIDE}/socket"]
[otel]
socketPath = "{_INSIDE}/otel"
[cdi]
disabled = true
[worker.containerd]
enabled = false
[worker.oci]
enabled = true
snapshotter = "overlayfs"
networkMode = "host"
gc = false
"""

# What runs before the daemon, in its own mounts: runc keeps its state in /run, and the users with
# subordinate ids are looked up in /etc.
_PRELUDE = f"""\
set -e
mount -t tmpfs tmpfs /run
mkdir {_INSIDE}
mount --bind "$1" {_INSIDE}
mount -t overlay -o ro,lowerdir={_INSIDE}/etc:/etc overlay /etc
exec "$2" --config={_INSIDE}/config.toml
"""


def busybox() -> Path:
    """A shell that runs where there is nothing else; skips the test where there is none."""
    found = shutil.which("busybox", path=_PATH)
    if found is None or _has_interpreter(Path(found).read_bytes()):
        pytest.skip("builds need a statically linked busybox (Debian: busybox-static)")
    return Path(found)


def _has_interpreter(elf: bytes) -> bool:
    """Whether a 64-bit ELF program has a PT_INTERP segment: it needs the libraries of its system."""
    start = int.from_bytes(elf[32:40], "little")
    size, count = (int.from_bytes(elf[at : at + 2], "little") for at in (54, 56))
    return any(
        int.from_bytes(elf[at : at + 4], "little") == 3 for at in range(start, start + size * count, size)
    )


class Daemon:
    """A running buildkitd with its own process ids, mounts and network (an empty one).

    Its directory is in the place where it is made, not in its own mounts, so the snapshots can be read.

    Args:
        programs: gives the directory with buildkitd and buildctl; called once it is known that they can run.
        below: where its directory is made; overlayfs must be able to have its layers there.
        subuid, subgid: lines of (first id on the host, count). With them build steps run in a user
            namespace, and their ids from 0 on are those of the lines one after the other.
    """

    def __init__(
        self,
        programs: Callable[[], Path],
        below: Path,
        *,
        subuid: Sequence[tuple[int, int]] = (),
        subgid: Sequence[tuple[int, int]] = (),
    ) -> None:
        _require()
        self._programs = programs()
        self.place = Path(tempfile.mkdtemp(prefix="buildkitd-", dir=below))
        for directory in (self.place, self.place / "root", self.place / "root" / "runc-overlayfs"):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o711)
        self._cgroup = f"tarcast-{self.place.name}"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._prepare(subuid, subgid)
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def subid_files(self) -> tuple[Path, Path]:
        """The files with the lines of REMAPPED_USER: subuid, subgid."""
        return self.place / "etc" / "subuid", self.place / "etc" / "subgid"

    def build(
        self,
        context: Path,
        dockerfile: str,
        out: Path,
        *,
        platforms: Sequence[str] = (),
        attrs: Mapping[str, str] | None = None,
        opts: Mapping[str, str] | None = None,
    ) -> None:
        """Build `dockerfile` (its text) over `context` and write the daemon's tar of the result to `out`.

        Args:
            platforms: such as "linux/arm64"; more than one give one tree each.
            attrs: options of the exporter.
            opts: options of the Dockerfile frontend, such as "target" or "build-arg:NAME".

        Raises:
            AssertionError: the build failed; with what it said.
        """
        output = {"type": "tar", "dest": os.fspath(out), **(attrs or {})}
        options = {**({"platform": ",".join(platforms)} if platforms else {}), **(opts or {})}
        with tempfile.TemporaryDirectory(dir=self.place) as instructions:
            Path(instructions, "Dockerfile").write_text(dockerfile)
            command = ["--frontend=dockerfile.v0", f"--local=context={context}"]
            command += [f"--local=dockerfile={instructions}", "--progress=plain"]
            command += [f"--opt={key}={value}" for key, value in options.items()]
            command += ["--output", ",".join(f'"{key}={value}"' for key, value in output.items())]
            done = subprocess.run(
                [self._programs / "buildctl", f"--addr=unix://{self.place}/socket", "build", *command],
                capture_output=True,
                text=True,
                errors="replace",
                env={"PATH": _PATH, "HOME": os.fspath(self.place)},
                timeout=_BUILD_SECONDS,
            )
        assert done.returncode == 0, f"the build failed:\n{done.stderr}\nthe daemon's log:\n{self._log()}"

    def layers(self, *markers: str) -> list[Path]:
        """The snapshot directories at whose top these names are, in their order.

        A name must be in one layer alone. (COPY --link makes two of one: what it copied, and the same
        files linked on top of what was there. The second is a layer of the result.)
        """
        found = []
        for marker in markers:
            holders = sorted(
                (
                    fs
                    for fs in self.place.glob("root/runc-*/snapshots/snapshots/*/fs")
                    if (fs / marker).exists()
                ),
                key=lambda fs: int(fs.parent.name),
            )
            inodes = {(fs / marker).stat().st_ino for fs in holders}
            assert len(inodes) == 1, f"{marker} is in {[os.fspath(fs) for fs in holders]}, not in one layer"
            found.append(holders[-1])
        return found

    def close(self) -> None:
        """End the daemon and all that it started, and remove what it made. May be called twice."""
        if self._process is not None:
            self._stop(self._process)
        for hierarchy in (_CGROUPS, *_CGROUPS.iterdir()):
            for directory, _, _ in os.walk(hierarchy / self._cgroup, topdown=False):
                os.rmdir(directory)
        if self.place.exists():
            remove_tree(self.place)

    def _prepare(self, subuid: Sequence[tuple[int, int]], subgid: Sequence[tuple[int, int]]) -> None:
        etc = self.place / "etc"
        etc.mkdir()
        (self.place / "tmp").mkdir()
        (etc / "passwd").write_text(
            f"root:x:0:0::/root:/bin/sh\n{REMAPPED_USER}:x:54321:54321::/:/bin/false\n"
        )
        (etc / "resolv.conf").write_text("")
        for name, ranges in (("subuid", subuid), ("subgid", subgid)):
            lines = [f"{REMAPPED_USER}:{start}:{count}\n" for start, count in ranges]
            (etc / name).write_text("".join(lines))
        config = f'{_CONFIG}defaultCgroupParent = "{self._cgroup}"\n'
        if subuid or subgid:
            config += f'userRemapUnsupported = "{REMAPPED_USER}"\n'
        (self.place / "config.toml").write_text(config)

    def _start(self) -> None:
        # The kernel ends it when the tests end, in whatever way, and all in it when it ends.
        words = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--net", "--pid", "--mount-proc"]
        words += ["--fork", "--kill-child", "sh", "-c", _PRELUDE, "sh"]
        words += [os.fspath(self.place), os.fspath(self._programs / "buildkitd")]
        with open(self.place / "log", "wb") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": _PATH, "HOME": _INSIDE, "TMPDIR": f"{_INSIDE}/tmp"},
            )
        for _ in range(int(_START_SECONDS / 0.02)):
            if self._answers():
                return
            try:
                self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"buildkitd ended with status {self._process.returncode}:\n{self._log()}")
        raise AssertionError(f"buildkitd does not answer after {_START_SECONDS:.0f} s:\n{self._log()}")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(os.fspath(self.place / "socket"))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        return True

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            # Its first process is a child of `unshare`, which waits until nothing is left of it.
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            for pid in children.read_text().split() if process.poll() is None else ():
                os.kill(int(pid), number)
            try:
                process.wait(_STOP_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.wait()

    def _log(self) -> str:
        return (self.place / "log").read_text(errors="replace")[-2000:]


def _require() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: runs buildkitd")
    for program in ("runc", "unshare", "setpriv"):
        if shutil.which(program, path=_PATH) is None:
            pytest.skip(f"buildkitd needs {program}")
