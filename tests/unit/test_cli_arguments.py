"""How `tarcast create` reads its arguments: trees, output, filters, id maps, epoch, digests."""

from __future__ import annotations

import os
import re

import pytest

from tarcast.cli.archive_parsers import parse_cat, parse_ls, parse_verify
from tarcast.cli.bench_parser import parse_bench
from tarcast.cli.completion import completion_parser
from tarcast.cli.create import excludes, id_map, output_of, trees_of
from tarcast.cli.help import help_parser
from tarcast.cli.parser import LARGEST_EPOCH, create_parser, default_epoch, parse_create
from tarcast.cli.report import check_summary_file, write_summary
from tarcast.cli.session_parsers import parse_build_export, parse_receive, parse_serve
from tarcast.errors import IDMapError, InputError, OptionError, OutputError
from tarcast.idmap import IDMap


def parse(*arguments: str):
    return parse_create(list(arguments))


def refuse(*arguments: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse(*arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


class TestTrees:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("one", "two", "a=b", "deep/one"):
            os.makedirs(name)

    def test_one_plain_directory_is_the_root(self):
        assert trees_of(["one"]) == "one"
        assert trees_of(["missing"]) == "missing"

    def test_a_name_makes_a_directory_of_it(self):
        assert trees_of(["x=one"]) == {"x": "one"}
        assert trees_of(["l/amd64=one", "l/arm64=two"]) == {"l/amd64": "one", "l/arm64": "two"}

    def test_several_plain_directories_have_their_base_names(self, tmp_path):
        assert trees_of(["one/", "./deep/../two"]) == {"one": "one/", "two": "./deep/../two"}
        assert trees_of([".", "one"]) == {tmp_path.name: ".", "one": "one"}

    def test_it_cuts_at_the_first_equals_sign(self):
        assert trees_of(["x=y=z"]) == {"x": "y=z"}

    def test_an_existing_directory_is_never_cut(self):
        assert trees_of(["a=b"]) == "a=b"
        assert trees_of(["a=b", "one"]) == {"a=b": "a=b", "one": "one"}
        assert trees_of(["x=a=b"]) == {"x": "a=b"}

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([""], "empty string"),
            (["=one"], "no name"),
            (["x="], "no directory"),
            (["one", "deep/one"], 'both be "one"'),
            (["x=one", "x=two"], 'both be "x"'),
            (["/", "one"], "no name of its own"),
        ],
    )
    def test_refuses(self, arguments, says):
        with pytest.raises(OptionError, match=says):
            trees_of(arguments)


