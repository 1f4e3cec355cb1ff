"""An archive as Python's tarfile reads it: entry by entry, what each says and where its data lies."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

PAD = "LIBARCHIVE.pad"


def opened(archive: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape", encoding="utf-8")


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with opened(archive) as tar:
        return tar.getmembers()


def described(archive: bytes) -> list[dict[str, Any]]:
    """What each entry is and holds, whatever its header is like."""
    found = []
    with opened(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            entry = dict(member.get_info())
            del entry["chksum"]
            entry["attributes"] = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.")}
            entry["content"] = None if file is None else hashlib.file_digest(file, "sha256").hexdigest()
            found.append(entry)
    return found
