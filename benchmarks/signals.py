"""A run that is told to end cleans up first: what it mounted, started and wrote."""

from __future__ import annotations

import signal


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does; one that is ignored, as by nohup, stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
