"""Whole directories by tarcast.open: by the core, and entry by entry; against tarfile and write_tar."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import ChangedError, InputError, MissingError, OptionError, OutputError, Tree
from tests.support.extract import EXTRACTORS
from tests.support.faults import TRAILER, make_deep, make_files, nothing_left_behind, obeying_modes
from tests.support.files import remove_tree
from tests.support.members import described, members
from tests.support.memory import in_new_process
from tests.support.rich import RICH
from tests.support.sanitizer import without_sanitizer
from tests.support.trees import make_tree


@pytest.fixture(scope="module")
def rich(scratch: Path) -> Iterator[Path]:
    directory = scratch / "writer-rich"
    directory.mkdir(mode=0o755)
    make_tree(RICH, os.fsencode(directory))
    yield directory
    remove_tree(directory)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = make_files(tmp_path / "tree", a=b"aaa", b=b"b" * 300_000)
    make_files(tree / "sub" / "deep", c=b"c")
    os.link(tree / "a", tree / "sub" / "a2")
    (tree / "abs").symlink_to("/etc/hostname")
    (tree / "rel").symlink_to("a")
    os.mkfifo(tree / "fifo")
    return tree


def archive(**options: Any) -> tuple[io.BytesIO, tarcast.TarWriter]:
    out = io.BytesIO()
    return out, tarcast.open(out, **options)


def written(*calls: Any, **options: Any) -> bytes:
    """What `tarcast.open` writes when `calls` are made on it."""
    out, tar = archive(**options)
    with tar:
        for call in calls:
            call(tar)
    return out.getvalue()


def by_tarfile(*calls: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:
        for call in calls:
            call(tar)
    return out.getvalue()


def same(info: tarfile.TarInfo) -> tarfile.TarInfo:
    return info


def names(data: bytes) -> list[str]:
    return [m.name for m in members(data)]


# ---- entry by entry: the bytes of tarfile -----------------------------------


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_with_a_filter_the_bytes_are_those_of_tarfile(rich: Path, format: Any) -> None:
    options = {"format": format}
    ours = written(lambda tar: tar.add(rich, "x", filter=same), **options)
    assert ours == by_tarfile(lambda tar: tar.add(rich, "x", filter=same), **options)


@pytest.mark.parametrize("arcname", [None, "x", "/x//y/", ".", "./x", "../x"])
def test_names_are_those_of_tarfile(tree: Path, arcname: str | None) -> None:
    def add(tar: Any, **options: Any) -> None:
        tar.add(tree, arcname, **options)

    theirs = by_tarfile(add)
    assert written(lambda tar: add(tar, filter=same)) == theirs
    assert names(written(add)) == names(theirs)


def test_dereference_is_that_of_tarfile(tree: Path) -> None:
    def add(tar: Any) -> None:
        tar.add(tree, "x")

    (tree / "abs").unlink()
    ours = written(add, dereference=True)
    assert ours == by_tarfile(add, dereference=True)
    assert not any(m.issym() or m.islnk() for m in members(ours))


def test_single_files_are_those_of_tarfile(tree: Path) -> None:
    def add(tar: Any) -> None:
        for name in ("b", "sub/a2", "a", "fifo", "abs", "a"):
            tar.add(tree / name, name)
        tar.add(tree, "d", recursive=False)

    assert written(add) == by_tarfile(add)


def test_pax_headers_of_the_whole_are_those_of_tarfile(tree: Path) -> None:
    options = {"pax_headers": {"comment": "grüße", "x.y": "1"}}

    def add(tar: Any) -> None:
        tar.add(tree / "a", "a")

    assert written(add, **options) == by_tarfile(add, **options)


def test_a_filter_may_change_anything(tree: Path) -> None:
    def change(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if info.name.endswith("sub") or info.isfifo():
            return None
        info.uid = info.gid = 7
        info.uname = info.gname = "seven"
        info.mtime = 1
        if info.name == "x/b":
            info.size = 5
        if info.name == "x/a":
            info.name = "renamed"
        return info

    def add(tar: Any) -> None:
        tar.add(tree, "x", filter=change)

    ours = written(add)
    assert ours == by_tarfile(add)
    assert names(ours) == ["x", "renamed", "x/abs", "x/b", "x/rel"]
    assert {(m.uid, m.uname, m.mtime) for m in members(ours)} == {(7, "seven", 1)}


def test_a_link_leads_to_what_is_in_the_archive(tree: Path) -> None:
    """tarfile's leads to names that a filter left out or changed."""

    def drop_first(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if info.name == "x/a" else info

    def rename_first(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if info.name == "x/a":
            info.name = "x/first"
        return info

    dropped = {m.name: m for m in members(written(lambda tar: tar.add(tree, "x", filter=drop_first)))}
    assert (dropped["x/sub/a2"].isreg(), dropped["x/sub/a2"].size) == (True, 3)
    renamed = {m.name: m for m in members(written(lambda tar: tar.add(tree, "x", filter=rename_first)))}
    assert (renamed["x/sub/a2"].islnk(), renamed["x/sub/a2"].linkname) == (True, "x/first")


def test_a_filter_that_raises_ends_the_archive(tree: Path) -> None:
    def bad(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if info.name == "x/b":
            raise ZeroDivisionError
        return info

    out, tar = archive()
    with pytest.raises(ZeroDivisionError):
        tar.add(tree, "x", filter=bad)
    with pytest.raises(OutputError, match="half an entry") as caught:
        tar.close()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert TRAILER not in out.getvalue()


def test_a_filter_that_raises_at_once_ends_nothing(tree: Path) -> None:
    def bad(info: tarfile.TarInfo) -> tarfile.TarInfo:
        raise ZeroDivisionError

    out, tar = archive()
    with tar:
        with pytest.raises(ZeroDivisionError):
            tar.add(tree, "x", filter=bad)
        tar.add(tree / "a", "a")
    assert names(out.getvalue()) == ["a"]


def test_a_filter_may_add_entries_of_its_own(tree: Path) -> None:
    out, tar = archive()

    def note(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if info.name == "x/b":
            tar.add_bytes("note", b"b comes")
        return info

    with tar:
        tar.add(tree, "x", filter=note)
    assert names(out.getvalue())[:5] == ["x", "x/a", "x/abs", "note", "x/b"]


def test_trees_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    paths = make_deep(tmp_path / "deep", 1200)
    plain = names(written(lambda tar: tar.add(tmp_path / "deep", "d")))
    assert sorted(plain) == sorted(["d", *(f"d/{p}" for p in paths)])
    assert names(written(lambda tar: tar.add(tmp_path / "deep", "d", filter=same))) == plain
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


# ---- by the core ------------------------------------------------------------


def test_a_directory_is_what_write_tar_writes_below_a_name(rich: Path) -> None:
    out = io.BytesIO()
    tarcast.write_tar(rich, out)
    plain = described(out.getvalue())
    ours = described(written(lambda tar: tar.add(rich, "x/y")))
    top = ours.pop(0)
    status = rich.stat()
    assert (top["name"], top["mode"], top["uid"]) == ("x/y/", 0o755, status.st_uid)
    assert top["mtime"] == (status.st_mtime_ns + 500_000_000) // 1_000_000_000
    for entry in plain:
        entry["name"] = f"x/y/{entry['name']}"
        if entry["type"] == tarfile.LNKTYPE:
            entry["linkname"] = f"x/y/{entry['linkname']}"
    assert ours == plain


def test_what_is_in_it_is_what_tarfile_writes(rich: Path) -> None:
    """But for whole seconds, owner names, sockets and attributes, and links of what is no file."""

    def plain(entry: dict[str, Any]) -> dict[str, Any]:
        forgotten = {"mtime": 0, "uname": "", "gname": "", "attributes": {}}
        return entry | forgotten

    ours = described(written(lambda tar: tar.add(rich, "x")))
    theirs = {e["name"]: plain(e) for e in described(by_tarfile(lambda tar: tar.add(rich, "x")))}
    sockets = {f"x/{os.fsdecode(n.path)}" for n in RICH if n.kind == "socket"}
    found = {e["name"]: plain(e) for e in ours if e["name"] not in sockets}
    assert list(found) == list(theirs)
    different = {name for name in found if found[name] != theirs[name]}
    assert {found[name]["type"] for name in different} <= {tarfile.LNKTYPE}
    assert {theirs[name]["type"] for name in different} <= {
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
    }


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("how", ["add", "add_tree"])
def test_tools_restore_the_tree(rich: Path, place: Path, scratch: Path, name: str, how: str) -> None:
    path = scratch / f"writer-{how}-{name}.tar"
    with tarcast.open(path) as tar:
        if how == "add":
            tar.add(rich, arcname="")
        else:
            tar.add_tree(Tree(rich))
    assert EXTRACTORS[name].judge(rich, path, place) == len(RICH)


def test_add_tree_without_a_prefix_is_write_tar(rich: Path) -> None:
    out = io.BytesIO()
    tree = Tree(rich, exclude=["sizes"], epoch=5)
    result = tarcast.write_tar(tree, out)
    writer_out, tar = archive(digest=["sha256"])
    with tar:
        tar.add_tree(tree)
    assert writer_out.getvalue().rstrip(b"\0") == out.getvalue().rstrip(b"\0")
    assert len(writer_out.getvalue()) % 10240 == 0
    assert tar.result is not None
    assert (tar.result.entries, tar.result.dropped) == (result.entries, result.dropped)
    assert [str(w) for w in tar.result.warnings] == [str(w) for w in result.warnings]


def test_add_tree_takes_patterns_maps_and_a_name(tree: Path) -> None:
    def change(entry: tarcast.Entry) -> tarcast.Entry | None:
        if entry.path.endswith("rel"):
            return None
        entry.uid = 5
        return entry

    seen = members(
        written(lambda tar: tar.add_tree(Tree(tree, exclude=["sub", "fifo"], epoch=9, map=change), "/x/y/z"))
    )
    assert [m.name for m in seen] == ["x/y/z", "x/y/z/a", "x/y/z/abs", "x/y/z/b"]
    assert {(m.uid, m.mtime) for m in seen} == {(5, 9)}
    assert seen[2].linkname == "/etc/hostname"  # as it is, not moved below the name
    included = names(written(lambda tar: tar.add_tree(Tree(tree, include=["sub/deep/c"]), "x/y")))
    assert included == ["x/y", "x/y/sub", "x/y/sub/deep", "x/y/sub/deep/c"]


@pytest.mark.parametrize("threads", [1, 4])
def test_parts_and_entries_follow_one_another(rich: Path, threads: int, tmp_path: Path) -> None:
    def add(tar: tarcast.TarWriter) -> None:
        tar.add_bytes("first", b"1" * 1000)
        tar.add(rich, "one")
        tar.addfile(tarfile.TarInfo("middle"))
        tar.add_tree(rich, "two")
        tar.add(rich / "sizes", "three", filter=same)
        tar.add_tree(rich)
        tar.add_bytes("last", b"2" * 1000)

    want = written(add)
    found = names(want)
    assert [found[0], found[-1]] == ["first", "last"]
    assert found.index("one") < found.index("middle") < found.index("two") < found.index("three")
    result = {}
    for sink in ("path", "descriptor", "pipe", "digest"):
        path = tmp_path / sink
        options: dict[str, Any] = {"threads": threads}
        if sink == "digest":
            options["digest"] = ["sha256"]
        if sink == "pipe":
            with (
                path.open("wb") as file,
                subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as p,
            ):
                assert p.stdin is not None
                with tarcast.open(p.stdin, "w|", **options) as tar:
                    add(tar)
                p.stdin.close()
        elif sink == "descriptor":
            with path.open("wb") as file, tarcast.open(file.fileno(), **options) as tar:
                add(tar)
        else:
            with tarcast.open(path, **options) as tar:
                add(tar)
        result[sink] = path.read_bytes() == want
    assert result == dict.fromkeys(result, True)
    assert tar.offset == len(want)


def test_hard_links_lead_across_calls(tree: Path) -> None:
    def add(tar: Any) -> None:
        tar.add(tree / "a", "single")
        tar.add(tree, "core")
        tar.add(tree / "sub", "slow", filter=same)
        tar.add_tree(tree / "sub", "tree")
        tar.add(tree / "a", "single")

    links = {m.name: m.linkname for m in members(written(add)) if m.islnk()}
    names = ["core/a", "core/sub/a2", "slow/a2", "tree/a2"]
    assert links == dict.fromkeys(names, "single")
    added_again = members(written(lambda tar: [tar.add(tree, "x"), tar.add(tree, "x")]))
    again = [m for m in added_again if m.name == "x/a"]
    assert [m.isreg() for m in again] == [True, True]  # not a link to itself
    assert {m.linkname for m in added_again if m.islnk()} == {"x/a"}


def test_an_empty_name_is_the_root_of_the_archive(tree: Path) -> None:
    plain = names(written(lambda tar: tar.add(tree, "")))
    assert plain[0] == "a"
    assert names(written(lambda tar: tar.add(tree, "/"))) == plain
    assert names(written(lambda tar: tar.add(tree, "", filter=same))) == plain
    assert names(written(lambda tar: tar.add(tree, "", recursive=False))) == []
    _, tar = archive()
    with tar, pytest.raises(OptionError, match="has no name in the archive"):
        tar.add(tree / "a", "")


def test_a_symlink_to_a_directory_is_a_symlink(tree: Path) -> None:
    (tree / "dirlink").symlink_to("sub")
    (entry,) = members(written(lambda tar: tar.add(tree / "dirlink", "d")))
    assert (entry.issym(), entry.linkname) == (True, "sub")
    followed = names(written(lambda tar: tar.add(tree / "dirlink", "d"), dereference=True))
    assert followed == ["d", "d/a2", "d/deep", "d/deep/c"]


@pytest.mark.parametrize("arcname", ["a\0b", "\ud800"])
def test_names_that_no_archive_can_hold(tree: Path, arcname: str) -> None:
    out, tar = archive()
    with tar:
        with pytest.raises(OptionError):
            tar.add(tree, arcname)
        tar.add_bytes("y", b"")
    assert names(out.getvalue()) == ["y"]


# ---- the archive itself, sockets --------------------------------------------


@pytest.mark.parametrize("filter", [None, same])
def test_the_archive_leaves_itself_out(tree: Path, filter: Any) -> None:
    for _ in range(2):  # the second time what is there is what will be replaced
        with tarcast.open(tree / "x.tar") as tar:
            tar.add(tree, "t", filter=filter)
            tar.add(tree / "a", "again")
        assert "t/x.tar" not in names((tree / "x.tar").read_bytes())
    with open(tree / "y.tar", "wb") as file, tarcast.open(file) as tar:
        tar.add(tree, "t", filter=filter)
    assert tar.result is not None
    assert [str(w) for w in tar.result.warnings] == [f"{tree}/y.tar: select: is the archive itself: left out"]
    assert "t/x.tar" in names((tree / "y.tar").read_bytes())


def test_sockets(tree: Path) -> None:
    for name in ("fifo", "rel", "abs"):
        (tree / name).unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tree)  # the name of a socket is short
        try:
            listener.bind("sock")
        finally:
            os.chdir(here)
        _, tar = archive()
        with tar:
            tar.add(tree / "sock", "s")
            tar.add(tree, "t", filter=same)
        assert tar.result is not None
        assert [str(w) for w in tar.result.warnings] == [f"{tree}/sock: select: is a socket: left out"] * 2
        entries = {m.name: m for m in members(written(lambda tar: tar.add(tree, "t")))}
        assert (entries["t/sock"].isreg(), entries["t/sock"].size) == (True, 0)


# ---- what changes, what cannot be read --------------------------------------


def changing(path: Path, name: str, change: Any) -> Any:
    """A filter that has `change` done to the file when its entry is in hand."""

    def hook(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if info.name == name:
            change(path)
        return info

    return hook


@pytest.mark.parametrize("size", [3, 300_000])
def test_a_file_that_changes_before_it_is_opened_is_written_as_it_is_then(tree: Path, size: int) -> None:
    longer = changing(tree / "b", "x/b", lambda path: path.write_bytes(b"n" * size))
    data = written(lambda tar: tar.add(tree, "x", filter=longer))
    assert {m.name: m.size for m in members(data)}["x/b"] == size


def during(read: int, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `change` done when os.read is called the `read`th time."""
    real, calls = os.read, iter(range(1, 10**9))

    def slow(fd: int, size: int) -> bytes:
        if next(calls) == read:
            change()
        return real(fd, size)

    monkeypatch.setattr(os, "read", slow)


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize(
    ("name", "reads", "size", "words"),
    [
        ("a", 1, 0, "shrank while it was added: 3 bytes expected, 0 seen"),
        ("a", 1, 9, "grew while it was added: 3 bytes expected, at least 4 seen"),
        ("b", 2, 280_000, "shrank while it was added: 300000 bytes expected, 280000 seen"),
        ("b", 2, 400_000, "grew while it was added: 300000 bytes expected, at least 300001 seen"),
    ],
)
def test_a_file_that_changes_while_it_is_read(
    tree: Path, name: str, reads: int, size: int, words: str, on_error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tree / name
    old = path.read_bytes()
    out, tar = archive(on_error=on_error)
    during(reads, lambda: os.truncate(path, size), monkeypatch)
    if on_error == "skip":
        with tar:
            tar.add(path, "x")
            tar.add_bytes("y", b"")
        assert tar.result is not None
        assert [str(w) for w in tar.result.warnings] == [f"{path}: read data: {words}"]
        assert tar.result.skipped == 1
        with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as back:
            assert back.getnames() == ["x", "y"]
            stored = back.extractfile("x")
            assert stored is not None
            assert stored.read() == old[:size].ljust(len(old), b"\0")
        return
    with pytest.raises(ChangedError, match=words) as caught:
        tar.add(path, "x")
    assert caught.value.path == str(path)
    if name == "a":  # seen before a byte of it was written
        tar.close()
        assert names(out.getvalue()) == []
    else:
        with pytest.raises(OutputError, match="half an entry"):
            tar.close()


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_file_that_is_replaced_between_its_stat_and_its_opening(tree: Path, on_error: str) -> None:
    def replace(path: Path) -> None:
        (path.parent / "new").write_bytes(b"new")
        os.replace(path.parent / "new", path)

    out, tar = archive(on_error=on_error)
    hook = changing(tree / "b", "x/b", replace)
    if on_error == "fail":
        with pytest.raises(ChangedError, match="was replaced"):
            tar.add(tree, "x", filter=hook)
        tar.abort()
        return
    with tar:
        tar.add(tree, "x", filter=hook)
    assert tar.result is not None
    assert [w.message for w in tar.result.warnings] == ["was replaced while it was added"]
    assert "x/b" not in names(out.getvalue())
    assert "x/sub/deep/c" in names(out.getvalue())


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_file_that_vanishes_from_a_directory(tree: Path, on_error: str) -> None:
    out, tar = archive(on_error=on_error)
    hook = changing(tree / "b", "x/a", Path.unlink)
    if on_error == "fail":
        with pytest.raises(MissingError):
            tar.add(tree, "x", filter=hook)
        with pytest.raises(OutputError, match="half an entry"):
            tar.add_bytes("more", b"")
        tar.abort()
        return
    with tar:
        tar.add(tree, "x", filter=hook)
    assert tar.result is not None
    assert (tar.result.skipped, tar.result.warnings[0].path) == (1, str(tree / "b"))
    assert names(out.getvalue())[:3] == ["x", "x/a", "x/abs"]


UNREADABLE = """
import io, sys, tarfile, tarcast
tree, on_error, how = sys.argv[1:]
out = io.BytesIO()
tar = tarcast.open(out, on_error=on_error)
try:
    tar.add(tree, "x", filter=None if how == "core" else lambda info: info)
except tarcast.InputError as error:
    print(error)
    try:
        tar.close()
    except tarcast.OutputError as error:
        print("stuck:", error.__cause__ is not None)
else:
    result = tar.close()
    print(result.skipped, *[w.path for w in result.warnings])
    print(*[m.name for m in tarfile.open(fileobj=io.BytesIO(out.getvalue()))])
"""


@pytest.mark.parametrize("how", ["core", "filter"])
def test_what_cannot_be_read(tree: Path, how: str) -> None:
    (tree / "b").chmod(0)
    (tree / "sub").chmod(0)
    try:
        for on_error in ("fail", "skip"):
            words = [*obeying_modes(), sys.executable, "-c", UNREADABLE, tree, on_error, how]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            lines = done.stdout.splitlines()
            if on_error == "fail":
                assert "Permission denied" in lines[0]
                assert lines[1] == "stuck: True"
            else:
                assert lines[0] == f"2 {tree}/b {tree}/sub"
                assert lines[1] == "x x/a x/abs x/fifo x/rel x/sub"
    finally:
        (tree / "sub").chmod(0o755)


def test_a_part_that_fails_ends_the_archive(tree: Path, tmp_path: Path) -> None:
    def bad(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "x/b":
            raise ZeroDivisionError
        return entry

    (tmp_path / "o.tar").write_bytes(b"old")
    with nothing_left_behind(tmp_path):
        tar = tarcast.open(tmp_path / "o.tar")
        tar.add_bytes("first", b"")
        with pytest.raises(ZeroDivisionError):
            tar.add_tree(Tree(tree, map=bad), "x")
        with pytest.raises(OutputError, match="half an entry"):
            tar.close()
    assert (tmp_path / "o.tar").read_bytes() == b"old"


def test_a_tree_that_is_not_there_changes_nothing(tree: Path) -> None:
    out, tar = archive()
    with tar:
        with pytest.raises(InputError, match="open tree"):
            tar.add_tree(tree / "missing")
        tar.add_bytes("y", b"")
    assert names(out.getvalue()) == ["y"]


# ---- memory -----------------------------------------------------------------

MANY = """
import io, tarfile
class Nothing(io.RawIOBase):
    def write(self, data):
        return len(data)
tar = tarcast.open(Nothing(), "w|")
def add(count):
    for i in range(count):
        tar.addfile(tarfile.TarInfo(f"dir/file{i:08}"))
add(2000)
before = forget_the_peak()
add(100_000)
for i in range(50):
    tar.add(arguments["tree"], f"t{i}")
    tar.add(arguments["tree"], f"f{i}", filter=lambda info: info)
tar.close()
print(json.dumps(resident("VmHWM") - before))
"""


def test_memory_stays_flat(tmp_path: Path) -> None:
    """tarfile keeps every TarInfo, some 300 bytes and more each: that would be 30 MiB here."""
    make_files(tmp_path / "tree", **{f"f{i}": b"x" for i in range(300)})
    grown = in_new_process(MANY, tree=str(tmp_path / "tree"))
    without_sanitizer()
    assert grown < 12 << 20
