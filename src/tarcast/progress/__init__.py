"""Progress: told by many, read by one or several, shown on a terminal, in a log or as JSON.

`pipe()` gives a reader and a writer; `rendering(reader)` shows it while the work goes on.
"""

from .multi import MultiReader
from .oneoff import OneOff, one_off
from .pipe import Reader, Writer, pipe
from .render import JsonLines, Plain, Renderer, Terminal, choose, rendering
from .status import Status, Update

__all__ = [
    "JsonLines",
    "MultiReader",
    "OneOff",
    "Plain",
    "Reader",
    "Renderer",
    "Status",
    "Terminal",
    "Update",
    "Writer",
    "choose",
    "one_off",
    "pipe",
    "rendering",
]
