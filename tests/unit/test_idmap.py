"""Id maps: parsing, validation, look-up, the files of the kernel and of subuid(5)."""

from __future__ import annotations

import os
import pickle
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarcast.errors import IDMapError, OptionError
from tarcast.idmap import IDMap, IDRange

TOP = 2**32


class TestRange:
    def test_is_a_named_triple(self):
        entry = IDRange(1, 2, 3)
        assert (entry.container, entry.host, entry.size) == tuple(entry) == (1, 2, 3)
        assert repr(entry) == "IDRange(container=1, host=2, size=3)"

    def test_may_reach_the_last_id(self):
        assert IDRange(0, 0, TOP).size == TOP
        assert IDRange(TOP - 1, TOP - 1, 1).host == TOP - 1

    @pytest.mark.parametrize(
        ("triple", "says"),
        [
            ((-1, 0, 1), "start at 0"),
            ((0, -1, 1), "start at 0"),
            ((0, 0, 0), "1 or more"),
            ((0, 0, -5), "1 or more"),
            ((1, 0, TOP), f"container ids end at {TOP}"),
            ((0, 1, TOP), f"host ids end at {TOP}"),
        ],
    )
    def test_refuses_what_is_no_range(self, triple, says):
        with pytest.raises(IDMapError, match=says) as caught:
            IDRange(*triple)
        assert ":".join(map(str, triple)) in str(caught.value)

    def test_refuses_what_is_no_integer(self):
        with pytest.raises(TypeError):
            IDRange(0, 0, 1.5)


class TestParse:
    def test_one_text_is_for_both_kinds(self):
        assert IDMap.parse("0:100000:65536") == IDMap([(0, 100000, 65536)], [(0, 100000, 65536)])

    def test_several_triples_and_spaces_between_them(self):
        assert IDMap.parse("0:1000:1, 1:100000:65535").uid == ((0, 1000, 1), (1, 100000, 65535))

    def test_a_kind_that_is_not_given_stays_as_it_is(self):
        assert IDMap.parse(uid="0:1000:1") == IDMap(uid=[(0, 1000, 1)], gid=None)
        assert IDMap.parse(gid="0:1000:1") == IDMap(uid=None, gid=[(0, 1000, 1)])
        assert IDMap.parse(uid="0:1:1", gid="0:2:1") == IDMap([(0, 1, 1)], [(0, 2, 1)])

    @pytest.mark.parametrize("arguments", [((), {}), (("0:0:1",), {"uid": "0:0:1"})])
    def test_takes_one_form(self, arguments):
        with pytest.raises(TypeError):
            IDMap.parse(*arguments[0], **arguments[1])

    @pytest.mark.parametrize(
        "text",
        ["", ",", "0", "0:0", "0:0:1:2", "0:0:", "a:0:1", "0:-1:1", "+0:0:1", "1_0:0:1", "٣:0:1", "0:0:1,"],
    )
    def test_refuses_malformed_text(self, text):
        with pytest.raises(IDMapError, match="CONTAINER:HOST:SIZE"):
            IDMap.parse(text)

    def test_names_the_text_the_part_and_what_is_expected(self):
        with pytest.raises(IDMapError) as caught:
            IDMap.parse("0:1000:1,1:x:2")
        assert str(caught.value) == (
            'id map "0:1000:1,1:x:2", part 2 "1:x:2": expected CONTAINER:HOST:SIZE such as 0:100000:65536'
        )

    @pytest.mark.parametrize("text", ["0:0:4294967297", "4294967296:0:1", "0:0:" + "9" * 5000, "0:0:0"])
    def test_refuses_ids_that_do_not_exist(self, text):
        with pytest.raises(IDMapError, match="id map"):
            IDMap.parse(text)

    def test_its_error_is_an_option_error(self):
        assert issubclass(IDMapError, OptionError)


class TestValue:
    def test_is_immutable(self):
        ids = IDMap.parse("0:1:2")
        with pytest.raises(AttributeError):
            ids.uid = ()
        with pytest.raises(AttributeError):
            del ids.gid
        with pytest.raises(AttributeError):
            ids.other = 1

    def test_equality_and_hash(self):
        assert {IDMap.parse("0:1:2"), IDMap([(0, 1, 2)], [(0, 1, 2)])} == {IDMap.parse("0:1:2")}
        assert IDMap() != IDMap([], [])
        assert IDMap() != (None, None)

    def test_repr_reads_back(self):
        ids = IDMap.parse(uid="0:1:2,5:6:7")
        assert eval(repr(ids)) == ids

    def test_pickles(self):
        ids = IDMap.parse(uid="0:1:2")
        assert pickle.loads(pickle.dumps(ids)) == ids


