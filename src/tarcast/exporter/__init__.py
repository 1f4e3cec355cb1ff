"""The exporter: archives with attestations in them, as BuildKit's tar exporter makes them."""

from __future__ import annotations

from .attestation import Attestation, Subject

__all__ = ["Attestation", "Subject"]
