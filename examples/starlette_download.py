"""A directory as a download, by Starlette. FastAPI takes the same response.

pip install tarcast starlette uvicorn
TARCAST_EXAMPLE_TREE=docs uvicorn --app-dir examples starlette_download:app
curl -O http://127.0.0.1:8000/archive.tar
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import tarcast

HEADERS = {"Content-Type": "application/x-tar", "Content-Disposition": 'attachment; filename="archive.tar"'}


class TarResponse(StreamingResponse):
    """Streams the archive of a tree. When the client leaves, the export ends at once and leaves nothing."""

    def __init__(self, tree: str) -> None:
        self.chunks = tarcast.aiter_tar(tree)
        super().__init__(self.chunks, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.chunks:
            await super().__call__(scope, receive, send)


async def archive(request: Request) -> Response:
    if request.method == "HEAD":
        return Response(headers=HEADERS)
    return TarResponse(os.environ["TARCAST_EXAMPLE_TREE"])


app = Starlette(routes=[Route("/archive.tar", archive)])
