"""Making things go wrong at an exact moment: trees that change, disks that are full, users who may not."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "tarcast"]
NOBODY = 65534

# How a well-formed archive ends, and nothing else does.
TRAILER = bytes(1024)

# How long anything may take that a test waits for; what is said of a fault must come sooner.
PATIENCE = 15.0


def wait_until(ready: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """What `ready()` gives once it is true."""
    end = time.monotonic() + timeout
    while not (found := ready()):
        assert time.monotonic() < end, f"waited {timeout:g} s for {what}"
        time.sleep(0.01)
    return found


def command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """`tarcast ARGUMENTS`, both outputs as bytes."""
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "timeout": 60,
    } | options
    words = [*COMMAND, *(os.fsencode(a) if isinstance(a, Path) else a for a in arguments)]
    env = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"} | options.pop("env", {})
    return subprocess.run(words, env=env, check=False, **options)


def at(path: str, action: Callable[[], object]) -> Callable[[Any], Any]:
    """A `map` callable that does `action` when the entry `path` is in hand.

    That is behind its stat and its opening and before its data is read, and
    before anything of the names that follow is looked at; so what changes then
    changes at the same moment in every run.
    """
    done: list[str] = []

    def hook(entry: Any) -> Any:
        if entry.path == path:
            assert not done, f"{path} came twice"
            done.append(path)
            action()
        return entry

    return hook


def in_child(function: Callable[[], Any], *, user: int | None = None, timeout: float = 60) -> Any:
    """What `function` gives in a forked process, or its exception raised here.

    There it may give up its rights, set limits on itself or be the wrong user.
    `user` is who it runs as; tests that need one run as they are if they are not root.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            if user is not None and os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            try:
                answer = (True, function())
            except BaseException as error:
                error.add_note(traceback.format_exc())
                answer = (False, error)
            with open(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    watchdog = threading.Timer(timeout, os.kill, (pid, 9))
    watchdog.start()
    try:
        with open(reader, "rb") as pipe:
            data = pipe.read()
    finally:
        watchdog.cancel()
        os.waitpid(pid, 0)
        watchdog.join()
    assert data, "the child process died without an answer"
    good, value = pickle.loads(data)
    if not good:
        raise value
    return value


def obeying_modes() -> list[str]:
    """Words before a command that make it obey permission bits, which root does not."""
    if os.geteuid() != 0:
        return []
    words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root reads everything, and setpriv cannot take that away here")
    return words


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    """`mount ARGUMENTS place`; skips the test where that is not allowed. Unmounted whatever happens."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a file system")
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, os.fspath(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount {' '.join(arguments)}: {done.stderr.strip()}")
    try:
        yield place
    finally:
        if subprocess.run(["umount", place], capture_output=True).returncode:
            subprocess.run(["umount", "--lazy", place], check=True)
            raise AssertionError(f"{place} was still in use at the end of the test")


@contextlib.contextmanager
def tmpfs(place: Path, options: str = "size=1m,mode=0755") -> Iterator[Path]:
    """A memory file system mounted at `place`."""
    with mounted(place, "-t", "tmpfs", "-o", options, "tarcast-test"):
        yield place


@contextlib.contextmanager
def image(place: Path, kind: str, size: int, *arguments: str) -> Iterator[Path]:
    """A file system of `kind` with `size` bytes in an image, mounted at `place`."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="tarcast-test-", suffix=f".{kind}") as file:
        file.truncate(size)
        try:
            subprocess.run([f"mkfs.{kind}", *arguments, file.name], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"cannot make an image of {kind}: {error}")
        with mounted(place, "-t", kind, "-o", "loop", file.name):
            yield place


def descriptors() -> set[str]:
    """The open descriptors of this process and what they are of.

    But those that only gRPC makes, once a test has loaded it: it makes them anew at every fork.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of the listing itself
            what = os.readlink(f"/proc/self/fd/{name}")
            if what not in ("anon_inode:[eventfd]", "anon_inode:[eventpoll]"):
                found.add(f"{name} -> {what}")
    return found


def leave_descriptors(count: int) -> None:
    """Let this process, a child that ends soon, open only `count` more."""
    used = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
    free = (fd for fd in range(1 << 20) if fd not in used)
    limit = next(fd for i, fd in enumerate(free) if i == count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


_OF_GRPC = ("grpc_", "event_engine", "lifeguard", "default-exec", "resolver-exec")


def threads() -> set[str]:
    """The threads of this process, those that Python does not know included.

    But gRPC's own, once a test has loaded it: it ends and starts them anew as it likes, and at every fork.
    """
    found = set()
    for name in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if not Path(f"/proc/self/task/{name}/comm").read_text().startswith(_OF_GRPC):
                found.add(f"thread {name}")
    return found


@contextlib.contextmanager
def nothing_left_behind(*directories: Path) -> Iterator[None]:
    """Fails if descriptors, threads, or names in `directories` are not at the end what they were."""
    names = [sorted(os.listdir(d)) for d in directories]
    before = descriptors() | threads()
    yield
    for _ in range(50):  # a thread that was joined is still listed for a moment
        more = (descriptors() | threads()) - before  # fewer is no leak: something older may have ended
        if not more:
            break
        time.sleep(0.01)
    assert not more, f"left are {sorted(more)}"
    assert [sorted(os.listdir(d)) for d in directories] == names


def make_files(directory: Path, **contents: bytes) -> Path:
    """`directory` with a file for each keyword."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return directory


def make_deep(directory: Path, levels: int) -> list[str]:
    """A chain of `levels` directories `d`, each with a file `z` behind it; gives the archive paths."""
    directory.mkdir()
    here = os.open(directory, os.O_RDONLY)
    try:
        for level in range(levels + 1):
            os.close(os.open("z", os.O_CREAT | os.O_WRONLY, dir_fd=here))
            if level < levels:
                os.mkdir("d", dir_fd=here)
                below = os.open("d", os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
    finally:
        os.close(here)
    down = ["d/" * level + "d" for level in range(levels)]
    up = ["d/" * level + "z" for level in range(levels, -1, -1)]
    return down + up


class Deadline:
    """A `cancel` that is set after some seconds: an export that hangs then fails its test."""

    def __init__(self, seconds: float = 30) -> None:
        self._end = time.monotonic() + seconds

    def is_set(self) -> bool:
        return time.monotonic() > self._end
