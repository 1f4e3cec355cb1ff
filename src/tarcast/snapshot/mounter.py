"""`LocalMounter`: from what a reference says to a directory that can be read, and back."""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from tarcast.cleanup import Cleanup
from tarcast.errors import InputError, OptionError, os_error

from . import detached, namespace, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from tarcast._core.descriptor import Descriptor

    from .mount import Mount
    from .references import Mountable


class LocalMounter:
    """Mounts what a Mountable says, for this process.

    A single read-write bind is used where it is. Anything else is mounted: attached nowhere, so that
    only this process sees it and nothing can be left of it, where the kernel can do that (Linux 5.12,
    overlays 6.13); else on a private directory in the temporary directory. Without the privilege to
    mount, a user namespace is tried, which can do binds and overlays.

    Args:
        mountable: what is to be mounted.
        visible: True always takes a directory, which other processes see too; False never does; None
            prefers not to.

    `mount` and `unmount` may be called from any thread.
    """

    def __init__(self, mountable: Mountable, *, visible: bool | None = None) -> None:
        self._mountable = mountable
        self._visible = visible
        self._lock = threading.Lock()
        self._path: str | None = None
        self._root: Descriptor | None = None
        self._directory: str | None = None
        self._mounted = 0
        self._asked = False

    @property
    def fd(self) -> int:
        """Descriptor of the mount's root, good for openat(2) and the like; -1 where there is but a path."""
        return -1 if self._root is None else self._root.fileno()

    def mount(self) -> str:
        """Mount, if that was not done yet, and give the path: one that is good in this process.

        Raises:
            InputError: it cannot be mounted; the message says what is missing. Nothing is left.
            OptionError: the mounts make no sense.
        """
        with self._lock:
            if self._path is None:
                try:
                    self._path = self._mount()
                except BaseException as error:
                    self._undo(error)
                    raise
            return self._path

    def unmount(self) -> None:
        """Detach what was mounted, remove the directory, release the mountable. Harmless when that was done.

        Raises:
            CleanupError: a part of that failed; the rest was done. Another call tries again.
        """
        with self._lock:
            self._path = None
            self._undo(None)

    def _mount(self) -> str:
        self._asked = True  # from here on there is something to release
        mounts = list(self._mountable.mounts())
        if not mounts:
            raise OptionError("there is nothing to mount", step="mount")
        if namespace.inside():
            mounts = [namespace.user_options(mount) for mount in mounts]
        if len(mounts) == 1 and mounts[0].is_bind and not mounts[0].readonly and not self._visible:
            return mounts[0].source
        if len(mounts) == 1 and not self._visible:
            try:
                self._root = detached.attach(mounts[0])
                return f"/proc/self/fd/{self._root.fileno()}"
            except detached.Unsupported as error:
                if self._visible is False:
                    raise InputError(
                        "this kernel has no detached mount of this kind",
                        path=mounts[0].source,
                        step="mount",
                        hint="use visible=None",
                    ) from error
        elif self._visible is False:
            raise OptionError("several mounts on top of each other are always visible", step="mount")
        return self._on_directory(mounts)

    def _on_directory(self, mounts: Sequence[Mount]) -> str:
        import tempfile  # not always needed, and slow to import

        # Both are known to `_undo` before they are true: Ctrl-C may come right behind each call.
        self._directory = os.path.join(tempfile.gettempdir(), f"tarcast-mount-{os.urandom(8).hex()}")
        try:
            os.mkdir(self._directory, 0o700)
        except OSError as error:
            raise os_error(
                InputError,
                error,
                path=self._directory,
                step="make a directory to mount on",
                hint="set TMPDIR",
            ) from error
        self._mounted = len(mounts)
        try:
            visible.attach(mounts, self._directory)
        except InputError as error:
            if error.errno == errno.EPERM:
                error.hint = (
                    "mounting on a directory needs CAP_SYS_ADMIN: run as root, or by "
                    "'unshare --user --map-root-user --mount'"
                )
            raise
        return self._directory

    def _undo(self, error: BaseException | None) -> None:
        steps = Cleanup()
        steps.push("release the reference", self._release)
        steps.push("remove the mount's directory", self._remove)
        steps.push("unmount", self._detach)
        steps.run(error)

    def _detach(self) -> None:
        if self._root is not None:
            self._root.close()
            self._root = None
        if self._directory is not None and self._mounted:
            visible.detach(self._directory, self._mounted)
            self._mounted = 0

    def _remove(self) -> None:
        # rmdir and nothing more: if the mount is still there, its files are not ours to remove.
        if self._directory is not None and not self._mounted:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(self._directory)
            self._directory = None

    def _release(self) -> None:
        if self._asked:
            self._asked = False
            self._mountable.release()

    def __enter__(self) -> str:
        return self.mount()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._path = None
            self._undo(error)
