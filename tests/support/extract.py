"""Extracting archives with the tools that people have, and what each of them is known not to restore."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.judge import Entry, assert_same_tree, describe_tree

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

Allowance = Callable[[bytes, Entry], Entry]


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


def gnu_tar(archive: Path, place: Path, padded: bool) -> None:
    tar = tool("tar")
    if "GNU tar" not in run(tar, "--version").stdout:
        pytest.skip("tar is not GNU tar")
    options = [
        "-p",
        "--same-owner",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--warning=no-timestamp",
    ]
    if padded:  # it tells of each record that it does not know
        options.append("--warning=no-unknown-keyword")
    done = run(tar, "-x", "-f", archive, "-C", place, *options)
    assert (done.returncode, done.stderr) == (0, "")


def bsdtar(archive: Path, place: Path, padded: bool) -> None:
    options = ("-p", "--same-owner", "--numeric-owner", "--xattrs")
    done = run(tool("bsdtar"), "-x", "-f", archive, "-C", place, *options)
    # It warns of names that are not UTF-8, ends with status 1, and restores them all the same.
    unexpected = [
        line
        for line in done.stderr.splitlines()
        if "can't be converted from UTF-8" not in line and "Error exit delayed" not in line
    ]
    assert not unexpected


def python_tarfile(archive: Path, place: Path, padded: bool) -> None:
    with tarfile.open(archive, errors="surrogateescape", encoding="utf-8") as tar:
        if hasattr(tarfile, "fully_trusted_filter"):  # 3.11 before its fourth patch has none and trusts
            tar.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
        tar.extractall(place, numeric_owner=True)


@dataclass(frozen=True)
class Extractor:
    """Extracts (archive, place, whether headers are padded), and what it does not restore."""

    extract: Callable[[Path, Path, bool], None]
    allowances: tuple[Allowance, ...] = ()
    times_of_links: bool = True

    def judge(self, source: Path, archive: Path, place: Path, *, padded: bool = False) -> int:
        """Extract `archive` into `place` and compare with `source`, field for field; how many entries."""
        self.extract(archive, place, padded)
        want = describe_tree(os.fsencode(source))
        got = describe_tree(os.fsencode(place))

        def allowed(path: bytes, entry: Entry) -> Entry:
            for allowance in (socket_as_file, *self.allowances):
                entry = allowance(path, entry)
            if entry.kind == "symlink" and not self.times_of_links and path in got:
                entry = replace(entry, mtime=got[path].mtime)
            return entry

        assert_same_tree(got, want, allowed)
        return len(want)


EXTRACTORS = {
    "gnu-tar": Extractor(gnu_tar),
    "bsdtar": Extractor(bsdtar, (without_acls,)),
    "tarfile": Extractor(python_tarfile, (without_xattrs,), times_of_links=False),
}
