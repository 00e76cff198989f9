"""Which properties name which source of tokens, for our own producer and for librdkafka's clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlake.bus.kafka.oauth.oidc import ClientCredentials
from inlake.bus.kafka.properties import CONNECTION, Access, find_access, for_librdkafka, of_librdkafka
from tests.oauth_server import signed

OIDC = {
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "gateway",
    "sasl.oauthbearer.client.secret": "hidden",
    "sasl.oauthbearer.token.endpoint.url": "https://login.example.org/token",
}


def given(properties: dict[str, str]) -> dict[str, Any]:
    return {**CONNECTION, "bootstrap.servers": "kafka:9093", "security.protocol": "SASL_SSL", **properties}


def access(properties: dict[str, str]) -> Access:
    found = find_access(given(properties))
    assert found is not None
    assert found.tokens is not None
    return found


def test_client_credentials_are_known_to_both() -> None:
    known = access(OIDC | {"sasl.oauthbearer.scope": "kafka"})
    assert known.mechanism == "OAUTHBEARER"
    assert known.tokens is not None
    assert known.tokens._fetch == ClientCredentials("https://login.example.org/token", "gateway", "hidden", "kafka"), (
        "as the properties say"
    )
    assert for_librdkafka(given(OIDC)) == given(OIDC)


@pytest.mark.parametrize(
    "changed",
    [
        {"sasl.oauthbearer.method": "default"},
        {"sasl.oauthbearer.client.id": ""},
        {"sasl.oauthbearer.token.endpoint.url": ""},
    ],
)
def test_other_ways_are_left_to_librdkafka(changed: dict[str, str]) -> None:
    assert find_access(given(OIDC | changed)) is None
    assert of_librdkafka(given(OIDC | changed)) == ["sasl.mechanism"]
    assert of_librdkafka(given(OIDC | {"sasl.oauthbearer.assertion.claim.sub": "x"})) == [
        "sasl.oauthbearer.assertion.claim.sub"
    ]


async def test_a_file_with_a_token_is_read_for_both_with_the_extensions(tmp_path: Path) -> None:
    (tmp_path / "to ken").write_text(token := signed())
    properties = {
        "sasl.mechanism": "oauthbearer",
        "sasl.oauthbearer.token.endpoint.url": f"file://{tmp_path}/to%20ken",
        "sasl.oauthbearer.extensions": "logicalCluster=lkc-1, identityPoolId=pool-2",
    }
    tokens = access(properties).tokens
    assert tokens is not None
    shown = await tokens.current()
    assert (shown.value, shown.extensions) == (token, (("logicalCluster", "lkc-1"), ("identityPoolId", "pool-2")))
    others = for_librdkafka(given(properties))
    assert not [name for name in others if name.startswith("sasl.oauthbearer.")]
    assert others["sasl.mechanism"] == "OAUTHBEARER"
    assert others["oauth_cb"]("") == (token, shown.expires, "", dict(shown.extensions))


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_aws_msk_iam_is_oauthbearer_to_both(name: str) -> None:
    properties = {name: "AWS_MSK_IAM"}
    assert access(properties).mechanism == "OAUTHBEARER"
    others = for_librdkafka(given(properties))
    assert others["sasl.mechanism"] == "OAUTHBEARER"
    assert "sasl.mechanisms" not in others
    assert callable(others["oauth_cb"])
