"""The words and the exceptions that the core's notes become."""

from __future__ import annotations

import errno
import os

import pytest

from tarcast._core.export import STEPS
from tarcast.errors import ChangedError, InputError, OutputError
from tarcast.outcome import failure, user_path, warning

ROOTS = [(b"/src/one", b"a/"), (b"two", b"b/")]
OLD = "needs /proc on a kernel older than 6.13"
EXCLUDE = "run as a user who may read it, or leave it out with an exclude pattern"
CHANGED = "export a snapshot, or use on_error='skip' to go on all the same"


def note(
    step: str, code: int = 0, *, notice: bool = False, detail: bytes = b"", expected: int = 0, seen: int = 0
):
    return (notice, step, code, 0, b"a/dir/f", detail, expected, seen)


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        (0, b"a/f", "/src/one/f"),
        (0, b"a/d/", "/src/one/d"),
        (0, b"a/", "/src/one"),
        (1, b"b/b/f", "two/b/f"),
        (1, b"b/\xff", "two/\udcff"),
        (1, b"b/a/f", "two/a/f"),
    ],
)
def test_user_path_is_what_the_user_would_write(root: int, path: bytes, expected: str) -> None:
    assert user_path(ROOTS, root, path) == expected


def test_user_path_of_a_tree_alone() -> None:
    assert user_path([(b"dir/", b"")], 0, b"a/f") == "dir/a/f"
    assert user_path([(b".", b"")], 0, b"f") == "./f"
    assert user_path([(b".", b"")], 0, b"") == "."


def test_user_path_without_trees_is_nothing() -> None:
    assert user_path([], 0, b"f") is None


@pytest.mark.parametrize(
    ("step", "code", "shown_step", "words", "hint"),
    [
        ("memory", errno.ENOMEM, "memory", os.strerror(errno.ENOMEM), ""),
        ("read directory", errno.EIO, "read directory", os.strerror(errno.EIO), ""),
        ("open", errno.EACCES, "open", os.strerror(errno.EACCES), EXCLUDE),
        (
            "open",
            errno.EMFILE,
            "open",
            os.strerror(errno.EMFILE),
            "raise the limit of open files (ulimit -n)",
        ),
        ("stat", errno.EIO, "stat", os.strerror(errno.EIO), ""),
        ("read link", errno.EINVAL, "read link", os.strerror(errno.EINVAL), ""),
        ("list attributes", errno.E2BIG, "list attributes", os.strerror(errno.E2BIG), ""),
        ("list attributes", errno.ENOSYS, "read attributes", OLD, "mount /proc"),
        ("read data", errno.EIO, "read data", os.strerror(errno.EIO), ""),
    ],
)
def test_failure_to_read_is_an_input_error(
    step: str, code: int, shown_step: str, words: str, hint: str
) -> None:
    error = failure(note(step, code), ROOTS, "out.tar")
    assert type(error) is InputError
    assert (error.path, error.step, error.message, error.errno) == ("/src/one/dir/f", shown_step, words, code)
    assert error.hint == hint


@pytest.mark.parametrize(
    ("given", "shown_step", "words"),
    [
        (
            note("shrank", expected=10, seen=7),
            "read data",
            "shrank during the export: 10 bytes expected, 7 seen",
        ),
        (
            note("grew", expected=10, seen=11),
            "read data",
            "grew during the export: 10 bytes expected, at least 11 seen",
        ),
        (note("replaced"), "read directory", "was moved or replaced during the export"),
        (note("open", errno.ENOENT), "open", "vanished during the export"),
        (note("stat", errno.ENOENT), "stat", "vanished during the export"),
        (note("read directory", errno.ENOTDIR), "read directory", "vanished during the export"),
        (note("list attributes", errno.ENOENT), "list attributes", "vanished during the export"),
        (note("open", errno.ELOOP), "open", "turned into a symlink during the export"),
    ],
)
def test_failure_by_change_is_a_changed_error(given: tuple, shown_step: str, words: str) -> None:
    error = failure(given, ROOTS, "out.tar")
    assert type(error) is ChangedError
    assert (error.path, error.step, error.message, error.hint) == (
        "/src/one/dir/f",
        shown_step,
        words,
        CHANGED,
    )
    assert (error.expected, error.seen, error.errno) == (given[6], given[7], given[2] or None)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "free some space or write elsewhere"),
        (errno.EPIPE, "the reader of the stream went away"),
        (errno.ENOENT, ""),
        (errno.EIO, ""),
    ],
)
def test_failure_to_write_names_the_output(code: int, says: str) -> None:
    error = failure(note("write", code), ROOTS, "out.tar")
    assert type(error) is OutputError
    assert (error.path, error.step, error.errno, error.hint) == ("out.tar", "write", code, says)
    assert error.message == os.strerror(code)


def test_failure_of_an_attribute_name_says_how_to_go_on() -> None:
    error = failure(note("attribute name", detail=b"user.a=\xff"), ROOTS, "out.tar")
    assert type(error) is InputError
    assert str(error) == (
        "/src/one/dir/f: read attributes: the name of attribute 'user.a=\\udcff' holds '=', which "
        "a pax header cannot; remove the attribute, or use on_error='skip' to leave it out"
    )


def test_failure_of_too_many_attributes_says_how_many() -> None:
    error = failure(note("encode", seen=1048577), ROOTS, "out.tar")
    assert type(error) is InputError
    assert str(error) == (
        "/src/one/dir/f: encode: needs 1048577 bytes of pax records for name and attributes, and 1048576 "
        "is the limit; remove some, or use on_error='skip' to leave them out"
    )


def test_failure_without_a_number_says_at_least_the_step() -> None:
    assert failure(note("stat"), ROOTS, "out.tar").message == "stat"


@pytest.mark.parametrize("notice", [True, False])
def test_warning_tells_what_is_missing_from_what_is_only_told(notice: bool) -> None:
    found = warning(note("stat", errno.EIO, notice=notice), ROOTS)
    assert (found.path, found.step, found.errno) == ("/src/one/dir/f", "stat", errno.EIO)
    assert found.skipped is not notice
    assert str(found) == f"/src/one/dir/f: stat: {os.strerror(errno.EIO)}"
    assert repr(found) == f"<Warning /src/one/dir/f: stat: {os.strerror(errno.EIO)}>"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            note("read attribute", errno.EACCES, notice=True, detail=b"user.a"),
            "/src/one/dir/f: read attributes: 'user.a' left out: Permission denied",
        ),
        (note("output inside", notice=True), "/src/one/dir/f: select: is the archive itself: left out"),
        (
            (False, "stat", errno.ENOENT, 1, b"b/\x1b\xff", b"", 0, 0),
            "two/\\x1b\\xff: stat: vanished during the export",
        ),
    ],
)
def test_warning_says(given: tuple, says: str) -> None:
    assert str(warning(given, ROOTS)) == says


@pytest.mark.parametrize("step", sorted(set(STEPS.values()) - {"stopped"}))
def test_every_step_of_the_core_has_words(step: str) -> None:
    code = errno.EIO if step not in ("shrank", "grew", "replaced", "encode", "output inside") else 0
    found = warning(note(step, code, detail=b"user.a"), ROOTS)
    assert found.message
    assert found.message != step
