"""Follow paths: which include patterns reach the targets of symbolic links.

Public names are in tarcast.patterns. The rules are those of fsutil's FollowLinks.
"""

from __future__ import annotations

import errno
import os
import stat

from tarcast import errors
from tarcast._lexical import MalformedError, clean_path, encode_pattern, glob_match, join_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GONE = (errno.ENOENT, errno.ENOTDIR)


def resolve_follow(root: bytes, follow: Iterable[str | bytes]) -> list[bytes] | None:
    """The paths and link targets that `follow` leads to, as include patterns.

    Every path is resolved one component at a time below `root`, without any filter. A component that is a
    link is recorded and the resolution goes on at its target, which never leaves the root; a component
    with `*`, `?` or `[` does so for every link that it matches. A path that ends is recorded too.

    Args:
        root: the directory, its own links already resolved.
        follow: paths relative to the root; the order matters when links are shared, as in the original.

    Returns:
        the recorded paths, sorted, without those below another one; None if one of them is the root itself,
        which means that no filter is needed.

    Raises:
        InputError: a directory or link could not be read; that it does not exist is no error.
        PatternError: a path is neither bytes nor a str that can name a file.
    """
    recorded: set[bytes] = set()
    pending = [encode_pattern(path, "follow") for path in follow]
    pending.reverse()
    while pending:
        pending += reversed(_follow_one(root, pending.pop(), recorded))
    return _without_nested(sorted(recorded))


def include_with_follow(
    root: bytes, include: Iterable[str | bytes] | None, follow: Iterable[str | bytes] | None
) -> list[bytes] | None:
    """The include list to use once the follow paths have been resolved.

    Returns None for "no include filter". An empty `follow` counts as none given. See resolve_follow for
    arguments and exceptions.
    """
    patterns = [encode_pattern(pattern, "include") for pattern in include or ()]
    paths = list(follow or ())
    if paths:
        targets = resolve_follow(root, paths)
        if targets is not None:
            return _without_nested(patterns + targets) or None
    return patterns or None


def _without_nested(paths: Sequence[bytes]) -> list[bytes] | None:
    """Drops what lies below the path kept last; None if any path is the root."""
    kept: list[bytes] = []
    last = b""
    for path in paths:
        if path == b".":
            return None
        if not path.startswith(last + b"/"):
            kept.append(path)
            last = path
    return kept


def _follow_one(root: bytes, path: bytes, recorded: set[bytes]) -> list[bytes]:
    """Walks down `path` until it ends or meets a link; returns the paths to go on with."""
    rest = join_path(b".", path)
    current = b"."
    while True:
        component, _, rest = rest.partition(b"/")
        current = join_path(current, component)
        targets = _targets(root, current)
        if rest and not targets:
            continue
        if current in recorded:
            return []
        recorded.add(current)
        return [join_path(target, rest) for target in targets]


def _targets(root: bytes, path: bytes) -> list[bytes]:
    """Where the link at `path`, or every link that its last component matches, points to."""
    parent, name = os.path.split(path)
    if not _has_wildcard(name):
        return _link_target(root, path)
    targets: list[bytes] = []
    for entry in _names(root, parent):
        try:
            matched = glob_match(name, entry)
        except MalformedError:
            continue
        if matched:
            targets += _link_target(root, join_path(parent, entry))
    return targets


def _has_wildcard(name: bytes) -> bool:
    """Is there a `*`, `?` or `[` without a backslash before it?"""
    at = 0
    while at < len(name):
        if name[at] == 0x5C:
            at += 1
        elif name[at] in b"*?[":
            return True
        at += 1
    return False


def _names(root: bytes, path: bytes) -> list[bytes]:
    """The sorted names in this directory; none if there is no such directory."""
    place = os.path.join(root, path)
    try:
        if not stat.S_ISDIR(os.lstat(place).st_mode) and path:
            return []
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries)
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise errors.os_error(
            errors.InputError, error, path=place, step="read directory for follow"
        ) from error


def _link_target(root: bytes, path: bytes) -> list[bytes]:
    """The target of the link at `path` as a path from the root, in a list; empty if it is no link."""
    place = os.path.join(root, path)
    try:
        if not stat.S_ISLNK(os.lstat(place).st_mode):
            return []
        link = clean_path(os.readlink(place))
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise errors.os_error(errors.InputError, error, path=place, step="read link for follow") from error
    return [link if link.startswith(b"/") else join_path(b"/", os.path.dirname(path), link)]
