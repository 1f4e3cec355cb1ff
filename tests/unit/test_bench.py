"""What `tarcast bench` makes of its figures: ranking, warnings, table, JSON, plot; and how it finds peers."""

from __future__ import annotations

import json
import struct
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tarcast.bench import machine, peers, plot, rounds
from tarcast.bench.measure import Place, Sample
from tarcast.bench.peers import Peer
from tarcast.bench.results import Results, as_json, warnings
from tarcast.bench.rounds import Conditions, Row
from tarcast.bench.stats import Summary, summarize, too_close
from tarcast.bench.table import of_results
from tarcast.bench.tree import TreeFacts
from tarcast.cli.bench_parser import parse_bench
from tarcast.compression import Compression
from tarcast.errors import OptionError

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "cpu": "A $fast$ CPU",
    "cores": 2,
    "memory": 8 << 30,
    "memory_available": 4 << 30,
    "kernel": "Linux 6.18.1",
    "python": "3.11.7",
    "tree_file_system": "ext4",
    "output_file_system": "tmpfs",
    "page_reporting": "none",
}


def row(name: str, seconds: list[float], **more: Any) -> Row:
    options = {"call": "tarcast"} if name.startswith("tarcast") else {"commands": ((name,),)}
    return Row(Peer(name, name, "1.0", **options), seconds=seconds, size=2_000_000, **more)


def results(*rows: Row, data: int = 10_000_000, **conditions: Any) -> Results:
    return Results("/srv/a tree", TreeFacts(1000, data), dict(MACHINE), Conditions(**conditions), list(rows))


def usual() -> Results:
    return results(
        row("tarcast", [0.1, 0.11, 0.12, 0.1, 0.13], peak=3 << 20),
        row("slow", [0.5, 0.4, 0.6, 0.5, 0.5], peak=1 << 20),
        row("broken", [], problem="exit status 2: no\x1b way"),
        Row(Peer("gone", "gone", absent="no gone on PATH")),
    )


class TestFigures:
    def test_the_order_is_chance_if_a_median_is_among_the_others_runs(self) -> None:
        assert too_close(Summary(2, 1, 3, 0), Summary(3, 2.9, 3.1, 0))
        assert too_close(Summary(2, 1, 3, 0), Summary(3.5, 1.5, 5, 0))
        assert not too_close(Summary(2, 1, 3, 0), Summary(3.5, 2.5, 4, 0))
        assert not too_close(summarize([1.0, 1.1]), summarize([2.0, 2.1]))

    def test_the_fastest_is_first_and_who_has_no_times_last(self) -> None:
        found = results(Row(Peer("gone", "gone", absent="x")), row("b", [2.0]), row("a", [1.0]), row("c", []))
        assert [r.peer.name for r, _ in found.ranked()] == ["a", "b"]
        assert [r.peer.name for r in found.rest()] == ["c", "gone"]

    def test_ratios_are_to_tarcast_and_unknown_without_it(self) -> None:
        found = usual()
        assert [found.ratio(r) for r in found.rows] == [1.0, pytest.approx(0.5 / 0.11), None, None]
        found.rows[0].problem = "failed"
        assert found.ratio(found.rows[1]) is None

    def test_nothing_to_warn_of(self) -> None:
        assert warnings(usual()) == []

    def test_a_wide_spread_and_a_close_race_are_told(self) -> None:
        found = warnings(results(row("tarcast", [1.0, 1.2, 1.7]), row("near", [1.3, 1.3, 1.4])))
        assert found[0].startswith("the times of tarcast vary by more than half: don't trust the ranking")
        assert found[1:] == ["too close to say who is faster: tarcast and near"]

    def test_page_reporting_is_named_where_it_may_be_the_cause(self) -> None:
        wide, even = (results(row("tarcast", [1.0, high, 1.2])) for high in (1.7, 1.3))
        for found in (wide, even):
            found.machine["page_reporting"] = "order 9"
        assert "page reporting" in warnings(wide)[1]
        assert warnings(even) == []

    def test_two_rounds_say_nothing_of_a_spread(self) -> None:
        assert warnings(results(row("tarcast", [1.0, 9.0]), rounds=2)) == [
            "with less than three rounds nothing is known of the spread"
        ]

    def test_a_tree_that_the_page_cache_has_no_room_for(self) -> None:
        large = results(row("tarcast", [1.0, 1.0, 1.0]), data=5 << 30)
        assert warnings(large) == [
            "the tree has 5.37 GB, the page cache at most 4.29 GB: these are times of the storage too"
        ]
        cold = results(row("tarcast", [1.0, 1.0, 1.0]), data=5 << 30, cold=True)
        assert warnings(cold) == []

    def test_available_memory(self) -> None:
        assert machine.available_memory("MemTotal: 9 kB\nMemAvailable:   123 kB\n") == 123 * 1024
        assert machine.available_memory("") == 0

    def test_mount_points_may_be_called_anything(self) -> None:
        mounts = (
            "21 1 8:1 / / rw - ext4 /dev/a rw\n"
            "22 21 8:2 / /srv/caf\u00e9\u2028 rw - xfs /dev/b rw\n"
            "23 21 8:3 / /srv/a\\040b\\134040 rw shared:1 - btrfs /dev/c rw\n"
        )
        for path, kind in (
            ("/srv", "ext4"),
            ("/srv/caf\u00e9\u2028/x", "xfs"),
            ("/srv/a b\\040", "btrfs"),
            ("/srv/a b", "ext4"),
        ):
            assert machine.file_system(Path(path), mounts) == kind
        assert machine.file_system(Path("/"), "") == "unknown"


