"""A route: its request is admitted and handled, and an error is answered in one place."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from fastapi import Response
from fastapi.routing import APIRoute

from inlake.access.rights import Action
from inlake.errors import InlakeError, InternalError, ShuttingDown
from inlake.group import NO_FAULT
from inlake.web.request.exchange import ClientGoneError, Exchange
from inlake.web.request.quota import admit
from inlake.web.request.site import Site
from inlake.wiring import Deployment

Handler = Callable[[Exchange, Deployment], Awaitable[None]]
Document = dict[str, Any]
"""An operation of OpenAPI; in place of a JSON Schema there may be a type."""


class Row(NamedTuple):
    """A row of the table of routes. What the handler's docstring says stands in the document."""

    method: str
    path: str
    handle: Handler
    document: Document | None = None
    """The operation in the OpenAPI document; None for a route that is not in it."""
    may_hold: Callable[[Exchange], int] | None = None
    """Bytes of memory that the request may take at once, told by its headers; None: it is not counted."""
    idempotent: Callable[[Handler], Handler] | None = None
    """Makes of the handler the one that takes requests with an `Idempotency-Key`."""
    needs: Sequence[Action] = ("ingest",)
    """One of these rights, on whatever schema; on a schema that the request names, the handler looks for it."""
    is_open: bool = False
    """Needs no API key and no right: it tells nothing of what clients sent."""


class Route(APIRoute):
    """Handles the requests of one row; FastAPI looks at it for the OpenAPI document only."""

    def __init__(self, row: Row, d: Deployment, site: Site) -> None:
        self.row, self._deployment, self._site = row, d, site
        self._handle_idempotent = row.idempotent(row.handle) if row.idempotent else row.handle
        text = inspect.getdoc(row.handle) or ""
        super().__init__(
            row.path,
            _documented,
            methods=[row.method],
            name=row.handle.__name__,
            operation_id="_".join(re.findall(r"\w+", f"{row.method.lower()} {row.path}")),
            summary=text.partition("\n")[0].rstrip("."),
            description=text,
            response_class=Response,
            include_in_schema=row.document is not None,
        )

    async def answer(self, x: Exchange) -> None:
        """Have the request handled. What nobody expected is answered, too, and raised: it belongs in the log."""
        row, admission = self.row, self._site.admission
        try:
            x.caller = await self._site.auth.caller(x, row.is_open, x.scope["method"])
            if not row.is_open:
                x.caller.check_some(row.needs)
            handle = self._handle_idempotent if x.has(b"idempotency-key") else row.handle
            if row.may_hold is None:
                admit(x, is_open=row.is_open)
                await handle(x, self._deployment)
                return
            x.check_is_whole()
            held = admission.admit(row.may_hold(x))
            try:
                admit(x, is_open=row.is_open)  # behind the admission: what is refused for load counts against no quota
                await handle(x, self._deployment)
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
        except NO_FAULT:
            raise
        except BaseException:
            if not x.status:
                await x.refuse(fault(x.instance))
            raise


def fault(instance: str) -> InternalError:
    """The error that a client is told when nobody expected it."""
    return InternalError(f"This is a fault of the gateway; its log has it as {instance}.")


async def _documented() -> None:
    """An endpoint for FastAPI's document: nothing of it is called."""
