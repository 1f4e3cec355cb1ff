"""CPython's own tests of tarfile that write pass on tarcast, but for those in a table that is true."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cpython.run import NO_TESTS, TABLE, judge

TOP = Path(__file__).resolve().parents[2]


def test_cpython_writes_with_tarcast() -> None:
    if "TARCAST_SANITIZE" in os.environ:
        pytest.skip("not applicable: it is Python code that is tested here")
    done = subprocess.run(
        [sys.executable, "-m", "tests.cpython.run"], cwd=TOP, capture_output=True, text=True, timeout=120
    )
    if done.returncode == NO_TESTS:
        pytest.skip(done.stdout.strip())
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


WROTE = {"A.one": "", "A.two": "Error: x", "B.one": "Error: y"}


def group(*tests: str, **more: object) -> dict[str, object]:
    return {"reason": "why", "tests": list(tests)} | more


def test_a_table_that_is_true() -> None:
    reasons, wrong = judge(WROTE, [group("*.two", "B.*")], "3.12")
    assert (reasons, wrong) == ({"A.two": "why", "B.one": "why"}, [])


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([group("A.two")], "B.one: Error: y"),
        ([group("A.two", "B.one", "A.one")], "A.one: listed, but it passes"),
        ([group("A.two", "B.one", "C.*")], "C.*: listed, but there is no such test that writes"),
        ([group("A.two"), group("B.one", python=["3.11"])], "B.one: Error: y"),
    ],
)
def test_a_table_that_is_not_true(groups: list[dict[str, object]], words: str) -> None:
    assert judge(WROTE, groups, "3.12")[1] == [words]


def test_a_group_for_other_versions_says_nothing() -> None:
    groups = [group("A.two", "B.one"), group("C.one", python=["3.11"])]
    assert judge(WROTE, groups, "3.12")[1] == []


def test_the_table_has_a_reason_for_each() -> None:
    for each in tomllib.loads(TABLE.read_text())["group"]:
        assert each["reason"]
        assert each["tests"]
