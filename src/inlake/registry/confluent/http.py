"""Requests to a registry that speaks Confluent's HTTP API: bounded in time, answers and refusals in our words."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference

from inlake.errors import (
    BadName,
    Conflict,
    InlakeError,
    InvalidSchema,
    RegistryRefused,
    RegistryUnavailable,
    SchemaNotFound,
)

BACK_OFF = 1.0
"""Seconds that a registry counts as away after it could not be reached."""
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
NOBODY_BEHIND = {502, 503, 504}
"""Statuses that a proxy answers when the registry behind it does not."""
HIGHEST = 2**31 - 1
"""Versions and ids are Java integers in the registry and in its clients."""
NOT_FOUND_CODES = {40401, 40402, 40403, 42202}
"""Subject, version, schema id; 42202 is a version that the registry thinks impossible."""

T = TypeVar("T", str, int)


class Http:
    """Kept connections to the addresses of one registry; a whole request takes `timeout` seconds at most.

    One address is asked; when it does not answer, or a proxy says that nothing is behind it, the next one is.
    """

    def __init__(self, url: str, *, basic_auth: str | None, token: str | None, ca: Path | None, timeout: float) -> None:
        """`url`: one address, or several with commas between. `ValueError` for one that cannot be used, or for
        certificates that cannot be."""
        try:
            tls = ssl.create_default_context(cafile=ca) if ca else True
        except OSError as error:
            raise ValueError(f"the certificates {str(ca)!r} cannot be used: {error}") from None
        addresses = [_address(part.strip()) for part in url.split(",")]
        headers = {"Accept": f"{MEDIA_TYPE}, application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token.strip()}"
        self.down_until = 0.0
        """Monotonic time; 0 when the registry answered the last request."""
        self._timeout = timeout
        self._first = 0
        """Index of the address that is asked first: the last one that answered."""
        self._clients = [
            httpx2.AsyncClient(
                base_url=_without_credentials(address),
                headers=headers,
                auth=None if token else _credentials(basic_auth, address),
                verify=tls,
                timeout=None,  # asyncio.timeout below limits the whole; httpx2 would limit each step of it
            )
            for address in addresses
        ]

    @property
    def url(self) -> str:
        """The address that is asked first, without credentials: it goes into messages."""
        return self._url_of(self._first)

    async def get(self, path: str, missing: str, *, no_subject: str = "") -> Any:
        """The JSON of the answer. `SchemaNotFound` says `missing`, or `no_subject` when the subject is unknown."""
        return await self._send("GET", path, None, missing, no_subject)

    async def post(self, path: str, body: dict[str, Any], missing: str) -> Any:
        """The JSON of the answer. `InvalidSchema` and `Conflict` with the registry's reason."""
        return await self._send("POST", path, body, missing, "")

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def _send(self, method: str, path: str, body: Any, missing: str, no_subject: str) -> Any:
        response = await self._exchange(method, path, body)
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        if response.status_code == httpx2.codes.OK and answer is not None:
            return answer
        refusal = answer if isinstance(answer, dict) else {}
        if refusal.get("error_code") in NOT_FOUND_CODES:
            raise SchemaNotFound(no_subject if no_subject and refusal["error_code"] == 40401 else missing)
        raise self._error(response, refusal.get("message"))

    async def _exchange(self, method: str, path: str, body: Any) -> httpx2.Response:
        """The answer of the first address that has one; it is asked first from then on."""
        deadline, count = monotonic() + self._timeout, len(self._clients)
        order = [(self._first + n) % count for n in range(count)]
        reasons: dict[str, str] = {}
        for left, index in zip(range(count, 0, -1), order, strict=True):
            try:
                async with asyncio.timeout((deadline - monotonic()) / left):
                    response = await _request(self._clients[index], method, path, body)
            except UnicodeEncodeError:
                raise InvalidSchema("The text of the schema is not Unicode: it holds half a surrogate pair.") from None
            except (TimeoutError, httpx2.HTTPError) as error:
                reasons[self._url_of(index)] = self._reason(error)
                if left == 1:
                    self.down_until = monotonic() + BACK_OFF
                    raise _unreachable(reasons) from error
                continue
            if left == 1 or response.status_code not in NOBODY_BEHIND:
                self._first, self.down_until = index, 0.0
                break
            reasons[self._url_of(index)] = f"status {response.status_code}"
        return response

    def _url_of(self, index: int) -> str:
        return str(self._clients[index].base_url).rstrip("/")

    def _reason(self, error: Exception) -> str:
        return f"no answer within {self._timeout:g} s" if isinstance(error, TimeoutError) else _cause(error)

    def _error(self, response: httpx2.Response, message: Any) -> InlakeError:
        status, reason = response.status_code, str(message or "it gives no reason").rstrip(".")
        what = response.headers.get("content-type", "nothing")
        if what.startswith("text/html"):
            kind = RegistryRefused if status in {401, 403, 407} else RegistryUnavailable
            verb = "refused the gateway" if kind is RegistryRefused else f"answered {what.partition(';')[0]}"
            return kind(
                f"A proxy or another server, no registry, {verb} with status {status} at {self.url}: check the path "
                "in INLAKE_REGISTRY, and what stands before the registry."
            )
        match status:
            case 401 | 403:
                return RegistryRefused(
                    f"The schema registry at {self.url} refused the gateway with status {status}: {reason}; "
                    "check INLAKE_REGISTRY_AUTH or INLAKE_REGISTRY_TOKEN."
                )
            case 409:
                return Conflict(f"The schema is incompatible with the versions in the registry: {reason}.")
            case 422:
                return InvalidSchema(f"The registry refused the schema: {reason}.")
        if message:
            return RegistryUnavailable(f"The schema registry at {self.url} answered with status {status}: {reason}.")
        return RegistryUnavailable(
            f"{self.url} answered {what} with status {status}, as no registry does: check the path in INLAKE_REGISTRY."
        )


