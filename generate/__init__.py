"""Files made of the command's parsers, kept in the repository so that a build needs nothing for them.

`python -m generate` (`make generated`) writes them; a test fails while one is not what it would write.
"""

from __future__ import annotations

from pathlib import Path

from generate import completion, manual

TOP = Path(__file__).resolve().parent.parent


def files() -> dict[Path, str]:
    """Where each file is, below the top of the repository, and what is to be in it (ASCII)."""
    pages = {Path("docs/man") / name: text for name, text in manual.pages().items()}
    scripts = Path("src/tarcast/cli/completions")
    return pages | {scripts / name: text for name, text in completion.scripts().items()}
