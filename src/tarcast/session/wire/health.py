"""Is the client still there? Asked every few seconds, as BuildKit does (session/grpc.go)."""

from __future__ import annotations

import threading
import time

from .library import require_grpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import grpc

EVERY = 5.0
LIMIT = 15.0
FAILURES = 2

# What a late answer may count for: else a client that is busy for long could then be dead for long.
MOST = 60.0


class HealthWatch:
    """A thread that asks a client whether it lives, until it does not answer.

    A question that is not answered in time says nothing while something comes from the client, such as word
    that it has taken more of a file: a busy client, or a slow connection, is not a dead one.

    Args:
        channel: to the client.
        moved: how many bytes have come from the client.
        give_up: called once with the reason when the client is taken for dead.
        timeout: the client's own wish: how often to ask, how long to wait, and then one failure is enough,
            in seconds; None: every 5 s, 15 s or one and a half times what the last answer took, and two.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        moved: Callable[[], int],
        give_up: Callable[[str], None],
        timeout: float | None = None,
    ) -> None:
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        self._question = health_pb2.HealthCheckRequest()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        self._check = stub.Check
        self._moved = moved
        self._give_up = give_up
        self._every, self._limit, self._failures = (
            (EVERY, LIMIT, FAILURES) if timeout is None else (timeout, timeout, 1)
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tarcast-health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. The channel is closed first, so that a question under way ends."""
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        grpc = require_grpc()
        failures = 0
        last = 0.0
        while not self._stopped.wait(self._every):
            before = self._moved()
            begun = time.monotonic()
            try:
                self._check(self._question, timeout=max(self._limit, last * 1.5))
                failures = 0
            except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed
                if self._stopped.is_set():
                    return
                code = error.code() if isinstance(error, grpc.RpcError) else None
                busy = code is grpc.StatusCode.DEADLINE_EXCEEDED and self._moved() != before
                if code is grpc.StatusCode.UNIMPLEMENTED or busy:  # it has no such service, but it answers
                    failures = 0
                else:
                    failures += 1
                if failures >= self._failures:
                    told = "" if code is None else f": {code.name}"
                    self._give_up(f"it did not answer {failures} health check{'s' * (failures > 1)}{told}")
                    return
            last = min(time.monotonic() - begun, MOST)
