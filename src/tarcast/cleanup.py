"""Undo steps: last to first, every one of them, whatever happened."""

from __future__ import annotations

from .errors import CleanupError, TarcastError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

# A step that Ctrl-C came into the middle of is done again; somebody who keeps pressing it may go.
_ATTEMPTS = 3


class Cleanup:
    """A stack of undo steps, run at the end of a `with` block.

    A step must be safe to call twice and before what it undoes was done, so it is pushed first: then
    nothing can come in between. It may fail; the others run all the same.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, step: Callable[[], object]) -> None:
        """Have `step` called before all that were pushed so far; `what` is for the message if it fails."""
        self._steps.append((what, step))

    def run(self, error: BaseException | None = None) -> None:
        """Run all steps and forget them.

        Args:
            error: what ended the work, if it failed; failures of steps are told with it, and it
                is not raised here.

        Raises:
            CleanupError: there is no such error, and steps failed; it names them all.
            KeyboardInterrupt, or what else interrupted a step: when all have run.
        """
        failures: list[Exception] = []
        interrupt: BaseException | None = None
        while self._steps:
            what, step = self._steps.pop()
            for _ in range(_ATTEMPTS):
                try:
                    step()
                except Exception as failure:
                    failure.add_note(f"while cleaning up: {what}")
                    failures.append(failure)
                except BaseException as caught:
                    interrupt = interrupt or caught
                    continue
                break
        primary = error or interrupt
        if failures:
            if primary is None:
                raise CleanupError(failures)
            tell_failures(primary, failures)
        if interrupt is not None and error is None:
            raise interrupt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.run(error)


def tell_failures(error: BaseException, failures: Sequence[Exception]) -> None:
    """Have `error` say what failed when it was undone."""
    if isinstance(error, TarcastError):
        error.cleanup_errors = (*error.cleanup_errors, *failures)
    else:
        for failure in failures:
            error.add_note(f"clean-up failed: {failure}")
