"""`Relay`: moves the bytes between gRPC's private socket and the wire."""

from __future__ import annotations

import threading

from tarcast._core.pump import Pump

from .wires import PIECE, buffer, large_buffers, shut

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .wires import Wire

# How `Relay.ended` says that it was this side.
GAVE_UP = "gRPC gave its connection up"


class Relay:
    """Two threads, one for each direction, that end together: HTTP/2 has no half of a connection.

    Args:
        inner: the private socket; this owns it, and the wire.
        wire: the other side.
        on_end: called once, by one of the threads, with what ended it, before gRPC can notice.

    Attributes:
        ended: why it ended, or None.
    """

    def __init__(self, inner: socket.socket, wire: Wire, on_end: Callable[[str], None]) -> None:
        inner.settimeout(None)
        large_buffers(inner)
        self.ended: str | None = None
        self._read = 0
        self._pump = Pump()
        self._inner = inner
        self._wire = wire
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running = 2
        self._threads = [
            threading.Thread(target=self._run, args=(move,), name="tarcast-relay", daemon=True)
            for move in (self._outwards, self._inwards)
        ]

    @property
    def moved(self) -> int:
        """Bytes that came from the wire: while it grows the other side lives.

        (That the wire takes bytes says nothing: the kernel takes some for a process that is stopped.)
        """
        return self._read + self._pump.moved

    def start(self) -> None:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException as error:  # there may be too many
            for thread in self._threads:
                if thread.ident is None:
                    self._over()
            self.stop(str(error))
            raise

    def stop(self, why: str = "it was closed here") -> None:
        """End it, and return when both threads have, unless one of them calls this."""
        self._end(why)
        # Whoever is told of the end may come here before it is carried out.
        self._wire.shut()
        shut(self._inner)
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join()

    def join(self, timeout: float) -> None:
        """Wait until it has ended by itself, at most `timeout` seconds."""
        for thread in self._threads:
            thread.join(timeout)

    def _run(self, move: Callable[[], str]) -> None:
        try:
            why = move()
        except OSError as error:
            why = f"its connection broke: {error.strerror or error}"
        self._end(why)
        self._over()

    def _over(self) -> None:
        with self._lock:
            self._running -= 1
            last = not self._running
        if last:
            self._wire.close()
            self._inner.close()

    def _end(self, why: str) -> None:
        with self._lock:
            if self.ended is not None:
                return
            self.ended = why
        self._wire.shut(why)
        try:
            self._on_end(why)
        finally:
            shut(self._inner)

    def _outwards(self) -> str:
        if (plain := self._wire.fileno()) >= 0:
            Pump().run(self._inner.fileno(), plain)
        else:
            view = buffer(PIECE)
            while size := self._inner.recv_into(view):
                self._wire.send(view[:size])
        return GAVE_UP

    def _inwards(self) -> str:
        if (plain := self._wire.fileno()) >= 0:
            if ahead := self._wire.ahead():
                self._read += len(ahead)
                self._inner.sendall(ahead)
            self._pump.run(plain, self._inner.fileno())
        else:
            while data := self._wire.receive():
                self._read += len(data)
                self._inner.sendall(data)
        return "the other side closed the connection"
