"""Measure compression and digests: `python -m benchmarks.compression`.

tarcast, GNU tar with the usual compressors, tarfile and fastar write the same trees at the same levels, in
turn. See the README beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.arguments import positive, positive_int
from benchmarks.check import count_entries
from benchmarks.measure import environment, settle, warm
from benchmarks.places import base_directory, cache_directory, trees_directory
from benchmarks.rounds import say
from benchmarks.signals import end_in_order
from benchmarks.workloads import make
from tarcast.bench.stats import running_order, summarize
from tarcast.bench.table import table
from tarcast.bench.tree import tree_facts

TREES = ("text", "small", "mid")
COPIES = 2
HEADINGS = ("contestant", "median s", "min..max s", "/ tarcast", "CPU s", "output MB", "size %")
LEGEND = (
    "/ tarcast: this row's median over that of the first row of its table; above 1, tarcast is faster.",
    "CPU s: of all processes; size %: output over the archive without compression.",
)
# Expand an output; the suffix says how.
EXPAND = {"gz": "gzip", "zst": "zstd", "tar": "cat"}


@dataclass
class Row:
    """One way to write one tree; `run` gets the tree and the output's path."""

    name: str
    shown: str
    suffix: str
    run: Callable[[Path, Path], object]
    problem: str | None = None
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    size: int = 0


def tarcast_call(name: str, suffix: str, **options: Any) -> Row:
    def run(tree: Path, output: Path) -> None:
        import tarcast

        tarcast.write_tar(tree, output, **options)

    words = "".join(f", {key}={value!r}" for key, value in options.items())
    return Row(name, f"tarcast.write_tar(TREE, OUT{words})", suffix, run)


def command(name: str, suffix: str, line: str, *needs: str) -> Row:
    """A shell's command line, with TREE and OUT in it."""

    def run(tree: Path, output: Path) -> None:
        names = {"TREE": str(tree), "OUT": str(output)}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env=environment() | names,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if done.returncode:
            raise OSError(done.stderr.decode(errors="replace").strip() or f"ended with {done.returncode}")

    row = Row(name, line.replace(f"{Path(sys.executable).parent}/", ""), suffix, run)
    missing = [program for program in needs if shutil.which(program) is None]
    if missing:
        row.problem = f"absent: no {', '.join(missing)} on PATH"
    return row


def fastar(mode: str, suffix: str) -> Row:
    def run(tree: Path, output: Path) -> None:
        import fastar as module

        with module.open(str(output), mode) as archive:
            archive.append(str(tree), arcname=".")

    row = Row("fastar", f'fastar.open(OUT, "{mode}").append(TREE), its own level', suffix, run)
    if importlib.util.find_spec("fastar") is None:
        row.problem = "absent: pip install fastar"
    return row


def tarfile_gz(level: int) -> Row:
    def run(tree: Path, output: Path) -> None:
        with tarfile.open(output, "w:gz", compresslevel=level) as archive:
            archive.add(tree, arcname=".")

    return Row("tarfile", f'tarfile.open(OUT, "w:gz", compresslevel={level}).add(TREE)', "gz", run)


def tables() -> dict[str, list[Row]]:
    """Who takes part in what; the first of each is what the others are compared with."""
    script = shlex.quote(str(Path(sys.executable).parent / "tarcast"))
    create = f'{script} create "$TREE" -o "$OUT" --progress none'
    tar = 'tar -C "$TREE" -cf - .'
    return {
        "zstd, level 3": [
            tarcast_call("tarcast", "zst", compression="zstd:3"),
            command("tarcast-command", "zst", f"{create} --compress zstd:3"),
            command("tar --zstd", "zst", 'tar --zstd -C "$TREE" -cf "$OUT" .', "tar", "zstd"),
            command("tar | zstd -T0", "zst", f'{tar} | zstd -T0 -3 -q -o "$OUT"', "tar", "zstd"),
            fastar("w:zst", "zst"),
        ],
        "gzip, level 6": [
            tarcast_call("tarcast", "gz", compression="gzip:6"),
            tarcast_call("tarcast, zlib", "gz", compression="gzip:6,library=zlib"),
            command("tarcast-command", "gz", f"{create} --compress gzip:6"),
            command("tar -z", "gz", 'tar -z -C "$TREE" -cf "$OUT" .', "tar", "gzip"),
            command("tar | pigz", "gz", f'{tar} | pigz -6 >"$OUT"', "tar", "pigz"),
            fastar("w:gz", "gz"),
            tarfile_gz(6),
        ],
        "gzip, level 1": [
            tarcast_call("tarcast", "gz", compression="gzip:1"),
            tarcast_call("tarcast, isal", "gz", compression="gzip:1,library=isal"),
            command("tar | pigz", "gz", f'{tar} | pigz -1 >"$OUT"', "tar", "pigz"),
        ],
        "digests, no compression": [
            tarcast_call("tarcast", "tar"),
            tarcast_call("sha256", "tar", digest="sha256"),
            tarcast_call("sha256, in the one thread", "tar", digest="sha256", threads=1),
            tarcast_call("sha256 and sha512", "tar", digest=("sha256", "sha512")),
            command("tar, tee, sha256sum", "tar", f'{tar} | tee "$OUT" | sha256sum', "tar", "sha256sum"),
        ],
        "digests, zstd level 3": [
            tarcast_call("tarcast", "zst", compression="zstd:3"),
            tarcast_call("sha256", "zst", compression="zstd:3", digest="sha256"),
        ],
    }


