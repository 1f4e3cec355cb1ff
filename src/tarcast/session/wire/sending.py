"""A file on its way to a client: the archive's bytes as messages of one gRPC call."""

from __future__ import annotations

import contextlib
import re
import threading

from tarcast._core.message import MessageBuilder
from tarcast.errors import Cancelled, OutputError, SessionError, TarcastError

from .library import require_grpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tarcast.write import Cancel

    from .remote import RemoteSession

# Bytes of archive in a message. The original splits at 3 MiB. With grpcio a message is dear by itself: with
# 1 MiB an export took a twentieth longer, with 0.5 MiB more than a tenth; with 3 MiB it took no less.
MESSAGE_DATA = (2 << 20) - 64

# Messages that wait while gRPC sends another one: the workers go on meanwhile, and no further.
_AHEAD = 2

# How often somebody who waits for the client looks whether to go on waiting, in seconds.
_LOOK_EVERY = 0.05

# How long a call that is cancelled may take to end, in seconds; it takes no answer of the client.
_END_SECONDS = 5.0

_STEP = "send to client"


class StreamSink:
    """A sink for `write_tar`; made by `RemoteSession.send_file`.

    The client has the file, whole, when `commit` returns. `abort` resets the call, by which the client knows
    that the file is not complete. (The original ends it as if it were.)
    """

    fd = -1

    def __init__(
        self,
        session: RemoteSession,
        exporter_id: int,
        call: Callable[[Iterator[bytes]], Any],
        cancel: Cancel | None,
    ) -> None:
        self.name: str = f"session {session.id}"
        self.write: Callable[[memoryview], None] | None = self._write
        self.outputs: list[tuple[int, int]] = []
        self._session = session
        self._exporter_id = exporter_id
        self._make_call = call
        self._cancel = cancel
        self._builder = MessageBuilder(MESSAGE_DATA)
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._call: Any = None
        self._all_said = False  # nothing comes after what is waiting
        self._all_taken = False  # gRPC has been told so
        self._over = False
        self._answered = False

    def open(self) -> None:
        self._session.take(self._exporter_id)
        try:
            self._call = self._make_call(self._messages())
        except BaseException as error:
            self._session.free(self._exporter_id)
            if isinstance(error, ValueError):  # the channel is closed
                raise self._ended() from error
            raise
        if not self._call.add_callback(self._call_ended):
            self._call_ended()

    def _call_ended(self) -> None:
        self._session.free(self._exporter_id)
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _messages(self) -> Iterator[bytes]:
        """For gRPC, in a thread of its own."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._all_said or self._over)
                if self._over:
                    return
                if not self._waiting:
                    self._all_taken = True
                    return
                message = self._waiting.pop(0)
                self._changed.notify_all()
            yield message

    def _write(self, view: memoryview) -> None:
        at = 0
        while at < len(view):
            at, message = self._builder.take(view, at)
            if message is not None:
                self._put(message)

    def _put(self, message: bytes) -> None:
        if not self._wait(lambda: len(self._waiting) < _AHEAD):
            raise self._failure()
        with self._changed:
            self._waiting.append(message)
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> bool:
        """Until `ready()`: True, or until the call is over: False.

        Raises:
            Cancelled, SessionError: somebody cancels, or the session has ended.
        """
        while True:
            with self._changed:
                if self._over:
                    return False
                if ready():
                    return True
                self._changed.wait(_LOOK_EVERY)
            if self._cancel is not None and self._cancel.is_set() and not self._session.closed:
                raise Cancelled("the export was cancelled")
            if self._session.closed:
                raise self._ended()

    def commit(self) -> None:
        """Raises OutputError or SessionError unless the client says that it has the whole file."""
        rest = self._builder.rest()
        if rest is not None:
            self._put(rest)
        with self._changed:
            self._all_said = True
            self._changed.notify_all()
        # A call with an answer that nobody reads does not end.
        reader = threading.Thread(target=self._read_answer, args=(self._call,), name="tarcast-answer")
        reader.daemon = True
        reader.start()
        self._wait(lambda: False)
        if self._answered:
            raise OutputError(
                "the client answered with data, where there is none to answer", path=self.name, step=_STEP
            )
        if self._call.code() is not require_grpc().StatusCode.OK or not self._all_taken:
            raise self._failure()

    def _read_answer(self, call: Any) -> None:
        with contextlib.suppress(require_grpc().RpcError):
            for _ in call:
                self._answered = True
                call.cancel()

    def abort(self) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        call.cancel()
        with self._changed:
            self._changed.wait_for(lambda: self._over, _END_SECONDS)
            self._over = True
            self._changed.notify_all()

    def _ended(self) -> SessionError:
        return SessionError(
            f"session {self._session.id} ended during the export: {self._session.ended_because}", step=_STEP
        )

    def _failure(self) -> TarcastError:
        """What the end of the call means."""
        grpc = require_grpc()
        codes = grpc.StatusCode
        code, details = self._call.code(), self._call.details() or ""
        if code is codes.OK:
            return OutputError("the client ended the file before it was complete", path=self.name, step=_STEP)
        if code in (codes.UNAVAILABLE, codes.CANCELLED):
            # The connection's end and the call's come from two threads.
            if self._session.wait_closed(1.0):
                return self._ended()
            return OutputError(
                f"the client gave the file up: {details or code.name}", path=self.name, step=_STEP
            )
        refusals = {
            codes.ALREADY_EXISTS: "choose another output at the client",
            codes.NOT_FOUND: "the client must offer this exporter",
            codes.UNIMPLEMENTED: "the client's session must offer a file-send target",
            codes.PERMISSION_DENIED: "see what the client may write",
        }
        if code is codes.UNKNOWN and re.fullmatch(r"exporter -?\d+ not found", details):
            code = codes.NOT_FOUND  # the original does not say it in the status
        if code in refusals:
            return SessionError(details or code.name, path=self.name, step=_STEP, hint=refusals[code])
        return OutputError(
            f"the client failed: {details or 'no reason given'} ({code.name})",
            path=self.name,
            step=_STEP,
            hint="free some space at the client" if "no space left" in details.lower() else "",
        )
