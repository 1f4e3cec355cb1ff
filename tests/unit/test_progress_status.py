"""The state of one thing, and how cheap it is to import all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tarcast.progress import Status, Update
from tarcast.progress import status as status_module


def test_a_status_that_has_not_started():
    status = Status()
    assert (status.seconds, status.rate, status.done) == (0.0, 0.0, False)
    assert (status.action, status.current, status.total, status.entries) == ("", 0, None, None)
    assert (status.started, status.completed, status.error) == (None, None, None)


def test_seconds_and_rate_up_to_now(monkeypatch):
    monkeypatch.setattr(status_module, "time", lambda: 104.0)
    status = Status(started=100.0, current=1000)
    assert (status.seconds, status.rate, status.done) == (4.0, 250.0, False)
    assert status.seconds_at(102.0) == 2.0


def test_seconds_and_rate_up_to_completion():
    status = Status(started=100.0, completed=102.0, current=1000)
    assert (status.seconds, status.rate, status.done) == (2.0, 500.0, True)
    assert status.seconds_at(999.0) == 2.0


def test_no_time_has_passed_or_the_clock_was_set_back():
    for completed in (100.0, 90.0):
        status = Status(started=100.0, completed=completed, current=1000)
        assert (status.seconds, status.rate) == (0.0, 0.0)


def test_an_error_is_an_end():
    assert Status(error="no").done


def test_replace_leaves_the_original_as_it_was():
    status = Status(action="a", total=7)
    other = status.replace(current=3)
    assert (other.action, other.current, other.total) == ("a", 3, 7)
    assert status.current == 0
    assert other != status
    assert other.replace(current=0) == status
    with pytest.raises(TypeError):
        status.replace(colour="red")


def test_they_say_what_they_are():
    status = Status(current=3, started=1.5)
    assert repr(status) == "Status(action='', current=3, started=1.5)"
    assert repr(Update("x", 1.0, status, {})) == "<Update 'x' Status(action='', current=3, started=1.5)>"
    assert status != "text"


def test_the_import_is_cheap():
    code = "import sys, tarcast.progress; print(*{'tqdm', 'asyncio', 'json', 'logging'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
