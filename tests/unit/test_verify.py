"""`verify`: archives of ours and of others against trees, and each kind of difference."""

from __future__ import annotations

import gzip
import io
import os
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import tarcast
from tarcast._core.scan import Member
from tarcast.compare import _Comparison, _Disk
from tarcast.errors import ChangedError, InputError, OptionError
from tests.support.faults import make_files, nothing_left_behind
from tests.support.files import remove_tree
from tests.support.foreign import FORMATS, by_command
from tests.support.rich import RICH
from tests.support.trees import make_tree, nodes

EXAMPLES = int(os.environ.get("TARCAST_EXAMPLES", "40"))


def told(archive: Path, trees: Any, **options: Any) -> list[str]:
    return [str(d) for d in tarcast.verify(archive, trees, **options)]


@pytest.fixture
def tree(place: Path) -> Path:
    top = make_files(place / "t", a=b"alpha", large=os.urandom(300_000), empty=b"")
    make_files(top / "sub", b=b"beta")
    os.link(top / "a", top / "z-hard")
    os.link(top / "a", top / "sub" / "hard")
    (top / "link").symlink_to("a")
    os.mkfifo(top / "fifo")
    os.utime(top / "a", ns=(0, 1_700_000_000_600_000_001))
    os.utime(top / "large", ns=(0, 1_700_000_000_123_456_789))
    os.utime(top / "sub", ns=(0, 1_700_000_000_500_000_000))
    return top


@pytest.fixture
def out(place: Path, tree: Path) -> Path:
    tarcast.write_tar(tree, place / "out.tar")
    return place / "out.tar"


class TestOurs:
    @pytest.mark.parametrize("options", [{}, {"sparse": True}, {"align": True}, {"epoch": 5}])
    def test_everything_that_tar_tools_can_restore(self, place: Path, options: dict[str, Any]) -> None:
        (place / "t").mkdir()
        make_tree(RICH, os.fsencode(place / "t"))
        tarcast.write_tar(place / "t", place / "out.tar", **options)
        epoch = options.get("epoch")
        with nothing_left_behind(place):
            assert told(place / "out.tar", place / "t", epoch=epoch) == []
            assert told(place / "out.tar", place / "t", epoch=epoch, content=False) == []

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(nodes())
    def test_random_trees(self, scratch: Path, tree: Any) -> None:
        top = scratch / "verified"
        top.mkdir()
        try:
            make_tree(tree, os.fsencode(top))
            tarcast.write_tar(top, scratch / "verified.tar")
            assert told(scratch / "verified.tar", top) == []
        finally:
            remove_tree(top)

    def test_options_of_trees(self, place: Path, tree: Path) -> None:
        def named() -> dict[str, Any]:
            chosen = tarcast.Tree(
                tree, exclude=["sub"], idmap=tarcast.IDMap.parse("5:0:1"), map=lambda entry: entry
            )
            return {"x/y": chosen, "z": tarcast.Tree(tree, epoch=7)}

        tarcast.write_tar(named(), place / "out.tar")
        assert told(place / "out.tar", named()) == []
        assert "x_y/a: owner: archive 5:5, tree 0:0" in told(place / "out.tar", {"x/y": tree, "z": tree})

    def test_compressed_or_from_a_pipe(self, out: Path, tree: Path) -> None:
        (out.parent / "out.tar.gz").write_bytes(gzip.compress(out.read_bytes()))
        assert told(out.parent / "out.tar.gz", tree) == []

    def test_the_archive_in_its_own_tree(self, tree: Path) -> None:
        for _ in range(2):
            tarcast.write_tar(tree, tree / "out.tar", index=tree / "out.tar.jsonl")
            assert told(tree / "out.tar", tree) == []


GNU = [["tar", f"--format={f}"] for f in ("v7", "oldgnu", "gnu", "ustar", "posix")]
GNU += [["tar", "--format=posix", "--xattrs", "--acls"], ["tar", "--format=gnu", "--sparse"]]
BSD = [["bsdtar", f"--format={f}"] for f in ("ustar", "pax", "gnutar")]


