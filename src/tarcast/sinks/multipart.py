"""An archive to S3 in parts: its length is not known ahead, and nothing is there until all of it is.

s3fs makes the requests, with its credentials, retries and options. Which part is how large, how many are on
their way at once, and that a failed upload is given up are decided here: s3fs's own files have parts of one
size, send one at a time and have the writer wait for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    Future = concurrent.futures.Future[Any]

MIB = 1 << 20

# What S3 allows (Amazon S3 multipart upload limits).
MOST_PARTS = 10_000
LARGEST_PART = 5 << 30
SMALLEST_PART = 5 * MIB

FIRST_PART = 8 * MIB
# The part of this number is twice as large as the first one; see `part_size`.
DOUBLED_AT = 700

# Parts on their way at once: so many, as long as together they take no more memory than this.
MOST_AT_ONCE = 8
MOST_MEMORY = 64 * MIB

LOOK_EVERY = 0.04  # seconds between two looks at cancel and signals while waiting
ABORT_SECONDS = 10.0  # how long a server that answers slowly is asked to forget an upload

# By class: nobody knows whether the server did what it was asked to.
_LOST = {"HTTPClientError", "ClientError", "ConnectionResetError", "BrokenPipeError", "TimeoutError"}


def part_size(number: int, first: int = FIRST_PART) -> int:
    """Bytes of part `number`, counted from 1.

    It grows with the square of the number, so that 10,000 parts hold 660,000 times the first one: 5.2 TiB for
    8 MiB, and 10 GiB still have parts of 20 MiB, 100 GiB of 110, 1 TiB of 540.
    """
    size = first * (DOUBLED_AT**2 + number**2) // DOUBLED_AT**2
    return min(size // MIB * MIB, LARGEST_PART)


class MultipartUpload:
    """One object, written from its first byte to its last; one thread.

    Args:
        fs: an S3FileSystem of s3fs. Of its options `default_block_size` is the size of the first part,
            `max_concurrency` how many are sent at once, and with `fixed_upload_size` all are of one size.
        path: bucket and key.
        look: called every 40 ms while something is waited for; what it raises ends the wait.
    """

    def __init__(self, fs: Any, path: str, look: Callable[[], object]) -> None:
        self._fs = fs
        self._path = path
        self._look = look
        self._bucket, self._key, _ = fs.split_path(path)
        asked = fs.storage_options
        # int: from fsspec's environment variables they come as text
        self._first = max(int(asked.get("default_block_size") or FIRST_PART), SMALLEST_PART)
        self._at_once = int(asked.get("max_concurrency") or MOST_AT_ONCE)
        self._fixed = bool(fs.fixed_upload_size)
        self._upload_id: str | None = None
        self._creating: Future | None = None  # the upload; nobody but its answer knows the id
        self._last: Future | None = None  # the request by which the object appears
        self._doubtful = False
        self._summed = False  # whether a checksum was agreed on, and is to be said again at the end
        self._sending: dict[Future, bytearray] = {}
        self._parts: list[dict[str, Any]] = []
        self._number = 1  # of the part that is being filled
        self._spare: list[bytearray] = []
        self._buffer = bytearray()
        self._filled = 0

    def open(self) -> None:
        """Connect, so that what is wrong with credentials or bucket shows before the work, and not after it.

        A bucket that one may write to but not look at is fine: the first part will tell.
        """
        if not self._key:
            raise IsADirectoryError(f"{self._path!r} names a bucket and no object in it")
        with contextlib.suppress(PermissionError):
            self._wait_for(self._call("head_bucket"))
        self._buffer = bytearray(self._size())

    def write(self, view: memoryview) -> None:
        """Take all of `view`; wait while too many parts are on their way."""
        self._collect()
        while view:
            taken = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            view = view[taken:]
            if self._filled == len(self._buffer):
                self._send()
                size = self._size()
                self._buffer = self._spare.pop() if self._spare else bytearray()
                if len(self._buffer) != size:
                    self._buffer = bytearray(size)

    def commit(self) -> None:
        """Send what is left, and have the object appear."""
        if self._upload_id is None:  # less than a part: one request, which is all or nothing
            last = self._call("put_object", Body=self._rest())
        else:
            if self._filled:
                self._send()
            while self._sending:
                self._wait(list(self._sending))
                self._collect()
            self._parts.sort(key=lambda part: int(part["PartNumber"]))
            last = self._call(
                "complete_multipart_upload",
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        self._last = self._start(last)
        self._answer(self._last)
        self._upload_id = self._last = None
        self._forget()
        self._fs.invalidate_cache(self._path)

    def abort(self) -> None:
        """Have the server forget the parts. Harmless after `commit`.

        Raises what the server says if it does not, and OSError if the last request was cut short, so that
        the object may be there.
        """
        ends = time.monotonic() + ABORT_SECONDS
        for future in self._sending:
            future.cancel()
        concurrent.futures.wait(self._sending, timeout=ABORT_SECONDS)
        last, self._last = self._last, None
        self._doubtful = last is not None and (last.cancel() or last.exception() is None)
        self._forget()
        if self._upload_id is None and self._creating is not None:
            self._learn_late(ends)
        if self._upload_id is not None and not self._give_up(ends) and last is not None:
            self._doubtful = True
        if self._doubtful:
            raise OSError("the last request was cut short")

    def _learn_late(self, ends: float) -> None:
        """Wait for the id of an upload that was being begun. Raises what keeps it from being known."""
        assert self._creating is not None
        try:
            self._learn(self._within(ends, self._creating))
        except Exception as error:
            if not _LOST & {kind.__name__ for kind in type(error).__mro__}:
                self._creating = None  # it was refused
                return
            raise

    def _give_up(self, ends: float) -> bool:
        """Abort the upload. False: the server does not know it, so it was completed, or others aborted it.

        A part that is still on its way may arrive behind the request to forget them all, so that is asked
        until the upload is not known any more.
        """
        known = False
        with contextlib.suppress(FileNotFoundError):
            for _ in range(3):
                self._ask(ends, "abort_multipart_upload", UploadId=self._upload_id)
                known = True
                with contextlib.suppress(PermissionError):  # only listing is not allowed
                    self._ask(ends, "list_parts", UploadId=self._upload_id)
                    continue
                break
        self._upload_id = None
        return known

    @property
    def remains(self) -> str:
        """What a failed `abort` leaves, for people."""
        if self._upload_id:
            return f"have the unfinished upload {self._upload_id} aborted there"
        if self._creating is not None:
            return f"have an unfinished upload of {self._key} aborted there, should there be one"
        return "the archive may be under its name, and is whole then" if self._doubtful else ""

    def _size(self) -> int:
        return self._first if self._fixed else part_size(self._number, self._first)

    def _rest(self) -> bytearray:
        rest, self._buffer = self._buffer, bytearray()
        del rest[self._filled :]
        self._filled = 0
        return rest

    def _send(self) -> None:
        """Put the part in hand on its way, when there are not too many before it."""
        if self._number > MOST_PARTS:
            raise OSError(
                f"an object has at most {MOST_PARTS:,} parts, and so many are full: "
                f"begin with larger ones, storage_options={{'default_block_size': {self._first * 8}}}"
            )
        if self._upload_id is None:
            self._creating = self._start(self._call("create_multipart_upload"))
            self._learn(self._answer(self._creating))
        body = self._rest()
        while len(self._sending) >= max(1, min(self._at_once, MOST_MEMORY // len(body))):
            self._wait(list(self._sending))
            self._collect()
        future = self._start(self._send_part(self._number, body))
        self._sending[future] = body
        self._number += 1

    def _learn(self, made: dict[str, Any]) -> None:
        self._upload_id = made["UploadId"]
        self._summed = "ChecksumAlgorithm" in made
        self._creating = None

    async def _send_part(self, number: int, body: bytearray) -> dict[str, Any]:
        answer = await self._call("upload_part", UploadId=self._upload_id, PartNumber=number, Body=body)
        sums = {name: value for name, value in answer.items() if self._summed and name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    def _collect(self) -> None:
        """Note the parts that have arrived; raise what ended one that has not."""
        for future in [future for future in self._sending if future.done()]:
            body = self._sending.pop(future)
            self._parts.append(future.result())
            self._spare = [body]

    def _forget(self) -> None:
        self._sending.clear()
        self._spare.clear()
        self._buffer = bytearray()
        self._filled = 0

    def _call(self, method: str, **arguments: Any) -> Coroutine[Any, Any, Any]:
        """A request that is about the bucket and, where it takes one, the key."""
        if method != "head_bucket":
            arguments["Key"] = self._key
        made: Coroutine[Any, Any, Any] = self._fs._call_s3(method, Bucket=self._bucket, **arguments)
        return made

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> Future:
        return asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop)

    def _wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The answer to a request that changes nothing."""
        future = self._start(coroutine)
        try:
            return self._answer(future)
        finally:
            future.cancel()

    def _answer(self, future: Future) -> Any:
        """What `look` raises leaves the request on its way."""
        while not future.done():
            self._wait([future])
        return future.result()

    def _wait(self, futures: list[Future]) -> None:
        """Until one is done, or 40 ms have passed."""
        concurrent.futures.wait(futures, timeout=LOOK_EVERY, return_when=concurrent.futures.FIRST_COMPLETED)
        self._look()

    def _ask(self, ends: float, method: str, **arguments: Any) -> None:
        self._within(ends, self._start(self._call(method, **arguments)))

    def _within(self, ends: float, future: Future) -> Any:
        """The answer, whatever is cancelled meanwhile, if it comes before the time `ends`."""
        try:
            return future.result(max(0.1, ends - time.monotonic()))
        except concurrent.futures.TimeoutError:
            if future.done():  # the back end's own
                raise
            raise TimeoutError(f"no answer in {ABORT_SECONDS:.0f} s") from None
        finally:
            future.cancel()
