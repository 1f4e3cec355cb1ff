"""What is shown on a terminal, in a log and as JSON; streams that break; the thread that shows it."""

from __future__ import annotations

import io
import json
import os
import sys
import threading

import pytest
from tqdm import tqdm

from tarcast.cli.progress import Terminal as CommandTerminal
from tarcast.errors import OptionError
from tarcast.progress import (
    JsonLines,
    Plain,
    Renderer,
    Status,
    Terminal,
    Update,
    bar,
    choose,
    pipe,
    rendering,
)
from tarcast.progress.words import line
from tarcast.result import Progress
from tests.support.progress import Screen


def news(id: str, seconds: float, status: object = None, **fields: object) -> Update:
    """An update written so many seconds after the thing began."""
    return Update(id, 1000.0 + seconds, Status(started=1000.0, **fields) if status is None else status, {})


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (
            news("sending tarball", 0.52, entries=12345, current=1_234_567_890),
            "12,345 entries, 1.23 GB in 0.52 s (2.37 GB/s)",
        ),
        (
            news("sending tarball", 9.0, entries=12345, current=1_234_567_890, completed=1000.52),
            "done, 12,345 entries, 1.23 GB in 0.52 s (2.37 GB/s)",
        ),
        (news("sending tarball", 0.5, entries=3, error="disk\nfull"), "failed after 0.5 s: disk\\nfull"),
        (
            news("sending tarball", 2.0, current=500, total=2000),
            "500 B of 2.00 kB (25 %) in 2.00 s (250 B/s), 0:06 left",
        ),
        (news("sending tarball", 2.0, entries=1), "1 entry in 2.00 s"),
        (news("sending tarball", 2.0), "running for 2.0 s"),
        (news("sending tarball", 2.0, completed=1002.0), "done in 2.00 s"),
        (news("sending tarball", 2.0, action="hashing", current=10), "hashing: 10 B in 2.00 s (5 B/s)"),
        (news("sending tarball", 2.0, Status()), "started"),
        (news("sending tarball", 2.0, Status(current=10)), "10 B"),
        (news("sending tarball", 2.0, Status(completed=1.0)), "done"),
        (news("sending tarball", 2.0, "any \x1b text"), "any \\x1b text"),
    ],
)
def test_lines(update, text):
    assert line(update) == f"sending tarball: {text}"


def test_plain_tells_start_and_end_and_every_two_seconds_for_each_id():
    stream = io.StringIO()
    plain = Plain(stream)
    for seconds in (0.0, 0.5, 1.9, 2.0, 3.9, 4.1):
        plain.show(news("a", seconds, current=int(seconds * 1000)))
        plain.show(news("b", seconds))
    plain.show(news("a", 4.2, completed=1004.2, current=4200))
    plain.show(news("a", 4.3))
    plain.show(news("b", -9000.0))
    plain.close()
    assert stream.getvalue().splitlines() == [
        "a: started",
        "b: started",
        "a: 2.00 kB in 2.00 s (1.00 kB/s)",
        "b: running for 2.0 s",
        "a: 4.10 kB in 4.10 s (1.00 kB/s)",
        "b: running for 4.1 s",
        "a: done, 4.20 kB in 4.20 s (1.00 kB/s)",
        "a: started",
        "b: running for 0.0 s",
    ]


def test_json_lines():
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.show(news("ö\udcff", 0.5, action="x", current=7, total=9, entries=2))
    lines.show(news("a", 0.5, completed=1000.25, error="no\n"))
    metadata = {"number": 1, "rate": 0.5, "odd": float("nan"), "path": os}
    lines.show(Update("a", 1.0, b"bytes", metadata))
    assert stream.getvalue().isascii()
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first == {
        "event": "progress",
        "id": "ö\\xff",
        "timestamp": 1000.5,
        "action": "x",
        "current": 7,
        "total": 9,
        "entries": 2,
        "started": 1000.0,
        "completed": None,
        "seconds": 0.5,
        "done": False,
        "error": None,
        "message": None,
        "metadata": {},
    }
    assert (second["completed"], second["seconds"], second["done"]) == (1000.25, 0.25, True)
    assert second["error"] == "no\n"
    assert (third["message"], third["current"], third["started"], third["done"]) == (
        "b'bytes'",
        0,
        None,
        False,
    )
    assert third["metadata"] == {"number": 1, "rate": 0.5, "odd": "nan", "path": str(os)}
    assert list(first) == list(second) == list(third)
    documented = JsonLines.__doc__.partition("Keys")[2]
    assert all(f"{key}" in documented for key in first)


