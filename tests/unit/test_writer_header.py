"""Headers are those of TarInfo.tobuf, whichever way they are made."""

from __future__ import annotations

import re
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tarcast.writer import header
from tarcast.writer.header import encode

PLAIN = st.text(st.characters(max_codepoint=127), max_size=120)
TEXTS = PLAIN | st.text(max_size=300).map(lambda s: s.encode("utf-8", "replace").decode())
NUMBERS = st.sampled_from([0, 1, 8**7 - 1, 8**7, 2**32, 8**11 - 1, 8**11, -1]) | st.integers(0, 2**40)
TIMES = (
    NUMBERS
    | st.floats(-10, 2e10, allow_nan=False)
    | st.sampled_from([0.5, 1.5, 2.5, 8.0**11 - 1.5, 8.0**11 - 0.5, 8.0**11, 1e-9])
)
TYPES = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.DIRTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.CONTTYPE,
    ]
)


@st.composite
def infos(draw: st.DrawFn) -> tarfile.TarInfo:
    info = tarfile.TarInfo(draw(TEXTS))
    info.mode = draw(st.integers(0, 0o177777))
    for field in ("uid", "gid", "size"):
        setattr(info, field, draw(NUMBERS))
    info.mtime = draw(TIMES)
    info.type = draw(TYPES)
    info.linkname = draw(st.just("") | TEXTS)
    info.uname = draw(st.just("") | TEXTS)
    info.gname = draw(st.just("") | TEXTS)
    info.devmajor = draw(st.integers(0, 4095))
    info.pax_headers = draw(st.just({}) | st.dictionaries(st.sampled_from(["comment", "path"]), PLAIN))
    return info


def made(info: tarfile.TarInfo, format: int) -> bytes | str:
    try:
        return info.tobuf(format, "utf-8", "surrogateescape")
    except ValueError as error:
        return str(error)


@given(infos(), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
def test_encode_gives_the_bytes_of_tobuf(info: tarfile.TarInfo, format: header.Format) -> None:
    want = made(info, format)
    if isinstance(want, str):
        with pytest.raises(ValueError, match=re.escape(want)):
            encode(info, format, "utf-8", "surrogateescape")
    else:
        assert encode(info, format, "utf-8", "surrogateescape") == want


@given(TIMES)
@example(1700000000.1234567)
@example(0.0)
@example(float("nan"))
@example(True)
def test_time_stamps_are_those_of_tobuf(mtime: float) -> None:
    info = tarfile.TarInfo("name")
    info.mtime = mtime
    want = made(info, tarfile.PAX_FORMAT)
    if isinstance(want, bytes):
        assert encode(info, tarfile.PAX_FORMAT, "utf-8", "surrogateescape") == want
    else:
        with pytest.raises(ValueError, match=re.escape(want)):
            encode(info, tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize("mtime", [0, 1700000000, 1700000000.25])
def test_a_plain_entry_does_not_take_the_long_way(mtime: float, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tarfile.TarInfo("dir/" + "n" * 90)
    info.type = tarfile.DIRTYPE
    info.mtime = mtime
    info.uname = "somebody"
    want = info.tobuf()

    def tobuf(*_: object) -> bytes:
        raise AssertionError("the long way")

    monkeypatch.setattr(tarfile.TarInfo, "tobuf", tobuf)
    assert encode(info, tarfile.PAX_FORMAT, "utf-8", "surrogateescape") == want


def test_a_class_of_the_callers_own_encodes_itself() -> None:
    class Marked(tarfile.TarInfo):
        def tobuf(self, *_: object) -> bytes:
            return b"marked".ljust(512)

    assert encode(Marked("x"), tarfile.PAX_FORMAT, "utf-8", "strict") == b"marked".ljust(512)
