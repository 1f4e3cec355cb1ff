"""What the commands that write an archive have in common: progress, signals, summary, exit status."""

from __future__ import annotations

import os
import signal
import threading
import time

from tarcast.cli.progress import choose
from tarcast.cli.report import Outcome, check_summary_file, show, summary, write_summary
from tarcast.cli.stdio import say
from tarcast.errors import OutputError, TarcastError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import FrameType

    from tarcast.cli.progress import Display
    from tarcast.cli.report import Finished


class Ended(KeyboardInterrupt):
    """A signal asks to end: treated as Ctrl-C is, so that the library cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__("terminated" if number == signal.SIGTERM else "hung up")
        self.signal_number = number


def carry_out(args: argparse.Namespace, work: Callable[[Display], Finished]) -> int:
    """Do `work`, tell how it goes and how it ended, and return the exit status.

    Args:
        args: with `output`, what `parser.add_told` adds, and `index` where there may be one.
        work: gets what is to be called with progress.
    """
    started = time.monotonic()
    if args.summary_json is not None:
        check_summary_file(args.summary_json, args.output, getattr(args, "index", None))

    display = choose(args.progress, os.environ)
    outcome = Outcome()
    restore = end_by_exception()
    try:
        try:
            outcome.finished(work(display))
        finally:
            display.close()
    except (TarcastError, OSError, KeyboardInterrupt) as error:
        outcome.failed(error, args.output)
    finally:
        restore()
    outcome.seconds = time.monotonic() - started
    if args.summary_json is not None:
        try:
            write_summary(args.summary_json, summary(outcome, display))
        except OutputError as error:
            if outcome.error is None:
                outcome.failed(error, None)
            elif not display.json_lines:
                say(f"tarcast: error: {error}")
    show(outcome, display, args.output)
    return outcome.status


def ended_by_signals(work: Callable[[], int]) -> int:
    """Do `work` and return its exit status, or 128 + N where signal N ended it; Ctrl-C comes through."""
    restore = end_by_exception()
    try:
        return work()
    except Ended as error:
        return 128 + error.signal_number
    finally:
        restore()


def end_by_exception() -> Callable[[], None]:
    """Let SIGTERM and SIGHUP raise Ended while they would kill; returns what undoes that."""
    taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():  # signals are for the main thread
        taken = []

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    for number in taken:
        signal.signal(number, end)

    def restore() -> None:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)

    return restore
