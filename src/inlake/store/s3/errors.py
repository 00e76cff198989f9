"""Errors of S3, from obstore's text to one sentence of ours that holds no credentials."""

from __future__ import annotations

import re

from inlake.errors import InlakeError, OutOfSpace, PlaceTaken, StoreUnavailable

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w+)</Code>")
CAUSE = re.compile(r'(?:message|error): "([^"]+)"|InvalidCertificate\(\s*(\w+)')

INSTANCE_METADATA = "//169.254.169.254/"
"""Where obstore asks for credentials on an AWS machine when the environment has none."""
FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
FILE_AND_FOLDER = {
    "ObjectParentIsFile",
    "ExistingObjectIsDirectory",
    "XMinioParentIsObject",
    "XMinioObjectExistsAsDirectory",
}
"""Stores that keep objects as files cannot have both `a` and `a/b`."""
ADVICE = {
    "NoSuchBucket": "There is no such bucket: make it, or name another in INLAKE_STORE.",
    "InvalidAccessKeyId": "The credentials are wrong: check AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The credentials are wrong: check AWS_SECRET_ACCESS_KEY.",
    "ExpiredToken": "The credentials have expired: renew AWS_SESSION_TOKEN.",
    "RequestTimeTooSkewed": "The clock of this machine is wrong.",
    "PermanentRedirect": "The bucket is in another region: check AWS_REGION.",
    "AuthorizationHeaderMalformed": "The bucket is in another region: check AWS_REGION.",
}
DENIED = "The credentials are wrong or may not do this: check them and the rights to get, put, delete and list objects."


def explain(where: str, error: BaseException) -> InlakeError:
    """`where`: bucket and endpoint. Of the answer only status and code are told: its text may hold what was signed."""
    text = str(error)
    if INSTANCE_METADATA in text:
        return StoreUnavailable(f"{where}: no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if status := STATUS.search(text):
        return explain_answer(where, int(status[1]), error_code(error))
    if "kind: Timeout" in text:
        return StoreUnavailable(f"{where} did not answer in time.")
    if "kind: Connect" in text:
        return StoreUnavailable(f"{where} cannot be connected to: {_cause(text)}.")
    if "kind: Request" in text or "kind: Body" in text or "kind: Decode" in text:
        return StoreUnavailable(f"{where} closed the connection before its answer was complete.")
    return StoreUnavailable(f"{where} cannot be used ({type(error).__name__}).")


def error_code(error: BaseException) -> str:
    """The S3 error code of the answer (`NoSuchBucket`); empty when it had none, as to every HEAD."""
    found = CODE.search(str(error))
    return found[1] if found else ""


def explain_failure(where: str, error: BaseException) -> InlakeError:
    """The same for what aiohttp and botocore raise when there is no answer."""
    match type(error).__name__:
        case "NoCredentialsError" | "PartialCredentialsError" | "CredentialRetrievalError":
            return StoreUnavailable(f"{where}: no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
        case (
            "TimeoutError"
            | "ReadTimeoutError"
            | "ConnectTimeoutError"
            | "ServerTimeoutError"
            | "ConnectionTimeoutError"
        ):
            return StoreUnavailable(f"{where} did not answer in time.")
        case name if name == "EndpointConnectionError" or name.startswith("ClientConnector"):
            return StoreUnavailable(f"{where} cannot be connected to.")
    return StoreUnavailable(f"{where} closed the connection, or cannot be used ({type(error).__name__}).")


def explain_answer(where: str, status: int, code: str) -> InlakeError:
    """`code`: S3's, or empty."""
    said = f"{where} answered {status} {code}".strip()
    if status == 507 or code in FULL:
        return OutOfSpace(f"{said}: it has no space left.")
    if code in FILE_AND_FOLDER:
        return PlaceTaken(f"{said}: an object cannot be a folder at the same time.")
    advice = ADVICE.get(code) or (DENIED if status in {401, 403} else "")
    return StoreUnavailable(f"{said}. {advice}".strip())


def _cause(text: str) -> str:
    found = CAUSE.search(text)
    if not found:
        return "the TLS handshake failed; is the endpoint http instead of https?"
    if found[2]:
        return f"its certificate is not trusted ({found[2]}); AWS_CA_BUNDLE names the file of your own authority"
    return found[1]
