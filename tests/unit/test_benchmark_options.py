"""What the benchmark's command lines accept, and what they make of it; no tree is made here."""

from __future__ import annotations

import argparse
import shutil
import signal
from pathlib import Path

import pytest

from benchmarks import image, memory, run
from benchmarks.arguments import names, size, thread_counts
from benchmarks.calls import name_of, options_of, same_bytes, shown
from benchmarks.contestants import NAMES, find, in_order
from benchmarks.signals import end_in_order
from benchmarks.workloads import ROOM, TREES

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tarcast", {}),
        ("tarcast-one-thread", {"threads": 1}),
        ("tarcast-8-threads", {"threads": 8}),
        ("tarcast-64-threads", {"threads": 64}),
        ("tarcast-align", {"align": True}),
        ("tarcast-sparse-2-threads", {"sparse": True, "threads": 2}),
        ("tarcast-align-sparse-one-thread", {"align": True, "sparse": True, "threads": 1}),
    ],
)
def test_a_name_stands_for_options_and_they_for_it(name: str, options: dict[str, int]) -> None:
    assert options_of(name) == options
    assert name_of(options) == name
    assert same_bytes(options) == ("align" not in name and "sparse" not in name)


@pytest.mark.parametrize(
    "name",
    ["tarcast-command", "gnu-tar", "tarcast-", "tarcast-1-threads", "tarcast-0-threads", "tarcast-65-threads",
     "tarcast-08-threads", "tarcast-sparse-align", "tarcast-fast", "xtarcast", "tarcast\n"],
)  # fmt: skip
def test_other_names_stand_for_no_call(name: str) -> None:
    assert options_of(name) is None


def test_a_report_shows_the_call_as_it_is_made() -> None:
    assert shown({}) == "tarcast.write_tar(TREE, OUT)"
    assert shown({"align": True, "threads": 8}) == "tarcast.write_tar(TREE, OUT, align=True, threads=8)"


def test_only_takes_known_names_once_and_in_the_order_of_the_table() -> None:
    assert names("tarcast-align, gnu-tar,tarcast,,gnu-tar") == ["tarcast-align", "gnu-tar", "tarcast"]
    assert in_order(["gnu-tar", "tarcast-8-threads", "tarcast-align", "tarcast-command", "tarcast"]) == [
        "tarcast", "tarcast-8-threads", "tarcast-align", "tarcast-command", "gnu-tar"
    ]  # fmt: skip
    assert in_order(reversed(NAMES)) == [*NAMES]
    assert not any("align" in name or "sparse" in name or "threads" in name for name in NAMES)
    for text in ("zip", "tarcast,tarcast-1-threads", "", ","):
        with pytest.raises(argparse.ArgumentTypeError, match="unknown"):
            names(text)


def test_rows_that_write_other_bytes_are_compared_and_the_others_are_exact(tmp_path: Path) -> None:
    found = find(tmp_path, ["tarcast-align", "tarcast", "tarcast-sparse", "tarcast-2-threads", "tarfile"])
    try:
        assert [(c.name, c.exact, c.compared) for c in found] == [
            ("tarcast", True, False),
            ("tarcast-align", False, True),
            ("tarcast-sparse", False, True),
            ("tarcast-2-threads", True, False),
            ("tarfile", False, False),
        ]
        assert found[1].asked("file") == "tarcast.write_tar(TREE, OUT, align=True), in a running interpreter"
    finally:
        for contestant in found:
            contestant.close()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("8G", 8 * GIB), ("1.5GiB", 3 * GIB // 2), ("512m", 2**29), ("100kB", 102_400), ("1048576", 2**20)],
)
def test_sizes_have_binary_units(text: str, wanted: int) -> None:
    assert size(text) == wanted


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "8 gallons", "1e9", "8GG"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_thread_counts_are_a_list_each_once() -> None:
    assert thread_counts("1,2, 8,2") == [1, 2, 8]
    for text in ("", "0", "1,65", "1,-2"):
        with pytest.raises(argparse.ArgumentTypeError):
            thread_counts(text)
    assert memory.contestant_names([1, 8]) == ["tarcast-one-thread", "tarcast-8-threads"]
    assert memory.contestant_names(None) == ["tarcast"]


