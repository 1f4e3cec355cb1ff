"""Digests of a stream, each computed by a thread of its own beside whoever writes it."""

from __future__ import annotations

import os

from .errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Views that wait to be hashed; with what an export hands over at a time, a few MiB.
_WAITING = 8


class Digests:
    """The digests of everything that `update` sees, by name of algorithm.

    A view is copied, which is quick, and hashed while the caller goes on; at most eight wait.

    Args:
        names: what hashlib knows; one name alone may be a string.
        threaded: False computes in `update` itself.

    Raises:
        OptionError: a name is unknown, or its digest has no length of its own.
    """

    def __init__(self, names: Iterable[str], *, threaded: bool = True) -> None:
        self._hashes = _make_hashes(names)
        self._threaded = threaded
        self._lanes: list[_Lane] = []

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def another(self) -> Digests:
        """The same algorithms for another stream."""
        return Digests(tuple(self._hashes), threaded=self._threaded)

    def update(self, view: memoryview) -> None:
        """Take the next bytes; the view may change afterwards."""
        if not self._threaded:
            for h in self._hashes.values():
                h.update(view)
            return
        while len(self._lanes) < len(self._hashes):
            lane = _Lane(list(self._hashes.values())[len(self._lanes)])
            self._lanes.append(lane)  # before it starts: Ctrl-C may come in between
            lane.start()
        data = bytes(view)
        for lane in self._lanes:
            lane.put(data)

    def hexdigests(self) -> dict[str, str]:
        """Of all bytes so far; nothing comes behind them."""
        self.close()
        return {name: h.hexdigest() for name, h in self._hashes.items()}

    def close(self) -> None:
        """End the threads; at any time, and as often as one likes."""
        while self._lanes:
            self._lanes[-1].close()
            self._lanes.pop()


class _Lane:
    """One hash and its thread."""

    def __init__(self, h: Any) -> None:
        import queue
        import threading

        self._hash = h
        self._views: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._work, name="tarcast-digest", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, data: bytes) -> None:
        self._views.put(data)

    def close(self) -> None:
        if self._process == os.getpid():  # in the child of a fork the thread is not there
            self._views.put(None)  # also for one that only starts now
            if self._thread.ident is not None:
                self._thread.join()

    def _work(self) -> None:
        while (data := self._views.get()) is not None:
            self._hash.update(data)


def _make_hashes(names: Iterable[str]) -> dict[str, Any]:
    if isinstance(names, str):
        names = (names,)
    elif not hasattr(names, "__iter__"):
        raise OptionError(f"digest must be names of algorithms, not {names!r}")
    hashes: dict[str, Any] = {}
    for name in names:
        import hashlib

        try:
            hashes[name] = hashlib.new(name, usedforsecurity=False)
        except (ValueError, TypeError):
            known = ", ".join(sorted(n for n in hashlib.algorithms_guaranteed if not n.startswith("shake")))
            raise OptionError(f"unknown digest {name!r}", hint=f"one of {known}") from None
        if not hashes[name].digest_size:
            raise OptionError(f"digest {name!r} has no length of its own")
    return hashes
