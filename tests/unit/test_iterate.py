"""`iter_tar` and `aiter_tar`: the bytes of `write_tar`, chunk by chunk, and nothing left however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import inspect
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import tarcast
from tarcast import Cancelled, InputError, OptionError, PatternError, Tree, aiter_tar, iter_tar, write_tar
from tarcast.handoff import END, Handoff
from tarcast.options import Options
from tests.support.faults import in_child, nothing_left_behind


# What is promised is 0.1 s; for busy machines.
def threads() -> int:
    """This one, and those of the kind tested here; other tests' libraries may have left theirs."""
    return 1 + sum(thread.name == "tarcast-iterate" for thread in threading.enumerate())


PATIENCE = 1.0

TREE_BYTES = 8 << 20


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("iterate") / "tree"
    top.mkdir()
    for i in range(40):
        (top / f"f{i:02d}").write_bytes(bytes([65 + i]) * (TREE_BYTES // 40))
    return top


@pytest.fixture(scope="module")
def archive(tree: Path) -> bytes:
    out = io.BytesIO()
    write_tar(tree, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that takes minutes to archive, all of it a hole."""
    top = tmp_path_factory.mktemp("iterate") / "endless"
    top.mkdir()
    with open(top / "large", "wb") as file:
        file.truncate(1 << 40)
    return top


@pytest.fixture(autouse=True)
def _nothing_left(tree: Path, endless: Path) -> Iterator[None]:
    with nothing_left_behind():
        yield
        gc.collect()


async def collect(chunks: Any) -> list[bytes]:
    return [bytes(chunk) async for chunk in chunks]


# ---- what they give -----------------------------------------------------


@pytest.mark.parametrize("chunk_size", [1, 511, 4096, 1 << 20, 1 << 30])
def test_chunks_have_the_size_that_was_asked_for(tmp_path: Path, chunk_size: int) -> None:
    (tmp_path / "f").write_bytes(b"x" * 3000 if chunk_size == 1 else b"x" * 3_000_000)
    out = io.BytesIO()
    write_tar(tmp_path, out)
    chunks = list(iter_tar(tmp_path, chunk_size=chunk_size))
    assert b"".join(chunks) == out.getvalue()
    assert {type(chunk) for chunk in chunks} == {bytes}
    assert all(len(chunk) == chunk_size for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= chunk_size


def test_no_empty_chunk_comes_last(tree: Path, archive: bytes) -> None:
    assert list(iter_tar(tree, chunk_size=len(archive))) == [archive]


def test_views_are_the_cores_own_and_released_by_the_next_step(tree: Path, archive: bytes) -> None:
    views, parts = [], []
    for view in iter_tar(tree, copy=False):
        assert view.readonly
        assert 0 < len(view) <= 320 << 10
        parts.append(bytes(view))
        views.append(view)
    assert b"".join(parts) == archive
    assert len(views) > 10
    for view in views:
        with pytest.raises(ValueError, match="released"):
            view[0]


def test_views_are_no_longer_than_the_chunk_size(tree: Path, archive: bytes) -> None:
    parts = [bytes(view) for view in iter_tar(tree, copy=False, chunk_size=10_000)]
    assert max(map(len, parts)) == 10_000
    assert b"".join(parts) == archive


@pytest.mark.parametrize("keep", [lambda view: view[:], pickle.PickleBuffer])
def test_what_is_kept_of_a_view_stays_as_it_was(
    tree: Path, archive: bytes, keep: Callable[[memoryview], Any]
) -> None:
    kept = [keep(view) for view in iter_tar(tree, copy=False)]
    gc.collect()
    assert b"".join(kept) == archive


@pytest.mark.parametrize("copy", [True, False])
def test_async_gives_the_same(tree: Path, archive: bytes, copy: bool) -> None:
    chunks = asyncio.run(collect(aiter_tar(tree, copy=copy)))
    assert b"".join(chunks) == archive
    if copy:
        assert {len(chunk) for chunk in chunks[:-1]} == {1 << 20}


def test_the_result_is_there_at_the_end(tree: Path, archive: bytes) -> None:
    chunks = iter_tar(tree, digest=iter(["sha256"]))
    next(chunks)
    assert chunks.result is None
    for _ in chunks:
        assert chunks.result is None
    assert chunks.result is not None
    assert chunks.result.bytes_written == len(archive)
    assert chunks.result.digests == {"sha256": hashlib.sha256(archive).hexdigest()}
    chunks.close()
    assert chunks.result is not None


def test_the_result_is_there_at_the_end_of_the_async_one(tree: Path, archive: bytes) -> None:
    async def main() -> None:
        async with aiter_tar(tree) as chunks:
            await collect(chunks)
        assert chunks.result is not None
        assert chunks.result.bytes_written == len(archive)

    asyncio.run(main())


def test_all_options_of_write_tar_are_those_of_the_iterators() -> None:
    parameters = inspect.signature(write_tar).parameters.values()
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == set(Options.__annotations__)


def test_options_pass_through(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.mkfifo(tmp_path / "fifo")
    os.symlink("f", tmp_path / "unreadable")
    reports: list[tarcast.Progress] = []
    named = {"a": Tree(tmp_path, map=lambda entry: None if entry.path == "a/fifo" else entry)}
    chunks = iter_tar(
        named, epoch=7, progress=reports.append, on_error="skip", threads=1, memory_limit=1 << 20
    )
    data = b"".join(chunks)
    out = io.BytesIO()
    assert write_tar(named, out, epoch=7).dropped == 1
    assert data == out.getvalue()
    assert reports[-1].done
    assert chunks.result is not None
    assert chunks.result.dropped == 1


# ---- what goes wrong ----------------------------------------------------


@pytest.mark.parametrize("function", [iter_tar, aiter_tar])
@pytest.mark.parametrize(
    "options",
    [{"chunk_size": 0}, {"chunk_size": True}, {"chunk_size": 1.5}, {"copy": 1}, {"threads": 0}, {"epoch": -1},
     {"digest": ["md0"]}, {"on_error": "ignore"}, {"progress": 1}, {"align": 1}, {"memory_limit": 1}],
)  # fmt: skip
def test_options_are_checked_at_the_call(
    tmp_path: Path, function: Callable[..., object], options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError):
        function(tmp_path, **options)


def test_trees_and_patterns_are_checked_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        iter_tar({"": tmp_path})
    with pytest.raises(PatternError):
        iter_tar(Tree(tmp_path, exclude=["[a"]))
    with pytest.raises(TypeError, match="unexpected keyword"):
        iter_tar(tmp_path, nonsense=1)  # type: ignore[call-overload]


def test_nothing_begins_before_the_first_step(tmp_path: Path) -> None:
    chunks = iter_tar(tmp_path / "made later")
    assert threads() == 1
    (tmp_path / "made later").mkdir()
    assert sum(map(len, chunks)) == 1024


def step_async(*arguments: Any, **options: Any) -> object:
    async def step() -> object:
        return await anext(aiter_tar(*arguments, **options))

    return asyncio.run(step())


def step_sync(*arguments: Any, **options: Any) -> object:
    return next(iter_tar(*arguments, **options))


@pytest.mark.parametrize("step", [step_sync, step_async])
def test_errors_come_from_the_step(tmp_path: Path, step: Callable[[Path], object]) -> None:
    with pytest.raises(InputError) as caught:
        step(tmp_path / "none")
    assert caught.value.path == str(tmp_path / "none")


def test_an_error_in_the_middle_ends_the_iterator_without_a_trailer(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8 << 20))

    def shrink(entry: tarcast.Entry) -> tarcast.Entry:
        if entry.path == "f":
            os.truncate(tmp_path / "f", 4 << 20)
        return entry

    chunks = iter_tar(Tree(tmp_path, map=shrink))
    got = []
    with pytest.raises(tarcast.ChangedError) as caught:
        got.extend(chunks)
    assert caught.value.path == str(tmp_path / "f")
    assert chunks.result is None
    assert list(chunks) == []


def test_what_a_callable_raises_comes_from_the_step(tree: Path) -> None:
    def progress(report: object) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(iter_tar(tree, progress=progress))


# ---- back-pressure ------------------------------------------------------


@pytest.mark.parametrize("copy", [True, False])
def test_nobody_runs_ahead_further_than_memory_allows(endless: Path, copy: bool) -> None:
    """The exporting thread counts what was taken; the workers' chunks are bounded by the core."""
    reports: list[tarcast.Progress] = []
    with iter_tar(endless, copy=copy, progress=reports.append, memory_limit=1 << 20) as chunks:
        taken = sum(len(next(chunks)) for _ in range(5))
        time.sleep(0.3)
        taken += len(next(chunks))
        while len(reports) < 3:
            taken += len(next(chunks))
        # What the sink has taken: one chunk more that is ready, and one in the making.
        assert reports[-1].bytes_written <= taken + (3 << 20)


# ---- leaving early ------------------------------------------------------


def ended_within_patience(since: float) -> None:
    assert time.monotonic() - since < PATIENCE


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_close_ends_the_export(endless: Path, copy: bool, taken: int) -> None:
    chunks = iter_tar(endless, copy=copy)
    for _ in range(taken):
        next(chunks)
    begin = time.monotonic()
    chunks.close()
    assert threads() == 1
    ended_within_patience(begin)
    assert list(chunks) == []
    assert chunks.result is None
    chunks.close()


@pytest.mark.parametrize("ends", ["close", "forget", "break", "fail"])
def test_nothing_is_kept_of_iterators_that_were_left_early(endless: Path, ends: str) -> None:
    kept = []
    for _ in range(3):
        chunks = iter_tar(endless)
        kept.append(weakref.ref(chunks._export.handoff))
        if ends == "break":
            for _chunk in chunks:
                break
        else:
            next(chunks)
        if ends == "close":
            chunks.close()
        if ends == "fail":
            with contextlib.suppress(ZeroDivisionError), chunks:
                raise ZeroDivisionError
        del chunks
    deadline = time.monotonic() + PATIENCE
    while threads() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    assert [handoff() for handoff in kept] == [None] * 3


def test_a_close_by_another_thread_while_a_step_begins_leaves_nobody_waiting(tree: Path) -> None:
    chunks = iter_tar(tree)
    export = chunks._export

    class ClosedMeanwhile:
        real = threading.RLock()

        def __enter__(self) -> None:
            export._lock = self.real  # type: ignore[assignment]
            chunks.close()

        def __exit__(self, *_: object) -> None: ...

    export._lock = ClosedMeanwhile()  # type: ignore[assignment]
    got: list[object] = []
    step = threading.Thread(target=lambda: got.append(next(chunks, None)), daemon=True)
    step.start()
    step.join(PATIENCE)
    assert got == [None]


def test_who_looks_while_another_takes_the_end_is_told_when_it_is_back() -> None:
    handoff = Handoff(None, ahead=True)
    told = []

    class LookedAtMeanwhile(SimpleQueue[Any]):
        def put(self, item: Any) -> None:  # type: ignore[override]
            assert handoff.take_now() is None
            handoff.call_when_ready(lambda: told.append(handoff.take_now()))
            handoff._pieces = real
            real.put(item)

    handoff.end()
    real = handoff._pieces
    handoff._pieces = LookedAtMeanwhile()
    SimpleQueue.put(handoff._pieces, real.get())
    assert handoff.take_now() is END
    assert told == [END]


def test_a_break_and_an_exception_end_it_too(endless: Path) -> None:
    with contextlib.suppress(KeyError), iter_tar(endless) as chunks:
        for _ in chunks:
            raise KeyError
    assert threads() == 1
    for _ in iter_tar(endless):
        break  # and the iterator is collected: `nothing_left_behind` sees that the thread ends


def test_a_view_outlives_an_iterator_that_is_collected(tree: Path, archive: bytes) -> None:
    view = next(iter_tar(tree, copy=False))
    deadline = time.monotonic() + PATIENCE
    while threads() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == 1
    assert bytes(view) == archive[: len(view)]


@pytest.mark.parametrize("sort", ["sync", "async"])
def test_the_users_cancel_ends_it_while_nobody_takes(endless: Path, sort: str) -> None:
    cancel = threading.Event()

    async def main() -> None:
        chunks = aiter_tar(endless, cancel=cancel)
        await anext(chunks)
        cancel.set()
        await asyncio.sleep(0.2)
        with pytest.raises(Cancelled):
            await collect(chunks)

    if sort == "async":
        asyncio.run(main())
        return
    chunks = iter_tar(endless, cancel=cancel)
    next(chunks)
    cancel.set()
    deadline = time.monotonic() + PATIENCE
    while threads() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == 1
    with pytest.raises(Cancelled):
        list(chunks)
    assert list(chunks) == []


def test_close_from_its_own_progress_callable(endless: Path) -> None:
    def progress(report: object) -> None:
        chunks.close()

    chunks = iter_tar(endless, progress=progress)
    begin = time.monotonic()
    for _ in chunks:
        pass
    ended_within_patience(begin)
    del progress
    gc.collect()


@pytest.mark.parametrize("delay", [0, 0.1])
def test_ctrl_c_in_a_step_ends_it(endless: Path, delay: float) -> None:
    """Without a delay it mostly comes while the thread is being started."""

    def never(entry: object) -> object:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)  # this is not the main thread, and that is who gets it
        time.sleep(0.5)
        return entry

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(iter_tar(Tree(endless, map=never)))  # type: ignore[arg-type]
    assert time.monotonic() - begin < 0.5 + PATIENCE
    assert threads() == 1


# ---- several threads, processes, loops ----------------------------------


def test_several_threads_share_one(tree: Path, archive: bytes) -> None:
    chunks = iter_tar(tree, chunk_size=64 << 10)
    parts: list[bytes] = []

    def consume() -> None:
        parts.extend(chunks)

    consumers = [threading.Thread(target=consume) for _ in range(4)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    assert sum(map(len, parts)) == len(archive)
    assert chunks.result is not None


def test_close_wakes_a_thread_that_waits_for_a_chunk(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    held, go_on = threading.Event(), threading.Event()

    def hold(entry: tarcast.Entry) -> tarcast.Entry:
        held.set()
        go_on.wait(20)
        return entry

    chunks = iter_tar(Tree(tmp_path, map=hold))
    got: list[bytes] = []
    consumer = threading.Thread(target=lambda: got.extend(chunks))
    consumer.start()
    held.wait(20)
    closer = threading.Thread(target=chunks.close)
    closer.start()
    go_on.set()
    closer.join()
    consumer.join()
    assert got == []


def test_many_at_once(tree: Path, archive: bytes) -> None:
    several = [iter_tar(tree, threads=1, memory_limit=1 << 20) for _ in range(16)]
    parts: list[list[bytes]] = [[] for _ in several]
    for _ in range(20):
        for chunks, some in zip(several, parts, strict=True):
            some.extend(next(chunks, b"") for _ in range(1))
    assert {b"".join(some) for some in parts} == {archive}


def test_a_fork_leaves_the_parents_alone(tree: Path, archive: bytes) -> None:
    chunks = iter_tar(tree)
    first = next(chunks)

    def child() -> str:
        try:
            next(chunks)
        except Cancelled as error:
            chunks.close()
            return f"{error} {list(chunks)} {len(list(iter_tar(tree, chunk_size=1 << 30)))}"
        return ""

    assert in_child(child).startswith("the export runs in the process that made this iterator")
    assert first + b"".join(chunks) == archive


def test_the_interpreter_ends_with_one_that_was_forgotten(endless: Path) -> None:
    script = (
        "import sys, tarcast\n"
        "chunks = tarcast.iter_tar(sys.argv[1]); next(chunks); print('left', flush=True)\n"
        "sys.modules['keep'] = chunks"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, endless], capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
    assert time.monotonic() - begin < 5


def test_async_never_blocks_the_loop(endless: Path) -> None:
    async def main() -> float:
        worst, done = 0.0, False

        async def watch() -> None:
            nonlocal worst
            while not done:
                begin = time.monotonic()
                await asyncio.sleep(0.001)
                worst = max(worst, time.monotonic() - begin)

        watcher = asyncio.create_task(watch())
        async with aiter_tar(endless) as chunks:
            for _ in range(200):
                await anext(chunks)
        done = True
        await watcher
        return worst

    assert asyncio.run(main()) < 0.5


def test_async_gives_others_their_turn(tree: Path) -> None:
    async def main() -> int:
        turns, done = 0, False

        async def count() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        steps = len(await collect(aiter_tar(tree, copy=False)))
        done = True
        await counter
        return turns - steps

    assert asyncio.run(main()) >= 0


def test_many_async_at_once(tree: Path, archive: bytes) -> None:
    async def main() -> list[list[bytes]]:
        return await asyncio.gather(
            *(collect(aiter_tar(tree, threads=1, memory_limit=1 << 20)) for _ in range(30))
        )

    assert {b"".join(chunks) for chunks in asyncio.run(main())} == {archive}


def test_several_tasks_share_one(tree: Path, archive: bytes) -> None:
    async def main() -> int:
        chunks = aiter_tar(tree, chunk_size=64 << 10)
        return sum(
            len(chunk)
            for some in await asyncio.gather(*(collect(chunks) for _ in range(3)))
            for chunk in some
        )

    assert asyncio.run(main()) == len(archive)


def hold_up(seconds: float) -> Callable[[tarcast.Entry], tarcast.Entry]:
    def hold(entry: tarcast.Entry) -> tarcast.Entry:
        time.sleep(seconds)
        return entry

    return hold


@pytest.mark.parametrize("where", ["in the step", "between steps"])
def test_cancelling_a_task_ends_the_export(endless: Path, where: str) -> None:
    """In the step, the task ends when nothing is left; between steps the block sees to it."""
    tree = Tree(endless, map=hold_up(0.3)) if where == "in the step" else Tree(endless)

    async def consume() -> None:
        async with aiter_tar(tree) as chunks:
            async for _ in chunks:
                await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.1)
        begin = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert threads() == 1
        assert time.monotonic() - begin < 0.3 + PATIENCE

    asyncio.run(main())


def test_a_step_that_takes_too_long_ends_the_export(endless: Path) -> None:
    async def main() -> None:
        chunks = aiter_tar(Tree(endless, map=hold_up(0.3)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(chunks), 0.05)
        assert threads() == 1
        assert await collect(chunks) == []

    asyncio.run(main())


def test_an_async_one_that_is_forgotten_ends(endless: Path) -> None:
    async def main() -> None:
        async for _ in aiter_tar(endless):
            break

    asyncio.run(main())  # and `nothing_left_behind` sees that the thread ends


def test_an_async_one_outlives_its_loop_until_it_is_collected(endless: Path) -> None:
    chunks = aiter_tar(endless)

    async def first() -> memoryview | bytes:
        return await anext(chunks)

    assert len(asyncio.run(first())) == 1 << 20
    assert len(asyncio.run(first())) == 1 << 20  # another loop goes on with it


def test_a_step_that_is_given_up_ends_the_export(endless: Path) -> None:
    step = aiter_tar(Tree(endless, map=hold_up(0.1))).__anext__()
    loop = asyncio.new_event_loop()
    loop.call_later(0.03, loop.stop)
    task = loop.create_task(step)  # type: ignore[arg-type]
    loop.run_forever()
    assert not task.done()
    step.close()  # type: ignore[attr-defined]
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
