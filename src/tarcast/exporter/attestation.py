"""What an attestation is: a predicate, where it comes from and what it speaks of."""

from __future__ import annotations

from ..errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Content = bytes | Callable[[], bytes] | None

KINDS = ("in-toto", "bundle")
SUBJECT_KINDS = ("self", "raw")

INLINE_ONLY = "inline-only"
SBOM_CORE = "sbom-core"
PROVENANCE = "https://slsa.dev/provenance/"


class Subject:
    """What an attestation speaks of.

    Args:
        kind: "self" for every regular file of the tree that it is exported with, "raw" for `digests`.
        name: of a raw subject its name, "_" if empty; with "self" a second name for every file, if not empty.
        digests: of a raw subject, algorithm to encoded digest: {"sha256": "2c26b4..."}.

    Raises:
        OptionError: an argument has the wrong type or an impossible value.
    """

    __slots__ = ("digests", "kind", "name")

    kind: str
    name: str
    digests: dict[str, str]

    def __init__(
        self, *, kind: str = "self", name: str = "", digests: Mapping[str, str] | None = None
    ) -> None:
        if kind not in SUBJECT_KINDS:
            raise OptionError(f"the kind of a subject must be 'self' or 'raw', not {kind!r}")
        self.kind = kind
        self.name = _text(name, "the name of a subject")
        if digests is not None and not hasattr(digests, "items"):
            raise OptionError(f"digests must be a mapping of algorithms to digests, not {digests!r}")
        if digests and kind == "self":
            raise OptionError("a subject 'self' has the digests of the files, not others")
        self.digests = {}
        for algorithm, digest in (digests or {}).items():
            if ":" in _text(algorithm, "the algorithm of a digest"):
                raise OptionError(
                    f"{algorithm!r} is no algorithm of a digest", hint='write {"sha256": "2c26b4..."}'
                )
            self.digests[algorithm] = _text(digest, f"the {algorithm} digest of a subject")

    def __repr__(self) -> str:
        given = [f"{k}={getattr(self, k)!r}" for k in ("kind", "name", "digests") if getattr(self, k)]
        return f"Subject({', '.join(given)})"


class Attestation:
    """A statement about the tree that it is exported with, written into it as an in-toto file.

    Args:
        path: its base name names the file; without `content`, where the predicate lies in `ref`. Of a
            bundle, the directory in `ref` that holds statements, "" for the whole.
        predicate_type: URI that says what the predicate is. Of a bundle, the type that each of its
            statements must have, or "" for any.
        kind: "in-toto" for one predicate, "bundle" for a directory of statement files.
        content: the predicate, JSON in bytes, or a callable that gives it when it is needed; None to read it
            from `ref`. Empty for null. SLSA provenance must come from here; a bundle has none.
        ref: the reference to read from.
        metadata: text to bytes. {"inline-only": b"true"} keeps the attestation out of exported trees: it is
            for images alone. {"sbom-core": b"name"} marks the SBOM "name.json" of that name as the core one,
            which comes first.
        subjects: what it speaks of; none means all regular files of the tree.

    Raises:
        OptionError: an argument has the wrong type or an impossible value, or one does not go with another.
    """

    __slots__ = ("content", "kind", "metadata", "path", "predicate_type", "ref", "subjects")

    path: str
    predicate_type: str
    kind: str
    content: Content
    ref: object
    metadata: dict[str, bytes]
    subjects: tuple[Subject, ...]

    def __init__(
        self,
        *,
        path: str,
        predicate_type: str = "",
        kind: str = "in-toto",
        content: Content = None,
        ref: object = None,
        metadata: Mapping[str, bytes] | None = None,
        subjects: Sequence[Subject] = (),
    ) -> None:
        self.path = _text(path, "the path of an attestation")
        if kind not in KINDS:
            raise self._wrong(f"its kind must be 'in-toto' or 'bundle', not {kind!r}")
        self.kind = kind
        self.predicate_type = _text(predicate_type, "the predicate type of an attestation", path)
        self.content = bytes(content) if isinstance(content, (bytearray, memoryview)) else content
        self.ref = ref
        self._check_source()
        self.metadata = self._checked_metadata(metadata)
        if isinstance(subjects, (str, bytes, Subject)) or not hasattr(subjects, "__iter__"):
            raise self._wrong(f"subjects must be a list of Subject, not {subjects!r}")
        self.subjects = tuple(subjects)
        for subject in self.subjects:
            if not isinstance(subject, Subject):
                raise self._wrong(f"subjects must be a list of Subject, and {subject!r} is none")

    def _check_source(self) -> None:
        """The original's rules of what may come from where (exporter/attestation, Validate and Unbundle)."""
        if self.content is not None and not isinstance(self.content, bytes) and not callable(self.content):
            raise self._wrong(f"its content must be bytes or callable, not {type(self.content).__name__}")
        if self.kind == "bundle":
            if self.content is not None:
                raise self._wrong("a bundle has no content of its own")
            if self.ref is None:
                raise self._wrong("a bundle needs a ref to lie in")
            return
        if not self.path:
            raise OptionError("an attestation needs a path")
        if self.content is None:
            if self.ref is None:
                raise self._wrong("there is neither content nor a ref to read it from")
            if self.predicate_type.startswith(PROVENANCE):
                raise self._wrong("provenance is not taken from a ref", hint="give it as content")

    def _checked_metadata(self, metadata: Mapping[str, bytes] | None) -> dict[str, bytes]:
        if metadata is not None and not hasattr(metadata, "items"):
            raise self._wrong(f"its metadata must be a mapping, not {metadata!r}")
        for key, value in (metadata or {}).items():
            if not isinstance(key, str) or not isinstance(value, bytes):
                raise self._wrong(f"its metadata must map text to bytes, not {key!r} to {value!r}")
        return dict(metadata or {})

    def _wrong(self, message: str, hint: str = "") -> OptionError:
        return OptionError(message, path=self.path, step="attestation", hint=hint)

    def __repr__(self) -> str:
        parts = [f"path={self.path!r}", f"predicate_type={self.predicate_type!r}"]
        return f"<Attestation {self.kind} {' '.join(parts)}>"


def exported(attestations: Iterable[Attestation]) -> list[Attestation]:
    """Those that are written into an exported tree: all but the ones marked {"inline-only": b"true"}."""
    return [one for one in attestations if one.metadata.get(INLINE_ONLY) != b"true"]


def _text(value: object, what: str, path: str | None = None) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{what} must be text, not {value!r}", path=path)
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise OptionError(f"{what} cannot be {value!r}: {error.reason}", path=path) from error
    if "\0" in value and what.startswith("the path"):
        raise OptionError(f"{what} cannot hold a NUL: {value!r}")
    return raw.decode("utf-8", "surrogateescape")  # of spellings of the same bytes always one
