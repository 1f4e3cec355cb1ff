"""`connect`: a client of `tarcast serve`, or of BuildKit's own daemon, that asks for archives."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from tarcast.errors import Cancelled, DaemonError, OptionError, SessionError
from tarcast.meter import Meter

from .manager import FILE_SEND
from .targets import Targets
from .wire.address import Address
from .wire.announce import Announcement, is_id
from .wire.control import FRONTEND, SESSION, SOLVE, TREE, messages
from .wire.library import add_health, require_grpc
from .wire.private import HEALTH_CHECK, LARGE_MESSAGES, SERVER_OPTIONS, serve_on
from .wire.receiving import Receiver
from .wire.upgrade import NoUpgrade, upgraded
from .wire.wires import StreamWire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self

    import grpc

    from tarcast.result import Progress, Warning
    from tarcast.write import Cancel

    from .targets import FileTarget
    from .wire.address import TLS
    from .wire.wires import Wire

VIAS = ("auto", "upgrade", "control")

# How often a waiting call looks whether to go on, and tells how far it is, in seconds.
_LOOK_EVERY = 0.1

# What the daemon says of a session that broke comes by another connection, at most so many seconds later.
_LAST_WORDS = 2.0

# How long somebody who presses Ctrl-C, or cancels, waits for what is being written, in seconds.
_SOON = 0.05


def connect(
    address: str,
    *,
    via: str = "auto",
    tls: TLS | None = None,
    id: str | None = None,
    name: str = "",
    shared_key: str = "",
    timeout: float = 10.0,
) -> Client:
    """Open a session with a daemon.

    Args:
        address: "unix:///path/to/socket" or "tcp://host:port".
        via: "upgrade": by an HTTP/1.1 upgrade, as Docker does, which is the faster way; "control": inside the
            control API, as buildctl does, the only way of a plain buildkitd; "auto": the first if the daemon
            can do that, else the second.
        tls: certificates, for tcp; None: none.
        id: the session's; a random one by default.
        name, shared_key: what to say of oneself.
        timeout: for connecting, in seconds.

    Returns:
        A Client, to be closed; a context manager.

    Raises:
        OptionError: an argument makes no sense, gRPC is not installed, or cannot have its private socket
            among the temporary files.
        DaemonError: there is no such daemon, or it refuses the session.
    """
    require_grpc()
    if via not in VIAS:
        raise OptionError(f"via can be {', '.join(VIAS)}, not {via!r}")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 86400:
        raise OptionError(f"timeout must be a number of seconds, not {timeout!r}")
    for what, text in (("name", name), ("shared_key", shared_key)):
        if not isinstance(text, str):
            raise OptionError(f"{what} must be text, not {text!r}")
    if id is not None and not (isinstance(id, str) and is_id(id) and id.isascii()):
        raise OptionError(f"a session cannot have the id {id!r}", hint="give none for a random one")
    where = Address(address)
    if tls is not None and where.path:
        raise OptionError("TLS is for tcp; a Unix socket has its mode", path=address)
    announcement = Announcement(
        secrets.token_hex(16) if id is None else id,
        name=name,
        shared_key=shared_key,
        methods=(FILE_SEND, HEALTH_CHECK),
    )
    return Client(where, announcement, via, tls, timeout)


class Received:
    """What `Client` gives for an archive that has come.

    Attributes:
        bytes_written: its length in bytes; of all files together where there were several.
        response: what the daemon says of the export. `tarcast serve` says "tarcast.entries", ...
        seconds: wall-clock time.
    """

    __slots__ = ("bytes_written", "response", "seconds")

    # What a Result has besides: nothing of the kind is known of an archive from elsewhere.
    bytes_cloned = skipped = dropped = warnings_lost = 0
    warnings: Sequence[Warning] = ()
    digests: Mapping[str, str] = MappingProxyType({})
    output_digests = digests
    compression: str | None = None

    def __init__(self, bytes_written: int, response: Mapping[str, str], seconds: float) -> None:
        self.bytes_written: int = bytes_written
        self.response: dict[str, str] = dict(response)
        self.seconds: float = seconds

    @property
    def output_bytes(self) -> int:
        """The same as `bytes_written`: an archive from elsewhere is written as it comes."""
        return self.bytes_written

    @property
    def entries(self) -> int | None:
        """Entries of the archive, where the daemon tells."""
        text = self.response.get("tarcast.entries", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def __repr__(self) -> str:
        return f"<Received {self.bytes_written} bytes, {self.seconds:.2f} s>"


class Client:
    """An open session, made by `connect`. One export at a time; any thread may close it.

    Attributes:
        id: of the session.
        address: of the daemon.
    """

    def __init__(
        self, address: Address, announcement: Announcement, via: str, tls: TLS | None, timeout: float
    ) -> None:
        grpc = require_grpc()
        self.id: str = announcement.id
        self.address = address
        self._hint = _hint(address, tls)
        self._receiver: Receiver | None = None
        self._exporting = threading.Lock()
        self._ended = threading.Event()
        self._why = ""
        self._closed_here = False
        self._closing = threading.Lock()
        self._pool = ThreadPoolExecutor(thread_name_prefix="tarcast-receive")
        self._server = grpc.server(self._pool, options=SERVER_OPTIONS)
        self._add_services()
        self._channel = _channel(address, tls)
        try:
            wire = self._open(announcement, via, tls, timeout)
            self._relay = serve_on(self._server, wire, self._connection_ended)
        except BaseException:
            self._channel.close()
            self._server.stop(0)
            self._pool.shutdown()
            raise

    def _add_services(self) -> None:
        grpc = require_grpc()
        add_health(self._server)
        _, service, method = FILE_SEND.split("/")
        # No deserializer: a call in which one fails may never end for grpcio's server.
        take = grpc.stream_stream_rpc_method_handler(self._take)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: take}),)
        )

    def _open(self, announcement: Announcement, via: str, tls: TLS | None, timeout: float) -> Wire:
        if via != "control":
            try:
                return upgraded(self.address, announcement, tls, timeout)
            except NoUpgrade as error:
                if via == "upgrade":
                    raise DaemonError(
                        f"the daemon cannot upgrade a connection: {error}",
                        path=self.address.text,
                        step="open session",
                        hint="try via control",
                    ) from error
        wire = StreamWire()
        method: Any = self._channel.stream_stream(SESSION)
        call = method(wire.messages(), metadata=announcement.headers())
        # The daemon speaks first, if it takes the session.
        limit = threading.Timer(timeout, call.cancel)
        limit.start()
        try:
            first = next(call)
        except BaseException as error:
            call.cancel()
            wire.shut()  # gRPC has a thread that waits for its messages
            if isinstance(error, (require_grpc().RpcError, StopIteration)):
                raise self._refused(error, timeout if limit.finished.is_set() else None) from error
            raise
        finally:
            limit.cancel()
            limit.join()
        wire.attach(itertools.chain((first,), call), call.cancel)
        return wire

    @property
    def closed(self) -> bool:
        return self._ended.is_set()

    def export(
        self,
        tree: str,
        target: FileTarget | Mapping[int, FileTarget],
        attrs: Mapping[str, str] | None = None,
        *,
        fsync: bool = False,
        progress: Callable[[Progress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> Received:
        """Have `tarcast serve` export one of its trees.

        Args:
            tree: its name there.
            target: where the archive goes: a path (appears only when the whole export has succeeded), an open
                descriptor, a binary file object, "-", a URL, or a callable that gets the exporter's metadata.
                A mapping of numbers from 0 on to such targets asks for as many archives.
            attrs: for the exporter: "source-date-epoch" and the like.
            fsync: wait until a file is on the disk.
            progress: called about ten times a second with a Progress; entries are not known to the client.
            cancel: ends the export once `cancel.is_set()`.

        Raises:
            OptionError: an argument makes no sense.
            OutputError: the archive cannot be written here.
            DaemonError: the daemon refuses, fails, or went away.
            Cancelled, KeyboardInterrupt: as for `write_tar`.
            After any of them a path has its old content, if any.
        """
        return self._solve(
            {"Frontend": FRONTEND, "FrontendAttrs": {TREE: tree}}, target, attrs, fsync, progress, cancel
        )

    def build(
        self,
        target: FileTarget | Mapping[int, FileTarget],
        definition: bytes = b"",
        *,
        frontend: str = "",
        opts: Mapping[str, str] | None = None,
        attrs: Mapping[str, str] | None = None,
        fsync: bool = False,
        progress: Callable[[Progress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> Received:
        """Have a buildkitd build something and export it with its tar exporter.

        Args:
            target: as for `export`.
            definition: what to build, as LLB: a marshalled `pb.Definition`, which is what programs print for
                `buildctl build` to read. It must need nothing of the client, such as local directories.
            frontend, opts: instead of a definition, a frontend of the daemon and its options, such as
                "dockerfile.v0" with {"context": URL}.
            attrs, fsync, progress, cancel: as for `export`.

        Raises:
            As `export` does.
        """
        if bool(definition) == bool(frontend):
            raise OptionError("a build needs a definition or a frontend, one of both")
        if not isinstance(definition, bytes | bytearray):
            raise OptionError(f"a definition is bytes, not {type(definition).__name__}")
        wanted = {"Definition": bytes(definition), "Frontend": frontend, "FrontendAttrs": dict(opts or {})}
        return self._solve(wanted, target, attrs, fsync, progress, cancel)

    def close(self) -> None:
        """End the session; an export that runs fails. May be called twice."""
        with self._closing:
            self._closed_here = True
            self._relay.stop("the client closed it")
            self._channel.close()
            stopped = self._server.stop(0).wait(_LAST_WORDS)
            self._pool.shutdown(wait=stopped)  # else a target does not return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _connection_ended(self, why: str) -> None:
        self._why = why
        self._ended.set()

    def _take(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        receiver = self._receiver
        if receiver is None:
            context.abort(
                require_grpc().StatusCode.FAILED_PRECONDITION, "this client has not asked for a file"
            )
        return receiver.take(requests, context)

    def _solve(
        self,
        wanted: dict[str, Any],
        target: FileTarget | Mapping[int, FileTarget],
        attrs: Mapping[str, str] | None,
        fsync: bool,
        progress: Callable[[Progress], object] | None,
        cancel: Cancel | None,
    ) -> Received:
        started = time.monotonic()
        meter = Meter(started)
        targets = Targets(target)
        receiver = Receiver(targets, fsync=fsync)
        numbers = targets.ids()
        if numbers != list(range(len(numbers))) or not numbers:
            raise OptionError(f"exporters are numbered from 0 on, not {numbers}")
        if not self._exporting.acquire(blocking=False):
            raise SessionError("this session is busy with another export", hint="open a second one")
        try:
            if self.closed:
                raise self._lost()
            try:
                receiver.prepare()
                self._receiver = receiver
                response = self._ask(
                    self._request(wanted, attrs, len(numbers)), receiver, progress, meter, cancel
                )
                receiver.publish()
            except BaseException as error:
                patience = _LAST_WORDS if isinstance(error, DaemonError) else _SOON
                if not receiver.abandon(patience):
                    self.close()
                    receiver.abandon(_LAST_WORDS)  # a target that does not return has its file itself
                raise
            finally:
                self._receiver = None
        finally:
            self._exporting.release()
        seconds = time.monotonic() - started
        if progress is not None:
            progress(meter.read(None, receiver.bytes_written, done=True))
        return Received(receiver.bytes_written, response, seconds)

    def _request(self, wanted: dict[str, Any], attrs: Mapping[str, str] | None, exporters: int) -> Any:
        types = messages()
        try:
            exporter = types.Exporter(Type="tar", Attrs=dict(attrs or {}))
            return types.SolveRequest(
                Ref=secrets.token_hex(16),
                Session=self.id,
                Exporters=[exporter] * exporters,
                # For daemons before v0.12.
                ExporterDeprecated="tar",
                ExporterAttrsDeprecated=dict(attrs or {}),
                **wanted,
            )
        except (TypeError, ValueError) as error:  # of protobuf: no text, or no Unicode
            raise OptionError(f"this cannot be asked for: {error}") from error

    def _ask(
        self,
        question: Any,
        receiver: Receiver,
        progress: Callable[[Progress], object] | None,
        meter: Meter,
        cancel: Cancel | None,
    ) -> dict[str, str]:
        grpc = require_grpc()
        types = messages()
        solve = self._channel.unary_unary(
            SOLVE,
            request_serializer=types.SolveRequest.SerializeToString,
            response_deserializer=types.SolveResponse.FromString,
        )
        done = threading.Event()
        try:
            call = solve.future(question)
        except ValueError as error:  # another thread has closed the channel
            raise self._lost() from error
        call.add_done_callback(lambda _: done.set())
        last_words: float | None = None
        try:
            while not done.wait(_LOOK_EVERY):
                now = time.monotonic()
                if cancel is not None and cancel.is_set():
                    raise Cancelled("the export was cancelled")
                if self.closed:
                    last_words = last_words or now + _LAST_WORDS
                    if now >= last_words:
                        raise self._lost()
                if progress is not None:
                    progress(meter.read(None, receiver.bytes_written))
            return dict(call.result().ExporterResponse)
        except grpc.RpcError as error:
            if receiver.error is not None:  # ours is the exact one; the daemon only repeats it
                raise receiver.error from error
            raise self._daemon_error(error) from error
        finally:
            call.cancel()

    def _daemon_error(self, error: Any, step: str = "export") -> DaemonError:
        code = error.code()
        details = error.details() or code.name
        if self.closed and code.name in ("UNAVAILABLE", "CANCELLED"):
            return self._lost()
        hint = ""
        if code.name == "UNAVAILABLE":
            details, hint = f"the daemon cannot be reached: {details}", self._hint
        elif code.name == "UNIMPLEMENTED":
            details, hint = f"the daemon does not know how to export: {details}", "is it one of BuildKit's?"
        made = DaemonError(details, path=self.address.text, step=step, hint=hint)
        made.code = code.name
        return made

    def _refused(self, error: Any, waited: float | None) -> DaemonError:
        """Why the daemon did not take the session."""
        step = "open session"
        if waited is not None:
            return DaemonError(f"no answer within {waited:g} s", path=self.address.text, step=step)
        if isinstance(error, StopIteration):
            return DaemonError("the daemon closed the session at once", path=self.address.text, step=step)
        return self._daemon_error(error, step)

    def _lost(self) -> DaemonError:
        return DaemonError(
            f"session {self.id} has ended: {self._why}",
            path=self.address.text,
            step="export",
            hint="" if self._closed_here else "does the daemon still run?",
        )


def _hint(address: Address, tls: TLS | None) -> str:
    """What to look at where gRPC gets no connection, and does not tell why."""
    if address.path:
        return "is the daemon running?"
    if tls is None:
        return "is the daemon running, and does it want TLS?"
    return "is the daemon running, does it speak TLS, does it take this certificate?"


def _channel(address: Address, tls: TLS | None) -> Any:
    grpc = require_grpc()
    options: list[tuple[str, Any]] = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
    options += LARGE_MESSAGES
    if address.path:
        options.append(("grpc.default_authority", "localhost"))
    if tls is None or address.path:
        return grpc.insecure_channel(address.grpc_target, options=options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(address.grpc_target, tls.credentials(), options=options)
