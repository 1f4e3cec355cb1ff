"""CPython's own test_tarfile, with tarcast in the place of tarfile wherever it writes.

The module is imported from the Python that runs it, never copied. What it opens for writing, by tarfile.open,
TarFile.open, TarFile() or the taropen of its classes, tarcast.open opens; what it opens for reading, the real
tarfile; and TarInfo and the constants are real.
"""

from __future__ import annotations

import tarfile
import types
from typing import Any

import tarcast


class Counter:
    """How often a test has opened something for writing."""

    def __init__(self) -> None:
        self.opened = 0


def substitute(module: Any) -> Counter:
    """Make `module`, which is test.test_tarfile, write with tarcast."""
    counter = Counter()

    def write(name: Any, mode: str, fileobj: Any, **options: Any) -> Any:
        counter.opened += 1
        return tarcast.open(name, mode, fileobj, **options)

    def open(name: Any = None, mode: str = "r", fileobj: Any = None, *bufsize: int, **options: Any) -> Any:
        if mode[:1] == "r":
            return tarfile.open(name, mode, fileobj, *bufsize, **options)
        return write(name, mode, fileobj, **options)

    class TarFile(tarfile.TarFile):
        def __new__(cls, name: Any = None, mode: str = "r", fileobj: Any = None, **options: Any) -> Any:
            if mode == "r":
                return super().__new__(cls)
            return write(name, mode + ":", fileobj, **options)

    TarFile.open = staticmethod(open)  # type: ignore[assignment]

    def taropen(suffix: str) -> Any:
        def open(name: Any, mode: str = "r", fileobj: Any = None, **options: Any) -> Any:
            if mode == "r":
                return tarfile.open(name, f"r:{suffix}", fileobj, **options)
            return write(name, f"{mode}:{suffix}", fileobj, **options)

        return staticmethod(open)

    class Module(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(tarfile, name)

    replaced = Module("tarfile")
    replaced.__dict__.update(open=open, TarFile=TarFile)
    module.tarfile = replaced
    for kind in vars(module).values():
        if isinstance(kind, type) and "taropen" in vars(kind) and kind.taropen is not None:
            kind.taropen = taropen(kind.suffix)
    return counter