def test_json_lines_leave_nothing_out():
    stream = io.StringIO()
    for number in range(5):
        JsonLines(stream).show(news("a", number / 1000))
    assert len(stream.getvalue().splitlines()) == 5


@pytest.fixture
def screen():
    yield Screen()
    assert not tqdm._instances


def test_terminal_draws_a_line_for_each_and_what_is_done_stays_above(screen):
    terminal = Terminal(screen)
    terminal.show(news("a", 1.0, current=1000))
    terminal.show(news("b", 1.0))
    terminal.show(news("c", 1.0, entries=3))
    assert screen.rows() == [
        "a: 1.00 kB in 1.00 s (1.00 kB/s)",
        "b: running for 1.0 s",
        "c: 3 entries in 1.00 s",
    ]
    terminal.show(news("a", 2.0, current=10, completed=1002.0))
    terminal.show(news("c", 2.0, entries=3, error="no"))
    terminal.show(news("b", 3.0))
    done = ["a: done, 10 B in 2.00 s (5 B/s)", "c: failed after 2.0 s: no"]
    assert screen.rows() == [*done, "b: running for 3.0 s"]
    terminal.close()
    terminal.close()
    assert screen.rows() == [*done, ""]


def test_terminal_shows_no_more_than_fits(screen, monkeypatch):
    monkeypatch.setattr(bar, "size", lambda stream: (20, 4))
    terminal = Terminal(screen)
    for id in "abcde":
        terminal.show(news(id, 1.0, "x" * 50))
    assert screen.rows() == ["a: " + "x" * 16, "b: " + "x" * 16, "and 3 more"]
    terminal.show(news("b", 1.0, completed=1001.0))
    terminal.show(news("d", 1.0, completed=1001.0))
    assert screen.rows() == ["b: done in 1.00 s", "d: done in 1.00 s", *(f"{id}: {'x' * 16}" for id in "ace")]
    terminal.close()


def test_terminal_size_of_what_is_none():
    assert bar.size(io.StringIO()) == (80, 24)


def test_terminal_in_another_alphabet(screen, monkeypatch):
    monkeypatch.setattr(Screen, "encoding", "ascii")
    terminal = Terminal(screen)
    terminal.show(news("ö", 1.0))
    assert screen.rows() == ["\\xf6: running for 1.0 s"]
    terminal.close()