class TestOptions:
    def test_options_and_directories_mix(self):
        args = parse("a", "--epoch", "5", "b", "-o", "out", "c")
        assert (args.trees, args.epoch, args.output) == (["a", "b", "c"], 5, "out")

    def test_two_dashes_end_the_options(self):
        assert parse("-o", "out", "--", "-a", "--epoch").trees == ["-a", "--epoch"]
        assert parse("a", "--", "b").trees == ["a", "b"]

    def test_two_dashes_end_the_options_of_the_others(self):
        assert parse_receive(["--from", "unix:///x", "-o", "y", "--", "-a"]).tree == "-a"
        assert parse_receive(["a", "--from", "unix:///x", "--"]).tree == "a"
        assert parse_ls(["-l", "--", "-a", "-b"]).patterns == ["-b"]
        assert parse_cat(["--", "-a", "-b"]).members == ["-b"]
        assert parse_verify(["--quiet", "--", "-a", "-b"]).trees == ["-b"]
        assert parse_bench(["--quiet", "--", "-a"]).tree == "-a"
        assert help_parser().parse_args(["--", "-a"]).command == "-a"
        assert completion_parser().parse_args(["--", "fish"]).shell == "fish"
        with pytest.raises(OptionError, match=r"unrecognized arguments: .*-a"):
            parse_serve(["--listen", "unix:///x", "--tree", "a=b", "--", "-a"])
        with pytest.raises(OptionError, match=r"unrecognized arguments: .*-a"):
            parse_build_export(["--definition", "x", "--", "-a"])

    def test_a_lone_dash_is_a_value(self):
        assert parse("a", "-o", "-").output == "-"

    def test_defaults(self):
        args = vars(parse("a"))
        assert args == {
            "trees": ["a"],
            "refs": [],
            "output": None,
            "include": [],
            "excludes": [],
            "follow": [],
            "idmaps": [],
            "epoch": None,
            "digest": [],
            "threads": None,
            "on_error": "fail",
            "fsync": False,
            "compress": None,
            "index": None,
            "index_digest": None,
            "align": False,
            "sparse": False,
            "memory_limit": 32 << 20,
            "progress": "auto",
            "summary_json": None,
            "count_first": False,
        }

    def test_a_second_parser_starts_from_the_defaults(self):
        parse("a", "--exclude", "x", "--idmap", "0:0:1", "--include", "y")
        assert parse("a").excludes == parse("a").idmaps == parse("a").include == []

    @pytest.mark.parametrize(
        "arguments", [["--incl", "x"], ["--progres", "none"], ["--out", "x"], ["--unknown"], ["-z"]]
    )
    def test_nothing_is_abbreviated(self, arguments):
        assert arguments[0] in refuse("a", *arguments)

    @pytest.mark.parametrize(
        ("text", "size"),
        [("1048576", 1 << 20), ("1024K", 1 << 20), ("8M", 8 << 20), ("8m", 8 << 20), ("2G", 2 << 30)],
    )
    def test_memory_limit_takes_units(self, text, size):
        assert parse("a", "--memory-limit", text).memory_limit == size

    def test_quiet_is_progress_none(self):
        assert parse("a", "--quiet").progress == "none"
        refuse("a", "--quiet", "--progress", "plain")

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--epoch", ""),
            ("--epoch", "1.5"),
            ("--epoch", "1_0"),
            ("--epoch", " 1"),
            ("--epoch", "٣"),
            ("--epoch", "-1"),
            ("--epoch", str(LARGEST_EPOCH + 1)),
            ("--epoch", "9" * 5000),
            ("--memory-limit", ""),
            ("--memory-limit", "M"),
            ("--memory-limit", "1.5M"),
            ("--memory-limit", "8T"),
            ("--memory-limit", "-8M"),
            ("--memory-limit", "1023K"),
            ("--memory-limit", "9" * 5000),
            ("--threads", "0"),
            ("--threads", "x"),
            ("--threads", "9" * 5000),
            ("--digest", "crc32"),
            ("--digest", "shake_128"),
            ("--digest", ""),
            ("--on-error", "ignore"),
            ("--progress", "bar"),
            ("--output", ""),
            ("--summary-json", ""),
            ("--idmap", ""),
            ("--exclude-from", ""),
        ],
    )
    def test_refuses_values(self, option, value):
        assert option in refuse("a", f"{option}={value}")

    @pytest.mark.parametrize("pattern", ["", " ", "\t\n"])
    @pytest.mark.parametrize("option", ["--include", "--follow"])
    def test_an_empty_pattern_chooses_nothing(self, option, pattern):
        words = [option, "a", option, pattern]
        says = f"argument {option}: the pattern is empty: is a shell variable unset?"
        assert says in refuse("d", *words)
        with pytest.raises(OptionError, match=re.escape(says)):
            parse_verify(["archive", "d", *words])
        with pytest.raises(OptionError, match=re.escape(says)):
            parse_serve(["--listen", "unix:///x", "--tree", "a=b", *words])

    def test_an_empty_exclude_pattern_is_as_an_empty_line_of_a_file(self):
        assert parse("d", "--exclude", "").excludes == [("--exclude", "")]

    def test_a_directory_is_needed(self):
        assert "DIR" in refuse("-o", "x")

    def test_help_is_text_with_examples(self):
        text = create_parser().format_help()
        assert text.count("  tarcast create ") >= 5


