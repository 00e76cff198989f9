"""All or nothing: the records of one body go the data path together, and either each is published or none is."""

from __future__ import annotations

from collections.abc import Iterable

from inlake.codecs import Compiled
from inlake.errors import BodyRejected, InlakeError, PromiseNotAtomic
from inlake.event import Stamp, make_event
from inlake.gateway import Gateway, Turn, make_receipt
from inlake.model import Event, Receipt, Submission
from inlake.promises.places import promise_named

Name = tuple[str, int | None, str | None]
"""Schema, version, message."""
Line = tuple[int, Submission | InlakeError]
"""Its number from 1, and the record in it, or why there is none."""


async def ingest_all_or_none(gateway: Gateway, lines: Iterable[Line], *, named: int) -> list[tuple[int, Receipt]]:
    """Validate every record, then publish them in one call; the receipts by line.

    `named`: of how many refused lines the error tells. Raises `BodyRejected`, `PromiseNotAtomic`, what the registry
    raises, and what `Bus.publish_all_or_none` raises, with the `line` where one is to blame.
    """
    encoded: dict[int, tuple[Event, Compiled]] = {}
    refused: list[tuple[int, InlakeError]] = []
    found: dict[Name, Compiled] = {}
    rejected = 0
    turn, stamp = Turn(), Stamp()
    for number, line in lines:
        try:
            if isinstance(line, InlakeError):
                raise line
            name = (line.label.schema, line.label.version, line.label.message)
            compiled = found.get(name) or found.setdefault(name, await gateway.codecs.find(*name))
            encoded[number] = make_event(line, compiled, await _encode(gateway, line, compiled), stamp), compiled
        except InlakeError as error:
            if error.retryable or isinstance(error, PromiseNotAtomic):  # it is not the record that is wrong
                error.members["line"] = number
                raise
            rejected += 1
            if len(refused) < named:
                refused.append((number, error.kept()))
        if turn.is_over():
            await turn.give_way()
    if refused:
        raise BodyRejected(refused, rejected)
    return await _publish(gateway, encoded)


async def _encode(gateway: Gateway, s: Submission, compiled: Compiled) -> bytes:
    """The payload of a record without a binary of ours."""
    draft = compiled.codec.read(s.record, tagged=s.label.tagged)
    if draft.resource is not None:
        if promise_named(draft.resource):
            raise PromiseNotAtomic(
                "A record that names a promise cannot be published all or nothing: send it without mode=atomic."
            )
        await gateway.promises.locate(s, draft.resource, compiled.codec)  # a URI of others, or an error
    return compiled.codec.encode(draft)


async def _publish(gateway: Gateway, encoded: dict[int, tuple[Event, Compiled]]) -> list[tuple[int, Receipt]]:
    try:
        positions = await gateway.bus.publish_all_or_none([event for event, _ in encoded.values()])
    except InlakeError as error:
        index = error.members.pop("event", None)
        if index is not None:
            error.members["line"] = list(encoded)[index]
        raise
    receipts, turn = [], Turn()
    for (number, (event, compiled)), position in zip(encoded.items(), positions, strict=True):
        receipts.append((number, make_receipt(event, compiled, position)))
        if turn.is_over():
            await turn.give_way()
    return receipts