class TestOthers:
    @pytest.mark.parametrize("command", [*GNU, *BSD], ids=" ".join)
    def test_the_same_tree(self, place: Path, tree: Path, command: list[str]) -> None:
        with socket.socket(socket.AF_UNIX) as server:  # left out by them, an empty file for us
            server.bind(os.path.relpath(tree / "sock"))
            make_files(tree, **{"n" * 99: b"x"})
            with open(tree / "hole", "wb") as file:
                file.seek(1 << 20)
                file.write(b"end")
            (place / "o.tar").write_bytes(by_command(command, tree))
            kept_out = ["fifo: missing", f"{'n' * 99}: missing"] if "--format=v7" in command else []
            assert told(place / "o.tar", tree) == kept_out

    def test_the_directory_of_a_named_tree(self, place: Path, tree: Path) -> None:
        tree.chmod(0o2700)
        os.chown(tree, 5, 5)
        os.setxattr(tree, "user.x", b"1")
        command = ["tar", "--format=posix", "--xattrs", "-C", place, "-cf", place / "o.tar", "t"]
        subprocess.run(command, check=True)
        assert told(place / "o.tar", {"t": tree}) == []
        with tarfile.open(place / "o.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("t"))
        assert "t: type: archive file, tree directory" in told(place / "o.tar", {"t": tree})

    @pytest.mark.parametrize("format", FORMATS)
    def test_the_same_tree_by_tarfile(self, place: Path, tree: Path, format: str) -> None:
        with tarfile.open(place / "o.tar", "w", format=FORMATS[format]) as tar:
            tar.add(tree, arcname="./")
        assert told(place / "o.tar", tree) == []

    @pytest.mark.parametrize("command", [["tar", "--format=posix", "--xattrs"], ["bsdtar", "--format=pax"]])
    def test_attributes(self, place: Path, tree: Path, command: list[str]) -> None:
        os.setxattr(tree / "empty", "user.x", b"1")
        (place / "o.tar").write_bytes(by_command(command, tree))
        assert told(place / "o.tar", tree) == []
        os.setxattr(tree / "empty", "user.x", b"2")
        os.setxattr(tree / "large", "user.y", b"2")
        assert told(place / "o.tar", tree) == [
            "empty: xattrs: archive user.x, tree user.x",
            "large: xattrs: archive none, tree user.y",
        ]
        assert told(place / "o.tar", tree, ignore=["xattrs"]) == []

    def test_the_other_name_of_a_hard_link_first(self, place: Path, tree: Path) -> None:
        names = ["z-hard", "sub/hard", "a", "empty", "fifo", "large", "link", "sub", "sub/b"]
        with tarfile.open(place / "o.tar", "w") as tar:
            for name in names:
                tar.add(tree / name, arcname=name, recursive=False)
            assert tar.getmember("a").linkname == "z-hard"
        assert told(place / "o.tar", tree) == []
        (tree / "a").write_bytes(b"alphA")
        assert told(place / "o.tar", tree, ignore=["mtime"]) == ["z-hard: content"]
        os.setxattr(tree / "a", "user.x", b"")
        assert told(place / "o.tar", tree, ignore=["mtime", "content"]) == [
            "z-hard: xattrs: archive none, tree user.x"
        ]
        os.removexattr(tree / "a", "user.x")
        (tree / "sub" / "hard").unlink()
        (tree / "sub" / "hard").write_bytes(b"alphA")
        assert told(place / "o.tar", tree, ignore=["mtime", "content"]) == [
            "sub/hard: link: archive z-hard, tree sub/hard"
        ]


class TestDifferences:
    @pytest.mark.parametrize(
        ("change", "differences"),
        [
            (lambda t: (t / "new").touch(), ["new: missing"]),
            (lambda t: (t / "empty").unlink(), ["empty: extra"]),
            (lambda t: (t / "large").chmod(0o4700), ["large: mode: archive 0644, tree 4700"]),
            (lambda t: os.chown(t / "large", 5, 6), ["large: owner: archive 0:0, tree 5:6"]),
            (lambda t: os.utime(t / "large", (1, 1)), ["large: mtime: archive 1700000000, tree 1"]),
            (
                lambda t: os.utime(t / "large", ns=(0, 1_700_000_001_100_000_000)),
                ["large: mtime: archive 1700000000, tree 1700000001"],
            ),
            (lambda t: rewritten(t / "large", b"short"), ["large: size: archive 300000, tree 5"]),
            (lambda t: rewritten(t / "large", bytes(300_000)), ["large: content"]),
            (lambda t: retargeted(t / "link", "b\n"), ["link: link: archive a, tree b\\n"]),
            (lambda t: replaced(t / "empty", os.mkdir), ["empty: type: archive file, tree directory"]),
            (lambda t: replaced(t / "fifo", device), ["fifo: type: archive fifo, tree character device"]),
            (lambda t: replaced(t / "sub" / "hard", alone), ["sub/hard: link: archive a, tree sub/hard"]),
            (lambda t: os.setxattr(t / "large", "user.x", b""), ["large: xattrs: archive none, tree user.x"]),
        ],
    )
    def test_each_kind(
        self, out: Path, tree: Path, change: Callable[[Path], object], differences: list[str]
    ) -> None:
        change(tree)
        seconds = 1_700_000_000  # of directories and links, which a change touches
        for name in (".", "sub", "link", "sub/hard"):
            if name != "sub/hard" or (tree / name).stat().st_nlink == 1:
                os.utime(tree / name, ns=(0, seconds * 10**9 + 500_000_000), follow_symlinks=False)
        found = told(out, tree)
        found = [f for f in found if not f.startswith(("link: mtime", "sub/hard: mtime"))]
        assert [f for f in found if f not in ("empty: mtime", "fifo: mtime")] == differences

    def test_devices(self, place: Path) -> None:
        make_files(place / "t")
        os.mknod(place / "t" / "d", 0o600 | 0o020000, os.makedev(1, 3))
        tarcast.write_tar(place / "t", place / "out.tar", epoch=1)
        (place / "t" / "d").unlink()
        os.mknod(place / "t" / "d", 0o600 | 0o020000, os.makedev(1, 5))
        assert told(place / "out.tar", place / "t", epoch=1) == ["d: device: archive 1:3, tree 1:5"]

    def test_hard_links_of_what_is_no_file(self, place: Path) -> None:
        os.mkfifo(make_files(place / "t") / "a")
        os.link(place / "t" / "a", place / "t" / "b")
        with tarfile.open(place / "o.tar", "w") as tar:
            info = tar.gettarinfo(place / "t" / "b", "b")
            tar.addfile(info)
            info.name, info.type, info.linkname = "a", tarfile.LNKTYPE, "b"
            tar.addfile(info)
        assert told(place / "o.tar", place / "t") == []
        for name in "ab":
            (place / "t" / name).unlink()
        (place / "t" / "a").touch()
        os.link(place / "t" / "a", place / "t" / "b")
        found = told(place / "o.tar", place / "t", ignore=["mtime", "mode"])
        assert found == ["b: type: archive fifo, tree file"]

    def test_a_name_that_is_there_twice(self, place: Path, tree: Path) -> None:
        with tarfile.open(place / "o.tar", "w") as tar:
            for name in ("zz", "zz"):
                tar.addfile(tarfile.TarInfo(name))
        found = told(place / "o.tar", place / "t")
        assert found[0] == "zz: duplicate"
        assert "zz: extra" in found

    def test_a_name_that_comes_again_much_later(self, place: Path) -> None:
        top = make_files(place / "t", **{f"f{i:04d}": b"%d" % i for i in range(3000)})
        os.link(top / "f0001", top / "other")
        tarcast.write_tar(top, place / "o.tar")
        with tarfile.open(place / "o.tar", "a") as tar:
            for name in ("f0002", "./f0001", "f2999", "f0002", "new"):
                info = tarfile.TarInfo(name)  # with other data and times
                tar.addfile(info)
            info = tarfile.TarInfo("f0003")
            info.type, info.linkname = tarfile.LNKTYPE, "f0001"
            tar.addfile(info)
        doubles = [f"f{i:04d}: duplicate" for i in (1, 2, 2, 3, 2999)]
        assert sorted(told(place / "o.tar", top)) == [*doubles, "new: extra"]

    @pytest.mark.parametrize("order", ["tree first", "archive first"])
    def test_the_first_of_a_name_is_compared(self, order: str) -> None:
        """However far the tree is when the second one comes."""

        def link(name: bytes, to: bytes) -> Member:
            return Member(name, "hardlink", raw_linkname=to)

        disk = _Disk([], None)
        a, c = Member(b"a", "file", size=1), Member(b"c", "file")
        tree = [a, Member(b"b", "file"), link(b"c", b"b")]
        archive = [a, c, link(b"b", b"c"), Member(b"./a", "file", size=2), link(b"c", b"elsewhere")]
        runs = [[archive], [tree]] if order == "archive first" else [[[m] for m in archive], [tree]]
        found = [str(d) for d in _Comparison(disk).run(*map(iter, runs))]
        assert sorted(found) == ["a: duplicate", "c: duplicate"]

    def test_without_content(self, out: Path, tree: Path) -> None:
        rewritten(tree / "large", bytes(300_000))
        assert told(out, tree, content=False) == []
        assert told(out, tree, ignore="content") == []

    def test_exact_times_where_the_archive_has_them(self, place: Path, tree: Path) -> None:
        (place / "o.tar").write_bytes(by_command(["tar", "--format=posix"], tree))
        os.utime(tree / "large", ns=(0, 1_700_000_000_123_459_789))
        assert told(place / "o.tar", tree) == ["large: mtime: archive 1700000000.123456789, tree 1700000000"]

    def test_values_for_programs(self, out: Path, tree: Path) -> None:
        rewritten(tree / "large", b"short")
        (found,) = tarcast.verify(out, tree)
        assert (found.path, found.kind, found.archive, found.tree) == ("large", "size", 300_000, 5)


def rewritten(path: Path, content: bytes) -> None:
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(0, status.st_mtime_ns))


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def retargeted(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


def alone(path: Path) -> None:
    path.write_bytes(b"alpha")


class TestFailures:
    def test_options(self, out: Path, tree: Path) -> None:
        for options, says in (
            ({"ignore": ["colour"]}, "no kind of difference 'colour'"),
            ({"epoch": -1}, "out of range"),
        ):
            with pytest.raises(OptionError, match=says):
                tarcast.verify(out, tree, **options)

    def test_no_tree_no_archive(self, out: Path, tree: Path) -> None:
        for archive, top, says in (
            (out, tree / "no", "open tree"),
            (out.parent / "no.tar", tree, "open archive"),
            (tree / "large", tree, "checksum"),
        ):
            with nothing_left_behind(tree), pytest.raises(InputError, match=says):
                told(archive, top)

    def test_a_tree_that_changes(self, out: Path, tree: Path) -> None:
        def cut(entry: Any) -> Any:
            if entry.path == "large":
                os.truncate(tree / "large", 5)
            return entry

        with nothing_left_behind(tree), pytest.raises(ChangedError):
            told(out, tarcast.Tree(tree, map=cut))

    def test_a_cut_archive(self, out: Path, tree: Path) -> None:
        os.truncate(out, 200_000)
        with nothing_left_behind(tree), pytest.raises(InputError, match="bytes of a member are missing"):
            told(out, tree)

    def test_given_up_early(self, place: Path) -> None:
        make_files(place / "t", **{f"f{i:05d}": b"x" * 5000 for i in range(3000)})
        empty = io.BytesIO()
        tarcast.write_tar(make_files(place / "e"), empty)
        (place / "e.tar").write_bytes(empty.getvalue())
        with nothing_left_behind(place):
            differences = tarcast.verify(place / "e.tar", place / "t")
            differences.close()
            differences = tarcast.verify(place / "e.tar", place / "t")
            assert next(differences).kind == "missing"
            differences.close()
