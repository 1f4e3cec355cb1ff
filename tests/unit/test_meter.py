"""From counters to rate and time to go."""

from __future__ import annotations

import time

import pytest

from tarcast.meter import Meter
from tarcast.result import Progress, seconds_left


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_rate_is_that_of_the_last_seconds(clock: list[float]) -> None:
    meter = Meter(100.0)
    assert meter.read(0, 0).rate == 0
    rates = []
    for second in range(1, 11):
        clock[0] = 100.0 + second
        rates.append(meter.read(second, 100 * min(second, 5)).rate)
    assert rates[:5] == [100] * 5
    assert rates[5] == pytest.approx(200 / 3)
    assert rates[7:] == [0, 0, 0]  # it stands still, and says so
    done = meter.read(10, 500, done=True)
    assert (done.rate, done.seconds, done.eta) == (50, 10, 0)


def test_time_that_counting_took_does_not_slow_the_rate(clock: list[float]) -> None:
    meter = Meter(100.0)
    clock[0] = 110.0
    meter.begin((4, 1000))
    clock[0] = 111.0
    progress = meter.read(1, 250, "path")
    assert (progress.rate, progress.eta, progress.seconds) == (250, 3, 11)
    assert (progress.total_entries, progress.total_bytes, progress.path) == (4, 1000, "path")
    assert repr(progress) == "<Progress 1 entries, 250 of 1000 bytes, 11.0 s>"


@pytest.mark.parametrize(
    ("current", "total", "rate", "left"),
    [(0, None, 5.0, None), (0, 100, 0.0, None), (50, 100, 10.0, 5.0), (200, 100, 10.0, 0.0)],
)
def test_seconds_left(current: int, total: int | None, rate: float, left: float | None) -> None:
    assert seconds_left(current, total, rate) == left
    assert Progress(1, current, 1.0, None, False, total_bytes=total, rate=rate).eta == left
