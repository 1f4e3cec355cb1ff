"""tqdm as the displays use it. Importing this imports tqdm."""

from __future__ import annotations

import os
from typing import Any

from tqdm import tqdm
from tqdm.utils import disp_trim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .outlet import Outlet

    _Tqdm = tqdm[NoReturn]
else:
    _Tqdm = tqdm  # the run-time class takes no argument


class Bar(_Tqdm):
    """A line that is drawn over and over, and wiped when it is closed."""

    # No helper thread: news come regularly. Not set for tqdm itself, which others may use, too.
    monitor_interval = 0


def open_bar(stream: Outlet, bar_format: str, **more: Any) -> Bar:
    """A new bar without a total, below those that there are.

    Args:
        stream: on a terminal; the caller sees to it that the bars fit.
        bar_format: see tqdm.
        more: for tqdm.
    """
    return Bar(
        file=stream,
        bar_format=bar_format,
        nrows=1000,  # some terminals say they have none, and tqdm would believe it
        leave=False,
        disable=False,  # not for TQDM_DISABLE to say: such a bar lacks half its attributes
        miniters=0,
        **more,
    )


def size(stream: Outlet) -> tuple[int, int]:
    """Columns and lines of a terminal; 80 and 24 where it does not know itself."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    return columns or 80, lines or 24


def trimmed(text: str, columns: int) -> str:
    """The beginning of `text` that fits into `columns`, wide characters taken into account."""
    return str(disp_trim(text, columns))
