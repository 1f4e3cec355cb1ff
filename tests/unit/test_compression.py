"""What compresses an archive: how it is chosen, what it writes, how it ends."""

from __future__ import annotations

import errno
import gc
import gzip
import hashlib
import io
import lzma
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tarcast
from tarcast import Compression, OptionError, OutputError, write_tar
from tarcast.compression import CompressedSink, choose, suffix_name
from tarcast.compression.codec import codec_for
from tarcast.sinks import make_sink
from tests.support.faults import Deadline, nothing_left_behind, tmpfs

SETTINGS = ("gzip:1", "gzip:6,library=zlib", "gzip:1,library=isal", "zstd:1", "zstd:3,long", "xz:0")
each_setting = pytest.mark.parametrize("setting", SETTINGS)
each_name = pytest.mark.parametrize("name", ["gzip", "zstd", "xz"])


def text(size: int, seed: int = 1) -> bytes:
    """Something that compresses as text does, and whose blocks differ."""
    words = [b"%x " % random.Random(n).getrandbits(40) for n in range(2000)]
    return b"".join(random.Random(seed).choices(words, k=size // 11 + 1))[:size]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 MiB: several blocks of each format, and of zstd's jobs."""
    top = tmp_path_factory.mktemp("compress") / "tree"
    top.mkdir()
    for n in range(6):
        (top / f"file{n}").write_bytes(text((1 << 20) + n, n))
    return top


@pytest.fixture(scope="module")
def expected(folder: Path) -> bytes:
    out = io.BytesIO()
    write_tar(folder, out)
    return out.getvalue()


def expanded(data: bytes, setting: str) -> bytes:
    program = setting.replace(",", ":").split(":")[0]
    return subprocess.run([program, "-dc"], input=data, capture_output=True, check=True).stdout


# ---- what is chosen -------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("a.tar.gz", "gzip"),
        ("a.TGZ", "gzip"),
        (b"a.tar.zst", "zstd"),
        (Path("a.tzst"), "zstd"),
        ("a.xz", "xz"),
        ("a.txz", "xz"),
        ("s3://b/a.tar.gz?version=1", "gzip"),
        ("a.tar?b.gz", "gzip"),
        ("a.tar", None),
        ("dir.gz/a", None),
        (".gz", None),
        ("-", None),
        (3, None),
        (io.BytesIO(), None),
    ],
)
def test_suffix(target: object, name: str | None) -> None:
    assert suffix_name(target) == name
    codec = choose(None, target)
    assert (None if codec is None else codec.name) == name


@pytest.mark.parametrize(
    "name", ["a.tar.bz2", "a.tbz2", "a.LZ4", "a.lzma", "a.Z", "a.br", "a.lzo", "memory://b/a.bz2?v=1"]
)
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_suffix_of_another_compression_is_refused(tmp_path: Path, name: str, kind: Any) -> None:
    target = name if "://" in name else kind(tmp_path / name)
    suffix = re.escape(os.path.splitext(name.partition("?")[0])[1])
    words = f'a file ending in "{suffix}" should be compressed in a way that is not there; name it .gz, .zst'
    with pytest.raises(OptionError, match=words + " or .xz, or say compression='none'"):
        tarcast.write_tar(tmp_path, target)
    with pytest.raises(OptionError, match=words + " or .xz, or say mode 'w:'"):
        tarcast.open(target)
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_of_another_compression_is_a_name_if_that_is_said(tmp_path: Path) -> None:
    tarcast.write_tar(tmp_path, tmp_path / "a.bz2", compression="none")
    tarcast.write_tar(tmp_path, tmp_path / "b.bz2", compression="gzip")
    tarcast.open(tmp_path / "c.bz2", "w:").close()
    heads = [path.read_bytes()[:2] for path in sorted(tmp_path.iterdir())]
    assert [head == b"\x1f\x8b" for head in heads] == [False, True, False]


def test_what_is_said_counts_before_the_suffix() -> None:
    assert choose("none", "a.tar.gz") is None
    codec = choose("zstd", "a.tar.gz")
    assert codec is not None
    assert codec.name == "zstd"


