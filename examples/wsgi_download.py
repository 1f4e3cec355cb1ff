"""A directory as a download, by any WSGI server; here the standard library's.

    pip install tarcast
    TARCAST_EXAMPLE_TREE=docs python examples/wsgi_download.py 8000
    curl -O http://127.0.0.1:8000/archive.tar

Gunicorn and others take `wsgi_download:application`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer, make_server

import tarcast

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HEADERS = [
    ("Content-Type", "application/x-tar"),
    ("Content-Disposition", 'attachment; filename="archive.tar"'),
]


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/archive.tar":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found\n"]
    start_response("200 OK", HEADERS)
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    # The server calls its close(), also when the client has left (PEP 3333), and that ends the export.
    return tarcast.iter_tar(os.environ["TARCAST_EXAMPLE_TREE"])


class Server(ThreadingMixIn, WSGIServer):
    """One thread for each client."""

    daemon_threads = True


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), application, server_class=Server).serve_forever()
