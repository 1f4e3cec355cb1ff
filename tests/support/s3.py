"""A real S3-compatible server on loopback (moto's), and a proxy before it that makes requests fail."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

BUCKET = "bucket"

# What a rule may say of a request, besides None (let it pass) and an HTTP status to refuse it with:
CUT = "cut"  # end the connection in the middle of what is sent
HANG = "hang"  # never answer

_OF_THE_HOP = ("transfer-encoding", "content-length", "connection", "date", "server")

Rule = Callable[[str, str, int], "str | int | None"]  # method, path with query, which request of its kind


def options(endpoint: str, **more: Any) -> dict[str, Any]:
    """storage_options for `endpoint`; botocore tries everything twice, so that failing for good is quick."""
    return {
        "key": "testing",
        "secret": "testing",
        "endpoint_url": endpoint,
        "client_kwargs": {"region_name": "us-east-1"},
        "config_kwargs": {"retries": {"total_max_attempts": 2}},
        **more,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens on `port`, for at most 30 s."""
    for _ in range(300):
        assert process.poll() is None, "the server ended at once"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on port {port}")


class Store:
    """moto's server in a process of its own, with one bucket."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MOTO_S3_CUSTOM_ENDPOINTS": ""},
        )
        wait_for_port(self.port, self._process)
        self.call("create_bucket")

    def call(self, method: str, **arguments: Any) -> Any:
        import fsspec

        fs = fsspec.filesystem("s3", **options(self.endpoint))
        return fs.call_s3(method, Bucket=BUCKET, **arguments)

    def get(self, key: str) -> bytes:
        import fsspec

        content: bytes = fsspec.filesystem("s3", **options(self.endpoint)).cat_file(f"{BUCKET}/{key}")
        return content

    def put(self, key: str, content: bytes) -> None:
        self.call("put_object", Key=key, Body=content)

    def keys(self) -> list[str]:
        return [entry["Key"] for entry in self.call("list_objects_v2").get("Contents", [])]

    def unfinished(self) -> list[str]:
        """Keys of uploads that were neither completed nor aborted."""
        return [upload["Key"] for upload in self.call("list_multipart_uploads").get("Uploads", [])]

    def clear(self) -> None:
        for key in self.keys():
            self.call("delete_object", Key=key)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Faults:
    """A proxy on loopback before the server on `port`: `rule` says what is to go wrong.

    Attributes:
        endpoint: where it listens.
        rule: asked for every request.
        seen: (method, path with query) of every request so far.
    """

    def __init__(self, port: int) -> None:
        self.rule: Rule = lambda method, path, number: None
        self.seen: list[tuple[str, str]] = []
        self._released = threading.Event()
        faults = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the client went away
                    super().handle()

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()

            def do_PUT(self) -> None:
                faults._serve(self, port)

            do_GET = do_HEAD = do_POST = do_DELETE = do_PUT

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _serve(self, request: Any, port: int) -> None:
        kind = (request.command, request.path.partition("?")[2].partition("=")[0])
        same = [1 for method, path in self.seen if (method, path.partition("?")[2].partition("=")[0]) == kind]
        self.seen.append((request.command, request.path))
        fault = self.rule(request.command, request.path, len(same) + 1)
        length = int(request.headers.get("Content-Length", 0))
        if fault == CUT:
            request.rfile.read(length // 2)
            cut(request.connection)
            request.close_connection = True
            return
        body = request.rfile.read(length)
        if fault == HANG:
            self._released.wait(60)
            request.close_connection = True
            return
        if isinstance(fault, int):
            code = {403: "AccessDenied", 404: "NoSuchBucket"}.get(fault, "InternalError")
            text = f"<Error><Code>{code}</Code><Message>said by the test: {fault}</Message></Error>"
            answer = text.encode()
            request.send_response(fault)
            request.send_header("Content-Type", "application/xml")
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(answer)
            return
        self._pass_on(request, port, body)

    @staticmethod
    def _pass_on(request: Any, port: int, body: bytes) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            headers = {name: value for name, value in request.headers.items() if name != "Expect"}
            upstream.request(request.command, request.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            request.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_HOP:
                    request.send_header(name, value)
            length = answer.getheader("Content-Length") if request.command == "HEAD" else str(len(content))
            request.send_header("Content-Length", length or "0")
            request.end_headers()
            request.wfile.write(content)
        finally:
            upstream.close()

    def gone(self) -> None:
        """Nobody listens any more, as if the server had died."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    close = gone


def cut(connection: socket.socket) -> None:
    """End it by a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def faults_before(store: Store) -> Iterator[Faults]:
    proxy = Faults(store.port)
    try:
        yield proxy
    finally:
        proxy.close()
