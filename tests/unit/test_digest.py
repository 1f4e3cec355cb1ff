"""Digests in threads of their own: right, bounded, gone at the end."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path

import pytest

import tarcast
from tarcast.digest import Digests
from tests.support.faults import nothing_left_behind


def threads() -> int:
    """This one, and those of the kind tested here; other tests' libraries may have left theirs."""
    return 1 + sum(thread.name == "tarcast-digest" for thread in threading.enumerate())


@pytest.mark.parametrize("threaded", [True, False])
def test_the_same_as_hashlib(threaded: bool) -> None:
    names = ("sha256", "blake2b", "md5")
    pieces = [os.urandom(n * 7919) for n in range(60)]
    with nothing_left_behind():
        digests = Digests(names, threaded=threaded)
        buffer = bytearray(60 * 7919)
        for piece in pieces:
            view = memoryview(buffer)[: len(piece)]
            view[:] = piece
            digests.update(view)
            view[:] = bytes(len(piece))  # it is lent for the call alone
        found = digests.hexdigests()
    assert found == {name: hashlib.new(name, b"".join(pieces)).hexdigest() for name in names}
    assert digests.hexdigests() == found


def test_threads_are_started_when_bytes_come_and_end_early() -> None:
    with nothing_left_behind():
        digests = Digests("sha256")
        assert digests
        assert threads() == 1
        for _ in range(100):
            digests.update(memoryview(bytes(100000)))
        assert threads() == 2
        digests.close()
        digests.close()
    assert not Digests(())


def test_another_is_of_another_stream() -> None:
    first = Digests(["sha256"], threaded=False)
    second = first.another()
    first.update(memoryview(b"a"))
    second.update(memoryview(b"b"))
    assert second.hexdigests() == {"sha256": hashlib.sha256(b"b").hexdigest()}


def test_one_thread_means_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(1 << 20))
    seen = []

    class Out(io.BytesIO):
        def write(self, data: object) -> int:
            seen.append(threads())
            return super().write(data)  # type: ignore[arg-type]

    result = tarcast.write_tar(tmp_path, Out(), digest="sha256", threads=1)
    assert set(seen) == {1}
    assert result.digests == result.output_digests
    assert result.output_bytes == result.bytes_written
    assert result.compression is None


def test_digests_end_when_the_export_fails(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(4 << 20))

    class Broken:
        def write(self, view: memoryview) -> int:
            raise ZeroDivisionError

    with nothing_left_behind(), pytest.raises(ZeroDivisionError):
        tarcast.write_tar(tmp_path, Broken(), digest=["sha256", "sha1"])  # type: ignore[arg-type]


def test_an_interrupt_while_a_thread_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with nothing_left_behind():
        digests = Digests("sha256")
        with pytest.raises(KeyboardInterrupt):
            digests.update(memoryview(b"x"))
        digests.close()
        del digests
