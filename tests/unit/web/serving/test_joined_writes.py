"""Small writes that go out together."""

from __future__ import annotations

import asyncio
import socket

from inlake.web.serving.cycle import LARGE
from inlake.web.serving.protocol import JoinedWrites


async def test_joined_writes_keep_their_order_and_close_loses_none() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        joined = JoinedWrites(transport, loop)
        sent = [b"head", b"body", b"x" * (LARGE + 1), b"tail"]
        for piece in sent:
            joined.write(piece)
        joined.close()
        assert joined.is_closing()
        theirs.setblocking(False)
        came = b""
        while piece := await loop.sock_recv(theirs, 1 << 20):
            came += piece
        assert came == b"".join(sent)


async def test_what_is_written_in_one_turn_comes_in_one_piece() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        joined = JoinedWrites(transport, loop)
        theirs.setblocking(False)
        joined.write(b"head")
        joined.write(b"body")
        assert await loop.sock_recv(theirs, 100) == b"headbody"
        joined.close()
