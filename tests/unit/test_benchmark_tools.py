"""How the system calls of one export are counted: what strace and perf say, and the call they watch."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import perf, strace, syscalls
from benchmarks.attach import Call, Done, ToolError
from benchmarks.measure import RunFailed
from benchmarks.strace import Count

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.52    0.000892           5       177        37 futex
 32.84    0.000484           2         3           write
  3.26    0.000048           9       200           read
  0.10    0.000001           1         2           readv
  0.00    0.000000           0         1           brk
------ ----------- ----------- --------- --------- ----------------
100.00    0.001424           3       383        37 total
"""
REPORT = """\
# Samples: 14  of event 'cpu-clock'
#
# Samples|Shared Object|Symbol
3           |libc.so.6           |[.] __memchr_evex
5           |[kernel.kallsyms]   |[k] path_openat
1           |body.so|[.] operator|(a)
1           |[kernel.kallsyms]   |[k] _raw_spin_unlock

"""


def test_summary_of_strace_is_read_line_by_line() -> None:
    assert strace.parse(SUMMARY) == [
        Count("read", 200, 0),
        Count("futex", 177, 37),
        Count("write", 3, 0),
        Count("readv", 2, 0),
        Count("brk", 1, 0),
    ]
    assert strace.parse("strace: nothing\n") == []


def test_what_the_process_around_the_call_does_is_not_counted() -> None:
    assert strace.without_own(strace.parse(SUMMARY)) == [
        Count("read", 200, 0),
        Count("futex", 177, 37),
        Count("write", 2, 0),
        Count("brk", 1, 0),
    ]
    assert strace.without_own([Count("write", 1, 0)]) == []


def test_calls_are_given_per_file_and_per_mib_of_archive() -> None:
    counts = [Count("read", 1200, 0), Count("futex", 300, 2)]
    assert strace.lines(counts, Done(1.0, 101, 4 << 20), 100) == [
        ["read", "1,200", "12.000", "300.00", "-"],
        ["futex", "300", "3.000", "75.00", "2"],
        ["all", "1,500", "15.000", "375.00", "2"],
    ]


def test_report_of_perf_is_split_into_kernel_and_user() -> None:
    symbols = perf.parse(REPORT)
    assert [s.samples for s in symbols] == [5, 3, 1, 1]
    assert perf.lines(symbols, kernel=True, top=1) == [["path_openat", "50.0%", "[kernel.kallsyms]"]]
    assert perf.lines(symbols, kernel=False, top=9) == [
        ["__memchr_evex", "30.0%", "libc.so.6"],
        ["operator|(a)", "10.0%", "body.so"],
    ]
    assert (perf.share(symbols, kernel=True), perf.share(symbols, kernel=False)) == (60.0, 40.0)
    assert perf.share([], kernel=True) == 0.0


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="no strace on PATH"):
        strace.program()
    with pytest.raises(ToolError, match="no perf on PATH"):
        perf.profile(None, tmp_path)  # type: ignore[arg-type]  # it is not looked at


@pytest.mark.parametrize("sink", ["file", "pipe"])
def test_a_call_waits_for_the_word_and_leaves_nothing(tmp_path: Path, sink: str) -> None:
    tree, output = tmp_path / "tree", tmp_path / "x.tar"
    tree.mkdir()
    (tree / "a").write_bytes(b"a" * 1000)
    with Call(tree, sink, output, {"threads": 1}) as call:
        (tree / "b").write_bytes(b"b")
        done = call.go()
        assert (done.entries, done.size % 512) == (2, 0)
        assert output.exists() == (sink == "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree"]


def test_a_call_that_is_not_told_to_go_ends_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tree").mkdir()
    with Call(tmp_path / "tree", "file", tmp_path / "x.tar", {}):
        pass
    assert capfd.readouterr().err == ""


def test_a_call_that_fails_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(RunFailed, match="InputError"),
        Call(tmp_path / "nowhere", "file", tmp_path / "x.tar", {}),
    ):
        pass


def test_strace_that_cannot_attach_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "strace"
    fake.write_text("#!/bin/sh\necho 'strace: attach: Operation not permitted' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(strace, "program", lambda: str(fake))
    (tmp_path / "tree").mkdir()
    with (
        Call(tmp_path / "tree", "file", tmp_path / "x.tar", {}) as call,
        pytest.raises(ToolError, match="as root: strace: attach: Operation not permitted"),
    ):
        strace.count(call, tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--work", "small", "--threads", "65"],
        ["--work", "small", "--fs-size", "8G"],
        ["--work", "nothing"],
    ],
)
def test_system_call_counter_refuses_nonsense_before_it_makes_a_tree(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> Path:
        raise AssertionError("it began")

    monkeypatch.setattr(syscalls, "cache_directory", started)
    with pytest.raises(SystemExit) as ended:
        syscalls.main(arguments)
    assert ended.value.code == 2
