"""Refused records of a request are kept, if the gateway keeps rejects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import uuid4

from inlake.errors import FieldError, InlakeError, RecordRejected
from inlake.model import Label, Submission
from inlake.rejects.keeper import Keeper
from inlake.rejects.reject import MOST_ERRORS, Reject, as_text, reasons_of
from inlake.web.request.address import Address
from inlake.web.request.disposition import filename
from inlake.web.request.exchange import Exchange

LONGEST_NAME = 1_000


class Refusals:
    """The records of one request that are refused. Made once there is one."""

    def __init__(self, x: Exchange, keeper: Keeper | None, to: Address, *, filename: str | None = None) -> None:
        """`to`: where a record goes that cannot say it itself; without a `keeper` nothing is kept; `filename`: of the
        file that came with the record."""
        self._x = x
        self._keeper = keeper
        self._to = to
        self._filename = filename

    def keep(self, error: InlakeError, came: Submission | bytes, line: int = 0) -> None:
        """Keep a record that was refused for its content. `came`: its text while no more is known of it."""
        if self._keeper is None or not error.is_of_content:
            return
        x, to = self._x, self._to
        if isinstance(came, Submission):
            label, record, event_id = came.label, came.record, came.event_id
        else:
            label = Label(to.schema or "", to.destination, to.version, to.message)
            record, event_id = came, None
        errors: Sequence[FieldError] = error.errors if isinstance(error, RecordRejected) else ()
        text, is_bytes = as_text(record)
        self._keeper.keep(
            Reject(
                id=event_id or str(uuid4()),
                at=time.time_ns() // 1_000_000,
                principal=x.principal,
                schema=label.schema,
                destination=label.destination,
                version=label.version,
                message=label.message,
                tagged=label.tagged,
                text=text,
                status=error.status,
                code=error.code,
                detail=error.detail,
                errors=list(errors[:MOST_ERRORS]),
                reasons=reasons_of(error.code, errors),
                request=x.instance,
                line=line,
                filename=(self._source() if self._filename is None else self._filename)[:LONGEST_NAME],
                has_file=self._filename is not None,
                is_bytes=is_bytes,
            )
        )

    def _source(self) -> str:
        """The name of the file that the body was, if its client says so (`Content-Disposition`)."""
        return filename(self._x.header(b"content-disposition"), may_be_latin_1=True)
