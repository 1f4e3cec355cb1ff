"""Writers on one side, a reader on the other: what is given, when, and how it ends."""

from __future__ import annotations

import threading

import pytest

from tarcast.errors import OptionError, ProgressError
from tarcast.progress import Status, Update, pipe
from tarcast.progress.channel import Inbox
from tests.support.progress import Clock


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def told(updates: list[Update]) -> list[tuple[str, object]]:
    return [(update.id, update.status) for update in updates]


def test_unread_updates_of_one_id_are_one(clock):
    reader, writer = pipe()
    for number in range(5):
        writer.write("a", number)
        writer.write("b", number * 10)
    assert told(reader.read()) == [("a", 4), ("b", 40)]
    assert reader.read(timeout=0) == []


def test_oldest_first_and_ties_in_the_order_of_writing(clock):
    reader, writer = pipe()
    for id in ("z", "a", "m"):
        writer.write(id, 1)
    clock.wall -= 10  # set back
    writer.write("early", 1)
    writer.write("a", 2)
    updates = reader.read()
    assert told(updates) == [("early", 1), ("a", 2), ("z", 1), ("m", 1)]
    assert [update.timestamp for update in updates] == [4990.0, 4990.0, 5000.0, 5000.0]


def test_news_comes_at_most_once_an_interval(clock):
    reader, writer = pipe(interval=0.5)
    writer.write("a", 1)
    assert told(reader.read()) == [("a", 1)]
    writer.write("a", 2)
    clock.pass_by(0.49)
    assert reader.read(timeout=0) == []
    writer.write("a", 3)
    clock.pass_by(0.01)
    assert told(reader.read(timeout=0)) == [("a", 3)]
    clock.pass_by(9)
    writer.write("a", 4)
    assert told(reader.read(timeout=0)) == [("a", 4)]


def test_a_start_a_completion_and_a_failure_come_at_once_with_all_the_rest(clock):
    reader, writer = pipe(interval=60)
    writer.write("a", Status(current=1))
    reader.read()
    writer.write("a", Status(current=2))
    writer.write("b", Status())
    assert [update.id for update in reader.read(timeout=0)] == ["a", "b"]
    for end in (Status(completed=1.0), Status(error="no")):
        writer.write("a", Status(current=3))
        assert reader.read(timeout=0) == []
        writer.write("b", end)
        assert [update.id for update in reader.read(timeout=0)] == ["a", "b"]


def test_what_is_over_may_start_again(clock):
    reader, writer = pipe(interval=60)
    writer.write("a", Status(completed=1.0))
    reader.read()
    writer.write("a", Status())
    assert told(reader.read(timeout=0)) == [("a", Status())]
    writer.write("a", Status(current=1))
    assert reader.read(timeout=0) == []


def test_what_starts_and_goes_on_before_it_is_read_comes_at_once(clock):
    reader, writer = pipe(interval=60)
    writer.write("a", 1)
    reader.read()
    writer.write("b", 1)
    writer.write("b", 2)
    assert told(reader.read(timeout=0)) == [("b", 2)]


def test_everything_left_comes_at_once_at_the_end_and_then_EOFError(clock):
    reader, writer = pipe(interval=60)
    writer.write("a", 1)
    reader.read()
    writer.write("a", 2)
    writer.close()
    assert told(reader.read()) == [("a", 2)]
    for _ in range(2):
        with pytest.raises(EOFError):
            reader.read()
    assert list(reader) == []


def test_a_pipe_ends_with_its_last_writer():
    reader, writer = pipe()
    first = writer.open()
    second = first.open()
    for closed in (writer, writer, first, first):
        closed.close()
        assert reader.read(timeout=0) == []
    with second:
        second.write("a", 1)
    assert told(list(reader)) == [("a", 1)]


def test_a_closed_writer_refuses():
    _, writer = pipe()
    with writer:
        pass
    with pytest.raises(ProgressError, match="write the progress of 'x': the writer is closed") as caught:
        writer.write("x", 1)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ProgressError, match="open another one: the writer is closed"):
        writer.open()
    with pytest.raises(ProgressError):
        writer.one_off("x")


def test_metadata_is_inherited_and_read_only():
    reader, writer = pipe()
    child = writer.open(kind="layer", number=1).open(number=2)
    for id, to in (("a", writer), ("b", child)):
        to.write(id, None)
    first, second = reader.read()
    assert dict(first.metadata) == {}
    assert dict(second.metadata) == {"kind": "layer", "number": 2}
    with pytest.raises(TypeError):
        second.metadata["kind"] = "other"


@pytest.mark.parametrize("interval", [-0.1, float("nan"), "1", None, True])
def test_an_interval_that_is_none(interval):
    with pytest.raises(OptionError, match="interval"):
        pipe(interval)


