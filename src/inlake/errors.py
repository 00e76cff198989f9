"""Every error of Inlake: its HTTP status, its stable code and whether a retry may help.

    InlakeError
    ├── BadRequest 400 ............ MalformedJson  MalformedMultipart  MissingParameter  BadName  BadParameter
    │                               BadEnvelope  MalformedEncoding  EmptyBody  BadHttp  BadDigest  BadIdempotencyKey
    ├── Unauthorized 401
    ├── Forbidden 403
    ├── NotFound 404 .............. RouteNotFound  SchemaNotFound  PromiseNotFound
    │                               ShipmentNotFound  ObjectNotFound  RejectNotFound  PreviewNotAvailable
    ├── MethodNotAllowed 405
    ├── RequestTimeout 408
    ├── Conflict 409 .............. PromiseUsed  PlaceTaken  OffsetConflict  WrongState  UploadIncomplete
    │                               IdempotencyInFlight  ShipmentBusy  ObjectChanged  RejectMended
    │                               RejectNeedsFile
    ├── PromiseExpired 410, ShipmentExpired 410
    ├── TooLarge 413 .............. RecordTooLarge  BodyTooLarge  AtomicBodyTooLarge  BinaryTooLarge  LineTooLong
    │                               CheckedBodyTooLarge
    │                               IdempotentTooLarge
    ├── TusVersionRefused 412, PreconditionFailed 412
    ├── UnsupportedMediaType 415
    ├── RangeNotSatisfiable 416
    ├── Unprocessable 422 ......... RecordRejected  InvalidSchema  NoResourceField  ResourceNotAPromise  BadPlace
    │                               DigestMismatch  PartsRefused  SizeMismatch  BodyRejected  PromiseNotAtomic
    │                               IdempotencyKeyReused
    ├── UploadLocked 423
    ├── HeadersTooLarge 431
    ├── ChecksumMismatch 460
    ├── InternalError 500
    ├── NotBuilt 501 .............. FormatNotBuilt  DirectUploadNotAvailable  MethodNotBuilt
    │                               TransferCodingNotBuilt  ResumableUploadNotBuilt
    ├── Unavailable 503 ........... BusUnavailable  OutcomeUnknown  TopicMissing  StoreUnavailable
    │                               RegistryUnavailable  RegistryRefused  SchemaChanged  Busy
    │                               ShuttingDown  IssuerUnavailable
    └── OutOfSpace 507

The first line of a class's docstring is the `title` of the problem document (RFC 9457); the class is listed in
`docs/reference/errors.md` (a test checks it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self


class FieldError(NamedTuple):
    """One reason why a record does not fit its schema."""

    pointer: str
    """RFC 6901 JSON Pointer into the record as sent; a missing or unknown field is named by its own pointer."""
    code: str
    """Stable, snake_case: `wrong_type`, `out_of_range`, `missing_field`, `unknown_field`, ..."""
    detail: str
    """One sentence for a person."""
    expected: str
    """The schema's wish for that place, in the schema language's words."""
    got: str
    """The value that stands there: the kind of JSON value, and a short extract."""


class InlakeError(Exception):
    """Something went wrong"""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry_after: ClassVar[int | None] = None
    """Seconds for the `Retry-After` header; None where a retry of the same request cannot help."""
    is_of_content: ClassVar[bool] = False
    """A record that is refused so is to be mended: it is kept where rejects are."""

    def __init__(self, detail: str, **members: Any) -> None:
        """`detail`: one sentence, says what to do; `members`: extension members of the problem document."""
        super().__init__(detail)
        self.detail = detail
        self.members = members

    def kept(self) -> Self:
        """Itself, to be kept as a result: without the frames it came through, and all that they hold."""
        self.__traceback__ = self.__context__ = None
        return self

    def __init_subclass__(cls) -> None:
        """The code of a class is its name in snake_case."""
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @property
    def retryable(self) -> bool:
        return self.retry_after is not None

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0]


# ------------------------------------------------------------------------------------------------- 400: the request
class BadRequest(InlakeError):
    """The request is malformed"""

    status = 400


class MalformedJson(BadRequest):
    """The body is not JSON"""

    is_of_content = True


class MalformedMultipart(BadRequest):
    """The multipart body is malformed or cut off"""


class MissingParameter(BadRequest):
    """A parameter is missing"""

    is_of_content = True


class BadParameter(BadRequest):
    """A parameter has a value that is not allowed"""


class BadName(BadRequest):
    """A schema or destination name is not allowed"""

    is_of_content = True


class BadEnvelope(BadRequest):
    """The envelope around a record is malformed"""

    is_of_content = True


class MalformedEncoding(BadRequest):
    """The compressed body is malformed or cut off"""


class EmptyBody(BadRequest):
    """The body holds no record"""


class BadHttp(BadRequest):
    """The HTTP request cannot be read"""


class BadIdempotencyKey(BadRequest):
    """The Idempotency-Key is not one"""


class BadDigest(BadRequest):
    """A digest field cannot be read"""


# ------------------------------------------------------------------------------------------- 401 to 416: not like this
class Unauthorized(InlakeError):
    """The request does not say who sends it"""

    status = 401


class Forbidden(InlakeError):
    """The principal may not do this"""

    status = 403


class NotFound(InlakeError):
    """There is nothing here"""

    status = 404


class RouteNotFound(NotFound):
    """There is no such route"""


class RejectNotFound(NotFound):
    """The reject is unknown, another principal's, or rejects are not kept"""


