"""The exceptions: their family, their words, and that they survive a trip between processes."""

from __future__ import annotations

import copy
import errno
import os
import pickle

import pytest

from tarcast import errors
from tarcast.errors import (
    Cancelled,
    ChangedError,
    IDMapError,
    InputError,
    OptionError,
    OutputError,
    PatternError,
    ProgressError,
    TarcastError,
    errno_hint,
    os_error,
    printable,
)


@pytest.mark.parametrize(
    ("kind", "parents", "status"),
    [
        (TarcastError, (Exception,), 3),
        (OptionError, (TarcastError, ValueError), 2),
        (PatternError, (OptionError, ValueError), 2),
        (IDMapError, (OptionError, ValueError), 2),
        (InputError, (TarcastError, OSError), 3),
        (OutputError, (TarcastError, OSError), 4),
        (Cancelled, (TarcastError,), 130),
        (ProgressError, (TarcastError, ValueError), 3),
    ],
)
def test_errors_are_one_family(kind: type[TarcastError], parents: tuple[type, ...], status: int) -> None:
    error = kind("message", path="p", step="s", errno=errno.EIO, hint="h")
    for parent in parents:
        assert isinstance(error, parent)
    assert error.exit_code == status
    assert (error.message, error.path, error.step, error.errno, error.hint) == (
        "message",
        "p",
        "s",
        errno.EIO,
        "h",
    )


def test_errors_input_is_not_an_option_and_output_is_not_an_input() -> None:
    assert not issubclass(InputError, ValueError)
    assert not issubclass(OutputError, InputError)
    assert not issubclass(Cancelled, OSError)
    assert issubclass(ChangedError, InputError)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "message"),
        ({"path": "a/b"}, "a/b: message"),
        ({"step": "open"}, "open: message"),
        ({"path": "a/b", "step": "open"}, "a/b: open: message"),
        ({"hint": "do this"}, "message; do this"),
        ({"errno": errno.ENOSPC}, "message [ENOSPC]"),
        ({"errno": 9999}, "message [9999]"),
        ({"errno": 0}, "message"),
        ({"path": ""}, ": message"),
        (
            {"path": "a", "step": "open", "errno": errno.EACCES, "hint": "do this"},
            "a: open: message [EACCES]; do this",
        ),
        ({"path": b"\xff\n"}, "\\xff\\n: message"),
    ],
)
def test_errors_say_path_step_message_number_and_hint(fields: dict, text: str) -> None:
    assert str(TarcastError("message", **fields)) == text
    assert str(InputError("message", **fields)) == text


def test_errors_keep_the_path_as_text() -> None:
    assert TarcastError("m", path=b"a\xff").path == "a\udcff"
    assert TarcastError("m").path is None
    assert TarcastError("m").errno is None


def test_changed_error_has_both_sizes() -> None:
    error = ChangedError("m", path="p", expected=10, seen=7)
    assert (error.expected, error.seen, error.path, str(error)) == (10, 7, "p", "p: m")
    with pytest.raises(TypeError):
        ChangedError("m")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "error",
    [
        TarcastError("m", path="p\udcff", step="s", errno=5, hint="h"),
        OptionError("m"),
        InputError("m", path="p", step="s", errno=errno.EACCES, hint="h"),
        OutputError("m", errno=errno.ENOSPC),
        ChangedError("m", path="p", step="s", errno=2, hint="h", expected=10, seen=7),
        Cancelled("m"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"]
)
def test_errors_survive_being_copied(error: TarcastError, through) -> None:
    error.add_note("noted")
    twin = through(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    for name in ("message", "path", "step", "errno", "hint", "expected", "seen", "__notes__"):
        assert getattr(twin, name, None) == getattr(error, name, None)


def test_os_error_keeps_the_number_and_its_words() -> None:
    error = os_error(OutputError, OSError(errno.ENOSPC, "ignored"), path="out", step="write")
    assert type(error) is OutputError
    assert str(error) == (
        f"out: write: {os.strerror(errno.ENOSPC)} [ENOSPC]; free some space or write elsewhere"
    )
    assert error.errno == errno.ENOSPC


def test_os_error_without_a_number_says_its_text() -> None:
    error = os_error(InputError, OSError("no number"), path=None, step="open")
    assert type(error) is InputError
    assert str(error) == "open: no number"
    assert error.errno is None


def test_os_error_prefers_the_hint_it_is_given() -> None:
    error = os_error(InputError, OSError(errno.EACCES, "x"), path="p", step="s", hint="mine")
    assert error.hint == "mine"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "exclude pattern"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOSPC, "free some space"),
        (errno.EPIPE, "went away"),
        (errno.EROFS, "read-only"),
    ],
)
def test_errno_hint_says_what_to_do(number: int, says: str) -> None:
    assert says in errno_hint(number)


@pytest.mark.parametrize("number", [None, 0, errno.EIO, 9999])
def test_errno_hint_is_empty_where_there_is_nothing_to_do(number: int | None) -> None:
    assert errno_hint(number) == ""


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("plain/é 文", "plain/é 文"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("\udc80\udcff", "\\x80\\xff"),
        ("\udc7f\ud800", "\\udc7f\\ud800"),
        ("\u2028\u202e", "\\u2028\\u202e"),
        ("", ""),
    ],
)
def test_printable_escapes_what_a_terminal_would_act_on(path: str, shown: str) -> None:
    assert printable(path) == shown


def test_errors_that_the_package_names_are_all_there_are() -> None:
    import tarcast

    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, TarcastError)
    }
    assert found <= set(tarcast.__all__)
