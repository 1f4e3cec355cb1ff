"""An upload to S3 that is interrupted in the midst of a request, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tarcast.sinks import multipart
from tarcast.sinks.multipart import SMALLEST_PART, MultipartUpload
from tarcast.sinks.remote import RemoteSink

MAYBE = "the archive may be under its name, and is whole then"


class Stopped(BaseException):
    """As Ctrl-C."""


class ReadTimeoutError(TimeoutError):
    """As botocore's: the answer was lost."""


class FakeS3:
    """What the upload needs of s3fs, and a server with one object.

    Attributes:
        slow: the method whose request is done, and answered once `answer` is called.
        error: what that request ends with then.
        reached: it was asked for.
    """

    def __init__(self) -> None:
        asyn = pytest.importorskip("fsspec.asyn")
        self.loop = asyn.get_loop()
        self.storage_options = {"default_block_size": SMALLEST_PART}
        self.fixed_upload_size = True
        self.slow = ""
        self.error: Exception | None = None
        self.reached = False
        self.uploads: set[str] = set()
        self.object: int | None = None
        self.calls: list[str] = []
        self._answer = asyncio.Event()

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def invalidate_cache(self, path: str) -> None:
        pass

    def answer(self, seconds: float = 0.1) -> None:
        self.loop.call_soon_threadsafe(self.loop.call_later, seconds, self._answer.set)

    async def _call_s3(self, method: str, **arguments: Any) -> dict[str, Any]:
        self.calls.append(method)
        answer = self._do(method, arguments)
        if method == self.slow:
            self.reached = True
            await self._answer.wait()
            if self.error is not None:
                raise self.error
        return answer

    def _do(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        upload = arguments.get("UploadId")
        if upload is not None and upload not in self.uploads:
            raise FileNotFoundError("no such upload")
        if method == "create_multipart_upload":
            self.uploads.add("id-1")
            return {"UploadId": "id-1"}
        if method == "upload_part":
            return {"ETag": str(len(arguments["Body"]))}
        if method == "put_object":
            self.object = len(arguments["Body"])
        if method == "complete_multipart_upload":
            self.object = sum(int(part["ETag"]) for part in arguments["MultipartUpload"]["Parts"])
        if method in ("complete_multipart_upload", "abort_multipart_upload"):
            self.uploads.remove(arguments["UploadId"])
        return {}


@pytest.fixture
def fs() -> FakeS3:
    return FakeS3()


def upload_to(fs: FakeS3, answer: Callable[[], object] = lambda: None) -> MultipartUpload:
    """One that is stopped in the slow request, which is answered a moment later by way of `answer`."""

    def look() -> None:
        if fs.reached:
            answer()
            raise Stopped

    return MultipartUpload(fs, "bucket/key", look)


def test_an_upload_that_was_being_begun_is_aborted(fs: FakeS3) -> None:
    fs.slow = "create_multipart_upload"
    upload = upload_to(fs, fs.answer)
    upload.open()
    with pytest.raises(Stopped):
        upload.write(memoryview(bytes(SMALLEST_PART)))
    assert fs.uploads == {"id-1"}
    upload.abort()
    assert (fs.uploads, fs.object, upload.remains) == (set(), None, "")


def test_an_upload_whose_id_does_not_come_is_told(fs: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "ABORT_SECONDS", 0.1)
    fs.slow = "create_multipart_upload"
    upload = upload_to(fs)
    upload.open()
    with pytest.raises(Stopped):
        upload.write(memoryview(bytes(SMALLEST_PART)))
    with pytest.raises(TimeoutError):
        upload.abort()
    assert upload.remains == "have an unfinished upload of key aborted there, should there be one"


@pytest.mark.parametrize(
    ("error", "remains"),
    [
        (PermissionError("no"), ""),
        (ReadTimeoutError("late"), "have an unfinished upload of key aborted there, should there be one"),
    ],
    ids=["refused", "lost"],
)
def test_an_upload_that_could_not_be_begun(fs: FakeS3, error: Exception, remains: str) -> None:
    fs.slow, fs.error = "create_multipart_upload", error
    fs.answer(0)
    upload = MultipartUpload(fs, "bucket/key", lambda: None)
    upload.open()
    with pytest.raises(type(error)):
        upload.write(memoryview(bytes(SMALLEST_PART)))
    if remains:
        with pytest.raises(type(error)):
            upload.abort()
    else:
        upload.abort()
    assert upload.remains == remains


@pytest.mark.parametrize(("slow", "size"), [("put_object", 1), ("complete_multipart_upload", SMALLEST_PART)])
def test_an_object_that_may_be_there_is_told(fs: FakeS3, slow: str, size: int) -> None:
    fs.slow = slow
    upload = upload_to(fs)
    upload.open()
    upload.write(memoryview(bytes(size)))
    with pytest.raises(Stopped):
        upload.commit()
    with pytest.raises(OSError, match="the last request was cut short"):
        upload.abort()
    assert (fs.object, fs.uploads, upload.remains) == (size, set(), MAYBE)


def test_a_completion_whose_answer_was_lost_is_told(fs: FakeS3) -> None:
    fs.slow, fs.error = "complete_multipart_upload", ReadTimeoutError("late")
    fs.answer(0)
    upload = MultipartUpload(fs, "bucket/key", lambda: None)
    upload.open()
    upload.write(memoryview(bytes(SMALLEST_PART)))
    with pytest.raises(ReadTimeoutError):
        upload.commit()
    with pytest.raises(OSError, match="the last request was cut short"):
        upload.abort()
    assert upload.remains == MAYBE


def test_nothing_is_said_after_a_commit(fs: FakeS3) -> None:
    for size in (1, SMALLEST_PART):
        upload = MultipartUpload(fs, "bucket/key", lambda: None)
        upload.open()
        upload.write(memoryview(bytes(size)))
        upload.commit()
        upload.abort()
        assert (fs.object, fs.uploads, upload.remains) == (size, set(), "")
    assert "abort_multipart_upload" not in fs.calls


def test_the_sink_says_it(fs: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    fs.slow = "put_object"
    sink = RemoteSink("memory://bucket/key")
    monkeypatch.setattr(sink, "_choose", lambda: upload_to(fs))
    sink.open()
    assert sink.write is not None
    sink.write(memoryview(b"x"))
    with pytest.raises(Stopped):
        sink.commit()
    assert str(sink.left) == (
        f"memory://bucket/key: remove what was uploaded: the last request was cut short; {MAYBE}"
    )
