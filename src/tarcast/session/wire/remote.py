"""`RemoteSession`: a client on the other side of a wire, as the daemon sees it."""

from __future__ import annotations

import threading

from tarcast.errors import OptionError, SessionError
from tarcast.session.manager import FILE_SEND

from .health import HealthWatch
from .private import open_channel
from .sending import StreamSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tarcast.session.manager import SessionManager
    from tarcast.sinks import Sink
    from tarcast.write import Cancel

    from .announce import Announcement
    from .relay import Relay
    from .wires import Wire

_EXPORTER_ID = "buildkit-attachable-exporter-id"
_METADATA = "exporter-md-"


class RemoteSession:
    """A session over a wire, known to the manager until either side ends it or the client is taken for dead.

    Args:
        manager: gets to know it once the client answers.
        wire: its client has begun to serve; this owns it, also after a failure.
        announcement: what the client said of itself.

    Raises:
        SessionError: a living session has this id, or the client does not speak HTTP/2.

    Attributes:
        id, name, shared_key: as the client says.
        ended_because: why it ended, or "".
    """

    def __init__(self, manager: SessionManager, wire: Wire, announcement: Announcement) -> None:
        self.id: str = announcement.id
        self.name: str = announcement.name
        self.shared_key: str = announcement.shared_key
        self.ended_because: str = ""
        self._methods = announcement.methods
        self._manager = manager
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._ending = False
        self._closed = threading.Event()
        self._gone = threading.Event()
        self._channel: Any = None
        self._relay: Relay | None = None
        self._watch: HealthWatch | None = None
        channel, relay = open_channel(wire, self._end)
        with self._lock:
            if not self._ending:
                self._channel, self._relay = channel, relay
                self._watch = HealthWatch(
                    channel, lambda: relay.moved, self._end, announcement.health_timeout
                )
        try:
            if self._watch is None:
                channel.close()
                relay.stop()
                raise SessionError(f"session {self.id} ended at once: {self.ended_because}")
            manager.add(self)
        except BaseException as error:
            self._end(str(error))
            raise
        self._watch.start()
        if self.closed:  # it ended before the manager knew it
            self._watch.stop()
            manager.remove(self)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Whether it has ended, waiting at most `timeout` seconds for that."""
        return self._closed.wait(timeout)

    def supports(self, method: str) -> bool:
        return method.lower() in self._methods

    def send_file(self, exporter_id: int, metadata: Mapping[str, str], cancel: Cancel | None = None) -> Sink:
        headers = [(_EXPORTER_ID, str(exporter_id))]
        for key, value in metadata.items():
            if not (value.isascii() and value.isprintable() and key.isascii() and key.isprintable()):
                raise OptionError(f"metadata {key!r} must be printable ASCII, not {value!r}")
            headers.append((_METADATA + key.lower(), value))
        method: Any = self._channel.stream_stream(FILE_SEND)
        return StreamSink(
            self,
            exporter_id,
            lambda messages: method(messages, metadata=headers),
            cancel,
        )

    def take(self, exporter_id: int) -> None:
        """For its sinks: nobody else may send a file to that exporter before `free`.

        Raises:
            SessionError: somebody does.
        """
        with self._lock:
            if exporter_id in self._busy:
                raise SessionError(
                    f"exporter {exporter_id} of session {self.id} is taking another file",
                    step="open file to client",
                    hint="wait for its end, or give each export an exporter of its own",
                )
            self._busy.add(exporter_id)

    def free(self, exporter_id: int) -> None:
        with self._lock:
            self._busy.discard(exporter_id)

    def close(self) -> None:
        """End the session and return when nothing of it runs any more; exports to it fail."""
        self._end("it was closed by the daemon")
        self._gone.wait()

    def _end(self, why: str) -> None:
        # By any thread, also the session's own; whoever comes second has nothing to do, and does not wait.
        with self._lock:
            if self._ending:
                return
            self._ending = True
            channel, relay, watch = self._channel, self._relay, self._watch
        self.ended_because = why
        self._closed.set()
        self._manager.remove(self)
        if relay is not None and watch is not None:  # else it is being opened, and that cleans up itself
            channel.close()
            relay.stop(why)
            watch.stop()
        self._gone.set()
