"""The control API of the daemon: sessions, requests for exports, their status."""

from __future__ import annotations

import contextlib
import threading
import time

from tarcast._version import __version__
from tarcast.errors import Cancelled, SessionError, TarcastError
from tarcast.exporter import Source, TarExporter
from tarcast.session.wire.announce import Announcement
from tarcast.session.wire.control import SERVICE, TREE, messages
from tarcast.session.wire.library import require_grpc, unary
from tarcast.session.wire.remote import RemoteSession
from tarcast.session.wire.wires import StreamWire

from .failures import public_text, status_of
from .gateway import Gateway
from .jobs import Jobs
from .requests import MOST_NAME, BusyError, check_frontend, instances

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, NoReturn

    import grpc

    from tarcast.exporter.instance import ExporterInstance
    from tarcast.exporter.source import Exportable
    from tarcast.session import SessionManager

    from .jobs import Job

# What a text of several lines begins with.
INTERNAL_ERROR = "internal error"

# How long a status may be asked for before its request comes, in seconds.
_STATUS_SECONDS = 5.0

# How long a stream may take to end by itself once its session has, in seconds.
_STREAM_SECONDS = 1.0


class ControlService:
    """What BuildKit's control API has for an export; see `handlers`.

    Args:
        manager: the sessions.
        exporter: does the work.
        exports: what may be asked for, by name.
        max_exports: how many exports there may be at once.
        say: for the log.
        expect_much: called when a client's connection is going to carry a session.
    """

    def __init__(
        self,
        manager: SessionManager,
        exporter: TarExporter,
        exports: Mapping[str, Exportable],
        max_exports: int,
        say: Callable[[str], None],
        expect_much: Callable[[], None],
    ) -> None:
        self._manager = manager
        self._exporter = exporter
        self._exports = exports
        self._say = say
        self._expect_much = expect_much
        self._jobs = Jobs()
        self._gateway = Gateway(
            lambda frontend, definition, options: check_frontend(frontend, definition, options, exports)
        )
        self._room = max_exports
        self._running = 0
        self._changed = threading.Condition()
        self.stopping: threading.Event = threading.Event()

    def handlers(self) -> tuple[Any, ...]:
        """For a server."""
        grpc = require_grpc()
        types = messages()

        methods = {
            "Info": unary(self._info, types.InfoRequest),
            "ListWorkers": unary(self._list_workers, types.ListWorkersRequest),
            "Solve": unary(self._solve, types.SolveRequest),
            "Status": grpc.unary_stream_rpc_method_handler(
                self._status,
                request_deserializer=types.StatusRequest.FromString,
                response_serializer=types.StatusResponse.SerializeToString,
            ),
            "Session": grpc.stream_stream_rpc_method_handler(self._session),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods), self._gateway.handler()

    def wait_idle(self, timeout: float) -> bool:
        """Whether no export runs any more, waiting at most `timeout` seconds for that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def refuse(self, announcement: Announcement) -> None:
        """Raises SessionError if a living session has that id."""
        if announcement.id in self._manager.ids():
            raise SessionError(f"session {announcement.id} already exists", hint="use another id")

    def _info(self, request: Any, context: grpc.ServicerContext) -> Any:
        return messages().InfoResponse(buildkitVersion=_version())

    def _list_workers(self, request: Any, context: grpc.ServicerContext) -> Any:
        """buildctl does not ask a daemon for anything that has none."""
        types = messages()
        worker = types.WorkerRecord(ID="tarcast", BuildkitVersion=_version())
        return types.ListWorkersResponse(record=[worker])

    def _session(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        codes = require_grpc().StatusCode
        try:
            announcement = Announcement.read(context.invocation_metadata())
        except SessionError as error:
            self._say(f"a session was refused: {error}")
            context.abort(codes.INVALID_ARGUMENT, str(error))
        try:
            self.refuse(announcement)
        except SessionError as error:
            self._say(f"a session was refused: {error}")
            context.abort(codes.ALREADY_EXISTS, str(error))
        self._expect_much()
        wire = StreamWire()
        patience = threading.Timer(_STREAM_SECONDS, context.cancel)
        patience.daemon = True
        opened = threading.Event()

        def open_session() -> None:
            try:
                RemoteSession(self._manager, wire, announcement)
            except TarcastError as error:
                self._say(f"session {announcement.id} was not opened: {error}")
            else:
                opened.set()
                self._say(f"session {announcement.id} opened")

        # A client that does not read what it is sent would hold this thread for ever.
        wire.attach(requests, patience.start)
        context.add_callback(wire.shut)
        # The session is opened by what this very call sends and receives, and may wait for the call's end.
        threading.Thread(target=open_session, name="tarcast-open", daemon=True).start()
        try:
            yield from wire.messages()
        finally:
            wire.shut()
            patience.cancel()
        if not opened.is_set() and wire.ended_because:
            context.abort(codes.FAILED_PRECONDITION, wire.ended_because)

    def _solve(self, request: Any, context: grpc.ServicerContext) -> Any:
        codes = require_grpc().StatusCode
        cancel = _Cancel(self.stopping)
        if not context.add_callback(cancel.set):
            context.abort(codes.CANCELLED, "the client went away")
        if len(request.Ref) > MOST_NAME or len(request.Session) > MOST_NAME:
            context.abort(codes.INVALID_ARGUMENT, f"a name has more than {MOST_NAME} characters")
        name = request.FrontendAttrs.get(TREE, "")
        job = self._jobs.begin(request.Ref, f"exporting {name[:MOST_NAME]} to client tarball")
        try:
            return self._export(request, job, cancel)
        except TarcastError as error:
            self._say(f"export of {name[:MOST_NAME]!r} to session {request.Session} failed: {error}")
            if isinstance(error, Cancelled) and self.stopping.is_set():
                # Not UNAVAILABLE, which gRPC says of itself when a connection breaks.
                self._fail(job, context, codes.ABORTED, "the daemon is shutting down")
            self._fail(job, context, status_of(error), public_text(error, name, self._exports.get(name)))
        except Exception as error:
            import traceback

            self._say(f"{INTERNAL_ERROR}; please report it with these lines:\n{traceback.format_exc()}")
            self._fail(job, context, codes.INTERNAL, f"internal error: {type(error).__name__}")
        finally:
            job.writer.close()

    def _fail(self, job: Job, context: grpc.ServicerContext, code: grpc.StatusCode, text: str) -> NoReturn:
        job.error = text
        job.writer.close()
        context.abort(code, text)
        raise AssertionError("abort raises")

    def _export(self, request: Any, job: Job, cancel: _Cancel) -> Any:
        options: Mapping[str, str] = request.FrontendAttrs
        if request.Frontend or request.Definition:
            check_frontend(request.Frontend, request.Definition, options, self._exports)
        else:
            options = self._gateway.result(request.Ref, cancel)
        made = instances(request, options, self._exporter)
        with self._slot():
            return self._send(made, options[TREE], request.Session, job, cancel)

    def _send(
        self, made: Sequence[ExporterInstance], name: str, session: str, job: Job, cancel: _Cancel
    ) -> Any:
        entries = size = 0
        for instance in made:
            source = Source(ref=self._exports[name])
            result = instance.export(source, session, job.writer, cancel=cancel)
            entries += result.entries
            size += result.bytes_written
            self._say(
                f"export of {name!r} to session {session}: {result.entries} entries, "
                f"{result.bytes_written} bytes in {result.seconds:.2f} s"
            )
        return messages().SolveResponse(
            ExporterResponse={"tarcast.entries": str(entries), "tarcast.bytes": str(size)}
        )

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        """Counts as one of the exports that run.

        Raises:
            BusyError: there are too many.
        """
        with self._changed:
            if self._running >= self._room:
                raise BusyError(f"{self._room} exports run already", hint="try again when one has ended")
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _status(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        types = messages()
        job = self._jobs.find(request.Ref, _STATUS_SECONDS)
        if job is None:
            context.abort(require_grpc().StatusCode.NOT_FOUND, f"no such job {request.Ref}")
        reader = job.reader()
        context.add_callback(reader.close)
        vertex = types.Vertex(digest=job.digest, name=job.name, started=_timestamp(time.time()))
        yield types.StatusResponse(vertexes=[vertex])
        for update in reader:
            status = update.status
            yield types.StatusResponse(
                statuses=[
                    types.VertexStatus(
                        ID=update.id,
                        vertex=job.digest,
                        current=status.current,
                        total=status.total or 0,
                        timestamp=_timestamp(update.timestamp),
                        started=_timestamp(status.started),
                        completed=_timestamp(status.completed),
                    )
                ]
            )
        vertex.completed.CopyFrom(_timestamp(time.time()))
        vertex.error = job.error or ""
        yield types.StatusResponse(vertexes=[vertex])


class _Cancel:
    """Set by the end of the client's call, or of the daemon."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._set = threading.Event()

    def set(self) -> None:
        self._set.set()

    def is_set(self) -> bool:
        return self._set.is_set() or self._stopping.is_set()


def _version() -> Any:
    return messages().BuildkitVersion(package="tarcast", version=__version__)


def _timestamp(seconds: float | None) -> Any:
    if seconds is None:
        return None
    return messages().Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
