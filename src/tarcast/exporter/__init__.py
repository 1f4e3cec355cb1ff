"""The exporter: results of a build as one tar archive at the client, as BuildKit's tar exporter sends it."""

from __future__ import annotations

from .attestation import Attestation, Subject
from .instance import ExporterInstance, TarExporter
from .source import Source

__all__ = ["Attestation", "ExporterInstance", "Source", "Subject", "TarExporter"]