class TestTable:
    def test_lines(self) -> None:
        lines = of_results(usual()).splitlines()
        assert lines[0] == "tree     a tree: 1,000 entries, 10.0 MB of files, on ext4"
        assert lines[1] == "output   a fresh file on tmpfs; warm cache, 5 rounds in turn after a warm-up"
        assert lines[2] == "machine  A $fast$ CPU, 2 cores, 8.0 GiB of memory, Linux 6.18.1, Python 3.11.7"
        headings = "peer version median s min..max s MB/s files/s / tarcast peak MiB"
        assert lines[4].split() == headings.split()
        assert lines[6].split() == ["tarcast", "1.0", "0.110", "0.100..0.130", "91", "9,091", "1.00", "+3.0"]
        assert lines[7].split() == ["slow", "1.0", "0.500", "0.400..0.600", "20", "2,000", "4.55", "1.0"]
        assert lines[8] == "broken   failed: exit status 2: no\\x1b way"
        assert lines[9] == "gone     absent: no gone on PATH"

    def test_conditions_are_told(self) -> None:
        found = results(row("tarcast", [1.0]), rounds=1, pipe=True, cold=True, compression="zstd:3")
        lines = of_results(found).splitlines()
        assert lines[1] == "output   a pipe, zstd:3; cold cache, 1 round in turn after a warm-up"
        assert lines[4].endswith("output MB")
        assert lines[6].endswith("2.0")
        assert lines[-1].startswith("warning: with less than three rounds")
        assert ", until it is on the disk" in of_results(results(row("tarcast", [1.0]), fsync=True))

    def test_json_has_every_run(self) -> None:
        found = json.loads(json.dumps(as_json(usual(), 1)))
        assert found["exit_status"] == 1
        assert found["tree"] == {"path": "/srv/a tree", "entries": 1000, "bytes": 10_000_000}
        assert found["conditions"] == {
            "rounds": 5,
            "to": "file",
            "cold": False,
            "fsync": False,
            "compression": None,
        }
        ours, slow, broken, gone = found["peers"]
        assert ours["seconds"] == [0.1, 0.11, 0.12, 0.1, 0.13]
        assert (ours["median"], ours["min"], ours["max"]) == (0.11, 0.1, 0.13)
        assert (ours["startup_included"], slow["startup_included"]) == (False, True)
        assert (slow["bytes_per_second"], slow["entries_per_second"]) == (20_000_000, 2000)
        assert (broken["error"], gone["absent"]) == ("exit status 2: no\x1b way", "no gone on PATH")
        assert "median" not in broken


class TestPlot:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("matplotlib", reason="matplotlib is not installed")

    def texts(self, svg: bytes) -> list[str]:
        root = ElementTree.fromstring(svg)
        return ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]

    def test_svg_has_everybody_with_times_as_text(self) -> None:
        drawn = plot.draw(usual(), "x.SVG")
        found = self.texts(drawn)
        assert [name for name in found if name in ("tarcast", "slow", "broken", "gone")] == [
            "tarcast",
            "slow",
        ]
        assert "a tree: 1,000 entries, 10.0 MB, to a file" in found
        assert "A $fast$ CPU, 2 cores, Linux 6.18, tmpfs, warm cache" in found
        assert {"91", "20"} <= set(found)
        assert drawn.count(b"#0072b2") == 1  # one of them is ours
        assert drawn == plot.draw(usual(), "x.svg")

    def test_png_has_the_size_of_its_bars(self) -> None:
        sizes = []
        for found in (usual(), results(row("tarcast", [1.0]))):
            drawn = plot.draw(found, "x.png")
            assert drawn.startswith(b"\x89PNG\r\n\x1a\n")
            sizes.append(struct.unpack(">II", drawn[16:24]))
        (width, two), (same, one) = sizes
        assert width == same == 1200
        assert two - one == pytest.approx(0.42 * 150, abs=1)

    def test_empty_files_are_counted_and_nobody_is_no_error(self) -> None:
        assert "1,000" in self.texts(plot.draw(results(row("tarcast", [1.0]), data=0), "x.svg"))
        assert plot.draw(results(row("tarcast", [], problem="no")), "x.svg").rstrip().endswith(b"</svg>")

    def test_settings_of_the_program_around_it_stay(self) -> None:
        import matplotlib

        with matplotlib.rc_context({"font.size": 33, "svg.fonttype": "path"}):
            assert "tarcast" in self.texts(plot.draw(usual(), "x.svg"))
            assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["svg.fonttype"]) == (33, "path")
        assert "matplotlib.pyplot" not in sys.modules

    def test_a_suffix_that_is_no_picture(self) -> None:
        plot.check("x.PNG")
        with pytest.raises(OptionError, match=r"an SVG or a PNG; name it \.svg or \.png"):
            plot.check("x.pdf")


