"""What GNU tar, bsdtar and tarfile make of our archives: the source tree again, field by field."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tarcast
from tests.support.extract import EXTRACTORS
from tests.support.files import remove_tree
from tests.support.judge import describe_tree
from tests.support.rich import RICH
from tests.support.trees import make_tree


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


@pytest.mark.parametrize("name", EXTRACTORS)
def test_tool_restores_the_tree(source: Path, archive: Path, place: Path, name: str) -> None:
    assert EXTRACTORS[name].judge(source, archive, place) == len(RICH)


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
