"""A route: a request is admitted, handled, and an error answered in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute

from inlake.errors import InlakeError, InternalError, ShuttingDown
from inlake.gateway import Gateway
from inlake.web.request.admission import Admission
from inlake.web.request.exchange import ClientGoneError, Exchange, Receive, Scope, Send, Site

Endpoint = Callable[[Exchange, Gateway], Awaitable[None]]


class RawRoute(APIRoute):
    """An `APIRoute` for the document whose ASGI application is ours."""

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        gateway: Gateway,
        site: Site,
        admission: Admission,
        extra: dict[str, Any],
        method: str = "POST",
    ) -> None:
        async def documented() -> None: ...

        documented.__name__, documented.__doc__ = endpoint.__name__, endpoint.__doc__
        status = min(map(int, extra["responses"]))  # of success: FastAPI documents it by itself
        tags = None if "tags" in extra else ["ingress"]
        given: dict[str, Any] = {"methods": [method], "status_code": status, "openapi_extra": extra, "tags": tags}
        super().__init__(path, documented, response_class=Response, **given)  # any other adds application/json

        async def answer(x: Exchange) -> None:
            try:
                held = admission.admit(x)
                try:
                    await endpoint(x, gateway)
                finally:
                    admission.release(held)
            except InlakeError as error:
                if x.status:
                    raise
                await x.refuse(error)
            except ClientGoneError:
                return  # nobody is there to read an answer
            except asyncio.CancelledError:  # the server stops, and has waited as long as it may
                await x.turn_away(ShuttingDown("The gateway is stopping: send the request again."))
            except Exception:
                if not x.status:
                    await x.refuse(fault(x.instance))
                raise  # to the log

        async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(Exchange(scope, receive, send, site))

        self.answer, self.app = answer, asgi


def fault(instance: str) -> InternalError:
    """What a client is told of an error that nobody expected."""
    return InternalError(f"This is a fault of the gateway; its log has it as {instance}.")
