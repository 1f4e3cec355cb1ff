"""Questions about patterns to the original (tests/oracle/patternmatch), and the same put to ours."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
from collections.abc import Iterable, Sequence

from tarcast._core.match import PatternList
from tarcast.patterns import compile_patterns, include_with_follow

Tree = dict[bytes, list[bytes]]  # directory -> full paths right below it, sorted; b"" is the root


class Original:
    """One running oracle process; answers are the decoded JSON, byte strings restored."""

    def __init__(self, program: pathlib.Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)

    def ask(self, op: str, **fields: object) -> dict[str, object]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = {"Op": op, **{key.title(): _encode(value) for key, value in fields.items()}}
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        for key in ("asked", "paths"):
            answer[key] = [base64.b64decode(text) for text in answer.get(key) or ()]
        return answer


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def chain(patterns: PatternList, path: bytes) -> list[bool]:
    """The results for each ancestor of `path` from the top and for itself, each with its parent's."""
    results = []
    parent = None
    parts = path.split(b"/")
    for count in range(1, len(parts) + 1):
        matched, parent = patterns.evaluate(b"/".join(parts[:count]), parent)
        results.append(matched)
    return results


def make_tree(paths: Iterable[bytes]) -> Tree:
    """The tree that these files span."""
    tree: Tree = {b"": []}
    seen = set()
    for path in paths:
        while path and path not in seen:
            seen.add(path)
            parent = path.rpartition(b"/")[0]
            tree.setdefault(parent, []).append(path)
            path = parent
    for children in tree.values():
        children.sort()
    return tree


def read_tree(root: bytes) -> Tree:
    """The tree below a real directory."""
    tree: Tree = {b"": []}
    for place, directories, files in os.walk(root):
        parent = os.path.relpath(place, root) if place != root else b""
        tree[parent] = sorted(os.path.join(parent, name) for name in directories + files)
    return tree


def walk(
    tree: Tree, include: PatternList | None, exclude: PatternList | None
) -> tuple[list[bytes], list[bytes]]:
    """What an export of the tree asks the patterns about, and what it lets through."""
    asked: list[bytes] = []
    passed: list[bytes] = []
    emitted = set()

    def visit(directory: bytes, above: Sequence[bytes | None], ancestors: list[bytes]) -> None:
        for path in tree[directory]:
            asked.append(path)
            results: list[bytes | None] = [None, None]
            skip = False
            if include is not None:
                matched, results[0] = include.evaluate(path, above[0])
                if not matched:
                    if path in tree and include.prunes_unmatched(path):
                        continue
                    skip = True
            if exclude is not None:
                matched, results[1] = exclude.evaluate(path, above[1])
                if matched:
                    if path in tree and exclude.prunes_matched(path):
                        continue
                    skip = True
            for one in () if skip else (*ancestors, path):
                if one not in emitted:
                    emitted.add(one)
                    passed.append(one)
            if path in tree:
                visit(path, results, [*ancestors, path])

    visit(b"", (None, None), [])
    return asked, passed


def filtered(
    root: bytes, include: list[bytes] | None, exclude: list[bytes] | None, follow: list[bytes] | None
) -> list[bytes]:
    """What an export of a real directory lets through."""
    included = compile_patterns(include_with_follow(root, include, follow), what="include")
    excluded = compile_patterns(exclude, what="exclude")
    return walk(read_tree(root), included, excluded)[1]
