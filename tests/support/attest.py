"""Attestation files of the original (tests/oracle/buildkit/attest), and the same made by ours."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tarcast import IDMap
from tarcast.exporter import Attestation
from tarcast.exporter.attestation import exported
from tarcast.exporter.bundle import unbundle
from tarcast.exporter.statements import statement_files
from tarcast.exporter.subjects import file_subjects

Files = list[tuple[bytes, bytes]]


class Original:
    """One running oracle process."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def files(
        self,
        attestations: Sequence[Attestation],
        *,
        tree: bytes | None = None,
        prefix: str = "",
        platform: str | None = None,
        idmap: tuple[int, int, int] | None = None,
    ) -> Files | str:
        """Name and content of the files that the original adds to `tree`, or its error."""
        question = {
            "Tree": _encoded(tree),
            "Prefix": _encoded(prefix),
            "Platform": _encoded(platform),
            "Attestations": [_attestation(one) for one in attestations],
        }
        if idmap is not None:
            container, host, size = idmap
            question["IDMap"] = [{"ID": container, "ParentID": host, "Count": size}]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert not answer["Error"].startswith("question"), answer
        if answer["Error"]:
            return str(answer["Error"])
        return [(base64.b64decode(f["Name"]), base64.b64decode(f["Data"])) for f in answer["Files"] or ()]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


def ours(
    attestations: Sequence[Attestation],
    *,
    tree: bytes | None = None,
    prefix: str = "",
    platform: str | None = None,
    idmap: tuple[int, int, int] | None = None,
) -> Files:
    """The same by tarcast; raises what it raises."""
    kept = unbundle(exported(attestations), open_directory)
    subjects = []
    if kept and tree is not None:
        with open_directory(tree) as fd:
            ids = None if idmap is None else IDMap([idmap], [idmap])
            subjects = file_subjects(fd, ids, lambda: None)
    made = statement_files(kept, subjects, prefix=prefix, platform=platform, open_ref=open_directory)
    return [(os.fsencode(name), content) for name, content in made]


@contextmanager
def open_directory(ref: Any) -> Iterator[int]:
    """What the tests give as `open_ref`: their refs are paths of directories."""
    fd = os.open(ref, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def _attestation(one: Attestation) -> dict[str, object]:
    content = one.content() if callable(one.content) else one.content
    return {
        "Bundle": one.kind == "bundle",
        "Path": _encoded(one.path),
        "PredicateType": _encoded(one.predicate_type),
        "HasContent": content is not None,
        "Content": _encoded(content),
        "Ref": _encoded(None if one.ref is None else os.fsencode(one.ref)),  # type: ignore[arg-type]
        "Metadata": {key: _encoded(value) for key, value in one.metadata.items()},
        "Subjects": [
            {
                "Raw": subject.kind == "raw",
                "Name": _encoded(subject.name),
                "Digests": [_encoded(f"{a}:{d}") for a, d in subject.digests.items()],
            }
            for subject in one.subjects
        ],
    }


def _encoded(value: str | bytes | None) -> str | None:
    if value is None:
        return None
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return base64.b64encode(raw).decode()
