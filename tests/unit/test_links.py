"""The table of first names of inodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarcast._core._testing import clear_links
from tarcast._core.links import LinkTable

TOP = 2**64 - 1


def test_links_is_empty_at_first() -> None:
    assert LinkTable().find(1, 2) is None


def test_links_gives_the_name_that_was_added() -> None:
    table = LinkTable()
    table.add(1, 2, b"dir/\xff first")
    assert table.find(1, 2) == b"dir/\xff first"
    assert table.find(2, 1) is None
    assert table.find(1, 3) is None


def test_links_keeps_inodes_of_two_devices_apart() -> None:
    table = LinkTable()
    for dev in (0, 1, 2, 2**32, 2**32 + 1, TOP):
        table.add(dev, 7, b"on %d" % dev)
    assert [table.find(dev, 7) for dev in (0, 1, 2, 2**32, 2**32 + 1, TOP)] == [
        b"on 0",
        b"on 1",
        b"on 2",
        b"on 4294967296",
        b"on 4294967297",
        b"on 18446744073709551615",
    ]
    assert table.find(3, 7) is None


def test_links_keeps_one_inode_number_of_many_devices_apart() -> None:
    table = LinkTable()
    for dev in range(500):  # enough for some to land in one another's slots
        assert table.find(dev, 7) is None
        table.add(dev, 7, b"%d" % dev)
    assert [table.find(dev, 7) for dev in range(500)] == [b"%d" % dev for dev in range(500)]


def test_links_keeps_keys_of_one_hash_apart() -> None:
    # The hash mixes the device into the upper half of the inode number: these four are one number to it.
    keys = [(0, 5 << 32), (1, 4 << 32), (4, 1 << 32), (5, 0)]
    table = LinkTable()
    for dev, ino in keys[:3]:
        table.add(dev, ino, b"%d:%d" % (dev, ino))
    assert table.find(*keys[3]) is None
    table.add(*keys[3], b"last")
    assert [table.find(*key) for key in keys] == [
        b"0:21474836480",
        b"1:17179869184",
        b"4:4294967296",
        b"last",
    ]


def test_links_takes_extreme_numbers_and_long_names() -> None:
    table = LinkTable()
    table.add(TOP, TOP, b"a")
    table.add(0, 0, b"b" * 100_000)
    table.add(TOP, 0, b"c" * 5000)
    table.add(0, TOP, b"d")
    assert table.find(TOP, TOP) == b"a"
    assert table.find(0, 0) == b"b" * 100_000
    assert table.find(TOP, 0) == b"c" * 5000
    assert table.find(0, TOP) == b"d"


def test_links_keeps_the_first_name() -> None:
    table = LinkTable()
    table.add(1, 2, b"first")
    table.add(1, 2, b"second")
    assert table.find(1, 2) == b"first"


def test_links_grows_to_many_inodes() -> None:
    table = LinkTable()
    count = 100_000
    for i in range(count):
        table.add(i & 3, i * 4096, b"name %d" % i)
    assert all(table.find(i & 3, i * 4096) == b"name %d" % i for i in range(count))
    assert all(table.find(i & 3 ^ 1, i * 4096) is None for i in range(count))
    assert all(table.find(i & 3, i * 4096 + 1) is None for i in range(0, count, 7))


def test_links_survives_every_size_on_the_way_up() -> None:
    table = LinkTable()
    for i in range(700):
        assert table.find(9, i) is None
        table.add(9, i, b"%d" % i)
        assert table.find(9, i) == b"%d" % i
        assert table.find(9, 0) == b"0"
        assert table.find(9, i // 2) == b"%d" % (i // 2)


def test_links_forgets_everything_when_cleared() -> None:
    table = LinkTable()
    for i in range(1000):
        table.add(1, i, b"old %d" % i)
    clear_links(table)
    assert not any(table.find(1, i) for i in range(1000))
    table.add(1, 500, b"new")
    assert table.find(1, 500) == b"new"
    assert table.find(1, 499) is None
    clear_links(table)
    clear_links(table)
    assert table.find(1, 500) is None


KEYS = st.tuples(
    st.sampled_from([0, 1, 2, 2**31, 2**32, TOP]),
    st.integers(0, 40) | st.integers(0, 40).map(lambda i: i << 32) | st.integers(0, TOP),
)


@given(st.dictionaries(KEYS, st.binary(min_size=1, max_size=300), max_size=200), st.lists(KEYS, max_size=20))
def test_links_equals_a_dict(wanted: dict[tuple[int, int], bytes], others: list[tuple[int, int]]) -> None:
    table = LinkTable()
    for (dev, ino), name in wanted.items():
        table.add(dev, ino, name)
    for key in [*wanted, *others]:
        assert table.find(*key) == wanted.get(key)
