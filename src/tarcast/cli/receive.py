"""`tarcast receive`: an archive from `tarcast serve`."""

from __future__ import annotations

import os

from tarcast.cli.create import output_of
from tarcast.cli.parser import default_epoch
from tarcast.cli.running import carry_out
from tarcast.cli.session_parsers import parse_receive, quiet_grpc, tls_of
from tarcast.errors import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from tarcast.session.client import Received


EPOCH = "source-date-epoch"


def run(arguments: list[str]) -> int:
    """Do what `tarcast receive ARGUMENTS` says and return the exit status."""
    args = parse_receive(arguments)
    args.output = output_of(args.output)
    return carry_out(args, lambda display: _receive(args, display))


def _receive(args: argparse.Namespace, display: Callable[..., None]) -> Received:
    from tarcast.session import connect

    quiet_grpc()
    attrs = dict(args.attrs)
    epoch = default_epoch(os.environ) if args.epoch is None else args.epoch
    if args.epoch is not None and EPOCH in attrs:
        raise OptionError(f"--epoch and --attr {EPOCH} exclude each other")
    if epoch is not None:
        attrs.setdefault(EPOCH, str(epoch))
    with connect(args.addr, tls=tls_of(args)) as client:
        return client.export(args.tree, args.output, attrs, fsync=args.fsync, progress=display)