def test_an_image_holds_its_trees_and_the_largest_output_twice() -> None:
    assert set(ROOM) == set(TREES)
    mib = 2**20
    mid, large = ROOM["mid"], ROOM["large"]
    assert image.default_size(["mid"], 1) >= (mid[0] + 2 * mid[1]) * mib + GIB
    both = image.default_size(["mid", "large"], 1)
    assert both >= (mid[0] + large[0] + 2 * max(mid[1], large[1])) * mib + GIB
    assert both < image.default_size(["mid"], 1) + image.default_size(["large"], 1), "outputs come in turn"
    assert image.default_size(["mid", "mid"], 1) == image.default_size(["mid"], 1), "a tree is made once"
    assert GIB < image.default_size(["mid"], 0.01) < 2 * GIB
    assert image.default_size(["holes"], 1) > 16 * GIB, "whoever writes the zeros writes 8 GiB of them"


def test_an_image_needs_root_and_the_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(image.os, "geteuid", lambda: 1000)
    assert "root" in str(image.missing("xfs"))
    monkeypatch.setattr(image.os, "geteuid", lambda: 0)
    monkeypatch.setattr(image, "_SBIN", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for tool in ("mkfs.btrfs", "mount", "umount"):
        assert f"needs {tool}," in str(image.missing("btrfs"))
        (tmp_path / tool).symlink_to(str(shutil.which("true", path="/bin:/usr/bin")))
    assert image.missing("btrfs") is None
    assert "apt-get install xfsprogs" in str(image.missing("xfs"))


def test_an_image_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(image, "_own_mounts", lambda: None)

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image.os, "posix_fallocate", no_room)
    with (
        pytest.raises(image.ImageError, match=r"no room for 1\.0 GiB.*smaller --fs-size"),
        image.mounted("xfs", GIB, tmp_path),
    ):
        pass
    assert not [*tmp_path.iterdir()]


def test_no_image_is_made_unasked(tmp_path: Path) -> None:
    with image.place(None, None, ["mid"], 1, tmp_path) as place:
        assert place == image.Place(tmp_path, None)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--work", "nothing"],
        ["--work", "small", "--only", "zip"],
        ["--memory", "--work", "small"],
        ["--memory", "--only", "tarcast"],
        ["--work", "small", "--threads", "2"],
        ["--memory", "--threads", "0"],
        ["--work", "small", "--sink", "pipe", "--until-on-disk"],
        ["--work", "small", "--fs-size", "8G"],
        ["--work", "small", "--fs", "xfs", "--fs-size", "1M"],
        ["--work", "small", "--fs", "vfat"],
    ],
)
def test_runner_refuses_nonsense_before_it_makes_a_tree(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> Path:
        raise AssertionError("it began")

    monkeypatch.setattr(run, "cache_directory", started)
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("arguments", [["--cold"], ["--fs", "ext4"]])
def test_what_only_root_can_do_is_refused_to_others(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run.os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit):
        run.main(["--work", "small", *arguments])
    assert "must be run by root" in capsys.readouterr().err


def test_results_are_named_by_what_was_not_as_usual() -> None:
    def stem(*arguments: str) -> str:
        facts = {"date": "2026-01-02 03:04 UTC", "commit": "abc"}
        return run.default_stem(facts, run.parser().parse_args(arguments)).name

    assert stem("--work", "small", "--work", "mid") == "2026-01-02-abc-small-mid"
    assert stem("--work", "mid", "--fs", "xfs", "--until-on-disk") == "2026-01-02-abc-mid-xfs-on-disk"
    assert stem("--work", "mid", "--sink", "pipe", "--cold") == "2026-01-02-abc-mid-pipe-cold"
    assert stem("--memory", "--threads", "1,8", "--scale", "0.5") == (
        "2026-01-02-abc-memory-threads-1-8-scale-0_5"
    )


def test_an_end_from_outside_unwinds_unless_it_is_ignored() -> None:
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        end_in_order()
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM
        signal.raise_signal(signal.SIGHUP)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
