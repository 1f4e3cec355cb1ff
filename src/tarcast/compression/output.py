"""Writing to a descriptor from Python: whole, and never blocked for long where that can be helped."""

from __future__ import annotations

import errno
import os
import select
import stat

from ..errors import OutputError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_EVERY = 0.04
# A write to a slow device is not interrupted by a cancel, so it must not be long.
_MOST = 1048576
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class DescriptorOutput:
    """Writes to `fd` at its position; `on_wait` is called about every 40 ms while a reader is slow."""

    def __init__(self, fd: int, name: str, on_wait: Callable[[], object]) -> None:
        self._fd = fd
        self._name = name
        self._on_wait = on_wait
        mode = os.fstat(fd).st_mode
        # Asked with each write, because the flags of a descriptor belong to whoever else has it.
        self._patient = bool(_NOWAIT) and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))

    def write(self, view: memoryview) -> None:
        """Write all of it.

        Raises:
            OutputError: that failed.
            What `on_wait` raises.
        """
        while view:
            try:
                taken = self._some(view[:_MOST])
            except BlockingIOError:
                self._on_wait()
                select.select([], [self._fd], [], _LOOK_EVERY)
                continue
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP and self._patient:
                    self._patient = False
                    continue
                raise os_error(OutputError, error, path=self._name, step="write") from error
            view = view[taken:]

    def _some(self, view: memoryview) -> int:
        if self._patient:
            return os.pwritev(self._fd, [view], -1, _NOWAIT)
        return os.write(self._fd, view)
