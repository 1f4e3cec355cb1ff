"""`python -m generate`: write all generated files, and remove those that are none any more."""

from __future__ import annotations

from generate import TOP, files

wanted = files()
for folder in {path.parent for path in wanted}:
    (TOP / folder).mkdir(parents=True, exist_ok=True)
    for old in (TOP / folder).iterdir():
        if old.relative_to(TOP) not in wanted:
            old.unlink()
for path, text in wanted.items():
    (TOP / path).write_text(text, encoding="ascii")
