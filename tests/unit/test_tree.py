"""What Tree, Entry and write_tar accept and refuse, and what a map callable may do."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import Entry, IDMap, OptionError, Tree, write_tar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """d/ with a file and two names of another, a symlink, everything at 1000000000.75 s."""
    root = tmp_path / "folder"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_bytes(b"content")
    (root / "first").write_bytes(b"twice")
    os.link(root / "first", root / "second")
    os.symlink("to/nowhere", root / "sym")
    for path in [*root.rglob("*")]:
        os.utime(path, ns=(0, 1_000_000_000_750_000_000), follow_symlinks=False)
    (root / "d").chmod(0o750)
    (root / "d" / "file").chmod(0o640)
    return root


def archive_of(trees: Any, **options: Any) -> bytes:
    archive = io.BytesIO()
    write_tar(trees, archive, **options)
    return archive.getvalue()


def members(trees: Any, **options: Any) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive_of(trees, **options))) as tar:
        return {m.name: m for m in tar.getmembers()}


# ---- Tree -------------------------------------------------------------------


def test_tree_keeps_what_it_is_given(tmp_path: Path) -> None:
    idmap, function = IDMap.parse("0:1:1"), lambda entry: entry
    tree = Tree(tmp_path, ["i"], (b"e",), iter(["f"]), idmap, 5, function)
    assert (tree.path, tree.include, tree.exclude, tree.follow) == (str(tmp_path), ("i",), (b"e",), ("f",))
    assert (tree.idmap, tree.epoch, tree.map) == (idmap, 5, function)


def test_tree_has_no_filters_by_default() -> None:
    tree = Tree(b"p\xff")
    assert tree.path == b"p\xff"
    for name in ("include", "exclude", "follow", "idmap", "epoch", "map"):
        assert getattr(tree, name) is None


def test_tree_tells_an_empty_list_from_none(folder: Path) -> None:
    assert Tree(".", include=[]).include == ()
    assert "include=()" in repr(Tree(".", include=[]))


def test_tree_repr_names_what_was_given() -> None:
    assert repr(Tree("a b")) == "Tree('a b')"
    assert repr(Tree(".", exclude=["x"], epoch=0)) == "Tree('.', epoch=0, exclude=('x',))"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": None}, "a tree is a path, not NoneType"),
        ({"path": 3}, "a tree is a path, not int"),
        ({"path": ""}, "the path of a tree is empty; use '.' for the current directory"),
        ({"path": b""}, "the path of a tree is empty; use '.' for the current directory"),
        ({"include": "usr/**"}, "include must be a list of patterns, not one str; write ['usr/**']"),
        ({"exclude": b"x"}, "exclude must be a list of patterns, not one bytes; write [b'x']"),
        ({"follow": "x"}, "follow must be a list of patterns, not one str; write ['x']"),
        ({"include": 5}, "include must be a list of patterns, not int"),
        ({"exclude": ["a", 5]}, "exclude: a pattern is text or bytes, not 5"),
        ({"follow": [None]}, "follow: a pattern is text or bytes, not None"),
        ({"include": [Path("a")]}, "include: a pattern is text or bytes, not PosixPath('a')"),
        ({"idmap": "0:1:1"}, "idmap must be an IDMap, not str; see IDMap.parse"),
        ({"map": "f"}, "map must be callable, not str"),
        ({"epoch": -1}, "epoch -1 is out of range; give seconds since 1970, 0 or more"),
        ({"epoch": 2**63}, "epoch 9223372036854775808 is out of range; give seconds since 1970, 0 or more"),
        ({"epoch": True}, "epoch must be whole seconds, not True"),
        ({"epoch": 1.0}, "epoch must be whole seconds, not 1.0"),
        ({"epoch": "1"}, "epoch must be whole seconds, not '1'"),
    ],
)
def test_tree_refuses(arguments: dict, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        Tree(**{"path": "."} | arguments)
    assert str(caught.value) == says


@pytest.mark.parametrize("epoch", [0, 2**63 - 1])
def test_tree_takes_the_first_and_last_epoch(epoch: int) -> None:
    assert Tree(".", epoch=epoch).epoch == epoch


# ---- write_tar ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epoch": -1}, "epoch -1 is out of range; give seconds since 1970, 0 or more"),
        ({"epoch": "now"}, "epoch must be whole seconds, not 'now'"),
        ({"threads": 0}, "threads must be a number from 1 up, not 0"),
        ({"threads": -1}, "threads must be a number from 1 up, not -1"),
        ({"threads": True}, "threads must be a number from 1 up, not True"),
        ({"threads": 1.5}, "threads must be a number from 1 up, not 1.5"),
        ({"on_error": "ignore"}, "on_error must be 'fail' or 'skip', not 'ignore'"),
        ({"on_error": None}, "on_error must be 'fail' or 'skip', not None"),
        ({"progress": 1}, "progress must be callable, not int"),
        ({"cancel": 1}, "cancel must be an event with is_set(), not int"),
        ({"digest": ["sha256", "nope"]}, "unknown digest 'nope'; one of blake2b, "),
        ({"digest": "nope"}, "unknown digest 'nope'; one of blake2b, "),
        ({"digest": [5]}, "unknown digest 5; one of blake2b, "),
        ({"digest": 5}, "digest must be names of algorithms, not 5"),
        ({"digest": None}, "digest must be names of algorithms, not None"),
        ({"digest": ["shake_128"]}, "digest 'shake_128' has no length of its own"),
    ],
)
def test_write_tar_refuses(folder: Path, tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        write_tar(folder, tmp_path / "out.tar", **options)
    assert str(caught.value).startswith(says)
    assert not (tmp_path / "out.tar").exists()


@pytest.mark.parametrize(
    ("trees", "says"),
    [
        (None, "cannot export NoneType; give a path, a Tree, or a mapping of names to them"),
        ([], "cannot export list; give a path, a Tree, or a mapping of names to them"),
        (5, "cannot export int; give a path, a Tree, or a mapping of names to them"),
        ("", "the path of a tree is empty; use '.' for the current directory"),
        ({"": "."}, "the name of a tree is empty"),
        ({b"": "."}, "the name of a tree is empty"),
        ({".": "."}, "a tree cannot be named '.'; it would not have a directory of its own"),
        ({"..": "."}, "a tree cannot be named '..'; it would not have a directory of its own"),
        ({b"..": "."}, "a tree cannot be named '..'; it would not have a directory of its own"),
        ({"a\0": "."}, "a tree cannot be named 'a\\x00'; it would not have a directory of its own"),
        ({"\ud800": "."}, "a tree cannot be named '\\ud800': surrogates not allowed"),
        ({1: "."}, "the name of a tree is text, not 1"),
        ({"a": 5}, "a tree is a path, not int"),
        ({"a": None}, "a tree is a path, not NoneType"),
        ({"a/b": ".", "a_b": "."}, "two trees have one name: 'a/b' and 'a_b' both become 'a_b'"),
        ({"a": ".", b"a": "."}, "two trees have one name: 'a' and 'a' both become 'a'"),
    ],
)
def test_write_tar_refuses_trees(trees: Any, says: str) -> None:
    archive = io.BytesIO()
    with pytest.raises(OptionError) as caught:
        write_tar(trees, archive)
    assert str(caught.value) == says
    assert archive.getvalue() == b""


@pytest.mark.parametrize("name", ["...", ".a", "a b", "..a", "é", "\udcff"])
def test_write_tar_takes_names_that_only_look_odd(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    archive = archive_of({name: tmp_path / "empty"})
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        assert [m.name for m in tar] == [name]


def test_write_tar_names_the_tree_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(tarcast.InputError) as caught:
        archive_of({"a": tmp_path, "b": tmp_path / "file"})
    assert (
        str(caught.value) == f"{tmp_path}/file: open tree: Not a directory [ENOTDIR]; a tree is a directory"
    )
    with pytest.raises(tarcast.InputError) as caught:
        archive_of(tmp_path / "none")
    assert str(caught.value) == (
        f"{tmp_path}/none: open tree: No such file or directory [ENOENT]; check the path"
    )
    with pytest.raises(OptionError, match="embedded null byte"):
        archive_of("a\0b")


def test_write_tar_of_no_trees_is_an_empty_archive() -> None:
    assert archive_of({}) == bytes(1024)


def test_write_tar_of_an_empty_tree_is_an_empty_archive(tmp_path: Path) -> None:
    assert archive_of(tmp_path) == bytes(1024)


def test_write_tar_takes_every_way_to_name_a_directory(folder: Path) -> None:
    expected = archive_of(str(folder))
    assert len(expected) > 1024
    assert archive_of(os.fsencode(folder)) == expected
    assert archive_of(folder) == expected
    assert archive_of(Tree(folder)) == expected


def test_write_tar_puts_trees_in_the_order_of_their_final_names(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    names = {"linux/arm64": tmp_path / "f", "linux_amd64": Tree(tmp_path / "f"), b"linux-x": tmp_path / "f"}
    assert [m.name for m in members(names).values()] == ["linux-x", "linux_amd64", "linux_arm64"]
    for member in members(names).values():
        assert (member.type, member.mode, member.uid, member.gid, member.mtime) == (b"5", 0o755, 0, 0, 0)


def test_write_tar_prefers_the_epoch_of_a_tree(folder: Path) -> None:
    def times(trees: Any, **options: Any) -> set[float]:
        return {m.mtime for m in members(trees, **options).values()}

    assert times(folder) == {1_000_000_001}
    assert times(folder, epoch=7) == {7}
    assert times(folder, epoch=0) == {0}
    assert times(Tree(folder, epoch=9), epoch=7) == {9}
    assert times(Tree(folder, epoch=0), epoch=7) == {0}
    several = members({"a": Tree(folder, epoch=9), "b": folder}, epoch=7)
    assert {name: m.mtime for name, m in several.items() if "/" not in name} == {"a": 9, "b": 7}
    assert {m.mtime for name, m in several.items() if name.startswith("b/")} == {7}


def test_write_tar_counts_what_it_wrote(folder: Path) -> None:
    archive = io.BytesIO()
    result = write_tar(folder, archive, digest="md5")
    assert (result.entries, result.bytes_written) == (5, len(archive.getvalue()))
    assert (result.skipped, result.dropped, result.warnings, result.warnings_lost) == (0, 0, [], 0)
    assert list(result.digests) == ["md5"]
    # five headers, two bodies of a block each, two zero blocks
    assert result.bytes_written == (5 + 2 + 2) * 512


# ---- map ------------------------------------------------------------------------


def mapped(folder: Path, function: Callable[[Entry], Any], **options: Any) -> dict[str, tarfile.TarInfo]:
    return members(Tree(folder, map=function, **options))


def test_map_sees_every_entry(folder: Path) -> None:
    seen = []
    uid, gid = os.getuid(), os.getgid()

    def note(entry: Entry) -> Entry:
        seen.append((entry.path, entry.type, entry.size, entry.linkname))
        assert (entry.uid, entry.gid) == (uid, gid)
        assert entry.mtime_ns == 1_000_000_000_750_000_000
        if entry.path == "d/file":
            assert entry.mode == 0o640
            assert repr(entry) == f"<Entry 'd/file' file 0640 {uid}:{gid} 7 bytes>"
        return entry

    assert archive_of(Tree(folder, map=note)) == archive_of(folder)
    assert seen == [
        ("d", "directory", 0, ""),
        ("d/file", "file", 7, ""),
        ("first", "file", 5, ""),
        ("second", "hardlink", 0, "first"),
        ("sym", "symlink", 0, "to/nowhere"),
    ]


def test_map_sees_paths_in_the_archive_and_the_epoch(folder: Path) -> None:
    seen = {}
    members({"a/b": Tree(folder, epoch=3, map=lambda e: seen.update({e.path: e.mtime_ns}) or e)})
    assert seen == dict.fromkeys(["a_b/d", "a_b/d/file", "a_b/first", "a_b/second", "a_b/sym"], 3 * 10**9)


def test_map_sees_undecodable_names_escaped(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    seen = []
    archive_of(Tree(tmp_path, map=lambda e: seen.append(e.path)))
    assert seen == ["\udcff"]


def test_map_drops_with_none_but_not_the_children(folder: Path) -> None:
    archive = io.BytesIO()
    result = write_tar(Tree(folder, map=lambda e: None if e.path in ("d", "sym") else e), archive)
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as tar:
        assert tar.getnames() == ["d/file", "first", "second"]
    assert (result.entries, result.dropped, result.skipped) == (3, 2, 0)


def test_map_that_drops_a_first_name_promotes_the_second(folder: Path) -> None:
    archive = archive_of(Tree(folder, map=lambda e: None if e.path == "first" else e))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.getmember("second")
        assert (member.type, member.size, member.linkname) == (b"0", 5, "")
        content = tar.extractfile(member)
        assert content is not None
        assert content.read() == b"twice"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mode": 0}, {"mode": 0}),
        ({"mode": 0o7777}, {"mode": 0o7777}),
        ({"uid": 0, "gid": 2097151}, {"uid": 0, "gid": 2097151}),
        ({"uid": 2**32 - 1, "gid": 2097152}, {"uid": 2**32 - 1, "gid": 2097152}),
        ({"mtime_ns": 0}, {"mtime": 0}),
        ({"mtime_ns": 1_499_999_999}, {"mtime": 1}),
        ({"mtime_ns": 1_500_000_000}, {"mtime": 2}),
        ({"mtime_ns": -500_000_001}, {"mtime": -1}),
        ({"mtime_ns": 2**63 - 1}, {"mtime": 9223372037}),
        ({"mtime_ns": -(2**63)}, {"mtime": -9223372037}),
        ({"xattrs": {"user.a": b"1"}}, {"pax_headers": {"SCHILY.xattr.user.a": "1"}}),
        ({"xattrs": {b"user.a": bytearray(b"1")}}, {"pax_headers": {"SCHILY.xattr.user.a": "1"}}),
        (
            {"size": 3, "linkname": "x", "path": "y", "type": "fifo"},
            {"size": 7, "linkname": "", "type": b"0"},
        ),
    ],
)
def test_map_changes_what_it_may(folder: Path, change: dict, expected: dict) -> None:
    def function(entry: Entry) -> Entry:
        if entry.path == "d/file":
            for name, value in change.items():
                setattr(entry, name, value)
        return entry

    before, after = members(folder), mapped(folder, function)
    assert {name: getattr(after["d/file"], name) for name in expected} == expected
    for name in before:
        if name != "d/file":
            assert after[name].get_info() == before[name].get_info()


def test_map_sorts_attributes_and_may_take_them_away(folder: Path) -> None:
    try:
        os.setxattr(folder / "d" / "file", "user.own", b"x")
    except OSError:
        pytest.skip("the file system takes no user attributes")
    seen = []

    def function(entry: Entry) -> Entry:
        if entry.path == "d/file":
            seen.append(entry.xattrs)
            entry.xattrs = {"user.z": b"3", "user.b": b"", "user.a": b"\xff\0="}
        return entry

    archive = archive_of(Tree(folder, map=function))
    assert seen[0] == {"user.own": b"x"}
    assert b"27 SCHILY.xattr.user.a=\xff\0=\n24 SCHILY.xattr.user.b=\n25 SCHILY.xattr.user.z=3\n\0" in archive

    def without(entry: Entry) -> Entry:
        entry.xattrs.clear()
        return entry

    assert b"user.own" in archive_of(folder)
    assert b"user." not in archive_of(Tree(folder, map=without))


def test_map_may_give_more_attributes_than_the_core_has_room_for(folder: Path) -> None:
    def function(entry: Entry) -> Entry:
        entry.xattrs = {f"user.{i:04}": entry.path.encode() * 3 for i in range(500)}
        return entry

    for name, member in mapped(folder, function).items():
        assert member.pax_headers == {f"SCHILY.xattr.user.{i:04}": name * 3 for i in range(500)}


def test_map_attributes_of_late_parents_do_not_reach_their_child(tmp_path: Path) -> None:
    # Parents that no pattern selects are mapped after the child and written before it.
    (tmp_path / "1" / "22" / "333").mkdir(parents=True)
    (tmp_path / "1" / "22" / "333" / "4444").touch()
    calls = []

    def function(entry: Entry) -> Entry:
        calls.append(entry.path)
        entry.xattrs = {f"user.{i}": entry.path[-1:].encode() * 250 for i in range(5)}
        return entry

    found = mapped(tmp_path, function, include=["1/22/333/4444"])
    assert calls == ["1/22/333/4444", "1", "1/22", "1/22/333"]
    assert list(found) == ["1", "1/22", "1/22/333", "1/22/333/4444"]
    for name, member in found.items():
        assert member.pax_headers == {f"SCHILY.xattr.user.{i}": name[-1] * 250 for i in range(5)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mode": -1}, "map set mode to -1; it must be from 0 to 4095"),
        ({"mode": 0o10000}, "map set mode to 4096; it must be from 0 to 4095"),
        ({"mode": "644"}, "map set mode to '644'; it must be from 0 to 4095"),
        ({"uid": -1}, "map set uid to -1; it must be from 0 to 4294967295"),
        ({"uid": 2**32}, "map set uid to 4294967296; it must be from 0 to 4294967295"),
        ({"gid": None}, "map set gid to None; it must be from 0 to 4294967295"),
        ({"gid": 2**32}, "map set gid to 4294967296; it must be from 0 to 4294967295"),
        ({"mtime_ns": 2**63}, "map set mtime_ns to 9223372036854775808; it must be from "),
        ({"mtime_ns": -(2**63) - 1}, "map set mtime_ns to -9223372036854775809; it must be from "),
        ({"mtime_ns": 1.5}, "map set mtime_ns to 1.5; it must be from "),
        ({"xattrs": None}, "map set xattrs to None; it must be a dict"),
        ({"xattrs": {"user.a": "1"}}, "map set attribute 'user.a' to '1'; it must be bytes"),
        ({"xattrs": {"user.a": 5}}, "map set attribute 'user.a' to 5; it must be bytes"),
        ({"xattrs": {"": b""}}, "map set an attribute named ''"),
        ({"xattrs": {"a\0": b""}}, "map set an attribute named 'a\\x00'"),
        ({"xattrs": {5: b""}}, "map set an attribute named 5"),
        ({"xattrs": {"\ud800": b""}}, "map set an attribute named '\\ud800'"),
    ],
)
def test_map_may_not_set_what_no_file_has(folder: Path, change: dict, says: str) -> None:
    def function(entry: Entry) -> Entry:
        if entry.path == "d/file":
            for name, value in change.items():
                setattr(entry, name, value)
        return entry

    with pytest.raises(OptionError) as caught:
        mapped(folder, function)
    assert str(caught.value).startswith(f"d/file: map: {says}")


@pytest.mark.parametrize(("answer", "kind"), [(True, "bool"), ("d", "str"), (False, "bool"), (0, "int")])
def test_map_must_answer_an_entry_or_none(folder: Path, answer: object, kind: str) -> None:
    with pytest.raises(OptionError) as caught:
        mapped(folder, lambda entry: answer)
    assert str(caught.value) == f"d: map: map must give an Entry or None, not {kind}"


def test_map_attribute_that_pax_cannot_hold_is_an_input_error(folder: Path) -> None:
    def function(entry: Entry) -> Entry:
        entry.xattrs["user.a=b"] = b""
        return entry

    with pytest.raises(tarcast.InputError, match=r"the name of attribute 'user\.a=b' holds '='"):
        mapped(folder, function)
    archive = io.BytesIO()
    result = write_tar(Tree(folder, map=function), archive, on_error="skip")
    assert archive.getvalue() == archive_of(folder)
    assert [w.path for w in result.warnings] == [
        f"{folder}/{name}" for name in ("d", "d/file", "first", "second", "sym")
    ]


class Custom(BaseException):
    pass


@pytest.mark.parametrize("error", [Custom("mine"), KeyError("k"), KeyboardInterrupt(), OSError(5, "e")])
def test_map_exception_passes_through_as_it_is(folder: Path, tmp_path: Path, error: BaseException) -> None:
    def function(entry: Entry) -> Entry:
        if entry.path == "second":
            raise error
        return entry

    with pytest.raises(type(error)) as caught:
        write_tar(Tree(folder, map=function), tmp_path / "out.tar")
    assert caught.value is error
    assert os.listdir(tmp_path) == ["folder"]


@pytest.fixture
def far_away() -> Iterator[IDMap]:
    return IDMap([(0, 4_000_000_000, 1)], None)


def test_map_is_not_asked_about_what_the_idmap_drops(folder: Path, far_away: IDMap) -> None:
    archive = io.BytesIO()
    seen: list[Entry] = []
    result = write_tar(Tree(folder, idmap=far_away, map=seen.append), archive)
    assert (archive.getvalue(), result.dropped, seen) == (bytes(1024), 5, [])
