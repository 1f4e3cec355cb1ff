"""`tarcast serve` as a library: a daemon that exports listed trees to the sessions of its clients."""

from tarcast.session.wire.address import TLS

from .daemon import Daemon

__all__ = ["TLS", "Daemon"]