@pytest.mark.parametrize(
    "setting", ["gzip", "zstd:-5", "zstd:19,long,threads=4", "gzip:3,library=isal", "xz:9"]
)
def test_a_setting_is_read_and_written_the_same(setting: str) -> None:
    parsed = Compression.parse(setting)
    assert str(parsed) == setting
    assert pickle.loads(pickle.dumps(parsed)) == parsed
    assert hash(parsed) == hash(Compression.parse(setting))
    with pytest.raises(AttributeError):
        parsed.level = 1  # type: ignore[union-attr,misc]


@pytest.mark.parametrize(
    "setting",
    [
        "brotli",
        "",
        "gzip:0",
        "gzip:10",
        "gzip:4,library=isal",
        "gzip:",
        "gzip:x",
        "gzip:6:7",
        "gzip,long",
        "zstd:23",
        "zstd,long,long",
        "zstd,long=1",
        "zstd,threads=0",
        "zstd,threads=",
        "zstd,library=zlib",
        "xz:10",
        "xz:-1",
        "none:1",
        "zstd,quickly",
        7,
        b"gzip",
        True,
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    setting: Any, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.tar").write_bytes(b"old")
    with pytest.raises(OptionError):
        write_tar(folder, tmp_path / "out.tar", compression=setting)
    assert (tmp_path / "out.tar").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("setting", "missing", "extra"),
    [
        ("zstd", ["compression.zstd", "backports.zstd"], "zstd"),
        ("gzip,library=zlib-ng", ["zlib_ng"], "gzip"),
        ("gzip,library=isal", ["isal"], "gzip"),
    ],
)
def test_a_library_that_is_missing_is_named(
    setting: str, missing: list[str], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError, match=r"needs a package") as caught:
        choose(setting)
    assert caught.value.hint == f"pip install 'tarcast[{extra}]'"


def test_gzip_needs_no_package_and_says_whose_it_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with_package = write_tar(folder, io.BytesIO(), compression="gzip", digest="sha256")
    assert with_package.compression is not None
    assert with_package.compression.startswith("gzip:6 (zlib-ng ")
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    without = write_tar(folder, io.BytesIO(), compression="gzip", digest="sha256")
    pinned = write_tar(folder, io.BytesIO(), compression="gzip,library=zlib", digest="sha256")
    assert without.compression is not None
    assert without.compression.startswith("gzip:6 (zlib ")
    assert without.output_digests == pinned.output_digests
    assert without.digests == with_package.digests


def test_only_write_tar_looks_at_suffixes(folder: Path, tmp_path: Path, expected: bytes) -> None:
    """The target of a client's session gets what comes, whatever its name."""
    manager = tarcast.SessionManager()
    with tarcast.LocalSession(manager, tmp_path / "out.tar.gz") as session:
        source = tarcast.Source(ref=tarcast.Tree(folder))
        tarcast.TarExporter(manager).resolve(0, {}).export(source, session.id)
    assert (tmp_path / "out.tar.gz").read_bytes() == expected
    with open(tmp_path / "named.tar.gz", "wb") as file:
        write_tar(folder, file)
    assert (tmp_path / "named.tar.gz").read_bytes() == expected


# ---- what is written ------------------------------------------------------------


@each_setting
def test_others_read_it(setting: str, folder: Path, expected: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out"
    result = write_tar(folder, path, compression=setting)
    data = path.read_bytes()
    assert result.bytes_written == len(expected)
    assert result.output_bytes == len(data) < len(expected) * 0.8
    assert expanded(data, setting) == expected
    listed = subprocess.run(["tar", "-tf", path], capture_output=True, check=True, text=True).stdout.split()
    assert listed == [f"file{n}" for n in range(6)]
    if not setting.startswith("zstd"):
        with tarfile.open(path) as tar:
            assert tar.getnames() == listed


@each_name
def test_by_suffix(name: str, folder: Path, expected: bytes, tmp_path: Path) -> None:
    path = tmp_path / {"gzip": "out.tgz", "zstd": "out.tar.zst", "xz": "out.txz"}[name]
    write_tar(tarcast.Tree(folder, include=["file0"]), path)
    assert expanded(path.read_bytes(), name)[:5] == b"file0"


@each_setting
def test_bytes_are_the_same_for_any_number_of_threads(setting: str, folder: Path) -> None:
    seen = set()
    for threads in (1, 2, 4):
        out = io.BytesIO()
        write_tar(folder, out, compression=f"{setting},threads={threads}", threads=threads)
        seen.add(out.getvalue())
    assert len(seen) == 1


def compressed(setting: str, pieces: list[bytes]) -> bytes:
    out = io.BytesIO()
    parsed = Compression.parse(setting)
    assert parsed is not None
    sink = CompressedSink(make_sink(out, fsync=False), codec_for(parsed))
    sink.open()
    try:
        assert sink.write is not None
        for piece in pieces:
            sink.write(memoryview(piece))
        sink.commit()
        assert sink.bytes_out == len(out.getvalue())
    finally:
        sink.abort()
    return out.getvalue()


@each_setting
def test_bytes_are_the_same_however_they_come(setting: str) -> None:
    data = text(3_000_000)
    pieces, at, size = [], 0, 1
    while at < len(data):
        pieces.append(data[at : at + size])
        at, size = at + size, size * 2 + 1
    whole = compressed(setting, [data])
    assert compressed(setting, pieces) == whole
    assert expanded(whole, setting) == data


@each_setting
@pytest.mark.parametrize("size", [0, 1, 262143, 262144, 262145, 524288, 4 << 20])
def test_sizes_around_a_block(setting: str, size: int) -> None:
    data = text(size)
    out = compressed(setting, [data])
    assert expanded(out, setting) == data


def test_a_gzip_header_tells_nothing() -> None:
    assert compressed("gzip:6", [b"x"])[:10] == b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    assert gzip.decompress(compressed("gzip:9", [b"x"])) == b"x"


def test_zstd_has_a_checksum() -> None:
    out = compressed("zstd", [text(1000)])
    damaged = out[:-1] + bytes([out[-1] ^ 1])
    done = subprocess.run(["zstd", "-dc"], input=damaged, capture_output=True)
    assert done.returncode
    assert b"checksum" in done.stderr


def test_long_mode_finds_what_is_far_away() -> None:
    part = random.Random(5).randbytes(3 << 20)
    data = [part, random.Random(6).randbytes(9 << 20), part]
    assert len(compressed("zstd:3,long", data)) < len(compressed("zstd:3", data)) - (2 << 20)


def test_xz_blocks_are_streams(folder: Path) -> None:
    data = text(9 << 20)
    out = compressed("xz:0", [data])
    assert out.count(b"\xfd7zXZ\x00") == 3
    assert lzma.decompress(out) == data


# ---- how it ends ----------------------------------------------------------------


@each_name
def test_digests_of_the_archive_and_of_the_file(
    name: str, folder: Path, expected: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    names = ("sha256", "md5")
    result = write_tar(folder, path, compression=f"{name}:1", digest=names)
    data = path.read_bytes()
    assert result.digests == {n: hashlib.new(n, expected).hexdigest() for n in names}
    assert result.output_digests == {n: hashlib.new(n, data).hexdigest() for n in names}


@each_name
def test_a_full_disk(name: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "noise").write_bytes(os.urandom(6 << 20))
    with tmpfs(tmp_path / "disk") as disk:
        (disk / "out").write_bytes(b"old")
        with nothing_left_behind(disk), pytest.raises(OutputError, match=r"write: No space left") as caught:
            write_tar(tree, disk / "out", compression=f"{name}:1")
        assert caught.value.errno == errno.ENOSPC
        assert (disk / "out").read_bytes() == b"old"


@each_name
def test_a_reader_that_leaves(name: str, folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with nothing_left_behind(), pytest.raises(OutputError) as caught:
            write_tar(folder, writer, compression=f"{name}:1")
    finally:
        os.close(writer)
    assert caught.value.errno == errno.EPIPE


class At:
    """A `cancel` that is set some time after the start."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def is_set(self) -> bool:
        return time.monotonic() > self.end


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@each_name
def test_cancel_while_nobody_reads(name: str, kind: str, folder: Path) -> None:
    import socket

    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        ends = socket.socketpair()
        reader, writer = (end.detach() for end in ends)
    try:
        cancel = At(1.0 if name == "xz" else 0.3)
        with nothing_left_behind(), pytest.raises(tarcast.Cancelled):
            write_tar(folder, writer, compression=f"{name}:1", cancel=cancel)
        assert time.monotonic() - cancel.end < 1
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("setting", ["xz:6", "gzip:9", "zstd:12"])
def test_interrupt(setting: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "text").write_bytes(text(30 << 20))
    (tmp_path / "place").mkdir()
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    def progress(seen: tarcast.Progress) -> None:
        if not sent and not seen.done:
            threading.Thread(target=interrupt).start()
            while not sent:
                time.sleep(0.001)

    with nothing_left_behind(tmp_path / "place"), pytest.raises(KeyboardInterrupt):
        write_tar(tree, tmp_path / "place" / "out", compression=setting, progress=progress)
    assert time.monotonic() - sent[0] < 2


def test_an_exception_from_progress_while_compressing(folder: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def progress(seen: tarcast.Progress) -> None:
        if seen.seconds > 0.15:
            raise Enough

    place = tmp_path / "place"
    place.mkdir()
    with nothing_left_behind(place), pytest.raises(Enough):
        write_tar(folder, place / "out.tar.xz", progress=progress)


def test_progress_is_done_when_all_is_written(folder: Path) -> None:
    out = io.BytesIO()
    sizes = []

    def progress(seen: tarcast.Progress) -> None:
        if seen.done:
            sizes.append(len(out.getvalue()))

    result = write_tar(folder, out, compression="xz:0", progress=progress)
    assert sizes == [result.output_bytes]


def test_what_the_library_raises_ends_the_export(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tarcast.compression import codec

    def broken(*_: Any) -> bytes:
        raise ValueError("the library is broken")

    monkeypatch.setattr(codec._GzipEncoder, "encode", broken)
    with nothing_left_behind(tmp_path), pytest.raises(OutputError, match="compress: the library is broken"):
        write_tar(folder, tmp_path / "out.tar.gz")


class Slow:
    """A file object that takes its time, and looks how much waits for it."""

    def __init__(self, look: Callable[[], object]) -> None:
        self.look = look

    def write(self, view: memoryview) -> int:
        time.sleep(0.02)
        self.look()
        return len(view)


@pytest.mark.parametrize("setting", ["gzip:1,threads=2", "zstd:1,threads=2"])
def test_memory_is_bounded_when_the_output_is_slow(setting: str) -> None:
    parsed = Compression.parse(setting)
    assert parsed is not None
    codec = codec_for(parsed)
    most = 0

    def look() -> None:
        nonlocal most
        most = max(most, sink._pool.pending())

    sink = CompressedSink(make_sink(Slow(look), fsync=False), codec)
    sink.open()
    try:
        block = memoryview(os.urandom(1 << 20))
        for _ in range(16):
            assert sink.write is not None
            sink.write(block)
        sink.commit()
    finally:
        sink.abort()
    assert 1 < most <= 6


@each_setting
def test_other_threads_go_on(setting: str, folder: Path) -> None:
    """Compression never holds the GIL for long: a thread that ticks is at most a busy machine's turn late."""
    gaps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        last = time.monotonic()
        while not stop.is_set():
            time.sleep(0.002)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        started = time.monotonic()
        write_tar(folder, io.BytesIO(), compression=setting, digest="sha256", cancel=Deadline())
        seconds = time.monotonic() - started
    finally:
        stop.set()
        ticker.join()
    # A library that keeps the GIL would leave hardly a tick, and gaps as long as a block takes.
    assert len(gaps) > seconds / 0.02
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.05


@each_name
def test_in_the_child_of_a_fork_nothing_waits_for_threads(name: str, folder: Path, tmp_path: Path) -> None:
    parent = os.getpid()
    children: list[int] = []
    # What other tests left, a child cannot always free: fsspec waits for threads that are not there.
    gc.collect()
    gc.freeze()

    def hook(entry: Any) -> Any:
        if entry.path == "file5" and not children:
            children.append(os.fork())
        return entry

    try:
        write_tar(tarcast.Tree(folder, map=hook), tmp_path / "out", compression=f"{name}:1", digest="sha256")
    except BaseException as error:
        if os.getpid() == parent:
            raise
        error.__traceback__ = None
    finally:
        if os.getpid() != parent:
            gc.collect()
            os._exit(0)
    deadline = time.monotonic() + 10
    while os.waitpid(children[0], os.WNOHANG) == (0, 0):
        assert time.monotonic() < deadline, "the child hangs"
        time.sleep(0.01)
    gc.unfreeze()
    assert expanded((tmp_path / "out").read_bytes(), name)[:5] == b"file0"
