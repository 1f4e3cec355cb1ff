"""The version, where `tarcast --version` finds it without reading package metadata (which costs 20 ms)."""

__version__ = "0.1.0.dev0"
