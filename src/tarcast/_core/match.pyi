"""Compiled pattern lists; tarcast.patterns makes them, the walk uses them."""

from typing import Self

# (head, tail, to_end, items): see match.pxd
CompiledLine = tuple[bytes, bytes, bool, tuple[tuple[int, int], ...]]
# (mode, negated, needle, bare, bare_is_glob, lines)
CompiledPattern = tuple[int, bool, bytes, bytes, bool, tuple[CompiledLine, ...]]

class PatternList:
    """A compiled pattern list. Made by tarcast.patterns.compile_patterns, used by the walk."""

    def __new__(cls, compiled: tuple[tuple[tuple[int, ...], ...], tuple[CompiledPattern, ...]]) -> Self: ...
    @property
    def count(self) -> int:
        """Number of patterns."""

    def matches(self, path: bytes) -> bool:
        """Does the list select `path`, looked at without its ancestors' results?"""

    def evaluate(self, path: bytes, parent: bytes | None = None) -> tuple[bool, bytes]:
        """What the walk does for `path`: (matched, results for its children). `parent`: its directory's."""

    def prunes_unmatched(self, path: bytes) -> bool:
        """As an include list: may the children of this unmatched directory be skipped?"""

    def prunes_matched(self, path: bytes) -> bool:
        """As an exclude list: may the children of this matched directory be skipped?"""
