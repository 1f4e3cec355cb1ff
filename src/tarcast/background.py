"""`BackgroundExport`: one export in a thread of its own, for those who take its bytes piece by piece."""

from __future__ import annotations

import atexit
import contextlib
import io
import threading
import time
import weakref

from .errors import Cancelled, InputError, OptionError
from .handoff import Handoff
from .patterns import compile_patterns
from .roots import name_trees
from .write import write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .handoff import Piece
    from .options import Options
    from .result import Result
    from .roots import Trees


# How long a thread may take to begin, in seconds, where nobody knows whether it will.
_START_SECONDS = 0.1


class BackgroundExport:
    """What an iterator knows of its export. The exporting thread knows nothing of the iterator.

    So an iterator that nobody wants any more can be collected, and its destructor ends the export.

    Args:
        trees, options: as for `write_tar`.
        chunk_size, copy: see `iter_tar`.

    Raises:
        OptionError: an argument makes no sense. Nothing was opened, no thread started.

    Attributes:
        handoff: where the pieces come from.
        result: once all was taken.
    """

    def __init__(self, trees: Trees, chunk_size: int, copy: bool, options: Options) -> None:
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
            raise OptionError(f"chunk_size must be a number of bytes from 1 up, not {chunk_size!r}")
        if not isinstance(copy, bool):
            raise OptionError(f"copy must be True or False, not {copy!r}")
        if hasattr(options.get("digest"), "__next__"):
            options["digest"] = tuple(options["digest"])  # it is looked at twice
        _check(trees, options)
        self.handoff: Handoff = Handoff(options.get("cancel"), ahead=copy)
        options["cancel"] = self.handoff
        self.result: Result | None = None
        self._trees = trees
        self._sink = _PieceSink(self.handoff, chunk_size, copy)
        self._options = options
        self._lent: memoryview | None = None
        self._over = False
        self._lock = threading.RLock()  # around the start
        self._thread: threading.Thread | None = None

    def begin_step(self) -> bool:
        """Give back the last piece, and have the thread started. False: there is nothing more.

        Raises:
            Cancelled: the export is that of a process of which this is a fork.
            InputError: no thread can be started.
        """
        self._give_back()
        if self._over:
            return False
        if self.handoff.forked:
            self._over = True
            raise Cancelled(
                "the export runs in the process that made this iterator, and this is a fork of it"
            )
        with self._lock:
            if self._over:  # since it was looked at, and then nobody would ever say that there is nothing
                return False
            if self._thread is None:
                self._thread = self._start()
        return True

    def _start(self) -> threading.Thread:
        thread = threading.Thread(
            target=_run,
            args=(self.handoff, self._trees, self._sink, self._options),
            name="tarcast-iterate",
            daemon=True,  # one that is forgotten must not keep the interpreter from ending
        )
        _RUNNING[thread] = self.handoff
        try:
            thread.start()
        except RuntimeError as error:
            raise InputError(
                str(error), step="start thread", hint="raise the limit of processes (ulimit -u)"
            ) from error
        except BaseException:  # Ctrl-C while it starts, and perhaps it does
            self.handoff.close()
            deadline = time.monotonic() + _START_SECONDS
            while thread.ident is None and time.monotonic() < deadline:
                time.sleep(0.001)
            with contextlib.suppress(RuntimeError):  # it does not
                thread.join()
            raise
        return thread

    def taken(self, piece: Piece) -> Piece:
        """A piece that the consumer gets now; one with memory of its own need not be given back."""
        if isinstance(piece, memoryview):
            self._lent = piece
        else:
            self.handoff.give_back()
        return piece

    def finish(self) -> None:
        """END was taken: have the result, or raise what went wrong; for one taker, if there are several."""
        self._over = True
        self.join()
        failure, self.handoff.failure = self.handoff.failure, None
        if self.handoff.closed:
            return  # by somebody else
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # which has this frame
        self.result = self.handoff.result

    def abandon(self) -> None:
        """Nothing more is wanted: the thread ends soon."""
        with self._lock:
            self._over = True
        self._give_back()
        self.handoff.close()

    def _give_back(self) -> None:
        lent, self._lent = self._lent, None
        if lent is not None:
            with contextlib.suppress(BufferError):  # something still reads it; then its memory stays
                lent.release()
            self.handoff.give_back()

    @property
    def running(self) -> bool:
        """May the thread still be there?"""
        if self.handoff.forked:
            return False
        with self._lock:
            return self._thread is not None and self._thread is not threading.current_thread()

    def join(self) -> None:
        """Return when the thread has ended, unless this is it."""
        if self.running and self._thread is not None:
            self._thread.join()


