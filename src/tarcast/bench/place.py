"""Where the outputs go: checked before anything is written, and gone at the end of a block."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from ..cleanup import Cleanup
from ..errors import OptionError, OutputError, os_error
from ..wording import human
from .measure import Place
from .processes import signals_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tree import TreeFacts

# Headers, of which some peers write three for each entry, and what a block is filled up with.
_ROOM_BY_ENTRY = 2048
_ROOM_BY_ARCHIVE = 1 << 20
_HINT = "name another with --temp-dir"


def check(parent: str, tree: str, facts: TreeFacts | None) -> None:
    """Find out whether outputs can be written below `parent`.

    Args:
        parent: a directory.
        tree: the absolute path of what is measured.
        facts: what the tree holds, or None if nothing is written (to a pipe).

    Raises:
        OptionError: it is no directory, or a part of the tree.
        OutputError: it can't be written to, or one output has no room.
    """
    where, root = os.path.realpath(parent), os.path.realpath(tree)
    if not os.path.isdir(where):
        raise OptionError("there is no such directory for the outputs", path=parent, hint=_HINT)
    if os.path.commonpath([where, root]) == root:
        raise OptionError("the outputs would be in the tree that is measured", path=parent, hint=_HINT)
    if not os.access(where, os.W_OK | os.X_OK):
        raise OutputError("not allowed to write the outputs here", path=parent, hint=_HINT)
    if facts is None:
        return
    needed = facts.data + facts.entries * _ROOM_BY_ENTRY + _ROOM_BY_ARCHIVE
    system = os.statvfs(where)
    free = system.f_bavail * system.f_frsize
    if free < needed:
        raise OutputError(
            f"one output needs {human(needed)}, and {human(free)} are free", path=parent, hint=_HINT
        )


@contextlib.contextmanager
def made(parent: str) -> Iterator[Place]:
    """A private directory below `parent`, with an empty one in it.

    Raises:
        OutputError: it can't be made.
    """
    with Cleanup() as cleanup:
        try:
            with signals_held():
                path = tempfile.mkdtemp(prefix="tarcast-bench-", dir=os.path.abspath(parent))
                cleanup.push("remove the outputs", lambda: _remove(path))
            empty = os.path.join(path, "empty")
            os.mkdir(empty)
        except OSError as error:
            step = "make a directory for the outputs"
            raise os_error(OutputError, error, path=parent, step=step) from error
        yield Place(path, empty)


def _remove(path: str) -> None:
    if os.path.lexists(path):
        shutil.rmtree(path)
