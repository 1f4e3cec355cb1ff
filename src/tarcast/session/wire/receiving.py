"""The client's side of a file on its way: what comes is written, and published when all is well."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading

from tarcast.errors import (
    Cancelled,
    DaemonError,
    OptionError,
    OutputError,
    SessionError,
    TarcastError,
    os_error,
)
from tarcast.session.targets import TargetExists

from .framing import decode
from .library import require_grpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import grpc

    from tarcast.session.targets import Targets
    from tarcast.sinks import Sink

_EXPORTER_ID = "buildkit-attachable-exporter-id"
_METADATA = "exporter-md-"

# How often somebody who waits for a slow reader looks whether to go on, in milliseconds.
_LOOK_EVERY = 40

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux alone has it

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Receiver:
    """Takes the files of one export.

    A file is complete for its sender once it is written, and for the user only after `publish`: the end of a
    gRPC stream can look the same whether the sender was done or gave up, and the original's exporter ends a
    file that failed as if it were whole. So somebody who knows whether the export succeeded decides.

    Args:
        targets: where files go, by exporter id.
        fsync: wait until they are on the disk, where they are files.

    Attributes:
        bytes_written: of all files so far.
        error: what went wrong here, or None.
    """

    def __init__(self, targets: Targets, *, fsync: bool = False) -> None:
        self.bytes_written: int = 0
        self.error: TarcastError | None = None
        self._targets = targets
        self._fsync = fsync
        self._lock = threading.Lock()
        self._ready: dict[int, Sink] = {}
        self._used: dict[int, Sink] = {}
        self._complete: set[int] = set()
        self._taken: set[int] = set()
        self._running = 0
        self._idle = threading.Condition(self._lock)
        self._given_up = False

    def prepare(self) -> None:
        """Open what can be opened before anybody is asked for anything.

        Raises:
            OptionError, OutputError: it cannot be written to; nothing was changed.
        """
        for number in self._targets.plain_ids():
            sink = self._targets.sink(number, {}, fsync=self._fsync)
            self._ready[number] = sink
            sink.open()

    def publish(self) -> None:
        """The export succeeded: let every file appear under its name.

        Raises:
            SessionError: there is a target for which nothing came.
            OutputError: it cannot be finished; files that were published before stay.
        """
        with self._lock:
            missing = [number for number in self._targets.ids() if number not in self._complete]
        if missing:
            raise SessionError(
                f"the daemon says that it is done, but sent nothing for exporter {missing[0]}", step="receive"
            )
        for sink in self._used.values():
            sink.commit()

    def abandon(self, timeout: float | None = None) -> bool:
        """Leave nothing of what is not published, once nobody writes any more.

        Args:
            timeout: how long to wait for that, in seconds; None: as long as it takes.

        Returns:
            False when somebody still writes: end the session, and call this again.
        """
        with self._idle:
            self._given_up = True
            if not self._idle.wait_for(lambda: not self._running, timeout):
                return False
        for sink in (*self._used.values(), *self._ready.values()):
            sink.abort()
        return True

    def take(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """One call of FileSend.DiffCopy, for a session's server."""
        codes = require_grpc().StatusCode
        with self._lock:
            refused = self._given_up
            self._running += not refused
        if refused:
            context.abort(codes.CANCELLED, "the client has given the export up")
        try:
            self._receive(requests, context)
        except TargetExists as error:
            self._fail(error, context, codes.ALREADY_EXISTS)
        except Cancelled as error:
            context.abort(codes.CANCELLED, str(error))
        except DaemonError as error:
            self._fail(error, context, codes.INVALID_ARGUMENT)
        except SessionError as error:
            self._fail(error, context, codes.NOT_FOUND)
        except OptionError as error:
            self._fail(error, context, codes.INVALID_ARGUMENT)
        except TarcastError as error:
            full = error.errno in _FULL
            self._fail(error, context, codes.RESOURCE_EXHAUSTED if full else codes.ABORTED)
        except Exception as error:  # a target's own, or grpcio's for a call that is over
            if not isinstance(error, require_grpc().RpcError):
                self._fail(OutputError(f"{type(error).__name__}: {error}"), context, codes.ABORTED)
            raise
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
        return iter(())

    def _fail(self, error: TarcastError, context: grpc.ServicerContext, code: grpc.StatusCode) -> None:
        self.error = self.error or error
        context.abort(code, str(error))

    def _receive(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
        number, metadata = _metadata(context.invocation_metadata())
        with self._lock:
            if number in self._taken:
                raise TargetExists(f"exporter {number} has got its file already", step="receive")
            self._taken.add(number)
            sink = self._ready.pop(number, None)
            if sink is not None:
                self._used[number] = sink
        if sink is None:  # its callable may take its time
            sink = self._targets.sink(number, metadata, fsync=self._fsync)
            with self._lock:
                self._used[number] = sink
            sink.open()
        for message in requests:
            data = _decoded(message)
            if not self._given_up:
                _write(sink, data, lambda: self._given_up)
            if self._given_up:
                raise Cancelled("the client has given the export up")
            with self._lock:
                self.bytes_written += len(data)
        with self._lock:
            self._complete.add(number)


def _decoded(message: bytes) -> memoryview:
    try:
        return decode(message)
    except ValueError as error:
        raise DaemonError(f"the daemon sent what makes no sense: {error}", step="receive") from error


def _metadata(headers: Any) -> tuple[int, dict[str, str]]:
    """(exporter id, metadata for the target); without an id it is exporter 0, as in the original."""
    number = 0
    found: dict[str, list[str]] = {}
    for key, value in headers:
        if key == _EXPORTER_ID:
            with contextlib.suppress(ValueError):
                number = int(value)
        elif key.startswith(_METADATA):
            found.setdefault(key.removeprefix(_METADATA), []).append(value)
    return number, {key: ",".join(values) for key, values in found.items()}


def _write(sink: Sink, data: memoryview, given_up: Callable[[], bool]) -> None:
    """All of `data`, unless it is given up meanwhile: somebody may read a pipe as slowly as he likes."""
    if sink.write is not None:
        sink.write(data)
        return
    regular = stat.S_ISREG(os.fstat(sink.fd).st_mode)
    while data and not given_up():
        try:
            data = data[os.write(sink.fd, data) if regular else _write_now(sink.fd, data) :]
        except BlockingIOError:
            _wait_writable(sink.fd)
        except OSError as error:
            raise os_error(OutputError, error, path=sink.name, step="write") from error


def _write_now(fd: int, data: memoryview) -> int:
    """As much as can be written without waiting, whatever the flags; BlockingIOError: nothing."""
    if _NOWAIT:
        try:
            return os.pwritev(fd, [data], -1, _NOWAIT)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ESPIPE, errno.EINVAL):
                raise
    return os.write(fd, data)


def _wait_writable(fd: int) -> None:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    poller.poll(_LOOK_EVERY)
