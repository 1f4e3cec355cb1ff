"""Several readers of one pipe."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .pipe import Reader


class MultiReader:
    """Several readers that each see everything that is told.

    No thread passes anything on: the pipe itself gives news to all its readers.
    """

    __slots__ = ("_main",)

    def __init__(self, reader: Reader) -> None:
        """Take `reader` over: from now on reading from it raises ProgressError.

        What it has not read yet comes first for all. Closing it ends the readers made after that.
        """
        # As nobody reads it any more, its unread updates are the latest of every id: all the memory
        # there is. The original keeps everything that was ever told and replays it to who comes late.
        # We don't: that memory grows as long as the work goes on, and nobody draws the past.
        self._main = reader
        reader._claim()

    def reader(self) -> Reader:
        """A reader that gets the latest state of every id and then all that follows, at its own pace.

        Close it when it is no longer read. After the pipe's end it gives that state and ends.
        """
        return self._main._another()
