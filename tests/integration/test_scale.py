"""Trees of 100,000 directories and one directory of 500,000 names: order, descriptors, memory.

Whatever the number of workers; each export runs in a process of its own, which reads its peak memory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tarcast
from tests.support.bulk import make_wide
from tests.support.judge import archive_names
from tests.support.memory import in_new_process
from tests.support.sanitizer import without_sanitizer

MIB = 1 << 20
DIRECTORIES = 100_000
DEPTH = 1_500  # of a chain among them: more than are kept open, and more than there are descriptors
NAMES = 500_000
FEW_DESCRIPTORS = 64
# Directories and bodies that are waited for, at most 256 each, the walk's own, one a worker, and Python's.
MANY_DESCRIPTORS = 256 + 256 + 128 + 64 + 32
MEMORY_LIMIT = 4 * MIB
# Above what the process had before; measured are 5 to 8 MB.
DIRECTORIES_MEMORY = 16 * MIB
# A directory's names are held to be sorted. Measured are 53 bytes a name, all included: 24 in a list,
# in which an older glibc sorts by way of a second one, and the name; half as much again may be.
BYTES_PER_NAME = 79

EXPORT = r"""
resource.setrlimit(resource.RLIMIT_NOFILE, (arguments["descriptors"],) * 2)
out = os.open(arguments["out"], os.O_WRONLY)
before = forget_the_peak()
result = tarcast.write_tar(
    arguments["tree"], out, threads=arguments["threads"], memory_limit=arguments["memory"]
)
grown = resident("VmHWM") - before
print(json.dumps({"entries": result.entries, "grown": grown}))
"""

STALLED = r"""
reader, writer = os.pipe()
cancel = threading.Event()
found = {}

def look():
    wait_until_idle()
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    cancel.set()

thread = threading.Thread(target=look)
before = forget_the_peak()
thread.start()
try:
    tarcast.write_tar(arguments["tree"], writer, threads=arguments["threads"], cancel=cancel)
except tarcast.Cancelled:
    thread.join()
    print(json.dumps(found | {"grown": resident("VmHWM") - before}))
"""


@dataclass(repr=False)
class Scale:
    """A tree, its paths in the order of the archive, and the memory that an export may take."""

    tree: Path
    paths: list[bytes]
    memory: int


def in_order(paths: list[bytes]) -> list[bytes]:
    """Depth first, every directory sorted by the bytes of the bare names."""
    return sorted(paths, key=lambda path: path.split(b"/"))


def names_of(archive: str) -> list[bytes]:
    with open(archive, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [name.rstrip(b"/") for name in archive_names(data)]  # type: ignore[arg-type]


# By their bytes "-" and "." come before the slash: sorted as whole paths, the paths are in another order.
ENDS = (b"", b"-", b".x", b"~")


def make_levels(parent: int, inside: bytes, widths: tuple[int, ...], made: list[bytes]) -> None:
    """Directories in the directory `parent`, so many on each level; their paths go to `made`."""
    for i in range(widths[0]):
        name = b"%d" % (i // 4) + ENDS[i % 4]
        os.mkdir(name, dir_fd=parent)
        made.append(inside + name)
        if len(widths) > 1:
            below = os.open(name, os.O_RDONLY, dir_fd=parent)
            make_levels(below, made[-1] + b"/", widths[1:], made)
            os.close(below)


def make_chain(parent: int, made: list[bytes]) -> None:
    here = os.dup(parent)
    for level in range(DEPTH):
        os.mkdir(b"d", dir_fd=here)
        made.append(b"d/" * level + b"d")
        below = os.open(b"d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def make_directories(root: Path) -> list[bytes]:
    """Fills the empty `root`; gives the paths."""
    made: list[bytes] = []
    top = os.open(root, os.O_RDONLY)
    make_chain(top, made)
    make_levels(top, b"", (25, 60, 64), made)
    os.mkdir(b"e", dir_fd=top)
    rest = os.open(b"e", os.O_RDONLY, dir_fd=top)
    made.append(b"e")
    make_levels(rest, b"e/", (DIRECTORIES - len(made),), made)
    os.close(rest)
    os.close(top)
    return made


def make_names(root: Path) -> list[bytes]:
    make_wide(os.fspath(root), NAMES)
    return [b"%d" % i for i in range(NAMES)]


def roomy(scratch: Path) -> Path:
    """Memory, where there is enough of it: it takes a tenth of the time of a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        return scratch
    room = os.statvfs(memory)
    return memory if room.f_favail > 2 * NAMES and room.f_bavail * room.f_frsize > 1024 * MIB else scratch


@pytest.fixture(scope="module", params=["directories", "names"])
def scale(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Scale]:
    place = Path(tempfile.mkdtemp(prefix="tarcast-test-", dir=roomy(scratch)))
    try:
        (place / "t").mkdir()
        if request.param == "directories":
            yield Scale(place / "t", in_order(make_directories(place / "t")), DIRECTORIES_MEMORY)
        else:
            yield Scale(place / "t", in_order(make_names(place / "t")), NAMES * BYTES_PER_NAME)
    finally:
        subprocess.run(["rm", "-rf", place], check=True)  # shutil's goes down by recursion


@pytest.fixture(scope="module")
def digest(scale: Scale) -> str:
    """Of the archive by one worker, the names in which are right."""
    with tempfile.NamedTemporaryFile(dir=scale.tree.parent) as out:
        tarcast.write_tar(scale.tree, out.name, threads=1)
        names = names_of(out.name)
        # Not the lists: to explain their difference takes pytest minutes.
        assert len(names) == len(scale.paths)
        assert (
            next((pair for pair in zip(names, scale.paths, strict=True) if pair[0] != pair[1]), None) is None
        )
        with open(out.name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def test_trees_are_what_they_are_meant_to_be(scale: Scale) -> None:
    assert len(set(scale.paths)) == len(scale.paths) in (DIRECTORIES, NAMES)
    if b"e" in scale.paths:
        assert scale.paths != sorted(scale.paths)
    else:
        assert scale.paths != [b"%d" % i for i in range(NAMES)]


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_few_descriptors_and_little_memory_are_enough_for_any_workers(
    scale: Scale, digest: str, threads: int
) -> None:
    with tempfile.NamedTemporaryFile(dir=scale.tree.parent) as out:
        found = in_new_process(
            EXPORT,
            tree=str(scale.tree),
            out=out.name,
            threads=threads,
            memory=MEMORY_LIMIT,
            descriptors=FEW_DESCRIPTORS,
        )
        assert hashlib.file_digest(out, "sha256").hexdigest() == digest
    assert found["entries"] == len(scale.paths)
    without_sanitizer()
    assert found["grown"] < scale.memory


@pytest.mark.parametrize("threads", [2, 8])
def test_walk_does_not_run_away_from_an_output_that_stalls(scale: Scale, threads: int) -> None:
    """With memory enough it is the number of open directories that stops it first."""
    found = in_new_process(STALLED, tree=str(scale.tree), threads=threads)
    assert found["descriptors"] < MANY_DESCRIPTORS
    without_sanitizer()
    assert found["grown"] < scale.memory
