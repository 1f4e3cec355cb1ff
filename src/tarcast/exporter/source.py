"""`Source`: what an exporter is given, one reference, several for platforms, or none."""

from __future__ import annotations

from tarcast.errors import OptionError
from tarcast.tree import Tree

from .attestation import Attestation
from .attributes import parse_epoch
from .platforms import PLATFORMS_KEY, platform_ids
from .statements import platform_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from tarcast.snapshot import Reference

    Exportable: TypeAlias = Reference | Tree

EPOCH_KEY = "source.date.epoch"


class Source:
    """The result of a build, in BuildKit's words.

    Args:
        ref: the reference to export, or a Tree that needs no mount; None for an empty archive, or with
            `refs`. The exporter's epoch wins over a Tree's own.
        refs: platforms (or other keys) to references, each of which gets a directory named by the key
            with "/" replaced by "_"; a None among them is an empty one. `metadata` must then have
            the platforms mapping.
        metadata: "refs.platforms": JSON, {"Platforms": [{"ID": key, "Platform": {"os", "architecture"}}]},
            in the keys of `refs`; "source.date.epoch" and "source.date.epoch/KEY": time stamps in
            seconds since 1970; other keys are for other exporters. Values are bytes or text.
        attestations: platforms to attestations, which become files of the tree.

    Raises:
        OptionError: both `ref` and `refs` are given, or a value has the wrong type.
    """

    __slots__ = ("attestations", "metadata", "ref", "refs")

    def __init__(
        self,
        ref: Exportable | None = None,
        refs: Mapping[str, Exportable | None] | None = None,
        metadata: Mapping[str, bytes | str] | None = None,
        attestations: Mapping[str, Sequence[Attestation]] | None = None,
    ) -> None:
        if ref is not None and refs:
            raise OptionError("a source has one reference or several, not both", hint="give ref or refs")
        for reference in (ref, *(refs or {}).values()):
            if not isinstance(reference, Tree):
                _check_reference(reference)
        self.ref: Exportable | None = ref
        self.refs: dict[str, Exportable | None] = dict(refs or {})
        self.metadata: dict[str, bytes] = {key: _bytes(key, value) for key, value in (metadata or {}).items()}
        self.attestations: dict[str, list[Attestation]] = {
            key: list(values) for key, values in (attestations or {}).items()
        }
        for attestation in (one for several in self.attestations.values() for one in several):
            if not isinstance(attestation, Attestation):
                raise OptionError(f"{attestation!r} is no Attestation")
            _check_reference(attestation.ref)

    def platforms(self) -> list[tuple[str, Exportable | None]]:
        """What lies beside each other, with the keys; a single pair without `refs`.

        Raises:
            OptionError: `refs` lack a platforms mapping, or it does not fit them.
        """
        if self.refs and PLATFORMS_KEY not in self.metadata:
            raise OptionError(
                "unable to export multiple refs, missing platforms mapping",
                hint=f"metadata {PLATFORMS_KEY!r} says which there are",
            )
        ids = platform_ids(self.metadata)
        if not self.refs:
            if len(ids) > 1:
                raise OptionError("unable to export multiple platforms without map", hint="give refs")
            return [(ids[0], self.ref)]
        named: dict[str, str] = {}
        for key in ids:
            name = platform_path(key)
            if name in named:
                raise OptionError(f"platforms {named[name]} and {key} would both be in {name}/")
            named[name] = key
        return [(key, self._find(key)) for key in ids]

    def _find(self, key: str) -> Exportable | None:
        if key in self.refs:
            return self.refs[key]
        if len(self.refs) == 1:  # then its own key does not matter (BuildKit result.FindRef)
            return next(iter(self.refs.values()))
        raise OptionError(
            f"failed to find ref for ID {key}", hint=f"there are {', '.join(sorted(self.refs))}"
        )

    def epoch(self, key: str) -> int | None:
        """The time stamp that the metadata have for a platform, else for all.

        Raises:
            OptionError: it is no number.
        """
        for name in (f"{EPOCH_KEY}/{key}", EPOCH_KEY):
            if name in self.metadata:
                return parse_epoch(self.metadata[name].decode(errors="replace"), f"metadata {name}")
        return None


def _check_reference(reference: object) -> None:
    if reference is not None and not callable(getattr(reference, "mount", None)):
        raise OptionError(
            f"{reference!r} is no reference: it has no mount()", hint="such as DirectoryRef(path)"
        )


def _bytes(key: str, value: bytes | str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, (bytes, bytearray)):
        raise OptionError(f"metadata {key!r} must be bytes or text, not {value!r}")
    return bytes(value)