def _unreachable(reasons: dict[str, str]) -> RegistryUnavailable:
    """`reasons`: by address. Where they differ each is told: the last one alone would blame the wrong server."""
    if len(set(reasons.values())) == 1:
        [*_, reason] = reasons.values()
        return RegistryUnavailable(f"The schema registry at {' and '.join(reasons)} cannot be reached: {reason}.")
    each = "; ".join(f"{address}: {reason}" for address, reason in reasons.items())
    return RegistryUnavailable(f"The schema registry cannot be reached at any of its addresses: {each}.")


async def _request(client: httpx2.AsyncClient, method: str, path: str, body: Any) -> httpx2.Response:
    try:
        return await client.request(method, path, json=body)
    except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
        # an idle connection was closed under us; every request here may be repeated
        return await client.request(method, path, json=body)


def quote_subject(subject: str) -> str:
    """A subject as one segment of a path. `BadName` where there is no way to write it."""
    try:
        if subject not in ("", ".", ".."):
            return quote(subject, safe="")
    except UnicodeEncodeError:
        pass
    raise BadName(f"{subject!r} cannot be the name of a schema.")


def read_schema(answer: Any) -> Schema:
    """Null and absent members are alike; no `schemaType` means Avro. `RegistryUnavailable` for anything else."""
    try:
        references = [SchemaReference.from_dict(reference) for reference in answer.get("references") or []]
        text = answer["schema"]
    except (AttributeError, KeyError, TypeError):
        raise _strange("a schema") from None
    if not isinstance(text, str):
        raise _strange("a schema")
    return Schema(text, answer.get("schemaType") or "AVRO", references)


def read_registered(answer: Any) -> RegisteredSchema:
    """The same with subject, version and id. `RegistryUnavailable` for anything else."""
    schema = read_schema(answer)
    subject, version, schema_id = (answer.get(name) for name in ("subject", "version", "id"))
    if not (isinstance(subject, str) and type(version) is int and type(schema_id) is int):
        raise _strange("a schema with subject, version and id")
    if not 0 <= schema_id <= HIGHEST:
        raise RegistryUnavailable(
            f"The schema registry gives {subject!r} the id {schema_id}, and events have room for ids up to {HIGHEST} "
            "only: no consumer could read them."
        )
    return RegisteredSchema(
        subject=subject, version=version, schema_id=schema_id, guid=answer.get("guid"), schema=schema
    )


def read_list(answer: Any, kind: type[T]) -> list[T]:
    """Names or numbers, sorted. `RegistryUnavailable` for anything else."""
    if not isinstance(answer, list) or not all(isinstance(item, kind) for item in answer):
        raise _strange(f"a list of {kind.__name__}")
    return sorted(answer)


def _address(text: str) -> httpx2.URL:
    try:
        address = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise ValueError(f"the registry's address {text!r} cannot be used: {error}") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise ValueError(f"the registry's address {text!r} cannot be used: write http(s)://HOST:PORT/...")
    return address


def _without_credentials(address: httpx2.URL) -> str:
    return str(address.copy_with(userinfo=b"")).rstrip("/")


def _credentials(basic_auth: str | None, address: httpx2.URL) -> tuple[str, str] | None:
    """User and password, those of the address if none are given."""
    user, _, password = basic_auth.partition(":") if basic_auth else (address.username, "", address.password)
    return (user, password) if user else None


def _cause(error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        what = text.partition("verify failed: ")[2].partition(" (_ssl")[0]
        return f"its certificate is not trusted ({what}); INLAKE_REGISTRY_CA names the file of your own authority"
    return text or type(error).__name__


def _strange(wanted: str) -> RegistryUnavailable:
    return RegistryUnavailable(
        f"The schema registry answered JSON that is not {wanted}; check the path in INLAKE_REGISTRY."
    )
