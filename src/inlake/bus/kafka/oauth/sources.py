"""The source of tokens that the properties name, for our own producer and for librdkafka's clients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from inlake.bus.kafka.oauth.msk import MskTokens
from inlake.bus.kafka.oauth.oidc import ClientCredentials, TokenFile
from inlake.bus.kafka.oauth.tokens import Fetch, Token

OAUTHBEARER, AWS_MSK_IAM = "OAUTHBEARER", "AWS_MSK_IAM"
PREFIX = "sasl.oauthbearer."
KNOWN = frozenset(
    {
        "https.ca.location",
        *(
            PREFIX + name
            for name in ("client.id", "client.secret", "extensions", "method", "scope", "token.endpoint.url")
        ),
    }
)


def find_source(properties: Mapping[str, Any], mechanism: str, hosts: tuple[str, ...]) -> Fetch | None:
    """How tokens are got; None when the mechanism needs none, or for a way that only librdkafka knows."""
    if mechanism == AWS_MSK_IAM:
        return MskTokens(hosts)
    if mechanism != OAUTHBEARER:
        return None
    given = {name: str(properties.get(PREFIX + name, "")) for name in ("client.id", "client.secret", "scope", "method")}
    url = str(properties.get(PREFIX + "token.endpoint.url", ""))
    fetch: Fetch
    match urlsplit(url).scheme:
        case "file":
            fetch = TokenFile(Path(unquote(urlsplit(url).path)))
        case "http" | "https" if given["method"].lower() == "oidc" and given["client.id"]:
            ca = str(properties.get("https.ca.location", ""))
            fetch = ClientCredentials(url, given["client.id"], given["client.secret"], given["scope"], ca)
        case _:
            return None
    extensions = tuple(_pairs(str(properties.get(PREFIX + "extensions", ""))))
    return (lambda: fetch()._replace(extensions=extensions)) if extensions else fetch


def for_librdkafka(properties: Mapping[str, Any], mechanism: str, hosts: tuple[str, ...]) -> dict[str, Any]:
    """The properties for librdkafka's clients, who get from us what they cannot get themselves."""
    url = str(properties.get(PREFIX + "token.endpoint.url", ""))
    fetch = find_source(properties, mechanism, hosts)
    if fetch is None or (mechanism == OAUTHBEARER and not url.startswith("file:")):
        return dict(properties)
    rest = {name: value for name, value in properties.items() if not name.startswith((PREFIX, "sasl.mechanism"))}
    return {**rest, "sasl.mechanism": OAUTHBEARER, "oauth_cb": lambda _: _as_librdkafka_wants(fetch())}


def _as_librdkafka_wants(token: Token) -> tuple[str, float, str, dict[str, str]]:
    return token.value, token.expires, "", dict(token.extensions)


def _pairs(text: str) -> list[tuple[str, str]]:
    """`a=1,b=2`, as librdkafka has them."""
    return [
        (name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in text.split(",") if part)
    ]