def test_a_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"a plot needs matplotlib; pip install 'tarcast\[plot\]'"):
        plot.check("x.svg")


class TestPeers:
    def test_everyone_is_found_or_says_why_not(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        found = {p.name: p for p in peers.find([], Compression("gzip", 6))}
        assert list(found) == [
            "tarcast",
            "tarcast-one-thread",
            "tarcast-create",
            "gnu-tar",
            "gnu-tar-parallel",
            "bsdtar",
            "fastar",
            "tarfile",
        ]
        reasons = [
            found[name].absent for name in ("gnu-tar", "gnu-tar-parallel", "bsdtar", "tarcast", "tarfile")
        ]
        assert reasons == ["no GNU tar on PATH", "no GNU tar on PATH", "no bsdtar on PATH", None, None]

    def test_a_tar_that_is_not_gnu_is_not_taken_for_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "tar").write_text("#!/bin/sh\necho bsdtar 9\n")
        (tmp_path / "tar").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert peers.find(["gnu-tar"], None)[1].absent == "no GNU tar on PATH"

    def test_named_ones_come_in_the_tables_order_beside_tarcast(self) -> None:
        assert [p.name for p in peers.find(["tarfile", "gnu-tar-xattrs"], None)] == [
            "tarcast",
            "gnu-tar-xattrs",
            "tarfile",
        ]

    @pytest.mark.parametrize("name", ["cpio", "gnu-tar-parallel"])
    def test_nobody_else_can_be_named(self, name: str) -> None:
        with pytest.raises(OptionError, match="is nobody to compare with here"):
            peers.find([name], None)

    @pytest.mark.parametrize(
        ("said", "version"),
        [
            ("xz (XZ Utils) 5.4.1", "5.4.1"),
            ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", "1.5.4"),
            ("bsdtar 3.6.2 - libarchive 3.6.2 zlib/1.2.13", "3.6.2"),
            ("", ""),
        ],
    )
    def test_versions(self, said: str, version: str) -> None:
        assert peers._number_in(said) == version

    @pytest.mark.parametrize(("text", "level"), [("gzip", 6), ("zstd", 3), ("xz:0", 0), ("zstd:19", 19)])
    def test_levels(self, text: str, level: int) -> None:
        assert peers.setting(text).level == level

    @pytest.mark.parametrize(
        "text", ["bzip2", "zstd:", "zstd:-3", "zstd:0", "zstd:23", "gzip:0", "zstd:3,long"]
    )
    def test_what_not_all_can_do(self, text: str) -> None:
        with pytest.raises(OptionError):
            peers.setting(text)


class TestRounds:
    def test_everyone_in_turn_and_who_fails_drops_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = {"tarcast": [9, 9, 9, 9], "short": [3], "grows": [9, 9, 10]}
        told: list[tuple[int, str]] = []

        def run(peer: Peer, *_: Any, watch: bool = False, **__: Any) -> Sample:
            return Sample(1.5, sizes[peer.name].pop(0), 100 if watch else None)

        monkeypatch.setattr(rounds, "run", run)
        monkeypatch.setattr(rounds, "use_memory", lambda *_: None)
        found = rounds.measure(
            [*(Peer(name, name) for name in sizes), Peer("gone", "gone", absent="x")],
            "/tree",
            TreeFacts(1, 5),
            Place("/p", "/p/empty"),
            Conditions(rounds=3),
            lambda number, label: told.append((number, label)),
        )
        assert told == [
            *((0, name) for name in ("tarcast", "short", "grows")),
            *((1, name) for name in ("tarcast", "grows")),
            *((2, name) for name in ("grows", "tarcast")),
            (3, "tarcast"),
        ]
        assert [r.problem for r in found] == [
            None,
            "its output has 3 bytes, the files have 5",
            "in round 2: 10 bytes, and 9 before: does the tree change?",
            None,
        ]
        assert [r.counts for r in found] == [True, False, False, False]
        assert (found[0].seconds, found[0].peak) == ([1.5, 1.5, 1.5], 100)


class TestArguments:
    def test_defaults(self) -> None:
        args = parse_bench(["src"])
        assert (args.tree, args.rounds, args.pipe, args.peers, args.progress) == ("src", 5, False, [], "auto")

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            ([], "DIR"),
            (["--rounds", "0", "x"], "no number from 1 to 1000"),
            (["--to", "null", "x"], "neither file nor pipe; GNU tar would read nothing"),
            (["--to", "pipe", "--fsync", "x"], "--fsync needs a file"),
            (["--temp-dir", "", "x"], "empty"),
        ],
    )
    def test_nonsense(self, words: list[str], why: str) -> None:
        with pytest.raises(OptionError, match=why):
            parse_bench(words)
