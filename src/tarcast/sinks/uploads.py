"""How a file gets to the back ends of fsspec, all but S3 (see `multipart`): whole, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Back ends whose files appear when they are closed or committed, and not before.
AT_CLOSE = frozenset({"memory", "gs", "gcs", "az", "abfs", "abfss"})

# How much is given to a file system at once: each call is a round trip or more.
_BLOCK = 1 << 20
_CLOSE_SECONDS = 2.0

_MAYBE = "the archive may be under its name, and is whole then"


class TransactionUpload:
    """For back ends that publish a file at its end.

    The file is opened in a transaction, since some (memory://, gs://) hold back only what belongs to one.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path
        self._file: Any = None
        self._cut = False

    @property
    def remains(self) -> str:
        """What a failed `abort` leaves, for people."""
        return _MAYBE if self._cut else ""

    def open(self) -> None:
        self._fs.start_transaction()
        self._file = self._fs.open(self._path, "wb")

    def write(self, view: memoryview) -> None:
        self._file.write(view)

    def commit(self) -> None:
        try:
            self._file.close()
            if hasattr(self._file, "commit"):
                self._file.commit()
        except Exception:
            raise
        except BaseException:  # Ctrl-C: the request goes on without us
            self._cut = True
            raise
        self._file = None

    def abort(self) -> None:
        """Discard the file and do not close it: that would publish what there is.

        Raises what the back end says, and OSError if the last request was cut short.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.discard()
        finally:
            # adlfs would close it when it is collected. Those of memory:// are never closed.
            with contextlib.suppress(AttributeError):
                file.closed = True
        if self._cut:
            raise OSError("the last request was cut short")


class RenamedUpload:
    """For file systems: a temporary name in the same directory, then `mv`.

    Where `mv` is a rename (sftp, smb, HDFS) that is one step; others copy, and may then be seen at it.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path
        directory, slash, name = path.rpartition("/")
        self._temporary = f"{directory}{slash}.tarcast-{os.urandom(8).hex()}.tmp"
        self._named = bool(name)
        self._file: Any = None
        self._block = bytearray()
        self._exists = False
        self._moving = False

    @property
    def remains(self) -> str:
        """What a failed `abort` leaves, for people."""
        if self._exists:
            return f"remove {self._temporary} there"
        return _MAYBE if self._moving else ""

    def open(self) -> None:
        if not self._named or self._fs.isdir(self._path):
            raise IsADirectoryError(f"{self._path!r} is a directory")
        self._exists = True
        self._file = self._fs.open(self._temporary, "wb")
        if hasattr(self._file, "set_pipelined"):  # paramiko waits for an answer to every 32 KiB without it
            self._file.set_pipelined(True)

    def write(self, view: memoryview) -> None:
        self._block += view
        if len(self._block) >= _BLOCK:
            self._pass_on()

    def _pass_on(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._file.write(block)

    def commit(self) -> None:
        if self._block:
            self._pass_on()
        self._file.close()
        self._moving = True
        self._fs.mv(self._temporary, self._path)
        self._exists = self._moving = False
        self._file = None
        self._disconnect()

    def abort(self) -> None:
        """Remove the file. Raises what the back end says, and OSError if it may have its final name."""
        file, self._file = self._file, None
        self._block.clear()
        try:
            if file is not None:
                with contextlib.suppress(Exception):
                    file.close()
            if self._exists:
                try:
                    self._fs.rm(self._temporary)
                except FileNotFoundError:  # it could not even be opened, or it was renamed
                    if self._moving:
                        self._exists = False
                        raise OSError(f"there is no {self._temporary} any more") from None
                self._exists = self._moving = False
        finally:
            self._disconnect()

    def _disconnect(self) -> None:
        """End the connection, which is this upload's alone; the back ends themselves leave that to chance."""
        fs, self._fs = self._fs, None
        if type(fs).__module__.startswith(("fsspec.implementations.sftp", "sshfs")):
            with contextlib.suppress(Exception):
                if fs.async_impl:
                    asyncio.run_coroutine_threadsafe(_close(fs.client), fs.loop).result(_CLOSE_SECONDS)
                else:
                    fs.client.close()


async def _close(client: Any) -> None:
    client.close()
    await client.wait_closed()