def test_an_endless_interval_is_one(clock, in_thread):
    reader, writer = pipe(interval=float("inf"))
    writer.write("a", 1)
    writer.write("b", 1)
    reader.read()
    writer.write("a", 2)
    clock.pass_by(1e9)
    assert reader.read(timeout=0) == []
    thread, came = in_thread(lambda: reader.read(timeout=1e300))
    writer.close()
    thread.join(5)
    assert told(came[0]) == [("a", 2)]


def test_iterating_gives_one_by_one_and_keeps_what_it_has_begun(clock):
    reader, writer = pipe(interval=60)
    for id in "abc":
        writer.write(id, 1)
    assert next(reader).id == "a"
    writer.write("c", 2)  # not due for an hour, so c comes twice
    assert told([next(reader)]) == [("b", 1)]
    assert told(reader.read()) == [("c", 1)]
    assert reader.read(timeout=0) == []
    writer.close()
    assert told(list(reader)) == [("c", 2)]


def test_reading_in_the_middle_of_an_iteration_gives_each_id_once(clock):
    reader, writer = pipe()
    for id in "abc":
        writer.write(id, 1)
    assert next(reader).id == "a"
    writer.write("b", 2)
    clock.pass_by(1)
    assert told(reader.read()) == [("c", 1), ("b", 2)]


def test_what_is_written_all_the_time_gets_its_turn(clock):
    reader, writer = pipe(interval=0)
    for id in "abc":
        writer.write(id, 0)
    seen = []
    for number in range(1, 6):
        clock.pass_by(1)
        for id in "abc":
            writer.write(id, number)
        seen.append(next(reader).id)
    assert seen == ["a", "b", "c", "a", "b"]


def test_a_closed_reader_gives_what_it_has_and_ends(clock):
    reader, writer = pipe(interval=60)
    writer.write("a", 1)
    reader.read()
    writer.write("a", 2)
    reader.close()
    reader.close()
    writer.write("a", 3)
    assert told(list(reader)) == [("a", 2)]
    writer.close()


@pytest.fixture
def in_thread(monkeypatch):
    """in_thread(call): a thread that runs it and waits for news by now, and a list for what comes of it."""
    waits = threading.Semaphore(0)
    wait = Inbox.wait

    def tell_and_wait(self, limit=None):
        waits.release()  # with the lock held, so nobody can write before it waits indeed
        return wait(self, limit)

    def start(call):
        came: list = []

        def run() -> None:
            try:
                came.append(call())
            except (EOFError, ProgressError) as error:
                came.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert waits.acquire(timeout=5)
        return thread, came

    monkeypatch.setattr(Inbox, "wait", tell_and_wait)
    return start


def test_a_waiting_reader_is_woken_by_news(in_thread):
    reader, writer = pipe()
    thread, came = in_thread(reader.read)
    writer.write("a", 1)
    thread.join(5)
    assert told(came[0]) == [("a", 1)]


@pytest.mark.parametrize("end", ["writer", "reader"])
def test_waiting_readers_are_woken_by_the_end(in_thread, end):
    reader, writer = pipe()
    waiting = [in_thread(reader.read) for _ in range(3)]
    {"writer": writer, "reader": reader}[end].close()
    for thread, came in waiting:
        thread.join(5)
        assert isinstance(came[0], EOFError)


def test_a_waiting_reader_wakes_when_the_interval_is_over_or_something_starts(in_thread):
    reader, writer = pipe(interval=0.02)
    writer.write("a", 1)
    reader.read()
    writer.write("a", 2)
    assert told(reader.read()) == [("a", 2)]
    reader, writer = pipe(interval=60)
    writer.write("a", 1)
    reader.read()
    writer.write("a", 2)
    thread, came = in_thread(reader.read)
    writer.write("b", 1)
    thread.join(5)
    assert told(came[0]) == [("a", 2), ("b", 1)]


def test_a_write_in_the_middle_of_a_write_does_not_hang():
    """As a signal handler or a finaliser may do it."""
    reader, writer = pipe()

    def write() -> None:
        with reader._channel.lock:
            writer.write("inner", 1)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert told(reader.read()) == [("inner", 1)]


@pytest.mark.parametrize("readers", [1, 3])
def test_threads_hammering(readers):
    reader, writer = pipe(interval=0)
    ids = [f"id{number}" for number in range(8)]
    seen: list[list[Update]] = [[] for _ in range(readers)]

    def work(id: str, own) -> None:
        with own:
            for number in range(1000):
                own.write(id, number)
            own.write(id, Status(completed=1.0))

    threads = [threading.Thread(target=work, args=(id, writer.open())) for id in ids]
    threads += [threading.Thread(target=lambda mine=mine: mine.extend(reader)) for mine in seen]
    writer.close()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    together = [update for mine in seen for update in mine]
    assert len(together) == len(set(map(id, together)))
    assert sorted(update.id for update in together if isinstance(update.status, Status)) == ids
    for mine in seen:
        for name in ids:
            numbers = [u.status for u in mine if u.id == name and not isinstance(u.status, Status)]
            assert numbers == sorted(set(numbers))
