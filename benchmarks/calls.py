"""tarcast's call with keyword options, and the names that stand for it in a table.

`tarcast-align-8-threads` is `tarcast.write_tar(TREE, OUT, align=True, threads=8)`.
"""

from __future__ import annotations

import re

Options = dict[str, bool | int]

MOST_THREADS = 64
FORM = "tarcast[-align][-sparse][-N-threads]"
# One thread keeps the name under which earlier tables have it.
_NAME = re.compile(r"tarcast(-align)?(-sparse)?(?:-(?:(one-thread)|([1-9][0-9]?)-threads))?")


def options_of(name: str) -> Options | None:
    """The keyword options of the call that a name stands for; None if it stands for none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    align, sparse, one, many = found.groups()
    options: Options = {key: True for key, given in (("align", align), ("sparse", sparse)) if given}
    if one or many:
        options["threads"] = int(many or 1)
        if bool(many) == (options["threads"] == 1) or options["threads"] > MOST_THREADS:
            return None
    return options


def name_of(options: Options) -> str:
    """The name that stands for these options; `options_of` the other way round."""
    parts = ["tarcast", *(key for key in ("align", "sparse") if options.get(key))]
    count = options.get("threads")
    if count is not None:
        parts.append("one-thread" if count == 1 else f"{count}-threads")
    return "-".join(parts)


def shown(options: Options) -> str:
    """The call as a report shows it."""
    return f"tarcast.write_tar({', '.join(['TREE', 'OUT', *(f'{k}={v}' for k, v in options.items())])})"


def same_bytes(options: Options) -> bool:
    """Whether the archive is the one that the original writes; aligned and sparse ones are others."""
    return not options.get("align") and not options.get("sparse")
