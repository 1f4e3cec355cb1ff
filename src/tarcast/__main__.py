"""Where the `tarcast` command and `python -m tarcast` begin."""

import sys


def main() -> int:
    """Run this process's command line and return the exit status, see `tarcast.cli.main`."""
    try:
        from tarcast.cli import main as run  # here, so that Ctrl-C meanwhile ends in no traceback

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
