"""The throughput of all peers as a picture."""

from __future__ import annotations

import importlib.util
import io
import os

from ..errors import OptionError, printable
from ..wording import counted, human

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes

    from .results import Results
    from .rounds import Row
    from .stats import Summary

SUFFIXES = (".svg", ".png")
# Of the palette by Okabe and Ito, which people who don't see all colours can tell apart; also in grey.
_OURS, _THEIRS, _INK, _FAINT = "#0072B2", "#B8BEC4", "#222222", "#5F666D"
# Inches: of the picture, of a bar's place, above the bars, below them.
_WIDTH, _BAR, _HEAD, _FOOT = 8.0, 0.42, 0.62, 0.75
_NAME = 40  # characters of the tree's name that fit


def check(path: str) -> None:
    """Find out before the work whether a picture can be drawn to `path`.

    Raises:
        OptionError: its suffix is none of ours, or matplotlib is not installed.
    """
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        raise OptionError("a plot is an SVG or a PNG", path=path, hint="name it .svg or .png")
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError("a plot needs matplotlib", path=path, hint="pip install 'tarcast[plot]'")


def draw(results: Results, path: str) -> bytes:
    """The picture, in the format that the suffix of `path` says.

    Bars are medians, the lines on them reach from the slowest to the fastest run. Who failed or is absent has
    no bar. Needs no display, and leaves matplotlib's settings as they are.
    """
    import matplotlib
    from matplotlib.figure import Figure

    form = os.path.splitext(path)[1].lower().removeprefix(".")
    ranked = results.ranked()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # Text stays text: it can be searched and read out. The salt makes equal pictures equal bytes.
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "tarcast", "font.size": 10})
        height = _HEAD + _FOOT + _BAR * max(len(ranked), 1)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        figure.get_layout_engine().set(rect=(0.01, 0, 0.98, 1 - _HEAD / height))  # type: ignore[union-attr,call-arg]
        _bars(figure.add_subplot(), results, ranked)
        # Not parsed: between dollar signs there is no formula, but a part of somebody's name.
        left: dict[str, Any] = {"x": 0.15 / _WIDTH, "va": "top", "parse_math": False}
        figure.text(
            y=1 - 0.15 / height, s=_title(results), fontsize=12, fontweight="bold", color=_INK, **left
        )
        figure.text(y=1 - 0.40 / height, s=_subtitle(results), fontsize=8.5, color=_FAINT, **left)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


def _bars(axes: Axes, results: Results, ranked: list[tuple[Row, Summary]]) -> None:
    # A tree of nothing but empty files has no megabytes to count.
    amount = results.facts.data / 1e6 or results.facts.entries
    speeds = [amount / time.median for _, time in ranked]
    spread = [
        [amount / time.median - amount / time.high for _, time in ranked],
        [amount / time.low - amount / time.median for _, time in ranked],
    ]
    places = range(len(ranked))
    colours = [_OURS if row.peer.name.startswith("tarcast") else _THEIRS for row, _ in ranked]
    axes.barh(places, speeds, height=0.68, color=colours)
    if ranked:
        axes.errorbar(speeds, places, xerr=spread, fmt="none", ecolor=_INK, elinewidth=1, capsize=3)
    right = max((amount / time.low for _, time in ranked), default=1.0)
    for place, (speed, (_, time)) in enumerate(zip(speeds, ranked, strict=True)):
        axes.text(
            amount / time.low + right * 0.015, place, f"{speed:,.0f}", va="center", fontsize=9, color=_INK
        )
    axes.set_yticks(places, [row.peer.label for row, _ in ranked])
    axes.invert_yaxis()
    axes.set_xlim(0, right * 1.1)
    axes.set_xlabel(
        f"{'MB' if results.facts.data else 'entries'} per second: median, and slowest to fastest of "
        f"{results.conditions.rounds}",
        fontsize=9,
        color=_FAINT,
    )
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.tick_params(axis="x", color=_FAINT, labelcolor=_FAINT, labelsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_THEIRS)
    axes.set_axisbelow(True)
    axes.xaxis.grid(True, color="#E6E8EA", linewidth=0.8)


def _title(results: Results) -> str:
    facts, conditions = results.facts, results.conditions
    name = (
        results.name if len(results.name) <= _NAME else f"{results.name[: _NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    )
    sink = "pipe" if conditions.pipe else "file"
    how = f" as {conditions.compression}" if conditions.compression else ""
    return printable(f"{name}: {counted(facts.entries)}, {human(facts.data)}, to a {sink}{how}")


def _subtitle(results: Results) -> str:
    machine = results.machine
    cores = f"{machine['cores']} {'core' if machine['cores'] == 1 else 'cores'}"
    cache = "cold cache" if results.conditions.cold else "warm cache"
    where = machine["tree_file_system" if results.conditions.pipe else "output_file_system"]
    kernel = ".".join(machine["kernel"].split(".")[:2])
    return printable(f"{machine['cpu']}, {cores}, {kernel}, {where}, {cache}")
