"""Everything public, as programs use it. Type checkers read this; nobody runs it."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import threading
from pathlib import Path
from typing import Unpack, assert_type

import tarcast
from tarcast import daemon, exporter, index, options, patterns, progress, session, sinks, snapshot

# ---- trees ----------------------------------------------------------------


def drop_sockets(entry: tarcast.Entry) -> tarcast.Entry | None:
    assert_type(entry.path, str)
    assert_type(entry.mode, int)
    assert_type(entry.xattrs, dict[str, bytes])
    entry.mode &= 0o1777
    return None if entry.type == "fifo" else entry


idmap = tarcast.IDMap.parse("0:100000:65536")
assert_type(idmap, tarcast.IDMap)
assert_type(idmap.to_container(100000, 100000), tuple[int, int] | None)
tarcast.IDMap(uid=[tarcast.IDRange(0, 100000, 1)], gid=[(0, 100000, 1)])
tarcast.IDMap.from_proc(1)
tarcast.IDMap.from_subid("alice")

tree = tarcast.Tree(
    Path("src"),
    include=["tarcast/**", b"raw"],
    exclude=patterns.read_ignore_file(".dockerignore"),
    follow=("bin/sh",),
    idmap=idmap,
    epoch=0,
    map=drop_sockets,
)
assert_type(tree.path, str | bytes)
assert_type(tree.idmap, tarcast.IDMap | None)

# ---- write_tar ------------------------------------------------------------


def show(news: tarcast.Progress) -> None:
    assert_type(news.bytes_written, int)
    assert_type(news.path, str | None)
    assert_type(news.total_bytes, int | None)
    assert_type(news.eta, float | None)


stop = threading.Event()
result = tarcast.write_tar(
    {"linux/amd64": tree, "docs": "docs", "raw": Path("raw")},
    "out.tar.gz",
    epoch=0,
    digest=["sha256"],
    compression=tarcast.Compression("gzip", 9, threads=2, library="zlib-ng"),
    index="out.tar.sqlite",
    index_digest="sha256",
    align=False,
    sparse=True,
    threads=4,
    memory_limit=32 << 20,
    progress=show,
    count_first=True,
    cancel=stop,
    on_error="skip",
    fsync=True,
    storage_options={"key": "..."},
)
assert_type(result, tarcast.Result)
assert_type(result.entries, int)
assert_type(result.bytes_written, int)
assert_type(result.digests, dict[str, str])
assert_type(result.compression, str | None)
assert_type(result.warnings, list[tarcast.Warning])
for warning in result.warnings:
    assert_type(warning.path, str | None)
    assert_type(warning.errno, int)
assert_type(tarcast.Compression.parse("zstd:19"), tarcast.Compression | None)

# ---- sinks ----------------------------------------------------------------


class Counting:
    """A file object with `write` alone."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: memoryview) -> None:
        self.count += len(data)


class Keeping:
    """A sink of one's own."""

    name = "kept"
    fd = -1

    def __init__(self) -> None:
        self.outputs: list[tuple[int, int]] = []
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        self.data += data

    def open(self) -> None:
        self.data.clear()

    def commit(self) -> None: ...

    def abort(self) -> None:
        self.data.clear()


def each_sink(log: io.BufferedWriter) -> None:
    targets: list[sinks.Target] = [
        "out.tar",
        b"out.tar",
        Path("out.tar"),
        "-",
        "s3://bucket/out.tar",
        1,
        io.BytesIO(),
        log,
        gzip.GzipFile("out.tar.gz", "wb"),
        Counting(),
        Keeping(),
        sinks.FileSink("out.tar", fsync=True),
        sinks.DescriptorSink(1),
        sinks.FileObjectSink(io.BytesIO()),
        sinks.RemoteSink("memory://out.tar"),
    ]
    for target in targets:
        tarcast.write_tar("docs", target)


# ---- iterators ------------------------------------------------------------

for chunk in tarcast.iter_tar("docs", chunk_size=65536, digest=["sha256"]):
    assert_type(chunk, bytes)
with tarcast.iter_tar("docs", copy=False, on_error="skip") as views:
    assert_type(views, tarcast.TarIterator[memoryview])
    for view in views:
        assert_type(view, memoryview)
    assert_type(views.result, tarcast.Result | None)


async def download() -> None:
    async with tarcast.aiter_tar("docs") as chunks:
        assert_type(chunks, tarcast.AsyncTarIterator[bytes])
        async for chunk in chunks:
            assert_type(chunk, bytes)
    async for view in tarcast.aiter_tar("docs", copy=False):
        assert_type(view, memoryview)


asyncio.run(download())


def to_stdout(tree: str, **given: Unpack[options.Options]) -> tarcast.Result:
    return tarcast.write_tar(tree, "-", **given)


# ---- tarfile's habits -----------------------------------------------------


