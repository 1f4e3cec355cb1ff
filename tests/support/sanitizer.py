"""Whether the core under test was built with sanitizers, whose memory is not that of the core."""

from __future__ import annotations

import os

import pytest


def without_sanitizer() -> None:
    """Skips a test of memory limits where a sanitizer takes many times what the core does."""
    if "TARCAST_SANITIZE" in os.environ:
        pytest.skip("not applicable: a sanitizer's memory would be measured")
