"""A directory as a download, by aiohttp.

pip install tarcast aiohttp
TARCAST_EXAMPLE_TREE=docs python examples/aiohttp_download.py 8000
curl -O http://127.0.0.1:8000/archive.tar
"""

from __future__ import annotations

import os
import sys

from aiohttp import web

import tarcast

HEADERS = {"Content-Type": "application/x-tar", "Content-Disposition": 'attachment; filename="archive.tar"'}


async def archive(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    if request.method == "HEAD":
        return response
    # A write to a client that has left raises ConnectionResetError; leaving the block ends the export.
    async with tarcast.aiter_tar(os.environ["TARCAST_EXAMPLE_TREE"]) as chunks:
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)  # waits while the client is slow
        await response.write_eof()
    return response


app = web.Application()
app.add_routes([web.get("/archive.tar", archive)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
