"""Archives as others write them: tarfile's three formats, GNU tar, bsdtar; and random ones of tarfile."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from hypothesis import strategies as st

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}

_TYPES = [
    tarfile.REGTYPE,
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
]
_WORDS = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda word: word not in (".", ".."))
_PATHS = st.one_of(
    st.lists(_WORDS, min_size=1, max_size=4).map("/".join),
    st.builds(
        lambda n, c: (c * n)[:300], st.sampled_from([50, 99, 100, 101, 155, 156, 250]), st.just("lo/ng")
    ),
    st.builds("n".__mul__, st.sampled_from([99, 100, 101, 256, 257])),
).map(lambda path: path.strip("/"))


@st.composite
def tar_infos(draw: st.DrawFn) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Headers and data that every format can hold, or else tarfile refuses."""
    found = []
    for _ in range(draw(st.integers(0, 8))):
        info = tarfile.TarInfo(draw(_PATHS))
        info.type = draw(st.sampled_from(_TYPES))
        info.mode = draw(st.integers(0, 0o7777))
        info.uid = draw(st.sampled_from([0, 1000, 2097151, 2097152, 2**32 - 2]))
        info.gid = draw(st.sampled_from([0, 5, 2097152]))
        info.mtime = draw(st.sampled_from([0, 1, 1_700_000_000, 1_700_000_000.25, 2**33, -1, -1.5]))
        if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            info.linkname = draw(_PATHS)
        if info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 1000))
        data = b""
        if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
            data = b"d" * draw(st.sampled_from([0, 1, 511, 512, 513, 1500, 70_000]))
        info.size = len(data)
        found.append((info, data))
    return found


def by_tarfile(
    entries: list[tuple[tarfile.TarInfo, bytes]], format: str
) -> tuple[bytes, list[tarfile.TarInfo]]:
    """The archive of what this format can hold, and the headers that went in."""
    archive = io.BytesIO()
    written = []
    with tarfile.open(
        fileobj=archive, mode="w", format=FORMATS[format], encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for info, data in entries:
            try:
                tar.addfile(info, io.BytesIO(data))
            except ValueError:  # too long or too large
                continue
            written.append(info)
    return archive.getvalue(), written


def by_command(command: list[str], tree: Path) -> bytes:
    """What `command`, GNU tar or bsdtar with its options, writes of the directory to standard output."""
    done = subprocess.run(
        [*command, "-C", str(tree), "-cf", "-", "."], check=False, capture_output=True, timeout=60
    )
    assert done.stdout, done.stderr.decode()
    return done.stdout