def no_objects(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if info.name.endswith(".so") else info


with tarcast.open("release.tar.gz", "w", digest=["sha256"], threads=1, level=9) as tar:
    assert_type(tar, tarcast.TarWriter)
    tar.add("docs", arcname="release/docs", recursive=True, filter=no_objects)
    tar.add_tree(tree, "release")
    tar.add_bytes("release/VERSION", b"1.0", mode=0o600, mtime=1.5)
    found = tar.gettarinfo("README.md")
    assert_type(found, tarfile.TarInfo | None)
    if found is not None:
        tar.addfile(found, io.BytesIO(b"..."))
    assert_type(tar.offset, int)
    assert_type(tar.close(), tarcast.Result)

# ---- archives -------------------------------------------------------------

with tarcast.Archive("out.tar", index="out.tar.sqlite", spool=False) as archive:
    assert_type(archive, tarcast.Archive)
    for member in archive:
        assert_type(member, index.Member)
        assert_type(member.name, str)
        assert_type(member.raw_name, bytes)
        assert_type(member.xattrs, tuple[tuple[bytes, bytes], ...])
        assert_type(member.digest, bytes | None)
    assert_type(archive.read("VERSION"), bytes)
    with archive.open(archive.find("VERSION")) as file:
        assert_type(file.read(3), bytes)
    assert_type(archive.resolve_all(["VERSION"]), list[index.Member])
index.make_index("out.tar", "out.tar.jsonl", digest="sha256")
with index.open_index("out.tar.jsonl") as table:
    assert_type(table.meta, index.Meta)
    catalogue: index.Index = table

for difference in tarcast.verify("out.tar", tree, epoch=0, content=True, ignore=["mtime"], threads=2):
    assert_type(difference, tarcast.Difference)
    assert_type(difference.path, str)
    assert_type(difference.kind, str)

# ---- snapshots and the exporter -------------------------------------------


class Prepared:
    """A reference of one's own."""

    def mount(self, readonly: bool = True) -> snapshot.Mounts:
        return snapshot.Mounts([snapshot.Mount("bind", "/srv/tree", ["rbind", "ro"])], idmap)


references: list[snapshot.Reference] = [
    tarcast.DirectoryRef("docs", idmap=idmap),
    tarcast.OverlayRef(["base", "app"]),
    tarcast.ImageRef("disk.ext4", offset=1 << 20),
    Prepared(),
]
for reference in references:
    with tarcast.mounted(reference, exclude=["**/*.so"], map=drop_sockets) as mounted_tree:
        assert_type(mounted_tree, tarcast.Tree)
    with snapshot.LocalMounter(reference.mount()) as mounted_path:
        assert_type(mounted_path, str)

manager = tarcast.SessionManager()
local = tarcast.LocalSession(manager, {0: "rootfs.tar", 1: lambda metadata: metadata.get("path")})
tar_exporter = tarcast.TarExporter(manager, session_timeout=1.0, threads=2, count_first=True)
instance = tar_exporter.resolve(0, {"source-date-epoch": "0"})
assert_type(instance, exporter.ExporterInstance)
sbom = exporter.Attestation(
    path="sbom.json",
    predicate_type="https://spdx.dev/Document",
    content=lambda: b"{}",
    subjects=[exporter.Subject(kind="raw", name="app", digests={"sha256": "00"})],
)
source = tarcast.Source(
    refs={"linux/amd64": references[0], "raw": tree}, attestations={"linux/amd64": [sbom]}
)
reader, writer = progress.pipe()
assert_type(reader, progress.Reader)
assert_type(writer, progress.Writer)
assert_type(instance.export(source, local.id, writer, cancel=stop), tarcast.Result)


async def export() -> None:
    assert_type(await instance.export_async(source, local.id), tarcast.Result)


# ---- progress -------------------------------------------------------------

with writer, progress.one_off("count", writer) as counting, progress.rendering(reader, "plain"):
    assert_type(counting, progress.OneOff)
    counting.update(current=1, total=2)
for update in progress.MultiReader(reader).reader():
    assert_type(update, progress.Update)
    assert_type(update.id, str)
    if isinstance(update.status, progress.Status):
        assert_type(update.status.eta, float | None)
assert_type(reader.read(timeout=0.1), list[progress.Update])
assert_type(progress.choose("json"), progress.Renderer)
renderers: list[progress.Renderer] = [progress.Plain(), progress.JsonLines(), progress.Terminal()]


async def follow() -> None:
    async for update in reader:
        assert_type(update, progress.Update)


# ---- sessions -------------------------------------------------------------

tls = session.TLS(cert="cert.pem", key="key.pem", ca="ca.pem")
with daemon.Daemon({"docs": "docs", "tree": tree, "layers": references[1]}, max_exports=2) as served:
    assert_type(served.listen("unix://build/tarcast.sock", tls=None), str)
    assert_type(served.wait(1.0), bool)
with session.connect("tcp://localhost:1234", tls=tls, timeout=5.0) as client:
    assert_type(client, session.Client)
    received = client.export("docs", io.BytesIO(), {"source-date-epoch": "0"}, progress=show)
    assert_type(received, session.Received)
    assert_type(received.bytes_written, int)
    client.build("out.tar", frontend="dockerfile.v0", opts={"target": "final"}, cancel=stop)

for remote in manager.sessions():
    if remote.supports(session.FILE_SEND) and isinstance(remote, session.RemoteSession):
        file_sink: sinks.Sink = session.file_writer(remote, 0, {"name": "out.tar"}, cancel=stop)

# ---- what goes wrong ------------------------------------------------------

try:
    tarcast.write_tar("docs", "out.tar")
except tarcast.ChangedError as error:
    assert_type(error.path, str | None)
except (tarcast.MissingError, tarcast.InputError) as error:
    assert_type(error.errno, int | None)
except (tarcast.OutputError, tarcast.ExistsError) as error:
    assert_type(error.hint, str)
except (tarcast.PatternError, tarcast.IDMapError, tarcast.EncodingError, tarcast.OptionError) as error:
    raise ValueError(str(error)) from error
except (tarcast.DaemonError, tarcast.SessionError, tarcast.ProgressError, tarcast.Cancelled):
    pass
except tarcast.CleanupError as error:
    assert_type(error.errors, tuple[Exception, ...])
except tarcast.TarcastError as error:
    assert_type(error.step, str)
assert_type(tarcast.__version__, str)
