"""Sessions: the clients that exports go to, in this process or on the other side of a wire."""

from __future__ import annotations

from .local import LocalSession
from .manager import FILE_SEND, SessionManager, file_writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Client as Client
    from .client import Received as Received
    from .client import connect
    from .manager import Session as Session
    from .wire.address import TLS
    from .wire.remote import RemoteSession

__all__ = [
    "FILE_SEND",
    "TLS",
    "LocalSession",
    "RemoteSession",
    "SessionManager",
    "connect",
    "file_writer",
]

# What is for wires alone is imported when it is used.
_LATER = {
    "TLS": "wire.address",
    "Client": "client",
    "Received": "client",
    "RemoteSession": "wire.remote",
    "connect": "client",
}

if not TYPE_CHECKING:  # which would take any name for a good one

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module 'tarcast.session' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(f"tarcast.session.{_LATER[name]}"), name)