class TestLookUp:
    def test_none_keeps_and_empty_drops(self):
        assert IDMap().to_container(7, 8) == (7, 8)
        assert IDMap(uid=()).to_container(0, 0) is None
        assert IDMap(gid=()).to_container(0, 0) is None

    @pytest.mark.parametrize(
        ("host", "expected"), [(99, None), (100, 5), (109, 14), (110, None), (0, None), (TOP - 1, None)]
    )
    def test_borders(self, host, expected):
        both = IDMap([(5, 100, 10)], None).to_container(host, 1)
        assert both == (None if expected is None else (expected, 1))

    def test_both_kinds_must_map(self):
        ids = IDMap.parse(uid="0:1000:1", gid="0:2000:1")
        assert ids.to_container(1000, 2000) == (0, 0)
        assert ids.to_container(1000, 1000) is None
        assert ids.to_container(2000, 2000) is None

    def test_the_first_of_overlapping_ranges_wins(self):
        assert IDMap.parse("50:10:5,0:0:100").to_container(12, 20) == (52, 20)

    @given(
        st.lists(st.tuples(*[st.integers(0, 40)] * 2, st.integers(1, 20)), max_size=4),
        st.integers(0, 60),
    )
    def test_agrees_with_the_definition(self, triples, host):
        expected = next((c + host - h for c, h, n in triples if h <= host < h + n), None)
        assert IDMap(triples, None).to_container(host, 0) == (None if expected is None else (expected, 0))


class TestProc:
    def test_the_kernels_layout(self):
        text = "         0       1000          1\n         1     100000      65536\n"
        ids = IDMap.parse_proc(text, "0 0 4294967295\n")
        assert ids.uid == ((0, 1000, 1), (1, 100000, 65536))
        assert ids.gid == ((0, 0, 4294967295),)

    def test_no_lines_map_nothing_and_none_keeps(self):
        assert IDMap.parse_proc("", None) == IDMap(uid=(), gid=None)

    def test_a_malformed_line_is_named(self):
        with pytest.raises(IDMapError, match='gid_map, line 2 "0 x 1"'):
            IDMap.parse_proc("0 0 1", "0 0 1\n0 x 1\n")

    def test_own_process(self):
        with open("/proc/self/uid_map") as uids, open("/proc/self/gid_map") as gids:
            expected = IDMap.parse_proc(uids.read(), gids.read())
        assert IDMap.from_proc() == IDMap.from_proc(os.getpid()) == expected

    @pytest.mark.parametrize("pid", [-1, "../1", "", "x"])
    def test_refuses_what_is_no_process_id(self, pid):
        with pytest.raises(IDMapError, match="process id"):
            IDMap.from_proc(pid)

    def test_a_missing_process_is_an_error_with_its_number(self):
        with pytest.raises(IDMapError) as caught:
            IDMap.from_proc(2**30)
        assert caught.value.errno == 2
        assert caught.value.path == f"/proc/{2**30}/uid_map"

    def test_one_file(self, tmp_path):
        (tmp_path / "m").write_text("0 5 6\n")
        assert IDMap.from_files(gid_map=tmp_path / "m") == IDMap(None, [(0, 5, 6)])


class TestSubordinateIds:
    @pytest.fixture
    def files(self, tmp_path):
        def write(uids: str, gids: str) -> dict[str, str]:
            (tmp_path / "subuid").write_text(uids)
            (tmp_path / "subgid").write_text(gids)
            return {"subuid": str(tmp_path / "subuid"), "subgid": str(tmp_path / "subgid")}

        return write

    def test_lines_of_one_user_are_joined_from_0(self, files):
        paths = files("eve:5:5\nzoe:100000:65536\nzoe:300000:10\n", "zoe:200000:7\n")
        ids = IDMap.from_subid("zoe", **paths)
        assert ids.uid == ((0, 100000, 65536), (65536, 300000, 10))
        assert ids.gid == ((0, 200000, 7),)

    def test_a_user_that_the_system_knows_is_found_under_name_and_number(self, files):
        me = pwd.getpwuid(os.getuid())
        paths = files(f"{me.pw_uid}:10:1\n{me.pw_name}:20:1\n", f"{me.pw_name}:30:1\n")
        expected = IDMap([(0, 10, 1), (1, 20, 1)], [(0, 30, 1)])
        assert IDMap.from_subid(me.pw_name, **paths) == expected
        assert IDMap.from_subid(me.pw_uid, **paths) == expected

    def test_other_users_lines_may_be_malformed(self, files):
        paths = files("# comment\n\neve\nzoe:1:2\n", "zoe:1:2\n")
        assert IDMap.from_subid("zoe", **paths) == IDMap.parse("0:1:2")

    @pytest.mark.parametrize("line", ["zoe:1", "zoe:1:2:3", "zoe:a:2", "zoe:1:0", "zoe:1:4294967296"])
    def test_the_users_own_malformed_line_is_named(self, files, line):
        with pytest.raises(IDMapError, match=f'subuid, line 2 "{line}"'):
            IDMap.from_subid("zoe", **files(f"\n{line}\n", "zoe:1:2\n"))

    def test_an_unknown_user_is_an_error_naming_file_and_user(self, files):
        with pytest.raises(IDMapError, match="subgid: no line for user zoe"):
            IDMap.from_subid("zoe", **files("zoe:1:2\n", "eve:1:2\n"))

    @pytest.mark.parametrize("name", ["", "a:b", "a\nb"])
    def test_refuses_what_is_no_name(self, files, name):
        with pytest.raises(IDMapError, match="no user name"):
            IDMap.from_subid(name, **files("", ""))

    def test_a_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(IDMapError, match="ENOENT"):
            IDMap.from_subid("zoe", subuid=tmp_path / "none", subgid=tmp_path / "none")
