"""`tarcast build-export`: an archive from a real buildkitd."""

from __future__ import annotations

import os
import sys

from tarcast.cli.create import output_of
from tarcast.cli.running import carry_out
from tarcast.cli.session_parsers import DEFAULT_BUILDKIT, parse_build_export, quiet_grpc, tls_of
from tarcast.errors import InputError, OptionError, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from tarcast.session.client import Received


def run(arguments: list[str]) -> int:
    """Do what `tarcast build-export ARGUMENTS` says and return the exit status."""
    args = parse_build_export(arguments)
    args.output = output_of(args.output)
    return carry_out(args, lambda display: _build(args, display))


def _build(args: argparse.Namespace, display: Callable[..., None]) -> Received:
    from tarcast.session import connect

    quiet_grpc()
    definition = b"" if args.definition is None else _read(args.definition)
    address = args.addr or os.environ.get("BUILDKIT_HOST") or DEFAULT_BUILDKIT
    with connect(address, via="control", tls=tls_of(args)) as client:
        return client.build(
            args.output,
            definition,
            frontend=args.frontend or "",
            opts=dict(args.opts),
            attrs=dict(args.attrs),
            fsync=args.fsync,
            progress=display,
        )


def _read(path: str) -> bytes:
    try:
        if path == "-":
            content = sys.stdin.buffer.read() if sys.stdin is not None else b""
        else:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        raise os_error(InputError, error, path=path, step="read the definition") from error
    if not content:
        raise OptionError("the definition is empty", path=path)
    return content
