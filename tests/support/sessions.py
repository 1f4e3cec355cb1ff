"""A daemon in this process and clients of every kind, for tests of what happens when one of them fails."""

from __future__ import annotations

import contextlib
import filecmp
import functools
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import tarcast
from tarcast.daemon import Daemon
from tarcast.session import FILE_SEND, connect
from tarcast.session.client import Client
from tarcast.session.wire.address import Address
from tarcast.session.wire.announce import Announcement
from tarcast.session.wire.control import FRONTEND, SOLVE, TREE, messages
from tarcast.session.wire.framing import decode
from tarcast.session.wire.http1 import read_head, request
from tarcast.session.wire.library import require_grpc
from tarcast.session.wire.private import SERVER_OPTIONS, serve_on
from tarcast.session.wire.wires import SocketWire
from tests.support.faults import PATIENCE, wait_until
from tests.support.files import remove_tree
from tests.support.leftovers import Leftovers, left
from tests.support.oracle import build_oracle

VIAS = ("control", "upgrade")


def make_tree(top: Path, size: int) -> Path:
    """Files of a MiB each that do not compress, `size` bytes in all, and a few small things."""
    (top / "dir").mkdir(parents=True)
    (top / "dir/file").write_text("content")
    os.link(top / "dir/file", top / "link")
    for number in range(size >> 20):
        (top / f"file-{number:03}").write_bytes(os.urandom(1 << 20))
    return top


def slowly(entry: tarcast.Entry) -> tarcast.Entry:
    """For `Tree(map=...)`: a tree of `make_tree` with 40 MiB then takes two seconds."""
    time.sleep(0.05)
    return entry


