"""For `sanitize thread`: only Python runs with ThreadSanitizer's library, for shells crash with it.

Whoever starts Python has not got it in the environment: begin again with it, and then hide it from children.
"""

import os
import sys

if "LD_PRELOAD" in os.environ:
    del os.environ["LD_PRELOAD"]
else:
    os.environ["LD_PRELOAD"] = os.environ["TARCAST_PRELOAD"]
    os.execv(sys.executable, sys.orig_argv)