def _run(handoff: Handoff, trees: Trees, sink: _PieceSink, options: Options) -> None:
    """The life of the exporting thread."""
    try:
        handoff.result = write_tar(trees, sink, **options)
    except BaseException as error:
        if not handoff.closed:  # else nobody asks for it, and what it has of frames and buffers has it
            handoff.failure = error
    finally:
        # The failure's frames have this thread, so as a value here it would keep its own key alive.
        _RUNNING.pop(threading.current_thread(), None)
        handoff.end()


class _PieceSink:
    """A sink for `write_tar` that offers what it gets: in `bytes` of `size`, or as views of at most that."""

    name = "the iterator"
    fd = -1

    def __init__(self, handoff: Handoff, size: int, copy: bool) -> None:
        self.write: Callable[[memoryview], None] | None = self._copy if copy else self._lend
        self.outputs: list[tuple[int, int]] = []
        self._handoff = handoff
        self._size = size
        self._begun = io.BytesIO()
        self._left = size

    def open(self) -> None:
        pass

    def _lend(self, view: memoryview) -> None:
        # Never the view itself, which the core releases: who has a part of it, however the export ends, keeps
        # the memory.
        for at in range(0, len(view), self._size):
            self._handoff.offer(view[at : at + self._size])

    def _copy(self, view: memoryview) -> None:
        self._handoff.look()  # a chunk may be long in the making
        at = 0
        while len(view) - at >= self._left:
            end = at + self._left
            self._begun.write(view[at:end])
            at = end
            self._offer_begun()
        self._left -= self._begun.write(view[at:])

    def _offer_begun(self) -> None:
        piece = self._begun.getvalue()  # its buffer, not a copy
        self._begun = io.BytesIO()
        self._left = self._size
        self._handoff.offer(piece)

    def commit(self) -> None:
        if self._left < self._size:
            self._offer_begun()

    def abort(self) -> None:
        pass


class _Checked(Exception):
    """All arguments of `write_tar` make sense."""


class _CheckOnly:
    """A sink for which `write_tar` looks at its arguments and does nothing."""

    name = ""
    fd = -1
    write: Callable[[memoryview], None] | None = None
    outputs: list[tuple[int, int]] = []  # noqa: RUF012

    def checked(self) -> None:
        raise _Checked

    def open(self) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


def _check(trees: Trees, options: Any) -> None:
    """Raises OptionError where `write_tar` would, before it opens anything."""
    with contextlib.suppress(_Checked):
        write_tar(trees, _CheckOnly(), **options)
    for _, tree in name_trees(trees):
        compile_patterns(tree.include, what="include")
        compile_patterns(tree.exclude, what="exclude")


_RUNNING: weakref.WeakKeyDictionary[threading.Thread, Handoff] = weakref.WeakKeyDictionary()

# How long the interpreter waits at its end for an export that is stuck in the kernel, in seconds.
_END_SECONDS = 5.0


@atexit.register
def _end_all() -> None:
    for thread, handoff in list(_RUNNING.items()):
        if not handoff.forked and thread.is_alive():
            handoff.close()
            thread.join(_END_SECONDS)