class TestEpoch:
    @pytest.mark.parametrize(("value", "expected"), [("0", 0), ("1700000000", 1700000000), ("", None)])
    def test_from_the_environment(self, value, expected):
        assert default_epoch({"SOURCE_DATE_EPOCH": value}) == expected
        assert default_epoch({}) is None

    @pytest.mark.parametrize("value", ["x", "-1", "1.0", " 1"])
    def test_a_malformed_one_names_the_variable(self, value):
        with pytest.raises(OptionError, match="SOURCE_DATE_EPOCH"):
            default_epoch({"SOURCE_DATE_EPOCH": value})


class TestOutput:
    @pytest.mark.parametrize("name", ["out.tar", "dir.gz/out", "s3://bucket/x.tar", ".gz", "x.tar?.gz/y"])
    def test_names_are_taken(self, name):
        assert output_of(name) == name

    @pytest.mark.parametrize(
        "name", ["a.tar.gz", "a.tgz", "a.TAR.GZ", "a.zst", "a.tar.xz", "a.bz2", "s3://b/a.tar.gz?version=1"]
    )
    def test_a_name_that_promises_compression_is_refused(self, name):
        with pytest.raises(OptionError, match="written as it comes"):
            output_of(name)

    def test_create_takes_what_it_can_compress(self):
        assert output_of("a.tar.gz", compresses=True) == "a.tar.gz"
        assert output_of("s3://b/a.txz?version=1", compresses=True) == "s3://b/a.txz?version=1"
        with pytest.raises(OptionError, match=r'"\.bz2" should be compressed'):
            output_of("a.tar.bz2", compresses=True)
        assert output_of("a.tar.bz2", compresses=True, compression="none") == "a.tar.bz2"

    def test_what_is_said_of_compression_is_read(self):
        assert parse("a").compress is None
        assert parse("a", "--compress", "zstd:19,long").compress == "zstd:19,long"
        assert "gzip has the levels 1 to 9, not 11" in refuse("a", "--compress", "gzip:11")
        assert "unknown compression 'brotli'" in refuse("a", "--compress=brotli")


class TestExcludes:
    def test_patterns_and_files_keep_their_order(self, tmp_path):
        pytest.importorskip("tarcast.patterns")
        (tmp_path / "ignore").write_text("b\n!c\n")
        options = parse("d", "--exclude", "a", "--exclude-from", str(tmp_path / "ignore"), "--exclude", "e")
        assert [os.fsencode(p) for p in excludes(options.excludes)] == [b"a", b"b", b"!c", b"e"]

    def test_a_missing_file_is_an_input_error_with_its_name(self, tmp_path):
        pytest.importorskip("tarcast.patterns")
        with pytest.raises(InputError, match="none"):
            excludes([("--exclude-from", str(tmp_path / "none"))])


class TestIdMaps:
    def read(self, *arguments: str) -> IDMap | None:
        return id_map(parse("d", *arguments).idmaps)

    def test_none_without_options(self):
        assert self.read() is None

    def test_triples(self):
        assert self.read("--idmap", "0:100:10,10:5:1") == IDMap.parse("0:100:10,10:5:1")
        assert self.read("--uidmap", "0:1:2") == IDMap(uid=[(0, 1, 2)])
        assert self.read("--gidmap", "0:1:2") == IDMap(gid=[(0, 1, 2)])

    def test_options_add_up_in_their_order(self):
        ids = self.read("--uidmap", "0:1:1", "--idmap", "1:2:1", "--uidmap", "2:3:1")
        assert ids == IDMap([(0, 1, 1), (1, 2, 1), (2, 3, 1)], [(1, 2, 1)])

    def test_the_files_of_a_process(self, tmp_path):
        (tmp_path / "uid_map").write_text("0 1000 1\n")
        (tmp_path / "gid_map").write_text("0 2000 1\n")
        both = IDMap([(0, 1000, 1)], [(0, 2000, 1)])
        assert self.read("--idmap", str(tmp_path)) == both
        assert self.read("--uidmap", str(tmp_path)) == IDMap(uid=both.uid)
        assert self.read("--gidmap", str(tmp_path / "gid_map")) == IDMap(gid=both.gid)
        assert self.read("--idmap", "/proc/self") == IDMap.from_proc()

    def test_an_empty_file_maps_nothing(self, tmp_path):
        (tmp_path / "m").write_text("")
        assert self.read("--uidmap", str(tmp_path / "m")) == IDMap(uid=())

    @pytest.mark.parametrize(
        ("option", "value", "says"),
        [
            ("--idmap", "0:1", "CONTAINER:HOST:SIZE"),
            ("--uidmap", "0:0:0", "1 or more"),
            ("--idmap", "no-such-user", "no-such-user"),
            ("--gidmap", "/no/such/file", "/no/such/file"),
            ("--idmap", "/proc/self/uid_map", "directory that holds"),
        ],
    )
    def test_errors_name_option_and_value(self, option, value, says):
        with pytest.raises(IDMapError, match=says) as caught:
            self.read(option, value)
        assert option in str(caught.value)


