"""A text stream that may break without anybody's harm."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, TextIO


class Outlet:
    """Writes to a stream until that fails, and from then on does nothing.

    It stands for the stream wherever one is wanted. tqdm above all must never see an error of the stream: it
    would keep a lock of the whole process.

    Attributes:
        broken: the stream is None, is closed, or failed.
    """

    __slots__ = ("_stream", "broken")

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.broken: bool = stream is None

    def write(self, text: str) -> int:
        """Write `text`; what the stream's encoding lacks is escaped."""
        if self._stream is not None and not self.broken:
            try:
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:  # a ValueError too, but the stream is fine
                    self._stream.write(text.encode("ascii", "backslashreplace").decode())
            except (OSError, ValueError):
                self.broken = True
        return len(text)

    def flush(self) -> None:
        if self._stream is not None and not self.broken:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.broken = True

    def __eq__(self, other: object) -> bool:
        """As the stream would; tqdm treats standard error in its own way."""
        return self._stream is (other._stream if isinstance(other, Outlet) else other)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
