"""`python -m tarcast`: the same as the `tarcast` command."""

import sys

from tarcast.cli import main

sys.exit(main())
