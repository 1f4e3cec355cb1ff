"""Undo steps: last to first, all of them, every failure told."""

from __future__ import annotations

import pickle

import pytest

from tarcast.cleanup import Cleanup
from tarcast.errors import CleanupError, InputError


def fail(error: BaseException) -> None:
    raise error


def test_steps_run_last_to_first_and_once() -> None:
    ran: list[int] = []
    with Cleanup() as cleanup:
        for number in range(3):
            cleanup.push(f"step {number}", lambda number=number: ran.append(number))
    assert ran == [2, 1, 0]
    cleanup.run()
    assert ran == [2, 1, 0]


def test_every_failure_is_told_and_no_step_is_left_out() -> None:
    ran: list[str] = []
    cleanup = Cleanup()
    cleanup.push("first", lambda: ran.append("first"))
    cleanup.push("second", lambda: fail(OSError(5, "second broke")))
    cleanup.push("third", lambda: fail(ValueError("third broke")))
    with pytest.raises(CleanupError) as caught:
        cleanup.run()
    assert ran == ["first"]
    assert [str(error) for error in caught.value.errors] == ["third broke", "[Errno 5] second broke"]
    assert "third broke; [Errno 5] second broke" in str(caught.value)
    assert caught.value.errors[0].__notes__ == ["while cleaning up: third"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_ended_the_work_is_raised_and_has_the_failures() -> None:
    cleanup = Cleanup()
    cleanup.push("step", lambda: fail(ValueError("broke")))
    with pytest.raises(InputError) as caught, cleanup:
        raise InputError("unreadable", path="x", step="open")
    assert str(caught.value) == "x: open: unreadable; then clean-up failed: broke"
    assert [str(error) for error in caught.value.cleanup_errors] == ["broke"]


def test_failures_are_noted_on_other_exceptions() -> None:
    cleanup = Cleanup()
    cleanup.push("step", lambda: fail(ValueError("broke")))
    with pytest.raises(KeyError) as caught, cleanup:
        raise KeyError("x")
    assert caught.value.__notes__ == ["clean-up failed: broke"]


def test_an_interrupted_step_is_done_again_and_the_rest_follows() -> None:
    ran: list[str] = []

    def step() -> None:
        ran.append("try")
        if len(ran) == 1:
            raise KeyboardInterrupt

    cleanup = Cleanup()
    cleanup.push("first", lambda: ran.append("first"))
    cleanup.push("second", step)
    with pytest.raises(KeyboardInterrupt):
        cleanup.run()
    assert ran == ["try", "try", "first"]


def test_an_interrupt_does_not_hide_what_ended_the_work() -> None:
    times: list[int] = []

    def step() -> None:
        times.append(1)
        raise KeyboardInterrupt

    cleanup = Cleanup()
    cleanup.push("step", step)
    with pytest.raises(InputError), cleanup:
        raise InputError("unreadable")
    assert len(times) == 3
