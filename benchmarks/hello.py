"""The limit of the HTTP server: a POST that raw ASGI reads and answers, on uvicorn as the gateway uses it."""

from __future__ import annotations

import os

import uvicorn

from inlake.web.request.exchange import Receive, Scope, Send

ANSWER = b'{"hello": "world"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """201, once the body is read."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 201, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})


def main() -> None:
    uvicorn.run(
        hello,
        port=int(os.environ["INLAKE_PORT"]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
