"""What a Python sink may do with the views it is lent: keep a part, and still never see memory used again."""

from __future__ import annotations

import gc
import io
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from tarcast import Cancelled, Tree, write_tar


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    top.mkdir()
    for i in range(12):
        (top / f"f{i:02d}").write_bytes(bytes([65 + i]) * 300_000)
    return top


class Keeper:
    def __init__(self) -> None:
        self.parts: list[memoryview] = []

    def write(self, view: memoryview) -> int:
        self.parts.append(view[:])  # outlives the release of `view`
        return len(view)


@pytest.mark.parametrize("digest", [[], ["sha256"]])
def test_kept_slices_stay_as_they_were(tree: Path, digest: list[str]) -> None:
    plain = io.BytesIO()
    write_tar(tree, plain)
    keeper = Keeper()
    write_tar(tree, keeper, digest=digest)
    assert len(keeper.parts) > 3
    gc.collect()
    assert b"".join(keeper.parts) == plain.getvalue()


def test_buffers_of_the_view_itself_stay_as_they_were(tree: Path) -> None:
    """A view that is exported cannot be released: an array over it, a send in another thread."""
    plain = io.BytesIO()
    write_tar(tree, plain)
    kept: list[pickle.PickleBuffer] = []

    class Sink:
        def write(self, view: memoryview) -> None:
            kept.append(pickle.PickleBuffer(view))

    write_tar(tree, Sink())
    gc.collect()
    assert b"".join(kept) == plain.getvalue()


def test_view_itself_is_released(tree: Path) -> None:
    views: list[memoryview] = []

    class Sink:
        def write(self, view: memoryview) -> None:
            assert view.readonly
            views.append(view)

    write_tar(tree, Sink())
    for view in views:
        with pytest.raises(ValueError, match="released"):
            view[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_one_large_file_is_progress_and_can_be_cancelled(tmp_path: Path, threads: int) -> None:
    (tmp_path / "d").mkdir()
    with open(tmp_path / "d" / "large", "wb") as file:
        file.truncate(1 << 40)
    cancel = threading.Event()
    reports: list[float] = []

    def progress(report: object) -> None:
        reports.append(time.monotonic())
        if len(reports) == 5:
            cancel.set()

    with pytest.raises(Cancelled):
        write_tar(tmp_path / "d", os.devnull, threads=threads, progress=progress, cancel=cancel)
    assert len(reports) == 5
    assert reports[-1] - reports[0] < 5


def test_fork_in_a_callable_does_not_hang_the_child(tmp_path: Path) -> None:
    """The child has none of the threads, and a lock that one of them held stays locked there for ever."""
    for i in range(64):  # too small to be spliced, too many for one thread
        (tmp_path / f"f{i:02d}").write_bytes(bytes(60_000))
    read_end, write_end = os.pipe()
    forked = threading.Event()
    received: list[int] = []
    children: list[int] = []

    def drain() -> None:
        forked.wait(20)
        received.append(sum(map(len, iter(lambda: os.read(read_end, 1 << 20), b""))))

    reader = threading.Thread(target=drain)
    reader.start()
    others = set(os.listdir("/proc/self/task"))

    def fork_once(report: object) -> None:
        if not children and not others.issuperset(os.listdir("/proc/self/task")):
            child = os.fork()
            if child == 0:
                raise SystemExit(7)
            children.append(child)
            forked.set()

    try:
        write_tar(tmp_path, write_end, threads=3, progress=fork_once)
    except SystemExit as error:
        os._exit(int(str(error.code)))
    finally:
        os.close(write_end)
        forked.set()
    deadline = time.monotonic() + 10
    pid = 0
    while not pid and time.monotonic() < deadline:
        pid, status = os.waitpid(children[0], os.WNOHANG)
        time.sleep(0.01)
    if not pid:  # and the pipe has an end as long as the child has it open
        os.kill(children[0], 9)
        _, status = os.waitpid(children[0], 0)
    reader.join()
    os.close(read_end)
    assert os.waitstatus_to_exitcode(status) == 7
    assert received[0] > 3_600_000


def test_map_sees_all_attributes_however_many(tmp_path: Path) -> None:
    top = Path("/dev/shm") / f"tarcast-{os.getpid()}"
    if not top.parent.is_dir():
        pytest.skip("needs /dev/shm, whose files take many attributes")
    top.mkdir()
    try:
        (top / "f").touch()
        for i in range(24):
            os.setxattr(top / "f", f"user.a{i:02d}", b"x" * 60_000)
        seen = []

        def shorten(entry):
            seen.append(len(entry.xattrs))
            entry.xattrs = {name: value[:3] for name, value in entry.xattrs.items()}
            return entry

        out = io.BytesIO()
        write_tar(Tree(top, map=shorten), out)
        assert seen == [24]
        assert out.getvalue().count(b"SCHILY.xattr.user.a") == 24
    finally:
        (top / "f").unlink()
        top.rmdir()
