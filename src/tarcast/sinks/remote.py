"""A URL, by way of fsspec: s3://, gs://, memory://, ssh:// and what else its back ends know."""

from __future__ import annotations

from ..errors import OptionError, OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    class Upload(Protocol):
        """One way to get a file to a back end; these raise what the back end raises."""

        def open(self) -> None: ...
        def write(self, view: memoryview) -> None: ...
        def commit(self) -> None: ...
        def abort(self) -> None: ...


# What to install for a protocol, where it is not what fsspec itself says.
_PACKAGES = {
    "s3": "'tarcast[s3]'",
    "s3a": "'tarcast[s3]'",
    "ssh": "'tarcast[ssh]'",
    "sftp": "'tarcast[ssh]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "smb": "smbprotocol",
}

_HINTS = (
    ("PermissionError", "see what these credentials may do"),
    ("FileNotFoundError", "create the bucket or the directory first"),
    ("NoCredentialsError", "give some, in the environment or as storage_options"),
    ("EndpointConnectionError", "can the endpoint be reached?"),
    ("ConnectTimeoutError", "can the endpoint be reached?"),
)


class RemoteSink:
    """Writes to a URL; what was there before stays until `commit`, and after any failure.

    docs/storage.md says what each back end guarantees. Whatever a back end raises becomes an OutputError with
    its words.

    Args:
        url: anything fsspec opens for writing.
        storage_options: for the back end, as in fsspec: credentials, endpoint, ...

    Raises:
        OptionError: fsspec, or the package of this back end, is not installed, nobody knows the
            protocol, or the back end does not know an option.
    """

    fd = -1
    # Called every 40 ms while a back end is waited for, by those that can; what it raises ends the wait.
    while_waiting: Callable[[], object] | None = None

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise OptionError(
                "writing to a URL needs fsspec", path=url, hint="pip install 'tarcast[remote]'"
            ) from error
        self.name = url
        self.write: Callable[[memoryview], None] | None = self._write
        self.outputs: list[tuple[int, int]] = []
        self.left: OutputError | None = None
        self._options = dict(storage_options or {})
        self._upload: Upload | None = None
        self._stopped: BaseException | None = None
        self._protocol = url.partition("://")[0].partition("::")[0]
        try:
            self._kind = fsspec.get_filesystem_class(self._protocol)
        except (ImportError, ValueError) as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> OptionError:
        hint = ""
        if isinstance(error, ImportError):
            package = _PACKAGES.get(self._protocol)
            hint = f"pip install {package}" if package else "pip install what it names"
        return OptionError(str(error), path=self.name, hint=hint)

    def _choose(self) -> Upload:
        import fsspec

        from .uploads import AT_CLOSE, RenamedUpload, TransactionUpload

        named = self._kind.protocol
        protocols = {named} if isinstance(named, str) else set(named)
        if "s3" in protocols and "::" not in self.name:
            from .multipart import MultipartUpload

            fs, path = fsspec.core.url_to_fs(self.name, **self._options)
            return MultipartUpload(fs, path, self._look)
        # An instance of our own: fsspec shares them, and transaction and connection are for this file alone.
        fs, path = fsspec.core.url_to_fs(self.name, skip_instance_cache=True, **self._options)
        return (TransactionUpload if protocols & AT_CLOSE else RenamedUpload)(fs, path)

    def _look(self) -> None:
        if self.while_waiting is not None:
            try:
                self.while_waiting()
            except BaseException as error:
                self._stopped = error  # not the back end's
                raise

    def open(self) -> None:
        try:
            self._upload = self._choose()  # some connect at once
        except (ImportError, TypeError, ValueError) as error:
            raise self._refusal(error) from error
        except Exception as error:
            raise self._failure(error, "open output") from error
        self._do("open output", lambda upload: upload.open())

    def _write(self, view: memoryview) -> None:
        self._do("write", lambda upload: upload.write(view))

    def commit(self) -> None:
        try:
            self._do("finish output", lambda upload: upload.commit())
        except BaseException:
            self.abort()
            raise
        self._upload = None

    def abort(self) -> None:
        """Give up what was uploaded. What could not be removed is told by `left`, an OutputError or None."""
        upload, self._upload = self._upload, None
        if upload is None:
            return
        try:
            upload.abort()
        except Exception as error:
            self.left = self._failure(error, "remove what was uploaded")
            self.left.hint = getattr(upload, "remains", "") or self.left.hint

    def _do(self, step: str, what: Callable[[Upload], None]) -> None:
        if self._upload is None:
            raise ValueError("this output is not open")
        try:
            what(self._upload)
        except MemoryError:
            raise
        except Exception as error:
            if error is self._stopped:
                raise
            raise self._failure(error, step) from error

    def _failure(self, error: Exception, step: str) -> OutputError:
        """What a back end said: they raise what they like."""
        number = getattr(error, "errno", None)
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        below = getattr(error, "kwargs", {}).get(
            "error"
        )  # botocore's errors say "could not connect" of a reset
        if below is not None and str(below) not in text:
            text += f": {below}"
        names = {kind.__name__ for kind in type(error).__mro__}
        hint = next((hint for name, hint in _HINTS if name in names), "")
        return OutputError(
            text, path=self.name, step=step, errno=number if isinstance(number, int) else None, hint=hint
        )
