"""The store on S3, against answers that a real server gives rarely, from a server in the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from inlake.errors import StoreUnavailable
from inlake.store.s3.store import S3Store

DATA = b"a binary"
GONE = "<Error><Code>NoSuchUpload</Code><Message>m</Message></Error>"


class Server:
    """Puts parts together at the first request for it and answers 500; the repeat hears that there is no such upload."""

    def __init__(self, *, makes: int | None = len(DATA)) -> None:
        """`makes`: bytes of the object that stands there then; None: there is none."""
        self.makes = makes
        self.completions = 0

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "POST" and "uploads" in request.query:
            return web.Response(
                text="<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            )
        if request.method == "PUT":
            assert body == DATA
            return web.Response(headers={"ETag": '"e"'})
        if request.method == "POST":
            self.completions += 1
            return web.Response(status=500) if self.completions == 1 else web.Response(status=404, text=GONE)
        if request.method == "HEAD" and self.makes is not None and self.completions:
            facts = {"ETag": '"e"', "Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT"}
            return web.Response(headers=facts, body=bytes(self.makes))
        return web.Response(status=404, text=GONE)


async def put(server: Server) -> None:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    environment = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    store = S3Store(
        "bucket", environment=environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{runner.addresses[0][1]}"}
    )

    async def chunks() -> AsyncIterator[bytes]:
        yield DATA[:5]
        yield DATA[5:]

    try:
        await store.put("objects/1/a", chunks(), content_type="image/png", metadata={})
    finally:
        await store.close()
        await runner.cleanup()


async def test_an_object_whose_making_was_not_answered_is_stored() -> None:
    server = Server()
    await put(server)
    assert server.completions == 2


@pytest.mark.parametrize("size", [None, len(DATA) - 1], ids=["no object", "another object"])
async def test_an_upload_that_is_gone_and_left_no_object_is_an_error_of_the_store(size: int | None) -> None:
    with pytest.raises(StoreUnavailable, match="NoSuchUpload"):
        await put(Server(makes=size))
