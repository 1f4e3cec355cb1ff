"""Archives to an S3-compatible server on loopback: `python -m benchmarks.upload --work mid`.

How fast, beside other ways to get the same tree there, in turn, in one run; and what a fault in the middle
leaves. See the README beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.arguments import positive, positive_int
from benchmarks.places import base_directory, cache_directory, trees_directory
from benchmarks.workloads import TREES, make
from tarcast.bench.stats import ratio, running_order, summarize
from tests.support.s3 import BUCKET, CUT, Faults, free_port, options, wait_for_port

SERVERS = ("versitygw", "moto")


class Server:
    """One of SERVERS with an empty bucket; versitygw keeps it in `place`, moto in its own memory."""

    def __init__(self, program: str, place: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        if Path(program).name == "moto":
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        else:
            # Without MD5 of every part, which would be the limit of all contestants.
            command = [program, "--port", f"127.0.0.1:{self.port}", "--keep-alive", "--quiet"]
            command += ["--access", "testing", "--secret", "testing"]
            command += ["posix", "--data-integrity-etag", str(place)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self._process)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


Contestant = Callable[[str], None]  # puts the archive under a key


def contestants(tree: Path, ready: Path, endpoint: str) -> dict[str, Contestant]:
    """Ways to get an archive of `tree` there, or the one that is `ready`."""
    import boto3
    import fsspec

    import tarcast

    common = options(endpoint)
    fs = fsspec.filesystem("s3", **common)
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=common["key"],
        aws_secret_access_key=common["secret"],
        region_name="us-east-1",
    )

    def ours(**more: Any) -> Contestant:
        return lambda key: _ignore(
            tarcast.write_tar(tree, f"s3://{BUCKET}/{key}", storage_options={**common, **more})
        )

    def into_a_file_of_s3fs(key: str) -> None:
        with fs.open(f"{BUCKET}/{key}", "wb") as file:
            tarcast.write_tar(tree, file)

    def tar_into_boto3(key: str) -> None:
        command = ["tar", "-C", str(tree), "-cf", "-", "."]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
            client.upload_fileobj(tar.stdout, BUCKET, key)
        assert tar.returncode == 0

    return {
        "tarcast": ours(),
        "tarcast, one part at once": ours(max_concurrency=1),
        "tarcast, two": ours(max_concurrency=2),
        "tarcast, four": ours(max_concurrency=4),
        "tarcast into fs.open() of s3fs": into_a_file_of_s3fs,
        "tar | boto3 upload_fileobj": tar_into_boto3,
        "boto3 upload_file of a ready archive": lambda key: client.upload_file(str(ready), BUCKET, key),
        "s3fs put of a ready archive": lambda key: fs.put_file(str(ready), f"{BUCKET}/{key}"),
    }


def _ignore(_: object) -> None:
    pass


def measure(
    tree: Path, ready: Path, endpoint: str, rounds: int, only: Sequence[str]
) -> dict[str, list[float]]:
    """MB/s of each contestant in each round, everybody in every round, in changing order."""
    import fsspec

    fs = fsspec.filesystem("s3", **options(endpoint))
    all_of_them = contestants(tree, ready, endpoint)
    chosen = {name: run for name, run in all_of_them.items() if not only or name in only}
    size = ready.stat().st_size
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(rounds + 1):
        for name in running_order(list(chosen), number):
            begin = time.monotonic()
            chosen[name]("out.tar")
            seconds = time.monotonic() - begin
            # GNU tar's archive differs in a few kB: headers for "." and the padding at its end.
            assert abs(fs.info(f"{BUCKET}/out.tar", refresh=True)["size"] - size) < size // 10 + 20_480
            fs.call_s3("delete_object", Bucket=BUCKET, Key="out.tar")
            if number:  # the first one warms up
                rates[name].append(size / seconds / 1e6)
    return rates


def table(rates: dict[str, list[float]]) -> Iterator[str]:
    ours = rates.get("tarcast", [])
    yield "| way | MB/s, median | lowest | highest | tarcast is so many times as fast |"
    yield "|---|---|---|---|---|"
    for name, values in rates.items():
        summary = summarize(values)
        # Of rates and not of times: the other way round.
        times = ratio(ours, values)
        shown = "" if times is None or name == "tarcast" else f"{times:.2f}"
        yield f"| {name} | {summary.median:.0f} | {summary.low:.0f} | {summary.high:.0f} | {shown} |"


def fault(tree: Path, port: int, part: int) -> Iterator[str]:
    """Cut every attempt at one part in its middle, and tell what was said and what is left."""
    import fsspec

    import tarcast

    fs = fsspec.filesystem("s3", **options(f"http://127.0.0.1:{port}"))
    proxy = Faults(port)
    try:
        proxy.rule = lambda method, path, number: CUT if f"partNumber={part}&" in path + "&" else None
        begin = time.monotonic()
        try:
            tarcast.write_tar(tree, f"s3://{BUCKET}/cut.tar", storage_options=options(proxy.endpoint))
        except tarcast.OutputError as error:
            yield f"said after {time.monotonic() - begin:.1f} s: {error}"
        else:
            yield f"nothing failed: the archive has fewer than {part} parts"
        sent = sum("partNumber" in path for _, path in proxy.seen)
    finally:
        proxy.close()
    objects = fs.call_s3("list_objects_v2", Bucket=BUCKET).get("Contents", [])
    uploads = fs.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads") or []
    yield f"requests with a part: {sent}; objects there: {len(objects)}, unfinished uploads: {len(uploads)}"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.upload", description="Uploads to an S3-compatible server on loopback."
    )
    p.add_argument("--work", choices=sorted(TREES), default="mid", help="a tree of workloads.py")
    p.add_argument("--scale", type=positive, default=1.0)
    p.add_argument("--rounds", type=positive_int, default=5)
    p.add_argument("--dir", type=Path, help="where trees are kept (default: temp)")
    p.add_argument(
        "--only", action="append", default=[], metavar="WAY", help="some ways, by name (repeatable)"
    )
    p.add_argument(
        "--server",
        default="versitygw" if shutil.which("versitygw") else "moto",
        help="versitygw, by name or path (default where it is found), or moto, which is slow",
    )
    p.add_argument("--fault", type=positive_int, default=20, metavar="PART", help="which part is cut")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    import tarcast

    with contextlib.ExitStack() as stack:
        base = base_directory(args.dir, cache_directory())
        tree = make(args.work, trees_directory(base, args.scale), args.scale)
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tarcast-s3-", dir=memory)))
        ready = place / "ready.tar"
        size = tarcast.write_tar(tree, ready).bytes_written
        (place / "server").mkdir()
        server = Server(args.server, place / "server")
        stack.callback(server.close)
        import fsspec

        fsspec.filesystem("s3", **options(server.endpoint)).call_s3("create_bucket", Bucket=BUCKET)
        where = f"to {Path(args.server).name} in memory"
        print(f"{args.work}, {size / 1e6:,.0f} MB, {where}, {args.rounds} rounds\n")
        for line in table(measure(tree, ready, server.endpoint, args.rounds, args.only)):
            print(line, flush=True)
        print()
        for line in fault(tree, server.port, args.fault):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
