"""A thing that starts, goes on and is done."""

from __future__ import annotations

import pytest

from tarcast.errors import OutputError, ProgressError
from tarcast.progress import Status, one_off, oneoff, pipe


@pytest.fixture
def clock(monkeypatch):
    times = iter([100.0, 104.0, 200.0, 300.0])
    monkeypatch.setattr(oneoff, "time", lambda: next(times))


def test_started_going_on_done(clock):
    reader, writer = pipe(interval=0)
    step = writer.open(kind="x").one_off("step")
    writer.close()
    [update] = reader.read()
    assert (update.id, update.status, dict(update.metadata)) == ("step", Status(started=100.0), {"kind": "x"})
    step.update(current=10, total=30)
    step.update(current=0, entries=2)
    assert reader.read()[0].status == Status(started=100.0, current=0, total=30, entries=2)
    step.update(20)
    step.done()
    assert reader.read()[0].status == Status(started=100.0, completed=104.0, current=20, total=30, entries=2)


def test_done_counts_once_and_nothing_follows(clock):
    reader, writer = pipe(interval=0)
    step = one_off("step", writer)
    step.done(OSError("first"))
    step.done(OSError("second"))
    step.done()
    step.update(current=7)
    assert reader.read()[0].status == Status(started=100.0, completed=104.0, error="first")
    assert reader.read(timeout=0) == []


def test_the_pipe_ends_when_it_is_done():
    reader, writer = pipe()
    with writer:
        step = writer.one_off("step")
    reader.read()
    assert reader.read(timeout=0) == []
    step.done()
    assert [update.status.done for update in reader] == [True]


def test_as_a_context_manager():
    reader, writer = pipe()
    with writer, writer.one_off("step") as step:
        step.update(entries=1)
    [update] = reader
    assert (update.status.entries, update.status.done, update.status.error) == (1, True, None)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OutputError("full", path="out", step="write", errno=28), "out: write: full [ENOSPC]"),
        (ZeroDivisionError("oops"), "oops"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_exception_fails_it_and_goes_on(error, text):
    reader, writer = pipe()
    with pytest.raises(type(error)) as caught, writer, writer.one_off("step"):
        raise error
    assert caught.value is error
    [update] = reader
    assert (update.status.done, update.status.error) == (True, text)


def test_without_a_writer_nothing_happens():
    with one_off("step", None) as step:
        step.update(current=1)
    step.done(ValueError("x"))
    with pytest.raises(ZeroDivisionError), one_off("step", None):
        raise ZeroDivisionError


def test_on_a_closed_writer():
    _, writer = pipe()
    writer.close()
    with pytest.raises(ProgressError):
        one_off("step", writer)
