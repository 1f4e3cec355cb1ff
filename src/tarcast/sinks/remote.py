"""A URL, by way of fsspec: s3://, gs://, memory://, ssh:// and what else its back ends know."""

from __future__ import annotations

import contextlib

from ..errors import OptionError, OutputError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class RemoteSink:
    """Writes to a URL; the object appears only on `commit` where the back end can do that.

    Args:
        url: anything fsspec opens for writing.

    Raises:
        OptionError: fsspec, or the package of this back end, is not installed,
            or nobody knows the protocol.
    """

    fd = -1

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise OptionError(
                "writing to a URL needs fsspec", path=url, hint="pip install 'tarcast[remote]'"
            ) from error
        self.name = url
        self.write: Callable[[memoryview], None] | None = self._write
        self.outputs: list[tuple[int, int]] = []
        self._file: Any = None
        try:
            # An instance of our own: fsspec shares them, and the transaction is for this file alone.
            self._fs, self._path = fsspec.core.url_to_fs(url, skip_instance_cache=True)
        except ImportError as error:
            raise OptionError(str(error), path=url, hint="pip install what it names") from error
        except ValueError as error:
            raise OptionError(str(error), path=url) from error
        except OSError as error:
            raise os_error(OutputError, error, path=url, step="open output") from error

    def open(self) -> None:
        try:
            # For some back ends (memory://) autocommit=False is not enough to hold the object back.
            self._fs.start_transaction()
            self._file = self._fs.open(self._path, "wb")
        except OSError as error:
            raise os_error(OutputError, error, path=self.name, step="open output") from error

    def _write(self, view: memoryview) -> None:
        try:
            self._file.write(view)
        except OSError as error:
            raise os_error(OutputError, error, path=self.name, step="write") from error

    def commit(self) -> None:
        try:
            self._file.close()
            if hasattr(self._file, "commit"):
                self._file.commit()
        except OSError as error:
            self.abort()
            raise os_error(OutputError, error, path=self.name, step="finish output") from error
        except BaseException:  # back ends raise what they like
            self.abort()
            raise
        self._file = None

    def abort(self) -> None:
        """Give up what was uploaded; a back end that cannot is asked to remove the object."""
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(Exception):
            file.discard()
        with contextlib.suppress(Exception):
            file.close()
        if not hasattr(file, "discard"):
            with contextlib.suppress(Exception):
                self._fs.rm_file(self._path)
