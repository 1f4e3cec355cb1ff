"""`make help` tells everything that make can do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_help_has_every_target_once_and_aligned() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = " ".join(re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)).split()
    text = subprocess.run(
        ["make", "-C", ROOT, "-s", "help"], check=True, capture_output=True, text=True
    ).stdout
    listed = re.findall(r"^  ([a-z-]+)( +)\S.*$", text, re.MULTILINE)
    assert sorted(name for name, _ in listed) == sorted(set(targets) - {"help"})
    assert len({len(name + gap) for name, gap in listed}) == 1


def test_help_explains_every_variable_that_may_be_set() -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = subprocess.run(
        ["make", "-C", ROOT, "-s", "help"], check=True, capture_output=True, text=True
    ).stdout
    assert re.findall(r"^  ([A-Z]+)=", text, re.MULTILINE) == re.findall(
        r"^([A-Z]+) \?=", makefile, re.MULTILINE
    )
