"""Archives to an S3-compatible server, when all goes well and when it does not."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tarcast import Cancelled, InputError, OptionError, OutputError, Progress, Tree, write_tar
from tarcast.sinks import multipart
from tests.support.faults import COMMAND, command
from tests.support.s3 import BUCKET, CUT, HANG, Faults, Store, faults_before, options

pytest.importorskip("s3fs")
pytest.importorskip("moto")

# aiohttp's opinion of a request's body, which s3fs draws upon itself too.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

PART = 5 << 20  # the smallest that S3 takes
URL = f"s3://{BUCKET}/out.tar"


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


@pytest.fixture
def store(server: Store) -> Iterator[Store]:
    yield server
    server.clear()
    assert server.unfinished() == []


@pytest.fixture
def faults(store: Store) -> Iterator[Faults]:
    with faults_before(store) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four parts of archive, the last one short."""
    root = tmp_path_factory.mktemp("folder")
    for number in range(3):
        (root / f"file{number}").write_bytes(os.urandom(PART + PART // 8))
    (root / "small").write_bytes(b"content")
    return root


@pytest.fixture(scope="module")
def expected(folder: Path) -> bytes:
    archive = io.BytesIO()
    write_tar(folder, archive)
    return archive.getvalue()


def to(endpoint: str, **more: Any) -> dict[str, Any]:
    """Options with small parts, and connections of their own: none is left from the test before."""
    return options(endpoint, default_block_size=PART, **more)


def test_a_large_archive_goes_in_parts(store: Store, folder: Path, expected: bytes) -> None:
    result = write_tar(folder, URL, storage_options=to(store.endpoint))
    assert store.get("out.tar") == expected
    assert result.bytes_written == len(expected)
    assert store.call("head_object", Key="out.tar")["ETag"].endswith('-4"')


def test_a_small_archive_is_one_request(store: Store, faults: Faults, folder: Path) -> None:
    result = write_tar(Tree(folder, include=["small"]), URL, storage_options=to(faults.endpoint))
    assert len(store.get("out.tar")) == result.bytes_written
    assert [method for method, _ in faults.seen if method != "HEAD"] == ["PUT"]


def test_a_second_archive_takes_the_place_of_the_first(store: Store, folder: Path, expected: bytes) -> None:
    import fsspec

    for tree in (Tree(folder, include=["small"]), Tree(folder)):
        result = write_tar(tree, URL, storage_options=to(store.endpoint))
        # Not what a listing remembers of the one before.
        info = fsspec.filesystem("s3", **to(store.endpoint)).info(f"{BUCKET}/out.tar")
        assert info["size"] == result.bytes_written
    assert store.get("out.tar") == expected


def test_parts_of_one_size(store: Store, faults: Faults, folder: Path, expected: bytes) -> None:
    write_tar(folder, URL, storage_options=to(faults.endpoint, fixed_upload_size=True, max_concurrency=1))
    assert store.get("out.tar") == expected
    numbers = [re.search("partNumber=([0-9]+)", path) for method, path in faults.seen if method == "PUT"]
    assert [found and found[1] for found in numbers] == ["1", "2", "3", "4"]


def test_parts_grow_so_that_terabytes_fit_and_memory_does_not_mind() -> None:
    sizes = [multipart.part_size(number) for number in range(1, multipart.MOST_PARTS + 1)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 8 << 20
    assert sizes[-1] <= multipart.LARGEST_PART
    assert sum(sizes) > 5 << 40
    for archive, largest in ((10 << 30, 20 << 20), (100 << 30, 110 << 20), (1 << 40, 540 << 20)):
        number = done = 0
        while done < archive:
            done += sizes[number]
            number += 1
        assert sizes[number] <= largest
    # And a first part of any size is where it begins; none is larger than S3 takes.
    assert multipart.part_size(1, 5 << 20) == 5 << 20
    assert multipart.part_size(10_000, 1 << 30) == 5 << 30


def test_environment_and_command(store: Store, folder: Path, expected: bytes) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": store.endpoint,
    }
    done = command("create", folder, "-o", URL, "--progress", "none", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert store.get("out.tar") == expected


def first(fault: str | int, count: int, method: str = "PUT", query: str = "partNumber") -> Any:
    def rule(asked: str, path: str, number: int) -> str | int | None:
        return fault if asked == method and query in path and number <= count else None

    return rule


@pytest.mark.parametrize("fault", [CUT, 500, 503])
def test_what_passes_is_tried_again(
    store: Store, faults: Faults, folder: Path, expected: bytes, fault: str | int
) -> None:
    faults.rule = first(fault, 1)
    write_tar(folder, URL, storage_options=to(faults.endpoint))
    assert store.get("out.tar") == expected
    assert len([1 for method, path in faults.seen if "partNumber" in path]) == 5


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (first(CUT, 99), "(?i)reset|disconnected|closing|broken pipe"),
        (first(500, 99), "said by the test: 500"),
        (first(403, 99), "said by the test: 403; see what these credentials may do"),
        (first(403, 99, "POST", "uploads"), "said by the test: 403; see what these credentials may do"),
        (first(500, 99, "POST", "uploadId"), "finish output: .*said by the test: 500"),
    ],
    ids=["cut", "500", "403", "403 at the start", "500 at the end"],
)
def test_what_does_not_pass_leaves_nothing(
    store: Store, faults: Faults, folder: Path, rule: Any, says: str
) -> None:
    store.put("out.tar", b"old")
    faults.rule = rule
    with pytest.raises(OutputError, match=says) as caught:
        write_tar(folder, URL, storage_options=to(faults.endpoint))
    assert caught.value.path == URL
    assert caught.value.cleanup_errors == ()
    assert store.get("out.tar") == b"old"
    assert store.unfinished() == []


def test_a_bucket_that_is_not_there_is_told_before_anything_is_read(store: Store, folder: Path) -> None:
    def never(entry: object) -> None:
        raise AssertionError("read")

    with pytest.raises(OutputError, match=r"open output: .*create the bucket") as caught:
        write_tar(Tree(folder, map=never), "s3://nowhere/out.tar", storage_options=to(store.endpoint))
    assert caught.value.path == "s3://nowhere/out.tar"


def test_a_server_that_is_gone_is_told_with_what_it_keeps(store: Store, faults: Faults, folder: Path) -> None:
    def rule(method: str, path: str, number: int) -> str | int | None:
        if "partNumber=2" in path:
            threading.Thread(target=faults.gone).start()
            return CUT
        return None

    faults.rule = rule
    with pytest.raises(OutputError) as caught:
        write_tar(folder, URL, storage_options=to(faults.endpoint, max_concurrency=1))
    (left,) = caught.value.cleanup_errors
    uploads = store.call("list_multipart_uploads")["Uploads"]
    assert f"have the unfinished upload {uploads[0]['UploadId']} aborted there" in str(left)
    assert "then clean-up failed: s3://" in str(caught.value)
    store.call("abort_multipart_upload", Key="out.tar", UploadId=uploads[0]["UploadId"])
    assert store.keys() == []


def test_no_server_at_all(folder: Path, store: Store) -> None:
    with faults_before(store) as faults:
        endpoint = faults.endpoint
    with pytest.raises(OutputError, match=r"open output: Could not connect .*; can the endpoint be reached"):
        write_tar(folder, URL, storage_options=to(endpoint))


def hanging(faults: Faults, reached: Callable[[], object]) -> None:
    def rule(method: str, path: str, number: int) -> str | int | None:
        if "partNumber=2" not in path:
            return None
        threading.Timer(0.1, reached).start()
        return HANG

    faults.rule = rule


def test_cancel_while_a_server_hangs(store: Store, faults: Faults, folder: Path) -> None:
    cancel = threading.Event()
    at: list[float] = []

    def set_it() -> None:
        at.append(time.monotonic())
        cancel.set()

    hanging(faults, set_it)
    with pytest.raises(Cancelled):
        write_tar(folder, URL, cancel=cancel, storage_options=to(faults.endpoint))
    assert time.monotonic() - at[0] < 2  # 100 ms, and the requests that abort it
    assert (store.keys(), store.unfinished()) == ([], [])


def test_interrupt_while_a_server_hangs(store: Store, faults: Faults, folder: Path) -> None:
    at: list[float] = []

    def interrupt() -> None:
        at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    hanging(faults, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_tar(folder, URL, storage_options=to(faults.endpoint))
    assert time.monotonic() - at[0] < 2
    assert (store.keys(), store.unfinished()) == ([], [])


def test_progress_goes_on_while_a_server_hangs(store: Store, faults: Faults, folder: Path) -> None:
    seen: list[Progress] = []

    def enough(progress: Progress) -> None:
        seen.append(progress)
        if "partNumber=2" in str(faults.seen) and progress.seconds > seen[0].seconds + 0.5:
            raise InterruptedError("enough")

    hanging(faults, lambda: None)
    with pytest.raises(InterruptedError):
        write_tar(folder, URL, progress=enough, storage_options=to(faults.endpoint, max_concurrency=1))
    assert 3 <= len(seen) <= 60
    assert store.unfinished() == []


def test_a_tree_that_cannot_be_read_leaves_nothing(store: Store, folder: Path) -> None:
    reads = iter(range(10))

    def vanishing(entry: Any) -> Any:
        if next(reads) == 3:
            raise InputError("gone", path=entry.path)
        return entry

    store.put("out.tar", b"old")
    with pytest.raises(InputError, match="gone"):
        write_tar(Tree(folder, map=vanishing), URL, storage_options=to(store.endpoint))
    assert store.get("out.tar") == b"old"
    assert store.unfinished() == []


def test_more_than_all_parts_is_an_error(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "MOST_PARTS", 3)
    with pytest.raises(OutputError, match=r"at most 3 parts.*default_block_size"):
        write_tar(folder, URL, storage_options=to(store.endpoint))
    assert (store.keys(), store.unfinished()) == ([], [])


def test_a_url_of_a_bucket_alone_is_refused(store: Store, folder: Path) -> None:
    with pytest.raises(OutputError, match="no object"):
        write_tar(folder, f"s3://{BUCKET}", storage_options=to(store.endpoint))


def test_command_is_interrupted(store: Store, faults: Faults, folder: Path) -> None:
    import subprocess

    reached = threading.Event()
    hanging(faults, reached.set)
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": faults.endpoint,
        "FSSPEC_S3_DEFAULT_BLOCK_SIZE": str(PART),
    }
    with subprocess.Popen(
        [*COMMAND, "create", str(folder), "-o", URL], stderr=subprocess.PIPE, env=environment
    ) as process:
        assert reached.wait(30)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, b"tarcast: terminated\n")
    assert (store.keys(), store.unfinished()) == ([], [])


def test_options_without_a_url_are_refused(folder: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "out.tar", io.BytesIO(), f"file://{tmp_path}/out.tar"):
        with pytest.raises(OptionError, match="storage_options"):
            write_tar(folder, target, storage_options={"key": "x"})
    assert list(tmp_path.iterdir()) == []
