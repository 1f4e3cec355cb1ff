"""Bundles: directories of statement files in a reference, each of which becomes an attestation."""

from __future__ import annotations

import os
import posixpath
from string import ascii_lowercase, ascii_uppercase

from ..errors import InputError, os_error
from .attestation import PROVENANCE, SBOM_CORE, Attestation, Subject
from .gojson import JSONError, Object, compact, parsed
from .reference import opened, read_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .reference import OpenRef

_STEP = "read bundle"

# Unicode's simple folding, as far as it meets the names of fields: the long s is an s.
_SMALL = str.maketrans(ascii_uppercase + "\u017f", ascii_lowercase + "s")


def unbundle(attestations: Iterable[Attestation], open_ref: OpenRef) -> list[Attestation]:
    """`attestations` with those of each bundle in its place, and the core SBOM before all others.

    Args:
        attestations: those to export.
        open_ref: called with the ref of a bundle; gives a context manager that yields an open directory.

    Raises:
        InputError: a bundle cannot be read; an entry is no regular file, too large, no in-toto statement,
            of the wrong predicate type, or provenance, which is not taken from a bundle.
    """
    joined: list[Attestation] = []
    for one in attestations:
        if one.kind == "bundle":
            with open_ref(one.ref) as root:
                joined += _entries(root, one)
        else:
            joined.append(one)
    return sorted(joined, key=lambda one: not _is_core(one))


def _is_core(one: Attestation) -> bool:
    stem = one.path.partition(".")[0]
    return one.metadata.get(SBOM_CORE) == stem.encode("utf-8", "surrogateescape")


def _entries(root: int, bundle: Attestation) -> Iterator[Attestation]:
    with opened(root, bundle.path, os.O_RDONLY | os.O_DIRECTORY, bundle.path, _STEP) as directory:
        try:
            names = sorted(os.listdir(directory), key=os.fsencode)
        except OSError as error:
            raise os_error(InputError, error, path=bundle.path, step=_STEP) from error
        for raw in map(os.fsencode, names):
            name = raw.decode("utf-8", "surrogateescape")
            path = _joined(bundle.path, name)
            # As in the original the bundle itself is the root here: a link leads to another entry or nowhere.
            content = read_in_root(directory, name, path, _STEP)
            yield _entry(content, path, bundle)


def _joined(directory: str, name: str) -> str:
    path = posixpath.normpath(posixpath.join(directory, name))
    return path[1:] if path.startswith("//") else path  # two slashes mean something to POSIX


def _entry(content: bytes, path: str, bundle: Attestation) -> Attestation:
    statement = _Statement()
    try:
        statement.decode(parsed(content))
        predicate = compact(statement.predicate)
    except JSONError as error:
        raise InputError(f"is no in-toto statement: {error}", path=path, step=_STEP) from error
    kind = statement.predicate_type
    if bundle.predicate_type and kind != bundle.predicate_type:
        raise InputError(
            f"its predicate type is {kind!r}, and the bundle is of {bundle.predicate_type!r}",
            path=path,
            step=_STEP,
        )
    if kind.startswith(PROVENANCE):
        raise InputError("provenance is not taken from a bundle", path=path, step=_STEP)
    return Attestation(
        path=path,
        predicate_type=kind,
        content=predicate,
        metadata=bundle.metadata,
        subjects=[Subject(kind="raw", name=name, digests=_digests(d)) for name, d in statement.subjects],
    )


def _digests(digests: dict[str, str]) -> dict[str, str]:
    """As they come out of the "algorithm:digest" that the original makes of them in between.

    An algorithm with a colon is thereby cut at it; of two that become one the last in order counts.
    """
    joined = [f"{algorithm}:{digest}" for algorithm, digest in sorted(digests.items())]
    return {algorithm: digest for algorithm, _, digest in (text.partition(":") for text in joined)}


class _Statement:
    """A statement as Go decodes it: field names in any case, later duplicates into what is there."""

    __slots__ = ("_slots", "_used", "predicate", "predicate_type")

    def __init__(self) -> None:
        self.predicate_type = ""
        self.predicate: object = None
        self._slots: list[_Decoded] = []  # what a second list of subjects is decoded into
        self._used = 0

    @property
    def subjects(self) -> list[tuple[str, dict[str, str]]]:
        return [(one.name, one.digests) for one in self._slots[: self._used]]

    def decode(self, value: object) -> None:
        for key, inner in _fields(value, "the statement"):
            if key == "_type":
                _string(inner, "", "_type")
            elif key == "predicatetype":
                self.predicate_type = _string(inner, self.predicate_type, "predicateType")
            elif key == "predicate":
                self.predicate = inner
            elif key == "subject":
                self._decode_subjects(inner)

    def _decode_subjects(self, value: object) -> None:
        if isinstance(value, Object) or not (value is None or isinstance(value, list)):
            raise JSONError("subject is no list")
        if not value:
            self._slots, self._used = [], 0
            return
        for index, inner in enumerate(value):
            if index == len(self._slots):
                self._slots.append(_Decoded())
            self._slots[index].decode(inner)
        self._used = len(value)


class _Decoded:
    """One subject."""

    __slots__ = ("digests", "name")

    def __init__(self) -> None:
        self.name = ""
        self.digests: dict[str, str] = {}

    def decode(self, value: object) -> None:
        for key, inner in _fields(value, "a subject"):
            if key == "name":
                self.name = _string(inner, self.name, "the name of a subject")
            elif key == "digest":
                if inner is None:
                    self.digests = {}
                    continue
                if not isinstance(inner, Object):
                    raise JSONError("the digest of a subject is no object")
                for algorithm, digest in inner:
                    self.digests[algorithm] = _string(digest, "", "a digest")


def _fields(value: object, what: str) -> Iterator[tuple[str, object]]:
    """The pairs of an object, names in small letters; null has none."""
    if value is None:
        return
    if not isinstance(value, Object):
        raise JSONError(f"{what} is no object")
    for key, inner in value:
        yield key.translate(_SMALL), inner


def _string(value: object, before: str, what: str) -> str:
    """`value`, or `before` where it is null."""
    if value is None:
        return before
    if not isinstance(value, str):
        raise JSONError(f"{what} is no string")
    return value