class SchemaNotFound(NotFound):
    """The schema or its version is unknown"""


class ShipmentNotFound(NotFound):
    """The shipment, or a line of it, is unknown, or another principal's"""


class PromiseNotFound(NotFound):
    """The promise is unknown, or another principal's"""


class ObjectNotFound(NotFound):
    """There is no object at this URI"""


class PreviewNotAvailable(NotFound):
    """No picture of the object can be made"""


class MethodNotAllowed(InlakeError):
    """The route does not take this method"""

    status = 405


class RequestTimeout(InlakeError):
    """The request came too slowly"""

    status = 408


class Conflict(InlakeError):
    """The request conflicts with what is there"""

    status = 409


class PromiseUsed(Conflict):
    """The promise was claimed before"""


class PlaceTaken(Conflict):
    """There is an object at this place already"""


class RejectMended(Conflict):
    """The reject was mended before"""


class RejectNeedsFile(Conflict):
    """The reject came with a file, which was not kept"""


class IdempotencyInFlight(Conflict):
    """A request with this Idempotency-Key is being worked on"""

    retry_after = 1


class OffsetConflict(Conflict):
    """The upload stands at another offset"""


class WrongState(Conflict):
    """The promise takes its binary in another way, or no more"""


class UploadIncomplete(Conflict):
    """The store does not hold the whole binary yet"""


class ObjectChanged(Conflict):
    """The object in the store is another than it was"""


class ShipmentBusy(Conflict):
    """Another request is completing the shipment"""

    retry_after = 1


class ShipmentExpired(InlakeError):
    """The shipment has ended before the file came"""

    status = 410


class PromiseExpired(InlakeError):
    """The promise expired before it was claimed"""

    status = 410


class TooLarge(InlakeError):
    """The body is too large"""

    status = 413


class RecordTooLarge(TooLarge):
    """The record is too large"""

    is_of_content = True


class BodyTooLarge(TooLarge):
    """The body inflates to too much"""


class AtomicBodyTooLarge(TooLarge):
    """The body is too large to be published all or nothing"""


class ShipmentTooLarge(TooLarge):
    """The shipment has too many files, or its lines are too large"""


class BinaryTooLarge(TooLarge):
    """The binary is too large"""


class CheckedBodyTooLarge(TooLarge):
    """A body with a checksum is too large"""


class LineTooLong(TooLarge):
    """A line is too long"""


class IdempotentTooLarge(TooLarge):
    """The body is too large for an Idempotency-Key"""


class TusVersionRefused(InlakeError):
    """The request is not of a version of tus that the gateway speaks"""

    status = 412


class PreconditionFailed(InlakeError):
    """The object is another than the one that is named"""

    status = 412


class UnsupportedMediaType(InlakeError):
    """The media type of the body is not one this route takes"""

    status = 415


class RangeNotSatisfiable(InlakeError):
    """The object has no such range of bytes"""

    status = 416


# ------------------------------------------------------------------------------------------ 422: understood and refused
class Unprocessable(InlakeError):
    """The request is understood and cannot be done"""

    status = 422


class RecordRejected(Unprocessable):
    """The record does not fit its schema"""

    is_of_content = True

    def __init__(self, errors: Sequence[FieldError], **members: Any) -> None:
        """`errors`: at least one, in the order of the record, up to `INLAKE_MAX_ERRORS`."""
        count = len(errors)
        first = errors[0]
        more = f" {count - 1} more {'is' if count == 2 else 'are'} in `errors`." if count > 1 else ""
        place = first.pointer if len(first.pointer) <= 200 else f"{first.pointer[:200]}…"
        super().__init__(f"{place or 'The record'}: {_ended(first.detail)}{more}", **members)
        self.errors = errors


