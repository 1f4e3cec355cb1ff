"""What GNU tar, bsdtar and tarfile make of our archives: the source tree again, field by field."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tarcast
from tests.support.files import remove_tree
from tests.support.judge import Entry, assert_same_tree, describe_tree
from tests.support.rich import RICH
from tests.support.trees import make_tree

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Allowance = Callable[[bytes, Entry], Entry]


@pytest.fixture(scope="module")
def source(scratch: Path) -> Iterator[Path]:
    directory = scratch / "rich"
    directory.mkdir(mode=0o700)
    make_tree(RICH, os.fsencode(directory))
    yield directory
    remove_tree(directory)


@pytest.fixture(scope="module")
def archive(source: Path, scratch: Path) -> Path:
    path = scratch / "rich.tar"
    tarcast.write_tar(source, path)
    return path


@pytest.fixture
def place(scratch: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory on the file system of the source: attributes and times must fit."""
    directory = scratch / f"out-{request.node.name}"
    directory.mkdir(mode=0o700)
    yield directory
    remove_tree(directory)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", env={**os.environ, "LC_ALL": "C.UTF-8"}
    )


def socket_as_file(path: bytes, entry: Entry) -> Entry:
    """A tar archive has no sockets: they are written as empty regular files."""
    return replace(entry, kind="file", content=EMPTY) if entry.kind == "socket" else entry


def without_acls(path: bytes, entry: Entry) -> Entry:
    """bsdtar takes ACLs from its own records only and leaves these attributes out."""
    return replace(entry, xattrs=tuple(x for x in entry.xattrs if not x[0].startswith(b"system.posix_acl_")))


def without_xattrs(path: bytes, entry: Entry) -> Entry:
    """tarfile restores no attributes."""
    return replace(entry, xattrs=())


def judge(source: Path, place: Path, *allowances: Allowance, times_of_links: bool = True) -> None:
    want = describe_tree(os.fsencode(source))
    got = describe_tree(os.fsencode(place))
    assert len(want) == len(RICH)

    def allowed(path: bytes, entry: Entry) -> Entry:
        for allowance in (socket_as_file, *allowances):
            entry = allowance(path, entry)
        if entry.kind == "symlink" and not times_of_links and path in got:
            entry = replace(entry, mtime=got[path].mtime)
        return entry

    assert_same_tree(got, want, allowed)


def test_gnu_tar_restores_the_tree(source: Path, archive: Path, place: Path) -> None:
    tar = tool("tar")
    if "GNU tar" not in run(tar, "--version").stdout:
        pytest.skip("tar is not GNU tar")
    options = ("-p", "--same-owner", "--numeric-owner", "--xattrs", "--xattrs-include=*")
    done = run(tar, "-x", "-f", archive, "-C", place, *options, "--warning=no-timestamp")
    assert (done.returncode, done.stderr) == (0, "")
    judge(source, place)


def test_bsdtar_restores_the_tree(source: Path, archive: Path, place: Path) -> None:
    bsdtar = tool("bsdtar")
    done = run(bsdtar, "-x", "-f", archive, "-C", place, "-p", "--same-owner", "--numeric-owner", "--xattrs")
    # It warns of names that are not UTF-8, ends with status 1, and restores them all the same.
    unexpected = [
        line
        for line in done.stderr.splitlines()
        if "can't be converted from UTF-8" not in line and "Error exit delayed" not in line
    ]
    assert not unexpected
    judge(source, place, without_acls)


def test_tarfile_restores_the_tree(source: Path, archive: Path, place: Path) -> None:
    with tarfile.open(archive, errors="surrogateescape", encoding="utf-8") as tar:
        if hasattr(tarfile, "fully_trusted_filter"):  # 3.11 before its fourth patch has none and trusts
            tar.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
        tar.extractall(place, numeric_owner=True)
    judge(source, place, without_xattrs, times_of_links=False)


def test_tarfile_reads_the_attributes(source: Path, archive: Path) -> None:
    want = describe_tree(os.fsencode(source))
    with tarfile.open(archive, errors="surrogateescape", encoding="utf-8") as tar:
        seen = {
            os.fsencode(member.name): {
                key.removeprefix("SCHILY.xattr."): value
                for key, value in member.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            }
            for member in tar
        }
    assert seen == {
        path: {os.fsdecode(name): os.fsdecode(value) for name, value in entry.xattrs}
        for path, entry in want.items()
    }
