"""The benchmark of sessions: its options, its arithmetic and tables. No server is started here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import sessions, sessions_report
from benchmarks.measure import RunFailed
from benchmarks.servers import Buildkitd, Server, busy, ticks
from benchmarks.servers import run_of as told
from benchmarks.sessions_report import HEADINGS, Row, Run, Work


def run(archive: float, request: float, size: int = 2_000_000, **more: object) -> Run:
    return Run(archive, request, 0.25, 0.5, size, 500, 4096, **more)


def row(name: str, door: str, *runs: Run, **more: object) -> Row:
    return Row(name, door, f"{name} SOCKET", "1.0", runs=[*runs], **more)


def work(*rows: Row) -> Work:
    return Work("small", 1.0, 3, [*rows], cores=2)


OURS = row("tarcast", "control", run(1, 2), run(3, 4), run(2, 3))
THEIRS = row("buildkit-exporter", "control", run(5, 6), run(4, 9), run(9, 9))


def test_a_line_has_both_times_and_their_ratios_to_ours() -> None:
    line = dict(enumerate(sessions_report.cells(work(OURS, THEIRS), THEIRS)))
    assert len(line) == len(HEADINGS)
    assert [line[i] for i in range(2, 8)] == [
        "5.000",
        "4.000..9.000",
        "2.50",
        "9.000",
        "6.000..9.000",
        "3.00",
    ]
    assert [line[i] for i in range(8, 13)] == ["0.50", "0.25", "0", "500", "100"]
    assert sessions_report.cells(work(OURS, THEIRS), OURS)[4] == "1.00"


def test_a_ratio_is_to_ours_at_the_same_door() -> None:
    other = row("buildkit-exporter", "upgrade", run(8, 8))
    assert sessions_report.cells(work(OURS, other), other)[4] == "-"
    upgraded = row("tarcast", "upgrade", run(4, 2))
    line = sessions_report.cells(work(OURS, upgraded, other), other)
    assert (line[4], line[7]) == ("2.00", "4.00")


def test_nobody_is_compared_with_runs_that_do_not_count() -> None:
    failed = row("tarcast", "control", run(1, 1), problem="in round 2: refused")
    done = work(failed, THEIRS)
    assert sessions_report.cells(done, THEIRS)[4] == "-"
    assert sessions_report.cells(done, failed) == ["tarcast", "control", "FAILED: in round 2: refused"]
    assert done.failed()


def test_who_is_absent_says_why_and_is_no_failure() -> None:
    absent = row("buildkitd", "control", absent="needs runc")
    done = work(OURS, THEIRS, absent)
    assert sessions_report.cells(done, absent)[-1] == "absent: needs runc"
    assert not done.failed()
    assert "buildkitd SOCKET" not in sessions_report.markdown({}, [done])
    assert "buildkitd" not in sessions_report.identity(done)


def test_everyone_owes_the_same_bytes_in_every_run() -> None:
    assert sessions_report.differing(work(OURS, THEIRS)) == []
    short = row("buildkit-exporter", "control", run(5, 6), run(5, 6, size=1_999_999))
    done = work(OURS, short)
    assert done.failed()
    assert "OUTPUT DIFFERS: tarcast (control) 2,000,000 bytes, buildkit-exporter" in sessions_report.plain(
        done
    )
    assert "1,999,999 bytes or 2,000,000 bytes" in sessions_report.identity(done)


def test_the_sums_of_the_warm_ups_are_compared_too() -> None:
    rows = [
        row(name, "control", run(1, 1), first=run(1, 1, sha256=letter * 64))
        for name, letter in (("tarcast", "a"), ("buildkit-exporter", "b"))
    ]
    assert len(sessions_report.differing(work(*rows))) == 2
    assert sessions_report.differing(work(rows[0], rows[0])) == []
    assert "not checked" in sessions_report.identity(work(rows[0]))
    assert "counted, not compared" in sessions_report.identity(work(OURS, THEIRS))


def test_what_others_took_is_of_all_cores() -> None:
    disturbed = row("tarcast", "control", run(1, 2, others_cpu=1), run(1, 2, others_cpu=2))
    assert sessions_report.disturbance(work(disturbed))[0].endswith("38%, at worst 50%")
    assert sessions_report.disturbance(work()) == []


def test_json_has_every_run_and_markdown_a_table_for_each_tree() -> None:
    done = work(OURS, THEIRS)
    data = json.loads(json.dumps(sessions_report.as_json({"cpu": "x"}, [done])))
    theirs = data["works"][0]["rows"][1]
    assert [one["archive"] for one in theirs["runs"]] == [5, 4, 9]
    assert theirs["archive_ratio"] == 2.5
    assert theirs["archive_paired_ratio"] == [pytest.approx(4 / 3), 5]
    assert theirs["request_summary"]["median"] == 9
    text = sessions_report.markdown({"cpu": "x"}, [done, done])
    assert text.count("| contestant | door |") == 2
    assert text.count("- tarcast: `tarcast SOCKET` (1.0)") == 1


def test_a_server_has_the_time_of_all_below_it() -> None:
    stats = {
        10: "10 (a (b) c) S 1 0 0 0 0 0 0 0 0 0 5 6 7 8 0 0",
        11: "11 (child) S 10 0 0 0 0 0 0 0 0 0 100 0 0 0 0 0",
        12: "12 (grandchild) S 11 0 0 0 0 0 0 0 0 0 1000 0 0 0 0 0",
        13: "13 (stranger) S 1 0 0 0 0 0 0 0 0 0 9999 0 0 0 0 0",
    }
    assert ticks(stats, 10) == 26 + 100 + 1000
    assert ticks(stats, 11) == 1100
    assert ticks(stats, 99) == 0


def test_the_machine_is_busy_with_all_but_waiting() -> None:
    assert busy("cpu  1 2 4 1000 1000 8 16 32 64 64\n") == 63


def answer(**changes: object) -> dict[str, object]:
    file = {"Bytes": 9, "Messages": 3, "Largest": 4, "Seconds": 0.5, "SHA256": "", "Closed": True}
    return {"Error": "", "Files": [file], "Seconds": 1.5, "CPU": 0.25} | changes


def test_what_the_client_says_becomes_a_run() -> None:
    got = told(answer(), 0.5, 2.0)
    assert (got.archive, got.request, got.bytes, got.messages, got.largest) == (0.5, 1.5, 9, 3, 4)
    assert (got.client_cpu, got.server_cpu, got.others_cpu, got.sha256) == (0.25, 0.5, 1.25, None)
    assert told(answer(), 0.5, 0.0).others_cpu == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Error": "refused"}, "refused"),
        ({"Files": []}, "not get one whole"),
        ({"Files": [{"Closed": False}]}, "not get one whole"),
    ],
)
def test_half_an_archive_is_no_run(changes: dict[str, object], said: str) -> None:
    with pytest.raises(RunFailed, match=said):
        told(answer(**changes), 0, 0)


def options(*words: str) -> object:
    return sessions.parser().parse_args(["--work", "small", *words])


def test_both_doors_are_measured_unasked_and_one_if_asked() -> None:
    assert sessions.doors_of(options()) == ["upgrade", "control"]
    assert sessions.doors_of(options("--via", "control")) == ["control"]
    assert sessions.doors_of(options("--via", "control", "--via", "upgrade")) == ["upgrade", "control"]


def test_a_tree_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sessions.main([])
    assert "--work" in capsys.readouterr().err


def test_buildkitd_needs_root_and_its_own_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert sessions.refusal(options("--buildkitd")) is None
    assert "--via control" in str(sessions.refusal(options("--buildkitd", "--via", "upgrade")))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in str(sessions.refusal(options("--buildkitd")))
    assert sessions.refusal(options()) is None


def test_a_report_is_named_by_what_was_not_as_usual() -> None:
    facts = {"date": "2026-01-02 03:04 UTC", "commit": "abc"}
    assert sessions.default_stem(facts, options()).name == "2026-01-02-abc-sessions-small"
    asked = options("--work", "small", "--via", "control", "--buildkitd", "--scale", "0.5")
    assert (
        sessions.default_stem(facts, asked).name
        == "2026-01-02-abc-sessions-small-control-buildkitd-scale-0_5"
    )


@pytest.mark.parametrize(("quiet", "taken"), [(None, 1), (30.0, 3), (1.0, sessions.ATTEMPTS)])
def test_a_disturbed_run_is_repeated_if_asked_but_not_for_ever(
    quiet: float | None, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Run] = []

    def receive(*_: object) -> Run:
        seen.append(run(1, 2, others_cpu=4 - len(seen) if len(seen) < 3 else 1))
        return seen[-1]

    monkeypatch.setattr(sessions, "receive", receive)
    monkeypatch.setattr(sessions, "settle", lambda cold: None)
    monkeypatch.setattr(sessions, "PAUSE", 0)
    conditions = sessions.Conditions(1, 1.0, ["control"], False, Path(), quiet)
    server = Somebody()
    assert sessions.timed_run(row("a", "control"), server, "small", Path(), conditions, 4) is seen[-1]
    assert len(seen) == taken


class Somebody(Server):
    name = "somebody"

    def asked(self, work: str, tree: Path) -> list[str]:
        return []

    def close(self) -> None:
        pass


def test_everyone_has_a_row_for_each_door_that_it_has() -> None:
    entrants = sessions.rows_of([Somebody()], {Buildkitd: "needs runc"}, ["upgrade", "control"])
    assert [(row.name, row.door, row.absent) for row, _ in entrants] == [
        ("somebody", "upgrade", None),
        ("somebody", "control", None),
        ("buildkitd", "control", "needs runc"),
    ]
    assert [server is None for _, server in entrants] == [False, False, True]
