"""Reading in a loop of asyncio: nothing blocks, no thread helps, a cancel leaves and loses nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tarcast.errors import ProgressError
from tarcast.progress import MultiReader, Status, Update, pipe


async def all_of(reader) -> list[tuple[str, object]]:
    return [(update.id, update.status) async for update in reader]


async def waiting(reader, how_many: int = 1) -> None:
    """Until so many tasks wait for news of `reader`."""
    for _ in range(1000):
        if len(reader._inbox.waiting) == how_many:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{len(reader._inbox.waiting)} tasks wait")


def test_what_was_written_before_and_what_comes_from_threads():
    reader, writer = pipe()
    writer.write("a", 1)

    def work() -> None:
        with writer:
            writer.write("b", Status(completed=1.0))

    async def main() -> list:
        task = asyncio.create_task(all_of(reader))
        await waiting(reader)
        threads = threading.active_count()
        thread = threading.Thread(target=work)
        thread.start()
        seen = await task
        thread.join()
        assert threading.active_count() == threads
        return seen

    assert asyncio.run(main()) == [("a", 1), ("b", Status(completed=1.0))]
    assert not reader._inbox.waiting


def test_the_loop_goes_on_while_a_task_waits_for_the_interval():
    reader, writer = pipe(interval=0.02)
    with writer:
        writer.write("a", 1)
        reader.read()
        writer.write("a", 2)

        async def main() -> Update:
            task = asyncio.create_task(anext(reader))
            await waiting(reader)
            assert not task.done()
            return await task

        assert asyncio.run(main()).status == 2


def test_what_starts_wakes_a_task_that_waits_for_the_interval():
    reader, writer = pipe(interval=60)
    writer.write("a", 1)
    reader.read()
    writer.write("a", 2)

    async def main() -> list:
        task = asyncio.create_task(all_of(reader))
        await waiting(reader)
        writer.write("b", 1)
        writer.close()
        return await task

    assert asyncio.run(main()) == [("a", 2), ("b", 1)]


def test_a_cancelled_task_leaves_nothing_and_loses_nothing():
    reader, writer = pipe(interval=0)

    async def main() -> list:
        task = asyncio.create_task(all_of(reader))
        await waiting(reader)
        # The news wakes it and the cancel meets it before it runs.
        writer.write("a", 1)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not reader._inbox.waiting
        assert len(asyncio.all_tasks()) == 1
        writer.close()
        return await all_of(reader)

    assert asyncio.run(main()) == [("a", 1)]


def test_a_task_cancelled_in_the_middle_of_a_batch_leaves_the_rest():
    reader, writer = pipe(interval=60)
    for id in "abc":
        writer.write(id, 1)
    first: list[str] = []

    async def take() -> None:
        async for update in reader:
            first.append(update.id)
            await asyncio.sleep(60)

    async def main() -> list:
        task = asyncio.create_task(take())
        while not first:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        writer.close()
        return await all_of(reader)

    assert asyncio.run(main()) == [("b", 1), ("c", 1)]
    assert first == ["a"]


def test_several_tasks_loops_and_threads_share_a_reader():
    reader, writer = pipe(interval=0)
    seen: list[list[tuple[str, object]]] = []
    ready = threading.Barrier(4)

    async def two() -> None:
        tasks = [asyncio.create_task(all_of(reader)) for _ in range(2)]
        await waiting_at_least(2)
        ready.wait(5)
        seen.extend(await asyncio.gather(*tasks))

    async def waiting_at_least(number: int) -> None:
        while len(reader._inbox.waiting) < number:
            await asyncio.sleep(0)

    def plain() -> None:
        ready.wait(5)
        seen.append([(update.id, update.status) for update in reader])

    threads = [threading.Thread(target=asyncio.run, args=(two(),)) for _ in range(2)]
    threads.append(threading.Thread(target=plain))
    for thread in threads:
        thread.start()
    ready.wait(5)
    with writer:
        for number in range(200):
            writer.write(f"id{number}", number)
    for thread in threads:
        thread.join(10)
    assert len(seen) == 5
    assert sorted(news for mine in seen for news in mine) == sorted((f"id{n}", n) for n in range(200))


def test_a_loop_that_was_closed_over_its_task_does_not_harm_the_writer():
    reader, writer = pipe()
    loop = asyncio.new_event_loop()
    task = loop.create_task(anext(reader))
    loop.run_until_complete(waiting(reader))
    loop.close()
    writer.write("a", 1)
    assert [update.id for update in reader.read()] == ["a"]
    assert not reader._inbox.waiting
    task._log_destroy_pending = False  # it is known
    task.get_coro().close()


def test_a_waiting_task_hears_of_a_closed_and_of_a_claimed_reader():
    async def main(end) -> list:
        task = asyncio.create_task(all_of(reader))
        await waiting(reader)
        end(reader)
        return await task

    reader, _ = pipe()
    assert asyncio.run(main(type(reader).close)) == []
    reader, _ = pipe()
    with pytest.raises(ProgressError, match="MultiReader"):
        asyncio.run(main(MultiReader))
