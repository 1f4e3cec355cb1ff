"""Several readers of one pipe: early, late, and after its end."""

from __future__ import annotations

import threading

import pytest

from tarcast.errors import ProgressError
from tarcast.progress import MultiReader, Status, pipe


def told(updates) -> list[tuple[str, object]]:
    return [(update.id, update.status) for update in updates]


def test_all_see_everything():
    main, writer = pipe(interval=0)
    multi = MultiReader(main)
    readers = [multi.reader() for _ in range(3)]
    for number in range(2):
        writer.write("a", number)
        assert [told(reader.read()) for reader in readers] == [[("a", number)]] * 3
    writer.close()
    assert [list(reader) for reader in readers] == [[]] * 3


def test_each_has_its_own_pace():
    main, writer = pipe(interval=0)
    multi = MultiReader(main)
    quick, slow = multi.reader(), multi.reader()
    for number in range(3):
        writer.write("a", number)
        quick.read()
    assert told(slow.read()) == [("a", 2)]


def test_who_comes_late_gets_the_latest_of_every_id_at_once():
    main, writer = pipe(interval=60)
    writer.write("before", 1)
    multi = MultiReader(main)
    early = multi.reader()
    for number in range(100):
        writer.write("a", number)
        early.read(timeout=0)
    writer.write("b", Status(completed=1.0))
    late = multi.reader()
    assert told(late.read(timeout=0)) == [("before", 1), ("a", 99), ("b", Status(completed=1.0))]
    writer.write("c", 1)
    assert told(late.read(timeout=0)) == [("c", 1)]


def test_memory_does_not_grow_with_what_was_told():
    main, writer = pipe()
    multi = MultiReader(main)
    for number in range(1000):
        writer.write(f"id{number % 3}", number)
    assert len(main._inbox.unread) == 3
    assert told(multi.reader().read()) == [("id1", 997), ("id2", 998), ("id0", 999)]


def test_who_comes_after_the_end_gets_the_latest_and_the_end():
    main, writer = pipe(interval=60)
    with writer:
        writer.write("a", 1)
        writer.write("a", 2)
    multi = MultiReader(main)
    for _ in range(2):
        assert told(list(multi.reader())) == [("a", 2)]


def test_what_an_iteration_left_counts_as_unread():
    main, writer = pipe(interval=60)
    for id in "abc":
        writer.write(id, 1)
    next(main)
    writer.write("c", 2)
    reader = MultiReader(main).reader()
    assert told(reader.read()) == [("b", 1), ("c", 2)]


def test_the_main_reader_is_taken_over():
    main, writer = pipe()
    writer.write("a", 1)
    multi = MultiReader(main)
    with pytest.raises(ProgressError, match="belongs to a MultiReader; use one of its readers"):
        main.read()
    with pytest.raises(ProgressError):
        next(main)
    assert told(multi.reader().read()) == [("a", 1)]


def test_closing_one_leaves_the_others():
    main, writer = pipe()
    multi = MultiReader(main)
    one, other = multi.reader(), multi.reader()
    one.close()
    writer.write("a", 1)
    assert list(one) == []
    assert told(other.read()) == [("a", 1)]
    main.close()
    writer.write("b", 1)
    assert told(list(multi.reader())) == [("a", 1)]
    assert told(other.read()) == [("b", 1)]


def test_no_thread_helps():
    before = threading.active_count()
    main, writer = pipe()
    multi = MultiReader(main)
    readers = [multi.reader() for _ in range(3)]
    writer.write("a", 1)
    assert threading.active_count() == before
    assert len(readers) == 3


def test_readers_of_a_reader_of_several():
    main, writer = pipe()
    multi = MultiReader(MultiReader(main).reader())
    writer.write("a", 1)
    writer.close()
    assert told(list(multi.reader())) == [("a", 1)]
