"""tarcast's daemon as a process of its own: `python -m benchmarks.daemon SOCKET NAME=DIR...`.

Prints `ready` once it can be asked, and ends with its standard input.
"""

from __future__ import annotations

import sys

from tarcast.daemon import Daemon


def main(address: str, *trees: str) -> None:
    with Daemon(dict(tree.split("=", 1) for tree in trees)) as daemon:
        daemon.listen(f"unix://{address}")
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
