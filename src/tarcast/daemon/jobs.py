"""How far each request is, for whoever asks for its status."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from tarcast.progress import MultiReader, pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarcast.progress import Reader, Writer

# How many requests that are over can still be asked for.
_KEPT = 256


class Job:
    """One request.

    Attributes:
        name: what it does, in words.
        digest: stands for it in status reports, as a vertex' digest does.
        writer: where its progress goes; closing it ends the readers.
        error: what it failed with, or None.
    """

    def __init__(self, ref: str, name: str) -> None:
        reader, writer = pipe()
        self.writer: Writer = writer
        self._readers = MultiReader(reader)
        self.name: str = name
        self.digest: str = f"sha256:{hashlib.sha256(ref.encode(errors='surrogateescape')).hexdigest()}"
        self.error: str | None = None

    def reader(self) -> Reader:
        return self._readers.reader()


class Jobs:
    """The requests there are and were, by the names that clients gave them."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._changed = threading.Condition()

    def begin(self, ref: str, name: str) -> Job:
        """A new one; a client that uses a name twice gets the newer one's status."""
        job = Job(ref, name)
        with self._changed:
            self._jobs.pop(ref, None)
            self._jobs[ref] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
            self._changed.notify_all()
        return job

    def find(self, ref: str, timeout: float) -> Job | None:
        """That request, waiting for it to begin for at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: ref in self._jobs, timeout)
            return self._jobs.get(ref)
