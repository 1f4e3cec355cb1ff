"""Sessions: the clients that exports go to."""

from .local import LocalSession
from .manager import FILE_SEND, SessionManager, file_writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .manager import Session as Session

__all__ = ["FILE_SEND", "LocalSession", "SessionManager", "file_writer"]
