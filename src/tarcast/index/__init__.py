"""Tables of what an archive holds and where: written beside it, read for random access. See docs/index.md."""

from __future__ import annotations

from .._core.scan import Member
from .archive import Archive, make_index
from .form import Meta
from .reading import Index, open_index

__all__ = ["Archive", "Index", "Member", "Meta", "make_index", "open_index"]
