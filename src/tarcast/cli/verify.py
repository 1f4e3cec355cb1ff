"""`tarcast verify`: an archive against its trees."""

from __future__ import annotations

import json
import os
import sys

from tarcast.cli.archive_parsers import parse_verify
from tarcast.cli.colour import GREEN, RED, YELLOW, paint, wanted
from tarcast.cli.create import trees_in
from tarcast.cli.parser import default_epoch
from tarcast.cli.running import ended_by_signals
from tarcast.cli.stdio import flush_bytes, put_bytes
from tarcast.errors import printable
from tarcast.wording import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from tarcast.compare import Difference


def run(arguments: list[str]) -> int:
    """Do what `tarcast verify ARGUMENTS` says and return the exit status."""
    args = parse_verify(arguments)
    return ended_by_signals(lambda: _compare(args))


def _compare(args: argparse.Namespace) -> int:
    from tarcast.cleanup import Cleanup
    from tarcast.compare import verify

    epoch = default_epoch(os.environ) if args.epoch is None else args.epoch
    status = 0
    with Cleanup() as cleanup:
        trees = trees_in(args, cleanup)
        coloured = wanted(sys.stdout, os.environ, data=True)
        differences = verify(args.archive, trees, epoch=epoch, content=args.content, ignore=args.ignore)
        for difference in differences:
            status = 1
            if args.quiet:
                break
            if not put_bytes(_json(difference) if args.json else _line(difference, coloured)):
                break
        differences.close()
    flush_bytes()
    return status


def _line(difference: Difference, coloured: bool) -> bytes:
    text = str(difference)
    if coloured:
        before = f"{printable(difference.path)}: "
        style = {"missing": RED, "extra": GREEN}.get(difference.kind, YELLOW)
        text = before + paint(difference.kind, style) + text[len(before + difference.kind) :]
    return f"{text}\n".encode()


def _json(difference: Difference) -> bytes:
    values = {
        "path": json_text(difference.path),
        "kind": difference.kind,
        "archive": _json_value(difference.archive),
        "tree": _json_value(difference.tree),
    }
    return json.dumps(values).encode() + b"\n"


def _json_value(value: str | int | None) -> str | int | None:
    return json_text(value) if isinstance(value, str) else value
