"""What the progress displays draw, without running an export."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from tarcast import Progress
from tarcast.cli.progress import Display, Json, Plain, Silent, Terminal, choose


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(
    seconds: float, *, path: str | None = "a\nb", done: bool = False, total: int | None = None
) -> Progress:
    return Progress(
        3,
        int(seconds * 1_000_000),
        seconds,
        path,
        done,
        total_entries=None if total is None else 7,
        total_bytes=total,
        rate=1_000_000.0,
    )


@pytest.mark.parametrize(
    ("mode", "screen", "term", "expected"),
    [
        ("auto", True, "xterm", Terminal),
        ("auto", True, None, Terminal),
        ("auto", True, "dumb", Plain),
        ("auto", False, "xterm", Display),
        ("tty", True, "xterm", Terminal),
        ("tty", True, "dumb", Plain),
        ("tty", False, "xterm", Plain),
        ("plain", True, "xterm", Plain),
        ("json", True, "xterm", Json),
        ("none", True, "xterm", Silent),
    ],
)
def test_choice(monkeypatch, mode, screen, term, expected):
    monkeypatch.setattr(sys, "stderr", Screen() if screen else io.StringIO())
    assert type(choose(mode, {} if term is None else {"TERM": term})) is expected


@pytest.mark.parametrize("mode", ["auto", "tty", "plain", "json", "none"])
def test_closed_standard_error_is_no_error(monkeypatch, mode):
    monkeypatch.setattr(sys, "stderr", None)
    display = choose(mode, {})
    display(report(5.0))
    display.close()


def test_a_display_keeps_the_last_report(capsys):
    display = Display()
    for seconds in (1.0, 2.0):
        display(report(seconds))
    assert display.last.seconds == 2.0
    assert capsys.readouterr() == ("", "")


def test_plain_writes_a_line_about_every_two_seconds(capsys):
    display = Plain()
    for tenths in range(65):
        display(report(tenths / 10))
    display(report(6.5, done=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(" in ")[1] for line in err.splitlines()] == [
        f"{seconds:.2f} s (1.00 MB/s), at a\\nb" for seconds in (2.0, 4.0, 6.0)
    ]


def test_plain_tells_percent_and_time_to_go_where_the_total_is_known(capsys):
    display = Plain()
    display(report(2.0, total=8_000_000, path=None))
    display(report(4.5, total=4_000_000, path=None))  # the tree has grown meanwhile
    assert capsys.readouterr().err.splitlines() == [
        "tarcast: 3 entries, 2.00 MB of 8.00 MB (25 %) in 2.00 s (1.00 MB/s), 0:06 left",
        "tarcast: 3 entries, 4.50 MB of 4.00 MB (100 %) in 4.50 s (1.00 MB/s), 0:00 left",
    ]


def test_json_writes_at_most_about_ten_a_second(capsys):
    display = Json()
    for thousandths in range(1000):
        display(report(thousandths / 1000, path=None if thousandths else "ö\udcff"))
    display(report(1.0, done=True))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert 10 <= len(lines) <= 12
    assert lines[0] == {
        "event": "progress",
        "done": False,
        "entries": 3,
        "bytes_written": 0,
        "seconds": 0.0,
        "path": "ö\\xff",
        "total_entries": None,
        "total_bytes": None,
        "rate": 1_000_000,
        "eta": None,
    }
    assert lines[1]["path"] is None
    display(report(1.5, total=2_000_000))
    last = json.loads(capsys.readouterr().err)
    assert (last["total_entries"], last["total_bytes"], last["eta"]) == (7, 2_000_000, 0.5)


def test_terminal_draws_one_line_and_wipes_it(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    display = Terminal()
    display(report(1.0, path="dir/\x1b[31mname" + "x" * 500))
    drawn = screen.getvalue()
    assert "1.00 MB, 1.00 MB/s" in drawn
    assert "3 entries, dir/\\x1b[31mname" in drawn
    assert "\n" not in drawn
    assert "\x1b" not in drawn
    assert max(map(len, drawn.split("\r"))) <= 80
    display.close()
    display.close()
    assert screen.getvalue().endswith("\r")
    assert screen.getvalue().split("\r")[-2].strip() == ""


@pytest.mark.parametrize("total", [10_000_000, 1000])
def test_terminal_draws_a_bar_where_the_total_is_known(monkeypatch, total):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    display = Terminal()
    display(report(1.0, path="name" * 100))
    time.sleep(0.06)  # it is not drawn more often than that
    display(report(2.5, path="name" * 100, total=total))
    drawn = screen.getvalue().split("\r")[-1]
    display.close()
    if total == 1000:
        assert drawn.startswith("100%|")
    else:
        assert drawn.startswith(" 25%|")
        assert "2.50 MB of 10.0 MB, 1.00 MB/s, 0:08 left, 3 entries, name" in drawn
    assert len(drawn) <= 80


def test_terminal_draws_nothing_for_an_export_that_is_over_at_once(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    display = Terminal()
    display(report(0.01, done=True))
    display.close()
    assert screen.getvalue() == ""


def test_terminal_that_goes_away_is_no_error(monkeypatch):
    class Gone(Screen):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    display = Terminal()
    display(report(1.0))
    display(report(2.0))
    display.close()
