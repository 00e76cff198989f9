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
    ├── QuotaExceeded 429
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
    retry_after: int | None = None
    """Seconds for the `Retry-After` header; None where a retry of the same request cannot help."""
    is_of_content: ClassVar[bool] = False
    """A record that is refused so is to be mended: it is kept where rejects are."""

    def __init__(self, detail: str, **members: Any) -> None:
        """`detail`: one sentence, says what to do; `members`: extension members of the problem document."""
        super().__init__(detail)
        self.detail = detail
        self.members = members

    def without_frames(self) -> Self:
        """This error, to be kept as a result: without the frames it came through, and all that they hold."""
        self.__traceback__ = self.__context__ = None
        return self

    def __init_subclass__(cls, *, status: int = 0, retry_after: int | None = None, is_of_content: bool = False) -> None:
        """The code of a class is its name in snake_case; its line says what else is not as in its parent."""
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if status:
            cls.status = status
        if retry_after:
            cls.retry_after = retry_after
        if is_of_content:
            cls.is_of_content = True

    @property
    def is_failure(self) -> bool:
        """Nothing is wrong with what was sent: the same may be taken another time."""
        return self.status >= 500 or self.status == 429

    @property
    def retryable(self) -> bool:
        return self.retry_after is not None

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0]


# ------------------------------------------------------------------------------------------------- 400: the request
class BadRequest(InlakeError, status=400):
    """The request is malformed"""


class MalformedJson(BadRequest, is_of_content=True):
    """The body is not JSON"""


class MalformedMultipart(BadRequest):
    """The multipart body is malformed or cut off"""


class MissingParameter(BadRequest, is_of_content=True):
    """A parameter is missing"""


class BadParameter(BadRequest):
    """A parameter has a value that is not allowed"""


class BadName(BadRequest, is_of_content=True):
    """A schema or destination name is not allowed"""


class BadEnvelope(BadRequest, is_of_content=True):
    """The envelope around a record is malformed"""


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
class Unauthorized(InlakeError, status=401):
    """The request does not say who sends it"""


class Forbidden(InlakeError, status=403):
    """The principal may not do this"""


class NotFound(InlakeError, status=404):
    """There is nothing here"""


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


class MethodNotAllowed(InlakeError, status=405):
    """The route does not take this method"""


class RequestTimeout(InlakeError, status=408):
    """The request came too slowly"""


class Conflict(InlakeError, status=409):
    """The request conflicts with what is there"""


class PromiseUsed(Conflict):
    """The promise was claimed before"""


class PlaceTaken(Conflict):
    """There is an object at this place already"""


class RejectMended(Conflict):
    """The reject was mended before"""


class RejectNeedsFile(Conflict):
    """The reject came with a file, which was not kept"""


class IdempotencyInFlight(Conflict, retry_after=1):
    """A request with this Idempotency-Key is being worked on"""


class OffsetConflict(Conflict):
    """The upload stands at another offset"""


class WrongState(Conflict):
    """The promise takes its binary in another way, or no more"""


class UploadIncomplete(Conflict):
    """The store does not hold the whole binary yet"""


class ObjectChanged(Conflict):
    """The object in the store is another than it was"""


class ShipmentBusy(Conflict, retry_after=1):
    """Another request is completing the shipment"""


class ShipmentExpired(InlakeError, status=410):
    """The shipment has ended before the file came"""


class PromiseExpired(InlakeError, status=410):
    """The promise expired before it was claimed"""


class TooLarge(InlakeError, status=413):
    """The body is too large"""


class RecordTooLarge(TooLarge, is_of_content=True):
    """The record is too large"""


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


class TusVersionRefused(InlakeError, status=412):
    """The request is not of a version of tus that the gateway speaks"""


class PreconditionFailed(InlakeError, status=412):
    """The object is another than the one that is named"""


class UnsupportedMediaType(InlakeError, status=415):
    """The media type of the body is not one this route takes"""


class RangeNotSatisfiable(InlakeError, status=416):
    """The object has no such range of bytes"""


# ------------------------------------------------------------------------------------------ 422: understood and refused
class Unprocessable(InlakeError, status=422):
    """The request is understood and cannot be done"""


class RecordRejected(Unprocessable, is_of_content=True):
    """The record does not fit its schema"""

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


class NoResourceField(Unprocessable, is_of_content=True):
    """The schema has no field for the path of a binary"""


class ResourceNotAPromise(Unprocessable, is_of_content=True):
    """The record's resource path is neither a promise nor a foreign URI"""


class BadPlace(Unprocessable, is_of_content=True):
    """The place named for the binary is not allowed"""


class IdempotencyKeyReused(Unprocessable):
    """The Idempotency-Key was used for another request"""


class SizeMismatch(Unprocessable):
    """The binary has another length than was announced"""


class DigestMismatch(Unprocessable):
    """The bytes are not those that the digest was made of"""


class UploadLocked(InlakeError, status=423, retry_after=1):
    """Another request is writing this upload"""


class PartsRefused(Unprocessable):
    """The store does not make an object of these parts"""


class QuotaExceeded(InlakeError, status=429, retry_after=60):
    """More was sent than a quota allows"""

    def __init__(self, detail: str, seconds: int, **members: Any) -> None:
        """`seconds`: when there is room again."""
        super().__init__(detail, **members)
        self.retry_after = seconds


class HeadersTooLarge(InlakeError, status=431):
    """The request line and headers are too large"""


class ChecksumMismatch(InlakeError, status=460):
    """The bytes are not those that the checksum was made of"""


# ------------------------------------------------------------------------------------------------------ 5xx: our side
class InternalError(InlakeError):
    """The gateway has a fault"""

    @classmethod
    def of_record(cls, fault: BaseException) -> Self:
        """The error of a record for a `fault` that nobody expected: who answers it tells the log of the cause."""
        error = cls("The gateway has a fault that shows with this record.")
        error.__cause__ = fault
        return error


class NotBuilt(InlakeError, status=501):
    """This gateway cannot do that"""


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


class Unavailable(InlakeError, status=503, retry_after=5):
    """A service that Inlake needs cannot be reached"""


class BusUnavailable(Unavailable):
    """The bus did not take the event; nothing was published"""


class OutcomeUnknown(Unavailable):
    """The bus did not confirm in time; the event may or may not have been published"""


class TopicMissing(Unavailable, retry_after=30):
    """The topic does not exist and the gateway may not create it"""


class StoreUnavailable(Unavailable):
    """The object store cannot be reached"""


class RegistryUnavailable(Unavailable):
    """The schema registry cannot be reached"""


class RegistryRefused(Unavailable, retry_after=30):
    """The schema registry refused the gateway"""


class IssuerUnavailable(Unavailable):
    """The issuer of tokens cannot be reached"""


class SchemaChanged(Unavailable, retry_after=60):
    """An id of the registry had another text before"""


class Busy(Unavailable, retry_after=1):
    """The gateway has more in flight than it may hold"""


class ShuttingDown(Unavailable, retry_after=5):
    """The gateway is stopping"""


class OutOfSpace(InlakeError, status=507, retry_after=60):
    """The disk of the gateway or of the store is full"""


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