def make_text(where: Path) -> Path:
    """Sources of this Python's standard library, several times: what compresses as programs and logs do.

    The data of the other trees is random; compressors only find that it is.
    """
    root = where / f"text-{sys.version_info.major}.{sys.version_info.minor}-{COPIES}"
    if not root.exists():
        building = Path(tempfile.mkdtemp(dir=where))
        library = sysconfig.get_path("stdlib")
        for n in range(COPIES):
            shutil.copytree(
                library,
                building / f"copy{n}",
                ignore=lambda folder, names: [
                    name
                    for name in names
                    if name in ("site-packages", "__pycache__")
                    or not (name.endswith(".py") or os.path.isdir(os.path.join(folder, name)))
                ],
            )
        building.rename(root)
    return root


def once(row: Row, tree: Path, output: Path) -> tuple[float, float]:
    """Seconds by the clock and of processors, to a fresh file."""
    settle(False)
    before = os.times()
    start = time.perf_counter()
    row.run(tree, output)
    seconds = time.perf_counter() - start
    return seconds, sum(os.times()[:4]) - sum(before[:4])


def check(row: Row, tree: Path, where: Path, entries: int) -> None:
    """The untimed run: what it writes can be expanded, and holds as many names as the tree."""
    output, expanded = where / f"check.{row.suffix}", where / "expanded.tar"
    try:
        row.run(tree, output)
        row.size = output.stat().st_size
        with expanded.open("wb") as file:
            subprocess.run(
                [EXPAND[row.suffix], *(["-dc"] if row.suffix != "tar" else []), output],
                stdout=file,
                check=True,
            )
        count = count_entries(expanded)
        if count != entries:
            row.problem = f"{count:,} entries in the archive, {entries:,} in the tree"
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        row.problem = str(error)
    finally:
        output.unlink(missing_ok=True)
        expanded.unlink(missing_ok=True)


def measure(title: str, rows: list[Row], tree: Path, where: Path, rounds: int, plain: int) -> list[list[str]]:
    """The lines of one table."""
    entries = tree_facts(tree).entries
    for row in rows:
        if row.problem is None:
            say(f"  {title}: {row.name}")
            check(row, tree, where, entries)
    valid = [row for row in rows if row.problem is None]
    for number in range(rounds):
        for row in running_order(valid, number):
            output = where / f"out.{row.suffix}"
            seconds, cpu = once(row, tree, output)
            row.seconds.append(seconds)
            row.cpu.append(cpu)
            output.unlink()
    return [line(row, rows[0], plain) for row in rows]


def line(row: Row, base: Row, plain: int) -> list[str]:
    if row.problem is not None or not row.seconds:
        return [row.name, row.problem or "not run"]
    found = summarize(row.seconds)
    ratio = found.median / statistics.median(base.seconds) if base.seconds else None
    return [
        row.name,
        f"{found.median:.3f}",
        f"{found.low:.3f}..{found.high:.3f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{statistics.median(row.cpu):.2f}",
        f"{row.size / 1e6:.2f}",
        f"{100 * row.size / plain:.1f}",
    ]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m benchmarks.compression", description="Measure compression.")
    p.add_argument("--work", action="append", choices=TREES, help="a tree; may be repeated (default: all)")
    p.add_argument("--rounds", type=positive_int, default=5, help="timed runs of everyone (default 5)")
    p.add_argument("--scale", type=positive, default=0.1, help="size of small and mid (default 0.1)")
    p.add_argument("--dir", type=Path, help="where trees are kept and outputs are written (default: temp)")
    p.add_argument("--save", type=Path, metavar="FILE.md", help="save the tables")
    return p


def run(options: argparse.Namespace) -> int:
    base = base_directory(options.dir, cache_directory())
    trees = trees_directory(base, options.scale)
    where = Path(tempfile.mkdtemp(prefix="outputs-", dir=base))
    facts = machine.facts(base)
    text = ["# Compression and digests", "", report.markdown_table(("machine", ""), list(facts.items())), ""]
    failed = False
    try:
        for name in options.work or TREES:
            tree = make_text(base) if name == "text" else make(name, trees, options.scale)
            seen = tree_facts(tree)
            warm(tree, where / "warm.tar")
            import tarcast

            plain = tarcast.write_tar(tree, where / "plain.tar")
            (where / "plain.tar").unlink()
            size = f"{seen.entries:,} entries, {seen.data / 1e6:,.1f} MB"
            scale = "" if name == "text" else f" (scale {options.scale:g})"
            text += [f"## {name}{scale}: {size}; {options.rounds} rounds", ""]
            for title, rows in tables().items():
                lines = measure(title, rows, tree, where, options.rounds, plain.bytes_written)
                failed = failed or any(row.problem and "absent" not in row.problem for row in rows)
                print(f"{name}, {title}\n\n{table(HEADINGS, lines)}\n", flush=True)
                text += [f"### {name}, {title}", "", report.markdown_table(HEADINGS, lines), ""]
    finally:
        shutil.rmtree(where, ignore_errors=True)
    text += ["## Commands", ""]
    for title, rows in tables().items():
        text += [f"- {title}, {row.name}: `{row.shown}`" for row in rows]
    text += ["", *LEGEND, ""]
    if options.save is not None:
        options.save.write_text("\n".join(text), encoding="utf-8")
        print(f"saved {os.path.relpath(options.save)}")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    end_in_order()
    try:
        return run(options)
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
