"""What is told at the end of an export, and the exit status, without running one."""

from __future__ import annotations

import errno
import json
import signal
from types import SimpleNamespace

import pytest

from tarcast import cli
from tarcast.cli import create, running
from tarcast.cli.progress import Display, Json, Silent
from tarcast.cli.report import WARNINGS_SHOWN, Outcome, show, summary
from tarcast.errors import Cancelled, InputError, OptionError, OutputError


class Warned:
    step = "read data"
    message = "Input/output error"
    errno = 5

    def __init__(self, path: str) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.step}: {self.message}"


def result(**changes: object) -> SimpleNamespace:
    values = {
        "entries": 12345,
        "bytes_written": 10**9,
        "bytes_cloned": 0,
        "seconds": 0.5,
        "skipped": 0,
        "dropped": 0,
        "digests": {},
        "output_bytes": 10,
        "output_digests": {},
        "compression": None,
        "warnings": [],
        "warnings_lost": 0,
    }
    return SimpleNamespace(**values | changes)


def shown(outcome: Outcome, display: Display, capsys, output: str = "o\x1b.tar") -> list[str]:
    show(outcome, display, output)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_final_line(capsys):
    outcome = Outcome()
    outcome.finished(
        result(bytes_cloned=99 * 10**7, skipped=2, dropped=3000, digests={"sha256": "ab", "md5": "cd"})
    )
    assert outcome.status == 1
    assert shown(outcome, Display(), capsys) == [
        "tarcast: o\\x1b.tar: 12,345 entries, 1.00 GB in 0.50 s (2.00 GB/s), "
        "990 MB of it shared with the files, 2 skipped, 3,000 left out by the id map, sha256 ab, md5 cd"
    ]


def test_warnings_are_shown_up_to_a_limit_even_when_quiet(capsys):
    outcome = Outcome()
    outcome.finished(result(warnings=[Warned(f"f{n}\n") for n in range(WARNINGS_SHOWN + 5)]))
    assert outcome.status == 0
    told = shown(outcome, Silent(), capsys)
    assert told[0] == "tarcast: warning: f0\\n: read data: Input/output error"
    assert told[WARNINGS_SHOWN:] == ["tarcast: warning: and 5 more"]


def test_json_lines(capsys):
    outcome = Outcome()
    outcome.finished(result(skipped=30, warnings=[Warned(f"f\udcff{n}") for n in range(30)]))
    events = [json.loads(line) for line in shown(outcome, Json(), capsys)]
    assert len(events) == WARNINGS_SHOWN + 1
    assert events[0] == {
        "event": "warning",
        "path": "f\\xff0",
        "step": "read data",
        "message": "Input/output error",
        "errno": 5,
    }
    end = events[-1]
    assert (end["event"], end["done"], end["warning_count"], end["exit_status"]) == ("end", True, 30, 1)
    assert "warnings" not in end


def test_summary_has_all_warnings():
    outcome = Outcome()
    outcome.finished(result(warnings=[Warned(str(n)) for n in range(30)]))
    values = summary(outcome, Display())
    assert [warning["path"] for warning in values["warnings"]] == [str(n) for n in range(30)]
    json.dumps(values)


def test_summary_of_a_failure_counts_up_to_the_last_report():
    display = Display()
    display(SimpleNamespace(entries=7, bytes_written=99, seconds=0.1, path=None, done=False))
    outcome = Outcome()
    outcome.failed(OutputError("full", path="out", step="write", errno=errno.ENOSPC), "out")
    values = summary(outcome, display)
    assert (values["entries"], values["bytes_written"], values["exit_status"]) == (7, 99, 4)
    assert values["error"] == {
        "type": "OutputError",
        "path": "out",
        "step": "write",
        "message": "full",
        "errno": errno.ENOSPC,
    }


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OptionError("no"), 2, "tarcast: error: no"),
        (InputError("no", path="p"), 3, "tarcast: error: p: no"),
        (OutputError("no"), 4, "tarcast: error: no"),
        (Cancelled("stopped"), 130, "tarcast: error: stopped"),
        (KeyboardInterrupt(), 130, "tarcast: interrupted"),
        (running.Ended(signal.SIGTERM), 143, "tarcast: terminated"),
        (running.Ended(signal.SIGHUP), 129, "tarcast: hung up"),
        (OSError(errno.EIO, "x", "p"), 3, "tarcast: error: p: Input/output error [EIO]"),
        (OSError(errno.EIO, "x", "out"), 4, "tarcast: error: out: Input/output error [EIO]"),
        (
            OSError(errno.EPIPE, "x"),
            4,
            "tarcast: error: Broken pipe [EPIPE]; the reader of the stream went away",
        ),
        (OSError("odd"), 3, "tarcast: error: odd"),
    ],
    ids=repr,
)
def test_errors(capsys, error, status, line):
    outcome = Outcome()
    outcome.failed(error, "out")
    assert outcome.status == status
    assert shown(outcome, Silent(), capsys) == [line]


def test_a_bug_has_a_status_of_its_own_and_a_traceback(monkeypatch, capsys):
    def broken(arguments: list[str]) -> int:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(create, "run", broken)
    assert cli.main(["create"]) == cli.INTERNAL_ERROR == 70
    err = capsys.readouterr().err
    assert "please report" in err
    assert "ZeroDivisionError: oops" in err


def test_an_interrupt_before_the_export_is_one_line(monkeypatch, capsys):
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(create, "run", interrupted)
    assert cli.main(["create"]) == 130
    assert capsys.readouterr() == ("", "tarcast: interrupted\n")


def test_signals_are_left_as_they_were():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    cli.main(["create", "/no/such/directory", "-o", "/no/such/output", "--quiet"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_final_line_says_which_digest_is_which(capsys):
    outcome = Outcome()
    outcome.finished(
        result(
            output_bytes=2 * 10**8,
            compression="gzip:6 (zlib 1.3)",
            digests={"sha256": "ab"},
            output_digests={"sha256": "cd"},
        )
    )
    assert shown(outcome, Display(), capsys) == [
        "tarcast: o\\x1b.tar: 12,345 entries, 1.00 GB in 0.50 s (2.00 GB/s), "
        "200 MB written as gzip:6 (zlib 1.3), sha256 of the archive ab, sha256 of the file cd"
    ]
    values = summary(outcome, Display())
    assert values["digests"] == {"sha256": "ab"}
    assert values["output_digests"] == {"sha256": "cd"}
    assert values["output_bytes"] == 2 * 10**8
    assert values["compression"] == "gzip:6 (zlib 1.3)"