class BodyRejected(Unprocessable):
    """A record of a body that is all or nothing was refused, and all with it"""

    def __init__(self, lines: Sequence[tuple[int, InlakeError]], rejected: int) -> None:
        """`lines`: numbers of refused lines from 1, and why, at least one; `rejected`: how many there are."""
        number, error = lines[0]
        more = f" {rejected - 1} more are refused." if rejected > 1 else ""
        super().__init__(
            f"Nothing of the body was published. Line {number}: {_ended(error.detail)}{more}", rejected=rejected
        )
        self.lines = lines


class PromiseNotAtomic(Unprocessable):
    """A record of a body that is all or nothing names a promise"""


class InvalidSchema(Unprocessable):
    """The schema itself is invalid"""


class NoResourceField(Unprocessable):
    """The schema has no field for the path of a binary"""

    is_of_content = True


class ResourceNotAPromise(Unprocessable):
    """The record's resource path is neither a promise nor a foreign URI"""

    is_of_content = True


class BadPlace(Unprocessable):
    """The place named for the binary is not allowed"""

    is_of_content = True


class IdempotencyKeyReused(Unprocessable):
    """The Idempotency-Key was used for another request"""


class SizeMismatch(Unprocessable):
    """The binary has another length than was announced"""


class DigestMismatch(Unprocessable):
    """The bytes are not those that the digest was made of"""


class UploadLocked(InlakeError):
    """Another request is writing this upload"""

    status, retry_after = 423, 1


class PartsRefused(Unprocessable):
    """The store does not make an object of these parts"""


class HeadersTooLarge(InlakeError):
    """The request line and headers are too large"""

    status = 431


class ChecksumMismatch(InlakeError):
    """The bytes are not those that the checksum was made of"""

    status = 460


# ------------------------------------------------------------------------------------------------------ 5xx: our side
class InternalError(InlakeError):
    """The gateway has a fault"""

    @classmethod
    def of_record(cls, fault: BaseException) -> Self:
        """The error of a record for a `fault` that nobody expected: who answers it tells the log of the cause."""
        error = cls("The gateway has a fault that shows with this record.")
        error.__cause__ = fault
        return error


class NotBuilt(InlakeError):
    """This gateway cannot do that"""

    status = 501


class FormatNotBuilt(NotBuilt):
    """The schema is in a language that Inlake does not read"""


class MethodNotBuilt(NotBuilt):
    """The method is not one that the gateway knows"""


class TransferCodingNotBuilt(NotBuilt):
    """The body comes in a transfer coding that is not taken"""


class ResumableUploadNotBuilt(NotBuilt):
    """The body is a part of an upload by a protocol that the gateway does not speak"""


class DirectUploadNotAvailable(NotBuilt):
    """The store takes no uploads past the gateway"""


class Unavailable(InlakeError):
    """A service that Inlake needs cannot be reached"""

    status, retry_after = 503, 5


class BusUnavailable(Unavailable):
    """The bus did not take the event; nothing was published"""


class OutcomeUnknown(Unavailable):
    """The bus did not confirm in time; the event may or may not have been published"""


class TopicMissing(Unavailable):
    """The topic does not exist and the gateway may not create it"""

    retry_after = 30


class StoreUnavailable(Unavailable):
    """The object store cannot be reached"""


class RegistryUnavailable(Unavailable):
    """The schema registry cannot be reached"""


class RegistryRefused(Unavailable):
    """The schema registry refused the gateway"""

    retry_after = 30


class IssuerUnavailable(Unavailable):
    """The issuer of tokens cannot be reached"""


class SchemaChanged(Unavailable):
    """An id of the registry had another text before"""

    retry_after = 60


class Busy(Unavailable):
    """The gateway has more in flight than it may hold"""

    retry_after = 1


class ShuttingDown(Unavailable):
    """The gateway is stopping"""

    retry_after = 5


class OutOfSpace(InlakeError):
    """The disk of the gateway or of the store is full"""

    status, retry_after = 507, 60


def _ended(sentence: str) -> str:
    """A sentence with its full stop, if it does not end with a question."""
    return sentence if sentence.endswith("?") else f"{sentence.rstrip('.')}."


def every_error(root: type[InlakeError] = InlakeError) -> list[type[InlakeError]]:
    """All error classes of this module below `root`, depth first: documentation, tests and clients go through them."""
    found = []
    for child in root.__subclasses__():
        if child.__module__ == __name__:  # a client raises classes that are both one of these and one of its own
            found += [child, *every_error(child)]
    return found