class TestSummaryFile:
    def test_is_replaced_at_once_and_nothing_else_stays(self, tmp_path):
        target = tmp_path / "summary.json"
        target.write_text("old")
        write_summary(str(target), {"a": 1})
        assert target.read_text() == '{\n  "a": 1\n}\n'
        assert os.listdir(tmp_path) == ["summary.json"]

    def test_follows_a_link(self, tmp_path):
        (tmp_path / "link").symlink_to("real")
        write_summary(str(tmp_path / "link"), {})
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_text() == "{}\n"

    def test_takes_the_longest_name(self, tmp_path):
        write_summary(str(tmp_path / ("x" * 255)), {})
        assert os.listdir(tmp_path) == ["x" * 255]

    def test_a_failure_leaves_the_old_file(self, tmp_path, monkeypatch):
        target = tmp_path / "summary.json"
        target.write_text("old")

        def fail(*_: object) -> None:
            raise OSError(28, "full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OutputError, match="ENOSPC"):
            write_summary(str(target), {})
        assert target.read_text() == "old"
        assert os.listdir(tmp_path) == ["summary.json"]

    def test_a_device_is_written_not_replaced(self):
        write_summary("/dev/null", {})
        with pytest.raises(OutputError, match="ENOSPC"):
            write_summary("/dev/full", {})

    def test_goes_to_a_descriptor_from_its_position_on(self, tmp_path):
        with open(tmp_path / "out", "wb", buffering=0) as file:
            file.write(b"before ")
            write_summary(f"/dev/fd/{file.fileno()}", {})
            file.write(b"after")
        assert (tmp_path / "out").read_text() == "before {}\nafter"

    @pytest.mark.parametrize("path", ["i.db", "./i.db", "link"])
    def test_never_takes_the_indexs_place(self, tmp_path, monkeypatch, path):
        monkeypatch.chdir(tmp_path)
        os.symlink("i.db", "link")
        with pytest.raises(OptionError, match="index and summary are the same file"):
            check_summary_file(path, "out", "i.db")
        check_summary_file("summary.json", "out", "i.db")

    def test_never_goes_where_a_descriptor_has_the_archive(self, tmp_path):
        with open(tmp_path / "out", "wb") as file, open(tmp_path / "other", "wb") as other:
            name = f"/dev/fd/{file.fileno()}"
            for path, output in ((name, str(tmp_path / "out")), (str(tmp_path / "out"), name), (name, name)):
                with pytest.raises(OptionError, match="same file"):
                    check_summary_file(path, output)
            check_summary_file(f"/dev/fd/{other.fileno()}", name)
            check_summary_file(str(tmp_path / "new"), name)

    @pytest.mark.parametrize(
        ("path", "output", "says"),
        [
            ("-", "-", "standard output"),
            ("out", "out", "same file"),
            ("./out", "out", "same file"),
            (".", "out", "directory"),
            ("missing/s.json", "out", "no such directory"),
        ],
    )
    def test_refused_before_the_work(self, tmp_path, monkeypatch, path, output, says):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(OptionError, match=says):
            check_summary_file(path, output)
