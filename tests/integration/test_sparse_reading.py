"""`sparse=True` and files whose holes are not what they seem: never other data, never silence."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

import tarcast


@pytest.mark.parametrize(
    ("data", "size"),
    [(4096, 4200), (4096, 5000), (65536, 65536 + 1024), (262144, 262144 + 512), (400_000, 400_500)],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_file_with_a_hole_that_is_too_small_to_be_worth_it_is_whole(
    tmp_path: Path, data: int, size: int, threads: int
) -> None:
    with open(tmp_path / "f", "wb") as file:
        file.write(b"x" * data)
        file.truncate(size)
    archive = io.BytesIO()
    tarcast.write_tar(tmp_path, archive, sparse=True, threads=threads)
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as tar:
        member = tar.getmember("f")
        assert not member.issparse()
        found = tar.extractfile(member)
        assert found is not None
        assert found.read() == b"x" * data + bytes(size - data)
