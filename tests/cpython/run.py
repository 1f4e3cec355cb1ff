"""Run CPython's tests of tarfile that write, on tarcast: python -m tests.cpython.run [-v]

A test counts when it opens something for writing. Each must pass unless `not_applicable.toml` says why not,
and what stands there must be a test that there is and that fails. Exit status 0, or 1 with what is not so; 77
when this Python has no tests.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import sys
import tempfile
import tomllib
import unittest
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.cpython.substitute import Counter, substitute

TABLE = Path(__file__).with_name("not_applicable.toml")
NO_TESTS = 77


class Outcomes(unittest.TestResult):
    """What came of each test that wrote: "" if it passed, else the last line of its traceback."""

    def __init__(self, counter: Counter, archive: str) -> None:
        super().__init__()
        self.counter = counter
        self.archive = archive  # that most tests write to
        self.wrote: dict[str, str] = {}
        self.skips: dict[str, str] = {}
        self._problem = ""

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.archive)  # what another test has left there is nothing to go by
        self.counter.opened = 0
        self._problem = ""

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        name = ".".join(test.id().split(".")[-2:])
        if self.counter.opened and name not in self.skips:
            self.wrote[name] = self._problem

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.skips[".".join(test.id().split(".")[-2:])] = reason

    def addError(self, test: unittest.TestCase, error: Any) -> None:
        self._problem = f"{error[0].__name__}: {error[1]}".splitlines()[0]

    def addFailure(self, test: unittest.TestCase, error: Any) -> None:
        self.addError(test, error)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, error: Any) -> None:
        if error is not None:
            self.addError(test, error)


def run_tests(module: Any) -> Outcomes:
    """All tests of test.test_tarfile, in a directory of their own."""
    outcomes = Outcomes(substitute(module), module.tmpname)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    suite.run(outcomes)
    return outcomes


def judge(
    wrote: dict[str, str], groups: Iterable[dict[str, Any]], version: str
) -> tuple[dict[str, str], list[str]]:
    """(reason of each test that does not apply, what is not as the table says)."""
    reasons: dict[str, str] = {}
    wrong: list[str] = []
    for group in groups:
        if version not in group.get("python", [version]):
            continue
        for pattern in group["tests"]:
            matched = fnmatch.filter(wrote, pattern)
            if not matched:
                wrong.append(f"{pattern}: listed, but there is no such test that writes")
            for name in matched:
                reasons[name] = group["reason"]
    for name, problem in sorted(wrote.items()):
        if problem and name not in reasons:
            wrong.append(f"{name}: {problem}")
        elif not problem and name in reasons:
            wrong.append(f"{name}: listed, but it passes")
    return reasons, wrong


def main(arguments: list[str]) -> int:
    try:
        import test.test_tarfile as module
    except ImportError as error:
        print(f"this Python has no tests of its own: {error}")
        return NO_TESTS
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    outcomes = run_tests(module)
    reasons, wrong = judge(outcomes.wrote, tomllib.loads(TABLE.read_text())["group"], version)
    if "-v" in arguments:
        for name, problem in sorted(outcomes.wrote.items()):
            print(f"{name}: {'passed' if not problem else reasons.get(name, 'FAILED')} {problem}")
    passed = sum(not problem for problem in outcomes.wrote.values())
    failed = len(outcomes.wrote) - passed - len(reasons)
    print(
        f"Python {sys.version.split()[0]}: {len(outcomes.wrote)} of CPython's tests write with tarcast: ",
        end="",
    )
    print(f"{passed} passed, {len(reasons)} not applicable, {failed} failed")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        # test_tarfile makes its files in the current directory, as its name says when it is imported.
        sys.path.insert(0, os.getcwd())
        os.chdir(directory)
        code = main(sys.argv[1:])
        os.chdir("/")
    sys.exit(code)
