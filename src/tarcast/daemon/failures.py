"""What a client is told of a failure: whose fault it is, in words that do not say where a tree is."""

from __future__ import annotations

import os

from tarcast.errors import (
    Cancelled,
    CleanupError,
    InputError,
    OptionError,
    OutputError,
    SessionError,
    TarcastError,
)
from tarcast.roots import label
from tarcast.session.wire.library import require_grpc
from tarcast.tree import Tree

from .requests import BusyError, UnknownTreeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tarcast.exporter.source import Exportable


# Characters of a message: gRPC has a limit for a status, and says nothing of it but that where it is longer.
_MOST_TEXT = 2000


def status_of(error: TarcastError) -> Any:
    """The gRPC status of an error."""
    codes = require_grpc().StatusCode
    for kind, code in (
        (UnknownTreeError, codes.NOT_FOUND),
        (BusyError, codes.RESOURCE_EXHAUSTED),
        (OptionError, codes.INVALID_ARGUMENT),
        (Cancelled, codes.CANCELLED),
        (SessionError, codes.FAILED_PRECONDITION),
        (OutputError, codes.ABORTED),
        (InputError, codes.DATA_LOSS),
    ):
        if isinstance(error, kind):
            return code
    return codes.UNKNOWN


def public_text(error: TarcastError, name: str, export: Exportable | None) -> str:
    """The message, with paths below the tree's name instead of its place.

    Args:
        error: what happened.
        name: of the tree.
        export: the tree; None if there is none of that name.
    """
    if isinstance(error, CleanupError):
        return "the archive was sent, but undoing failed; see the daemon's log"
    path = error.path
    if path is not None and export is not None:
        place = os.fsdecode(label(export)) if isinstance(export, Tree) else str(export)
        if path == place or path.startswith(place + "/"):
            path = name + path[len(place) :]
        elif os.path.isabs(path):
            path = name
    text = str(TarcastError(error.message, path=path, step=error.step, errno=error.errno, hint=error.hint))
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."
