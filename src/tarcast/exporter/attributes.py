"""What a request may ask of the exporter: its attributes, checked."""

from __future__ import annotations

import re

from tarcast.errors import OptionError
from tarcast.tree import check_epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH = "source-date-epoch"
PLATFORM_SPLIT = "platform-split"
ATTESTATION_PREFIX = "attestation-prefix"
KNOWN = (EPOCH, PLATFORM_SPLIT, ATTESTATION_PREFIX)

# As Go's strconv.ParseBool reads them.
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Attributes:
    """The attributes of one request.

    Args:
        values: names to values, both text.

    Raises:
        OptionError: one is unknown or malformed; the message lists those that are known.

    Attributes:
        epoch: seconds since 1970, or None.
        epoch_given: True when the request has the attribute, even empty: then the source is not asked.
        platform_split: None without the attribute.
        attestation_prefix: "" without the attribute.
    """

    __slots__ = ("attestation_prefix", "epoch", "epoch_given", "platform_split", "values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values: dict[str, str] = dict(values)
        for name, value in self.values.items():
            if name not in KNOWN:
                raise OptionError(f"unknown attribute {name!r}", hint=f"known are {', '.join(KNOWN)}")
            if not isinstance(value, str):
                raise _malformed(name, value, "text")
        self.epoch_given: bool = EPOCH in self.values
        self.epoch: int | None = parse_epoch(self.values.get(EPOCH, ""), f"attribute {EPOCH}")
        split = self.values.get(PLATFORM_SPLIT)
        if split is not None and split not in _TRUE | _FALSE:
            raise _malformed(PLATFORM_SPLIT, split, "true or false")
        self.platform_split: bool | None = None if split is None else split in _TRUE
        self.attestation_prefix: str = self.values.get(ATTESTATION_PREFIX, "")


def _malformed(name: str, value: object, expected: str) -> OptionError:
    return OptionError(
        f"attribute {name} must be {expected}, not {value!r}", hint=f"known attributes are {', '.join(KNOWN)}"
    )


def parse_epoch(text: str, what: str) -> int | None:
    """Seconds since 1970 in decimal; None for an empty text. `what` is for the message.

    Raises:
        OptionError: it is no such number.
    """
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,99}", text):
        raise OptionError(
            f"{what} must be whole seconds since 1970, not {text!r}",
            hint=f"known attributes are {', '.join(KNOWN)}",
        )
    return check_epoch(int(text))
