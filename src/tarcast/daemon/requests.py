"""What a request may ask for, checked: a tree by its name, exporters, and nothing else."""

from __future__ import annotations

from tarcast.errors import OptionError
from tarcast.exporter import TarExporter
from tarcast.exporter.attributes import parse_epoch
from tarcast.session.wire.control import FRONTEND, TREE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from tarcast.exporter.instance import ExporterInstance


EPOCH_ARGUMENT = "build-arg:SOURCE_DATE_EPOCH"
_EPOCH = "source-date-epoch"
_OPTIONS = (TREE, EPOCH_ARGUMENT)

# Characters of what clients name: requests, sessions.
MOST_NAME = 256

# Names that a message tells; a status has room for some thousand characters.
_TOLD = 10


class UnknownTreeError(OptionError):
    """There is no tree of that name."""


class BusyError(OptionError):
    """There are as many exports as there may be."""


def check_frontend(
    frontend: str, definition: bytes, options: Mapping[str, str], names: Iterable[str]
) -> None:
    """Raises OptionError (UnknownTreeError among them) unless this names a tree, in a way that is known."""
    if definition or frontend != FRONTEND:
        what = "a definition" if definition else f"frontend {frontend!r}"
        raise OptionError(
            f"{what} cannot be built: this daemon exports trees that it has",
            hint=f"ask frontend {FRONTEND!r} for {TREE}=NAME",
        )
    for option in options:
        if option not in _OPTIONS:
            raise OptionError(f"unknown option {option!r}", hint=f"known are {', '.join(_OPTIONS)}")
    wanted = options.get(TREE, "")
    known = sorted(names)
    if wanted not in known:
        raise UnknownTreeError(
            f"there is no tree {wanted!r}" if wanted else "a tree must be named",
            hint=f"there are {', '.join(known[:_TOLD])}" + (", ..." if len(known) > _TOLD else ""),
        )
    parse_epoch(options.get(EPOCH_ARGUMENT, ""), f"option {EPOCH_ARGUMENT}")


def instances(request: Any, options: Mapping[str, str], exporter: TarExporter) -> list[ExporterInstance]:
    """The exporters that a SolveRequest asks for, ready to be used.

    Raises:
        OptionError: there is none, one is not for tar, an attribute makes no sense, or there is more to do.
    """
    if request.Cache.ExportRefDeprecated or request.Cache.Exports or request.Cache.Imports:
        raise OptionError("there is no cache to import or export")
    asked = [(wanted.Type, dict(wanted.Attrs)) for wanted in request.Exporters]
    if not asked and request.ExporterDeprecated:  # of clients before v0.12
        asked = [(request.ExporterDeprecated, dict(request.ExporterAttrsDeprecated))]
    if not asked:
        raise OptionError("nothing is to be exported", hint=f"ask for an exporter of type {exporter.type}")
    made = []
    for number, (kind, attrs) in enumerate(asked):
        if kind != exporter.type:
            raise OptionError(f"there is no exporter {kind!r}", hint=f"there is {exporter.type}")
        if EPOCH_ARGUMENT in options:
            attrs.setdefault(_EPOCH, options[EPOCH_ARGUMENT])
        made.append(exporter.resolve(number, attrs))
    return made
