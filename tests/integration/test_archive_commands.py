"""`tarcast ls`, `cat` and `verify` as commands: what they print, and how they end."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.faults import COMMAND, command, make_files, nothing_left_behind, obeying_modes


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a tree `t`, its archive out.tar, and an index beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    make_files(tmp_path / "t", a=b"alpha\n", big=os.urandom(3 << 20))
    make_files(tmp_path / "t" / "sub", **{"b\n": b"beta\n"})
    os.link("t/a", "t/z")
    os.symlink("a", "t/link")
    options = ["--index", "out.tar.sqlite", "--index-digest", "sha256", "--epoch", "1700000000"]
    done = command("create", "t", "-o", "out.tar", *options)
    assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.fixture(params=["with an index", "without"])
def out(request: pytest.FixtureRequest, place: Path) -> str:
    if request.param == "without":
        (place / "out.tar.sqlite").unlink()
    return "out.tar"


def good(*arguments: object, **options: object) -> bytes:
    done = command(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def refused(status: int, *arguments: object, **options: object) -> str:
    done = command(*arguments, **options)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(b"tarcast: ")
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


class TestLs:
    def test_names(self, out: str) -> None:
        assert good("ls", out) == b"a\nbig\nlink\nsub/\nsub/b\\n\nz\n"
        assert good("ls", out, "sub", "/a*") == b"a\nsub/\nsub/b\\n\n"
        assert good("ls", out, "**/b*", "link") == b"big\nlink\nsub/b\\n\n"

    def test_long(self, out: str) -> None:
        lines = good("ls", "-l", out).decode().splitlines()
        assert lines[0] == "-rw-r--r-- 0/0               6 2023-11-14 22:13 a"
        assert lines[2] == "lrwxrwxrwx 0/0               0 2023-11-14 22:13 link -> a"
        assert lines[3] == "drwxr-xr-x 0/0               0 2023-11-14 22:13 sub/"
        assert lines[5] == "hrw-r--r-- 0/0               0 2023-11-14 22:13 z link to a"

    def test_json(self, out: str) -> None:
        members = [json.loads(line) for line in good("ls", "--json", out).splitlines()]
        assert [m["name"] for m in members] == ["a", "big", "link", "sub", "sub/b\n", "z"]
        assert (members[0]["size"], members[5]["link"]) == (6, "a")

    def test_a_pipe_and_a_compressed_file(self, place: Path) -> None:
        data = Path("out.tar").read_bytes()
        Path("out.tgz").write_bytes(gzip.compress(data))
        for archive in (data, gzip.compress(data)):
            assert good("ls", "-", "big", stdin=None, input=archive) == b"big\n"
        assert good("ls", "out.tgz", "big") == b"big\n"

    def test_a_pattern_without_match(self, out: str) -> None:
        done = command("ls", out, "a", "nothing*")
        assert (done.returncode, done.stdout) == (3, b"a\n")
        assert b"nothing*: list: matches nothing" in done.stderr

    def test_a_reader_that_goes_away(self, place: Path) -> None:
        many = make_files(place / "many", **{f"{i:05d}{'n' * 80}": b"" for i in range(2000)})
        good("create", "--quiet", many, "-o", "many.tar")
        with subprocess.Popen(
            [*COMMAND, "ls", "many.tar"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
            assert process.wait(timeout=30) == 0

    def test_a_full_disk(self, out: str) -> None:
        with open("/dev/full", "wb") as full:
            assert "ENOSPC" in refused(4, "ls", out, stdout=full)
            assert "ENOSPC" in refused(4, "cat", out, "big", stdout=full)

    def test_a_stale_index(self, place: Path) -> None:
        good("create", "--quiet", "t", "-o", "out.tar", "--epoch", "5")
        done = command("ls", "out.tar", "a")
        assert (done.returncode, done.stdout) == (0, b"a\n")
        assert b"warning: out.tar.sqlite: read index: is of another archive" in done.stderr
        assert good("ls", "--no-index", "out.tar", "a") == b"a\n"
        assert "is of another archive" in refused(3, "ls", "--index", "out.tar.sqlite", "out.tar")


class TestCat:
    def test_members(self, out: str) -> None:
        big = Path("t/big").read_bytes()
        assert good("cat", out, "z", "./big", "sub/b\n") == b"alpha\n" + big + b"beta\n"
        assert good("cat", "-", "big", stdin=None, input=Path(out).read_bytes()) == big

    @pytest.mark.parametrize(("name", "says"), [("no", "ENOENT"), ("sub", "a directory"), ("link", "'a'")])
    def test_what_has_no_data(self, out: str, name: str, says: str) -> None:
        assert says in refused(3, "cat", out, name)

    def test_what_the_index_has_another_digest_of(self, place: Path) -> None:
        data = Path("out.tar").read_bytes()
        at = data.rindex(b"beta\n")
        Path("out.tar").write_bytes(data[:at] + b"BETA\n" + data[at + 5 :])
        assert "is not what the index has a digest of" in refused(3, "cat", "out.tar", "sub/b\n")

    def test_a_reader_that_goes_away(self, out: str) -> None:
        with subprocess.Popen(
            [*COMMAND, "cat", out, "big"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
            assert process.wait(timeout=30) == 0


class TestVerify:
    EPOCH = ("--epoch", "1700000000")

    def test_no_difference(self, out: str) -> None:
        with nothing_left_behind(Path()):
            assert good("verify", *self.EPOCH, out, "t") == b""
            assert good("verify", *self.EPOCH, "-", "t", stdin=None, input=Path(out).read_bytes()) == b""
            assert good("verify", out, "t", env={"SOURCE_DATE_EPOCH": "1700000000"}) == b""
            assert good("verify", "--ignore", "mtime", "--no-content", out, "t") == b""

    def test_differences(self, out: str) -> None:
        Path("t/a").write_bytes(b"ALPHA\n")
        Path("t/new\n").touch()
        done = command("verify", *self.EPOCH, out, "t", "--exclude", "link")
        assert (done.returncode, done.stderr) == (1, b"")
        assert done.stdout == b"a: content\nlink: extra\nnew\\n: missing\n"
        done = command("verify", *self.EPOCH, "--json", out, "t")
        assert [json.loads(line) for line in done.stdout.splitlines()] == [
            {"path": "a", "kind": "content", "archive": None, "tree": None},
            {"path": "new\n", "kind": "missing", "archive": None, "tree": None},
        ]
        done = command("verify", "--quiet", out, "t")
        assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")

    def test_trees_side_by_side(self, place: Path) -> None:
        good("create", "--quiet", "x=t", "y=t", "-o", "both.tar")
        assert good("verify", "both.tar", "x=t", "y=t") == b""
        assert good("verify", "both.tar", "x=t", "--ignore", "extra") == b""

    def test_a_tree_that_cannot_be_read(self, place: Path) -> None:
        Path("t/a").chmod(0)
        words = [*obeying_modes(), *COMMAND, "verify", *self.EPOCH, "out.tar", "t"]
        done = subprocess.run(words, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (3, b"")
        assert b"t/a: open: Permission denied" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ls"], "the archive is missing"),
        (["ls", ""], "the archive is missing"),
        (["ls", "-l", "--json", "out.tar"], "not allowed with"),
        (["ls", "out.tar", "[a"], "pattern"),
        (["cat", "out.tar"], "a member is missing"),
        (["cat", "--index", "x", "--no-index", "out.tar", "a"], "not allowed with"),
        (["verify", "out.tar"], "a directory is missing"),
        (["verify", "--ignore", "colour", "out.tar", "t"], "invalid choice: 'colour'"),
        (["create", "t", "-o", "x.tar", "--index", "x.txt"], "says its format"),
        (["create", "t", "-o", "x.tar", "--index-digest", "sha256"], "is for an index"),
        (["create", "t", "-o", "x.db", "--index", "x.db"], "the same file"),
    ],
)
def test_usage(place: Path, arguments: list[str], says: str) -> None:
    with nothing_left_behind(place):
        assert says in refused(2, *arguments)


@pytest.mark.parametrize("name", ["ls", "cat", "verify"])
def test_dashes_and_help(place: Path, name: str) -> None:
    assert good(name, "--help").startswith(f"usage: tarcast {name} ".encode())
    os.rename("out.tar", "-o")
    rest = {"ls": [], "cat": ["a"], "verify": ["t"]}[name]
    done = command(name, *(["--epoch", "1700000000"] if name == "verify" else []), "--", "-o", *rest)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("archive", ["no.tar", "t", "t/a"])
def test_what_is_no_archive(place: Path, archive: str) -> None:
    for arguments in (["ls", archive], ["cat", archive, "a"], ["verify", archive, "t"]):
        assert archive in refused(3, *arguments)
