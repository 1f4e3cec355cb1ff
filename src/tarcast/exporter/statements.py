"""From attestations to the statement files that are merged into the exported tree."""

from __future__ import annotations

from ..errors import InputError, OptionError
from .gojson import JSONError
from .intoto import statement_json
from .reference import read_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .attestation import Attestation
    from .reference import OpenRef

_STEP = "read attestation"
_PLATFORM = str.maketrans("/\\:", "___")


def statement_files(
    attestations: Iterable[Attestation],
    subjects: Sequence[tuple[str, str]],
    *,
    prefix: str,
    platform: str | None,
    open_ref: OpenRef,
) -> list[tuple[str, bytes]]:
    """The statement file of each attestation.

    Args:
        attestations: those to export, without bundles (see unbundle).
        subjects: path and hexadecimal SHA-256 of every regular file (see file_subjects).
        prefix: put before the base name of each; may have directories.
        platform: put before the extension of each, if not None: sbom.linux_amd64.json.
        open_ref: called with the ref of an attestation; gives a context manager that yields
            an open directory.

    Returns:
        path in the archive, surrogate-escaped, and content, in the order of the archive.

    Raises:
        OptionError: two files have one name; a name leads out of the archive; given content is not JSON.
        InputError: a predicate cannot be read from its ref, is too large or no JSON.
    """
    files: dict[str, bytes] = {}
    own = [(name, {"sha256": digest}) for name, digest in subjects]
    for one in attestations:
        name = file_name(one, prefix, platform)
        if name in files:
            raise OptionError(
                f"two attestations become the file {name!r}",
                path=one.path,
                step="attestation",
                hint="rename one",
            )
        content = _content(one, open_ref)
        try:
            files[name] = statement_json(one.predicate_type, _subjects(one, own), content)
        except JSONError as error:
            kind = OptionError if one.content is not None else InputError
            raise kind(f"its predicate is refused: {error}", path=one.path, step=_STEP) from error
    return sorted(files.items(), key=lambda file: archive_key(file[0]))


def file_name(one: Attestation, prefix: str, platform: str | None) -> str:
    """The path in the archive of an attestation's file; see statement_files."""
    # Not os.path.basename, to which "a/" has none.
    name = prefix + (one.path.rstrip("/").rpartition("/")[2] or "/")
    if platform is not None:
        directory, slash, base = name.rpartition("/")
        stem, dot, extension = base.rpartition(".")
        if not dot:
            stem, extension = base, ""
        name = f"{directory}{slash}{stem}.{platform_path(platform)}{dot}{extension}"
    name = name.removeprefix("/").encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise OptionError(f"its file cannot be named {name!r}", path=one.path, step="attestation")
    return name


def platform_path(platform: str) -> str:
    """A platform as one component of a path: linux_amd64; the original's PlatformIDToPath."""
    name = platform.translate(_PLATFORM)
    return "_" * len(name) if name in (".", "..") else name


def archive_key(path: str) -> bytes:
    """What orders paths as an archive does, a directory before what only begins like it."""
    return path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")


def _content(one: Attestation, open_ref: OpenRef) -> bytes:
    if one.kind == "bundle":
        raise OptionError(
            "a bundle must be taken apart first", path=one.path, step="attestation", hint="see unbundle"
        )
    if one.content is None:
        with open_ref(one.ref) as root:
            return read_in_root(root, one.path, one.path, _STEP)
    if not callable(one.content):
        return one.content
    content: object = one.content()
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise OptionError(
            f"its content gave {type(content).__name__} and not bytes", path=one.path, step="attestation"
        )
    return bytes(content)


def _subjects(
    one: Attestation, own: Sequence[tuple[str, Mapping[str, str]]]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    if not one.subjects:
        yield from own
    for subject in one.subjects:
        if subject.kind == "raw":
            yield subject.name or "_", subject.digests
        elif subject.name in ("", "_"):
            yield from own
        else:
            for name, digests in own:
                yield name, digests
                yield subject.name, digests
