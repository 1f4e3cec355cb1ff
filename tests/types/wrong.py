"""What type checkers must refuse: each line that ends in `# expect-error`, and no other."""

from __future__ import annotations

import io
import tarfile
from typing import assert_type

import tarcast
from tarcast import daemon, exporter, index, options, progress, session, sinks, snapshot

# names that are not there
tarcast.write_tarr("docs", "out.tar")  # expect-error
tarcast.sinks.CloudSink  # expect-error
session.Sessions  # expect-error
tarcast.compression.Compressor  # expect-error
index.Table  # expect-error

# arguments of the wrong type
tarcast.write_tar(1.5, "out.tar")  # expect-error
tarcast.write_tar("docs", None)  # expect-error
tarcast.write_tar("docs", io.StringIO())  # expect-error
tarcast.write_tar("docs", "out.tar", threads="two")  # expect-error
tarcast.write_tar("docs", "out.tar", on_error="explode")  # expect-error
tarcast.write_tar("docs", "out.tar", progress=lambda: None)  # expect-error
tarcast.write_tar("docs", "out.tar", cancel=True)  # expect-error
tarcast.write_tar("docs", "out.tar", compression=9)  # expect-error
tarcast.write_tar("docs", "out.tar", levels=9)  # expect-error
tarcast.write_tar({"docs": 1}, "out.tar")  # expect-error
tarcast.iter_tar("docs", copy="no")  # expect-error
tarcast.iter_tar("docs", epoch="0")  # expect-error
tarcast.Tree("docs", include=[1])  # expect-error
tarcast.Tree("docs", map=lambda entry: entry.path)  # expect-error
tarcast.IDMap.parse(0)  # expect-error
tarcast.Compression("gzip", "9")  # expect-error
tarcast.mounted("docs")  # expect-error
tarcast.mounted(tarcast.DirectoryRef("docs"), only=["*.py"])  # expect-error
snapshot.LocalMounter(tarcast.DirectoryRef("docs"))  # expect-error
tarcast.LocalSession("docs", "out.tar")  # expect-error
tarcast.Source(ref="docs")  # expect-error
exporter.Subject(digests=["00"])  # expect-error
daemon.Daemon(["docs"])  # expect-error
session.connect(1234)  # expect-error
progress.one_off("count", "writer")  # expect-error
sinks.FileSink(1)  # expect-error
options.Options(epoch="0")  # expect-error
tarcast.verify("out.tar", None)  # expect-error
tarcast.Archive("out.tar").find(3)  # expect-error

# results are what they are, and not anything
result = tarcast.write_tar("docs", "out.tar")
assert_type(result.entries, str)  # expect-error
result.archive  # expect-error
len(result.bytes_written)  # expect-error
for chunk in tarcast.iter_tar("docs"):
    chunk.encode()  # expect-error
for view in tarcast.iter_tar("docs", copy=False):
    view.decode()  # expect-error
with tarcast.open("out.tar") as tar:
    tar.getmembers()  # expect-error
    tar.add("docs", filter=lambda info: info.name)  # expect-error
    tar.addfile("docs")  # expect-error
    tar.addfile(tarfile.TarInfo("a"), io.StringIO())  # expect-error
    tar.add_bytes("a", "text")  # expect-error
for member in tarcast.Archive("out.tar"):
    member.name.decode()  # expect-error
    member.size = 0  # expect-error
    member.xattrs["user.a"]  # expect-error
for difference in tarcast.verify("out.tar", "docs"):
    difference.severity  # expect-error
for update in progress.pipe()[0]:
    update.id.decode()  # expect-error
