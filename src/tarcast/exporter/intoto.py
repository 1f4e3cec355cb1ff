"""The bytes of an in-toto statement (https://in-toto.io/Statement/v1).

They are those of Go's json.MarshalIndent with two spaces, for the statement type of in-toto-golang.
"""

from __future__ import annotations

from .gojson import MAX_DEPTH, indented, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


def statement_json(
    predicate_type: str, subjects: Iterable[tuple[str, Mapping[str, str]]], predicate: bytes
) -> bytes:
    """One statement.

    Text is str in which a byte that is not UTF-8 is surrogate-escaped; it comes out as \\ufffd.

    Args:
        predicate_type: the URI that says what the predicate is.
        subjects: name and digests (algorithm to encoded digest) of each, in the order wanted.
        predicate: JSON text, which keeps its spellings, order and duplicates; empty for null.

    Returns:
        the JSON text, without a newline at the end.

    Raises:
        JSONError: the predicate is not one JSON value, or nests deeper than 9,999 levels.
    """
    blocks = ",\n".join(_subject(name, digests) for name, digests in subjects)
    head = (
        "{\n"
        f'  "_type": {quoted(STATEMENT_TYPE)},\n'
        f'  "predicateType": {quoted(predicate_type)},\n'
        f'  "subject": {f"[{chr(10)}{blocks}{chr(10)}  ]" if blocks else "[]"},\n'
        '  "predicate": '
    )
    # The statement around it is a level, too.
    body = indented(predicate, 1, MAX_DEPTH - 1) if predicate else b"null"
    return b"".join((head.encode(), body, b"\n}"))


def _subject(name: str, digests: Mapping[str, str]) -> str:
    ordered = sorted(digests.items(), key=lambda pair: pair[0].encode("utf-8", "surrogateescape"))
    lines = ",\n".join(f"        {quoted(algorithm)}: {quoted(digest)}" for algorithm, digest in ordered)
    block = f"{{\n{lines}\n      }}" if lines else "{}"
    return f'    {{\n      "name": {quoted(name)},\n      "digest": {block}\n    }}'