def background(function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
    """What it gives or raises, from a thread of its own."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="test-background", daemon=True).start()
    return future


class Log:
    """What a daemon says, and when."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    def __call__(self, text: str) -> None:
        self.lines.append((time.monotonic(), text))

    def wait(self, words: str = "failed", since: float = 0.0) -> tuple[str, float]:
        """The first line with `words` in it from `since` on, and when it came."""

        def found() -> tuple[str, float] | None:
            return next(((text, at) for at, text in list(self.lines) if words in text and at >= since), None)

        return wait_until(found, f"{words!r} in the log {[text for _, text in self.lines]}")


def stock() -> Leftovers:
    """As `left`, without gRPC's idle threads for calls, whose number only grows."""
    count = sum(not thread.name.startswith("tarcast-call") for thread in threading.enumerate())
    return left()._replace(threads=count)


def settled(take: Callable[[], Leftovers]) -> Leftovers:
    """What is there once it has stayed the same for a moment: gRPC closes its sockets a little later."""
    last, same = take(), 0
    end = time.monotonic() + 3
    while same < 2 and time.monotonic() < end:
        time.sleep(0.01)
        now = take()
        last, same = now, same + 1 if now == last else 0
    return last


def same_again(take: Callable[[], Leftovers], before: Leftovers) -> None:
    """Fails unless there is soon no more than before; less is no leak, but something older that has ended."""
    end = time.monotonic() + 5
    while more := _more(take(), before):
        assert time.monotonic() < end, f"left are {more}"
        time.sleep(0.02)


# gRPC's own, of which it keeps a few, and has more while it is busy.
_POLLERS = ("anon_inode:[eventfd]", "anon_inode:[eventpoll]")


def _more(now: Leftovers, before: Leftovers) -> list[str]:
    more = [thread.name for thread in threading.enumerate()] if now.threads > before.threads else []
    for what in ("mounts", "loops", "descriptors", "temporary"):
        more += Counter(getattr(now, what)) - Counter(getattr(before, what))
    return [name for name in more if name not in _POLLERS]


class Serving:
    """A daemon on a Unix socket in a short directory, which is also where temporary ones are made.

    Attributes:
        daemon, address, manager: it, where it listens, and its sessions.
        place: a directory.
        log: what it said.
    """

    def __init__(self, exports: Mapping[str, Any], small: Path, *, strict: bool = True) -> None:
        self._small = small
        self._strict = strict
        self.log = Log()
        self.place = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
        self._temporary = tempfile.tempdir
        tempfile.tempdir = str(self.place / "tmp")
        (self.place / "tmp").mkdir()
        self._before_all = settled(left)
        self.daemon = Daemon({"small": small, **exports}, say=self.log)
        self.address = self.daemon.listen(f"unix://{self.place}/s")
        self.manager = self.daemon.session_manager

    def __enter__(self) -> Self:
        self.export_well()  # makes what gRPC makes once
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            background(self.daemon.close).result(PATIENCE)
            if kind is None and self._strict:
                same_again(left, self._before_all)
        finally:
            tempfile.tempdir = self._temporary
            remove_tree(self.place)

    @contextlib.contextmanager
    def fault(self) -> Iterator[Self]:
        """For one fault: behind it nothing of it is left, and the daemon serves on."""
        self.log.lines.clear()
        before = settled(stock)
        yield self
        wait_until(lambda: not self.manager.ids(), "the end of all sessions", 5)
        same_again(stock, before)
        self.export_well()

    def export_well(self) -> None:
        """A new client gets the same bytes as a file."""
        file, got = self.place / "expected", self.place / "got"
        tarcast.write_tar(self._small, file)
        with connect(self.address) as client:
            client.export("small", got)
        assert filecmp.cmp(file, got, shallow=False)
        file.unlink()
        got.unlink()


class Trees:
    """A large tree and a small one; gRPC has made what it makes but once when this is there."""

    def __init__(self, place: Path) -> None:
        go_program()
        self.big = make_tree(place / "big", 40 << 20)
        self.small = make_tree(place / "small", 2 << 20)
        with self.serving(strict=False) as serving, ExitStack() as stack:
            clients = [stack.enter_context(connect(serving.address, via=via)) for via in VIAS * 3]
            for future in [background(client.export, "tree", os.devnull) for client in clients]:
                future.result(PATIENCE)

    def serving(self, *, strict: bool = True, **exports: Any) -> Serving:
        """A daemon with exports "tree", "slow" and those given."""
        slow = tarcast.Tree(self.big, map=slowly)
        return Serving({"tree": self.big, "slow": slow, **exports}, self.small, strict=strict)


@functools.cache
def go_program() -> Path:
    """To be had before the first `Serving`: it is kept in the directory for temporary ones."""
    return build_oracle("buildkit/receive")


class GoClient:
    """BuildKit's own client, running; `words` are the options of `tests/oracle/buildkit/receive`."""

    def __init__(self, address: str, *words: object, tree: str | None = None) -> None:
        asked = [] if tree is None else ["-frontend", FRONTEND, "-opt", f"{TREE}={tree}"]
        self.process = subprocess.Popen(
            [go_program(), "-addr", address, *asked, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> dict[str, Any]:
        """What it tells at its end; with -id, ends it."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        return json.loads(out.splitlines()[-1])

    def wait_stopped(self) -> None:
        """Until -stop-after has stopped it."""
        status = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "the client's stop")

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> int:
        return self.process.wait(PATIENCE)


class Export:
    """An export by a client of this package, in a thread of its own.

    Attributes:
        result: what `Client.export` gives or raises.
    """

    def __init__(self, client: Client, tree: str, target: Any, **options: Any) -> None:
        self._moving = threading.Event()
        self.result = background(client.export, tree, target, progress=self._progress, **options)

    def _progress(self, progress: tarcast.Progress) -> None:
        if progress.bytes_written > 1 << 20:
            self._moving.set()

    def wait_moving(self) -> float:
        """Until data has come; gives when that was."""
        wait_until(lambda: self._moving.is_set() or self.result.done(), "data")
        assert self._moving.is_set(), self.result.exception()
        return time.monotonic()

    def failure(self) -> Exception:
        error = self.result.exception(PATIENCE)
        assert isinstance(error, tarcast.TarcastError), error
        return error


class Gate(io.RawIOBase):
    """A file that takes `room` bytes, and no more until `open` is set."""

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.taken = 0
        self.full = threading.Event()
        self.open = threading.Event()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.taken += len(data)
        if self.taken > self.room:
            self.full.set()
            self.open.wait(PATIENCE)
        return len(data)


def upgraded(address: str, id: str, methods: tuple[str, ...] = (FILE_SEND,)) -> tuple[socket.socket, bytes]:
    """A socket that has become a session, on which nobody serves yet, and what it was told already."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(Address(address).path)
    wire = SocketWire(connection)
    wire.send(memoryview(request("/session", Announcement(id, methods=methods).headers())))
    raw, rest = read_head(wire)
    assert raw.startswith(b"HTTP/1.1 101 "), raw
    return connection, rest


@contextlib.contextmanager
def hand_made(
    address: str, take: Callable[[Iterator[memoryview], Any], Any], id: str
) -> Iterator[socket.socket]:
    """A client whose FileSend.DiffCopy is `take`; gives its socket."""
    grpc = require_grpc()
    connection, rest = upgraded(address, id)
    wire = SocketWire(connection)
    wire.begin(rest)
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=SERVER_OPTIONS)
        _, service, method = FILE_SEND.split("/")
        handler = grpc.stream_stream_rpc_method_handler(take, request_deserializer=decode)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        relay = serve_on(server, wire, lambda why: None)
        try:
            yield connection
        finally:
            relay.stop()
            server.stop(0).wait()


def solve(address: str, session: str, tree: str) -> tuple[str, str]:
    """What the daemon answers who asks for an export to that session: status and details."""
    grpc = require_grpc()
    types = messages()
    question = types.SolveRequest(
        Ref=os.urandom(8).hex(),
        Session=session,
        Frontend=FRONTEND,
        FrontendAttrs={TREE: tree},
        Exporters=[types.Exporter(Type="tar")],
    )
    with grpc.insecure_channel(
        Address(address).grpc_target, options=[("grpc.default_authority", "localhost")]
    ) as channel:
        call = channel.unary_unary(
            SOLVE, types.SolveRequest.SerializeToString, types.SolveResponse.FromString
        )
        try:
            call(question, timeout=PATIENCE)
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", ""


_DAEMON = r"""
import sys, time, tarcast
from tarcast.daemon import Daemon

def slowly(entry):
    time.sleep(0.05)
    return entry

daemon = Daemon(
    {"tree": sys.argv[2], "slow": tarcast.Tree(sys.argv[2], map=slowly)},
    say=lambda text: print(text, file=sys.stderr, flush=True),
)
daemon.listen(sys.argv[1])
print("listening", flush=True)
sys.stdin.read()
daemon.close()
"""


@contextlib.contextmanager
def daemon_process(tree: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A daemon with exports "tree" and "slow" in a process of its own, and its address."""
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as place:
        address = f"unix://{place}/s"
        process = subprocess.Popen(
            [sys.executable, "-c", _DAEMON, address, tree],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": place},
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n", process.communicate()[1]
            yield process, address
        finally:
            process.kill()
            process.communicate()


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS"))


def record(fault: str, *, daemon: str = "", client: str = "", seconds: float) -> None:
    """Another line of the table of faults, if TARCAST_FAULT_TABLE names a file: a JSON list.

    Args:
        fault: what happened.
        daemon, client: what each of them said; nothing for one that is dead.
        seconds: from the fault until the last of them had said it.
    """
    assert seconds < 5.0, f"{fault}: it took {seconds:.1f} s to be told"
    table = os.environ.get("TARCAST_FAULT_TABLE")
    if not table:
        return
    rows = json.loads(Path(table).read_text()) if os.path.exists(table) else []
    rows.append({"fault": fault, "daemon": daemon, "client": client, "seconds": round(seconds, 2)})
    Path(table).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