def test_terminal_starts_no_thread_and_leaves_tqdm_as_it_is(screen, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    before = (tqdm.monitor_interval, tqdm.monitor, threading.active_count())
    terminal = Terminal(screen)
    terminal.show(news("a", 1.0))
    assert (tqdm.monitor_interval, tqdm.monitor, threading.active_count()) == before
    assert screen.rows() == ["a: running for 1.0 s"]
    terminal.close()


class Breaking(Screen):
    """Goes away after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes = writes

    def write(self, text: str) -> int:
        self.writes -= 1
        if self.writes < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("kind", [Plain, JsonLines, Terminal])
@pytest.mark.parametrize("writes", [0, 1, 2, 5])
def test_a_stream_that_breaks_is_no_error(kind, writes):
    stream = Breaking(writes)
    renderer = kind(stream)
    for number in range(9):
        renderer.show(news(f"id{number}", 1.0))
    renderer.show(news("id0", 1.0, completed=1001.0))
    assert stream.writes < 0
    tried = stream.writes
    renderer.show(news("late", 1.0))
    renderer.close()
    assert stream.writes == tried
    assert not tqdm._instances


@pytest.mark.parametrize("kind", [Terminal, CommandTerminal])
def test_a_terminal_that_breaks_leaves_the_lock_of_tqdm_free(monkeypatch, kind):
    monkeypatch.setattr(sys, "stderr", Breaking(2))
    terminal = kind()
    for seconds in range(1, 5):
        if kind is Terminal:
            terminal.show(news("a", seconds))
        else:
            terminal(Progress(1, seconds * 10**6, seconds, None, False))
    terminal.close()
    assert sys.stderr.writes < 0
    free: list[bool] = []

    def look() -> None:
        with tqdm.get_lock():
            free.append(True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(5)
    assert free


@pytest.mark.parametrize("kind", [Plain, JsonLines, Terminal])
def test_a_closed_stream_is_no_error(kind):
    stream = Screen()
    stream.close()
    renderer = kind(stream)
    renderer.show(news("a", 1.0))
    renderer.show(news("a", 1.0, completed=1001.0))
    renderer.close()


def test_a_stream_of_another_alphabet_is_not_broken():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    plain = Plain(stream)
    plain.show(news("ö", 1.0))
    plain.show(news("b", 1.0))
    assert raw.getvalue() == b"\\xf6: started\nb: started\n"


@pytest.mark.parametrize("kind", [Renderer, Plain, JsonLines, Terminal])
def test_standard_error_is_the_default_and_may_be_closed(monkeypatch, kind):
    monkeypatch.setattr(sys, "stderr", Screen())
    renderer = kind()
    renderer.show(news("a", 1.0))
    assert ("a" in sys.stderr.getvalue()) is (kind is not Renderer)
    renderer.close()
    monkeypatch.setattr(sys, "stderr", None)
    renderer = kind()
    renderer.show(news("a", 1.0))
    renderer.close()


@pytest.mark.parametrize(
    ("mode", "terminal", "term", "expected"),
    [
        ("auto", True, "xterm", Terminal),
        ("auto", True, None, Terminal),
        ("auto", True, "dumb", Plain),
        ("auto", False, "xterm", Renderer),
        ("tty", True, "xterm", Terminal),
        ("tty", True, "dumb", Plain),
        ("tty", False, "xterm", Plain),
        ("plain", True, "xterm", Plain),
        ("json", True, "xterm", JsonLines),
        ("none", True, "xterm", Renderer),
    ],
)
def test_choice(monkeypatch, mode, terminal, term, expected):
    stream = Screen() if terminal else io.StringIO()
    environ = {} if term is None else {"TERM": term}
    assert type(choose(mode, stream, environ)) is expected
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(os, "environ", environ)
    assert type(choose(mode)) is expected


def test_choice_of_what_there_is_not(monkeypatch):
    with pytest.raises(OptionError, match="auto, tty, plain, json, none, not 'loud'"):
        choose("loud")
    closed = io.StringIO()
    closed.close()
    assert type(choose("auto", closed)) is Renderer
    monkeypatch.setattr(sys, "stderr", None)
    assert type(choose("auto")) is Renderer


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tarcast-progress"]


def test_rendering_shows_all_and_joins_its_thread():
    stream = io.StringIO()
    reader, writer = pipe()
    with rendering(reader, "json", stream), writer, writer.one_off("step") as step:
        assert threads() == ["tarcast-progress"]
        step.update(current=5)
    assert threads() == []
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["id"], last["current"], last["done"]) == ("step", 5, True)


def test_rendering_waits_for_other_writers():
    stream = io.StringIO()
    reader, writer = pipe()
    other = writer.open()
    leave = threading.Event()

    def work() -> None:
        leave.wait(5)
        with other:
            other.write("late", 1)

    thread = threading.Thread(target=work)
    thread.start()
    with rendering(reader, "plain", stream):
        writer.close()
        leave.set()
    thread.join()
    assert stream.getvalue() == "late: 1\n"


def test_rendering_ends_when_the_body_raises_and_shows_what_failed():
    stream = io.StringIO()
    reader, writer = pipe()
    with pytest.raises(ZeroDivisionError), rendering(reader, "plain", stream), writer.one_off("step"):
        raise ZeroDivisionError("oops")
    assert threads() == []
    assert stream.getvalue().splitlines()[-1] == "step: failed after 0.0 s: oops"
    writer.write("nobody reads this", 1)  # the writer is still open, and no worse for it


def test_rendering_on_a_broken_stream_does_not_hold_up_the_work():
    reader, writer = pipe()
    with rendering(reader, "plain", Breaking(0)), writer:
        for number in range(100):
            writer.write(f"id{number}", number)
    assert threads() == []


def test_rendering_in_an_unknown_mode_starts_nothing():
    reader, _ = pipe()
    with pytest.raises(OptionError), rendering(reader, "loud"):
        pass
    assert threads() == []


def test_rendering_on_a_terminal_wipes_what_goes_on(screen):
    reader, writer = pipe()
    with rendering(reader, "tty", screen), writer:
        writer.write("a", 1)
    assert screen.rows() == [""]
