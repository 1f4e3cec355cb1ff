"""The benchmark of uploads: its table and options."""

from __future__ import annotations

import pytest

from benchmarks.upload import parser, table


def test_table_has_a_row_for_each_way() -> None:
    rows = list(table({"tarcast": [300.0, 200.0, 100.0], "other": [100.0, 50.0, 150.0]}))
    assert rows[2:] == ["| tarcast | 200 | 100 | 300 |  |", "| other | 100 | 50 | 150 | 2.00 |"]


def test_options() -> None:
    args = parser().parse_args(["--work", "small", "--server", "moto", "--only", "tarcast"])
    assert (args.work, args.server, args.only, args.rounds, args.fault) == (
        "small",
        "moto",
        ["tarcast"],
        5,
        20,
    )
    with pytest.raises(SystemExit):
        parser().parse_args(["--work", "nonsense"])
