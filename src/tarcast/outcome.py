"""From the core's plain notes to exceptions and warnings in words."""

from __future__ import annotations

import errno
import os

from .errors import ChangedError, InputError, OutputError, TarcastError, errno_hint
from .result import Warning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._core.export import Note

_PAX_LIMIT = 1048576


def user_path(roots: Sequence[tuple[bytes, bytes]], root: int, path: bytes) -> str | None:
    """The file that an archive path stands for, as the user would write it.

    `roots` holds for each tree its directory and the prefix of its archive paths.
    """
    if not roots:
        return None
    directory, prefix = roots[root]
    inner = (path.rstrip(b"/") + b"/").removeprefix(prefix).rstrip(b"/")  # the prefix alone is the directory
    return os.fsdecode(os.path.join(directory, inner) if inner else directory)


def _words(note: Note) -> tuple[str, str, str]:
    """(step, message, hint) of a note."""
    _notice, step, code, _root, _path, detail, expected, seen = note
    attribute = os.fsdecode(detail)
    reason = os.strerror(code) if code else ""
    if step == "shrank":
        return "read data", f"shrank during the export: {expected} bytes expected, {seen} seen", _CHANGED_HINT
    if step == "grew":
        return (
            "read data",
            f"grew during the export: {expected} bytes expected, at least {seen} seen",
            _CHANGED_HINT,
        )
    if step == "replaced":
        return "read directory", "was moved or replaced during the export", _CHANGED_HINT
    if step == "attribute name":
        return (
            "read attributes",
            f"the name of attribute {attribute!r} holds '=', which a pax header cannot",
            "remove the attribute, or use on_error='skip' to leave it out",
        )
    if step == "encode":
        return (
            "encode",
            f"needs {seen} bytes of pax records for name and attributes, and {_PAX_LIMIT} is the limit",
            "remove some, or use on_error='skip' to leave them out",
        )
    if step == "read attribute":
        return "read attributes", f"{attribute!r} left out: {reason}", ""
    if step == "output inside":
        return "select", "is the archive itself: left out", ""
    if step == "list attributes" and code == errno.ENOSYS:
        return "read attributes", "needs /proc on a kernel older than 6.13", "mount /proc"
    if code in (errno.ENOENT, errno.ENOTDIR) and step != "write":
        return step, "vanished during the export", _CHANGED_HINT
    if code == errno.ELOOP:
        return step, "turned into a symlink during the export", _CHANGED_HINT
    return step, reason or step, errno_hint(code)


_CHANGED_HINT = "export a snapshot, or use on_error='skip' to go on all the same"


def warning(note: Note, roots: Sequence[tuple[bytes, bytes]]) -> Warning:
    """The warning that a note about one entry stands for."""
    step, message, _hint = _words(note)
    return Warning(user_path(roots, note[3], note[4]), step, message, note[2], not note[0])


def failure(note: Note, roots: Sequence[tuple[bytes, bytes]], sink: str) -> TarcastError:
    """The exception that ends an export. `sink` names the output, for write errors."""
    step, message, hint = _words(note)
    code = note[2] or None
    if note[1] == "write":
        return OutputError(message, path=sink, step=step, errno=code, hint=errno_hint(code, writing=True))
    path = user_path(roots, note[3], note[4])
    if hint is _CHANGED_HINT:
        return ChangedError(
            message, path=path, step=step, errno=code, hint=hint, expected=note[6], seen=note[7]
        )
    return InputError(message, path=path, step=step, errno=code, hint=hint)
