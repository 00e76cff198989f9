"""URLs with which a client itself sends to S3 or reads from it, and we do: AWS Signature Version 4, in the query.

The rules are those of the Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters". Whatever header
is signed the client must send as it was signed: so a URL lets through one length, one checksum, one type.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from inlake.errors import DirectUploadNotAvailable, PromiseExpired, StoreUnavailable
from inlake.model import SignedRequest
from inlake.store.s3.environment import Bucket, endpoint, s3_config
from inlake.store.s3.errors import explain_failure

ALGORITHM = "AWS4-HMAC-SHA256"
LONGEST = 7 * 86_400
"""Seconds that a URL may be good for (the same reference, X-Amz-Expires)."""
_ENCRYPTION = {
    "aws_server_side_encryption": "x-amz-server-side-encryption",
    "aws_sse_kms_key_id": "x-amz-server-side-encryption-aws-kms-key-id",
}
_GIVER = "The service that gives the gateway its credentials"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Keys(NamedTuple):
    """Credentials of the store."""

    access: str
    secret: str
    token: str | None = None


class Presigner:
    """Signs requests for objects of one bucket."""

    def __init__(self, bucket: Bucket, *, public_endpoint: str | None = None) -> None:
        """`public_endpoint`: URL of the store as clients see it, where that is another than the gateway's.
        `ValueError` names the variable that is wrong."""
        self._bucket = bucket
        config = cast("dict[str, Any]", s3_config(bucket.environment))
        self._region: str = config["region"]
        url = public_endpoint or endpoint(bucket.environment) or f"https://s3.{self._region}.amazonaws.com"
        virtual = str(config.get("aws_virtual_hosted_style_request")).lower() == "true"
        self._base = _base(url, bucket.name, virtual=virtual)
        self.encryption = {header: config[name] for name, header in _ENCRYPTION.items() if name in config}
        """Headers that every new object comes with."""
        self._keys: Keys | None = None
        if "aws_access_key_id" in config:
            names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
            self._keys = Keys(*(config.get(name) for name in names))  # type: ignore[arg-type]
        self._session = get_session()

    async def keys(self) -> Keys:
        """The static keys of the environment, else those that botocore finds (a role, the machine's) and renews.

        Raises `DirectUploadNotAvailable` when there are none, `StoreUnavailable` when they cannot be had just now.
        """
        if self._keys:
            return self._keys
        try:
            found = await self._session.get_credentials()
            if found is not None:
                return Keys(*(await found.get_frozen_credentials())[:3])
        except (BotoCoreError, OSError, TimeoutError) as error:
            raise explain_failure(_GIVER, error) from None
        except ClientError as error:
            raise StoreUnavailable(f"{_GIVER} refuses it: {error.response['Error']['Code']}.") from None
        raise DirectUploadNotAvailable(
            "The gateway has no credentials to sign with: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or send "
            "the binary to /uploads or /ingress/binary."
        )

    async def put(self, key: str, headers: Mapping[str, str], expires: float) -> SignedRequest:
        """One PUT that works once: `If-None-Match: *` keeps a second one from replacing what was checked."""
        return await self.sign("PUT", key, {}, {**headers, **self.encryption, "if-none-match": "*"}, expires)

    async def part(
        self, key: str, upload: str, number: int, headers: Mapping[str, str], expires: float
    ) -> SignedRequest:
        """A PUT of one part; a second one replaces the first, until the parts are put together."""
        return await self.sign("PUT", key, {"partNumber": str(number), "uploadId": upload}, headers, expires)

    async def get(self, key: str, answer: Mapping[str, str], expires: float) -> SignedRequest:
        """A GET; `answer`: headers that the answer shall have."""
        return await self.sign("GET", key, {f"response-{name}": value for name, value in answer.items()}, {}, expires)

    async def sign(
        self, method: str, key: str | None, query: Mapping[str, str], headers: Mapping[str, str], expires: float
    ) -> SignedRequest:
        """`key`: None for the bucket itself; `headers`: names in lower case; `expires`: seconds since 1970, the URL is
        good until then and no longer. `PromiseExpired` when it is past."""
        keys, now = await self.keys(), datetime.now(UTC)
        seconds = min(int(expires - now.timestamp()), LONGEST)
        if seconds < 1:
            raise PromiseExpired("The promise has expired: make another.")
        path = "" if key is None else quote(self._bucket.path(key), safe="/-_.~")
        unsigned = Unsigned(method, f"{self._base}/{path}", headers, query)
        url = presign(unsigned, keys, self._region, seconds=seconds, now=now)
        # every HTTP client counts the bytes itself, and a page in a browser may not say it
        return SignedRequest(method, url, {name: value for name, value in headers.items() if name != "content-length"})


class Unsigned(NamedTuple):
    """A request before it is signed."""

    method: str
    url: str
    """The URL, its path percent-encoded."""
    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]


def presign(request: Unsigned, keys: Keys, region: str, *, seconds: int, now: datetime) -> str:
    """The URL with a query that signs the request."""
    start = request.url.index("/", request.url.index("//") + 2)
    host, path = request.url[request.url.index("//") + 2 : start], request.url[start:]
    signed = {**request.headers, "host": host}
    names = tuple(sorted(signed))
    asked = _asked(keys, region, int(now.timestamp()), seconds, names, tuple(request.query.items()))
    lines = "".join([f"{name}:{_plain(signed[name])}\n" for name in names])
    canonical = f"{request.method}\n{path}\n{asked.query}\n{lines}\n{asked.names}\nUNSIGNED-PAYLOAD"
    to_sign = asked.before + hashlib.sha256(canonical.encode()).hexdigest()
    return f"{request.url}?{asked.query}&X-Amz-Signature={_sign(asked.key, to_sign)}"


def _plain(value: str) -> str:
    """The value of a header as it is signed: one blank where there are several, and none around it."""
    return " ".join(value.split()) if " " in value or not value.isprintable() else value


def _sign(key: hmac.HMAC, text: str) -> str:
    """The signature of a text, hexadecimal. The key was hashed once, for all texts."""
    signature = key.copy()
    signature.update(text.encode())
    return signature.hexdigest()


class Asked(NamedTuple):
    """The part that the signatures of many requests have in common."""

    query: str
    """The query in its canonical form."""
    names: str
    """The names of the signed headers."""
    before: str
    """The text that is signed, but for the digest of the canonical request."""
    key: hmac.HMAC


@lru_cache(64)
def _asked(
    keys: Keys, region: str, now: int, seconds: int, names: tuple[str, ...], query: tuple[tuple[str, str], ...]
) -> Asked:
    """The same for all requests of a second with the same headers: a shipment has a thousand."""
    at = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    day, signed = at[:8], ";".join(names)
    scope = f"{day}/{region}/s3/aws4_request"
    asked = {
        **dict(query),
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access}/{scope}",
        "X-Amz-Date": at,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": signed,
        **({"X-Amz-Security-Token": keys.token} if keys.token else {}),
    }
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in asked.items())
    text = "&".join(f"{name}={value}" for name, value in pairs)
    return Asked(text, signed, f"{ALGORITHM}\n{at}\n{scope}\n", _signing_key(keys.secret, day, region))


@lru_cache(2)
def _signing_key(secret: str, day: str, region: str) -> hmac.HMAC:
    key = f"AWS4{secret}".encode()
    for step in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")


def _base(url: str, bucket: str, *, virtual: bool) -> str:
    """The bucket's URL as a client's `Host` header has it: lower case, without a port that goes without saying."""
    place = urlsplit(url.rstrip("/"))
    if place.scheme not in _DEFAULT_PORTS or not place.hostname or place.query or place.fragment or place.username:
        raise ValueError(
            f"{url!r} is no URL of an S3 server, such as https://s3.example.org (INLAKE_STORE_PUBLIC_ENDPOINT)."
        )
    host = place.netloc.lower().removesuffix(_DEFAULT_PORTS[place.scheme])
    if not virtual:
        return f"{place.scheme}://{host}{place.path}/{bucket}"
    return f"{place.scheme}://{host if host.startswith(f'{bucket}.') else f'{bucket}.{host}'}{place.path}"
