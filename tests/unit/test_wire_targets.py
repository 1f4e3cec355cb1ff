"""Targets: what a client takes files with."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest

from tarcast.errors import OptionError, OutputError, SessionError
from tarcast.session.targets import TargetExists, Targets
from tarcast.sinks.descriptor import DescriptorSink
from tarcast.sinks.file import FileSink
from tarcast.sinks.fileobj import FileObjectSink


def test_targets_are_one_or_several(tmp_path: Path) -> None:
    assert Targets("out").ids() == Targets(io.BytesIO()).ids() == Targets(lambda metadata: None).ids() == [0]
    several = Targets({2: "b", 0: lambda metadata: None, 1: 5, 3: io.BytesIO(), 4: Path("x"), 5: b"y"})
    assert several.ids() == [0, 1, 2, 3, 4, 5]
    assert several.plain_ids() == [1, 2, 3, 4, 5]
    assert Targets({}).ids() == []


def test_targets_make_sinks_of_every_kind(tmp_path: Path) -> None:
    targets = Targets({0: str(tmp_path / "a"), 1: 1, 2: io.BytesIO(), 3: lambda metadata: tmp_path / "b"})
    kinds = [type(targets.sink(number, {})) for number in range(4)]
    assert kinds == [FileSink, DescriptorSink, FileObjectSink, FileSink]


@pytest.mark.parametrize("target", [None, True, 1.5, object(), {0: None}, {1: True}])
def test_targets_refuse_what_cannot_be_written(target: Any) -> None:
    with pytest.raises(OptionError, match="a target cannot be"):
        Targets(target)


@pytest.mark.parametrize("number", [True, "0", 1.0, None])
def test_targets_are_numbered(number: Any) -> None:
    with pytest.raises(OptionError, match="an exporter's id is a number"):
        Targets({number: "out"})


def test_targets_know_their_exporters() -> None:
    with pytest.raises(SessionError, match="exporter 7 not found") as caught:
        Targets({3: "a", 1: "b"}).sink(7, {})
    assert caught.value.hint == "the client has 1, 3"
    with pytest.raises(SessionError, match="the client has none"):
        Targets({}).sink(0, {})


def test_targets_give_a_callable_the_metadata_and_it_may_refuse() -> None:
    got: list[dict[str, str]] = []
    metadata = {"a": "1"}
    with pytest.raises(TargetExists, match="target already exists"):
        Targets(got.append).sink(0, metadata)
    assert got == [{"a": "1"}]
    assert got[0] is not metadata


class Opened(io.BytesIO):
    """A file object that counts its closing, and may fail at it."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error
        self.content = b""
        self.closings = 0

    def close(self) -> None:
        self.closings += 1
        self.content = self.getvalue()
        super().close()
        if self.error is not None:
            raise self.error


def test_targets_close_what_a_callable_opened() -> None:
    for end in ("commit", "abort"):
        file = Opened()
        sink = Targets(lambda metadata, file=file: file).sink(0, {})
        sink.open()
        assert sink.write is not None
        sink.write(memoryview(b"data"))
        getattr(sink, end)()
        sink.abort()
        assert (file.closings, file.content) == (1, b"data")


def test_targets_whose_closing_fails() -> None:
    sink = Targets(lambda metadata: Opened(OSError(errno.EDQUOT, "full"))).sink(0, {})
    sink.open()
    with pytest.raises(OutputError) as caught:
        sink.commit()
    assert (caught.value.step, caught.value.errno) == ("close", errno.EDQUOT)
    sink.abort()
    Targets(lambda metadata: Opened(OSError(errno.EDQUOT, "full"))).sink(0, {}).abort()


def test_targets_close_what_a_callable_opened_wrongly(tmp_path: Path) -> None:
    opened: list[Any] = []

    def open_for_text(metadata: dict[str, str]) -> Any:
        opened.append(open(tmp_path / "out", "w"))  # noqa: SIM115
        return opened[0]

    with pytest.raises(OptionError, match="open for text"):
        Targets(open_for_text).sink(0, {})
    closed = opened[0].closed
    opened[0].close()
    assert closed
