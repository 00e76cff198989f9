"""Tokens for Amazon MSK, beside those that Amazon's own library makes."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

from inlake.bus.kafka.oauth.msk import MskTokens
from inlake.bus.kafka.oauth.tokens import TokenError
from tests.sts import assume_role, sts_that_refuses


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session/token+=")


def said(token: str) -> dict[str, list[str]]:
    url = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    assert url.startswith("https://kafka.eu-central-1.amazonaws.com/?")
    return parse_qs(urlsplit(url).query)


@pytest.mark.usefixtures("credentials")
def test_a_token_is_the_one_that_amazons_library_makes() -> None:
    source = MskTokens(["b-1.inlake.abc.c2.kafka.eu-central-1.amazonaws.com"])
    for _ in range(3):  # the second may change between the two
        ours, theirs = source(), MSKAuthTokenProvider.generate_auth_token("eu-central-1")
        own, other = said(ours.value), said(theirs[0])
        if own["X-Amz-Date"] == other["X-Amz-Date"]:
            break
    other["User-Agent"] = ["inlake"]
    assert own == other
    assert ours.expires == pytest.approx(theirs[1] / 1000, abs=2)
    assert ours.expires == pytest.approx(time.time() + 900, abs=2)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("b-2.inlake.abc.c2.kafka.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("boot-abc.c1.kafka-serverless.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("b-1.inlake.abc.c2.kafka.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("kafka.museum.example", "sa-east-1"),
    ],
)
def test_the_region_is_that_of_the_brokers_name_or_of_aws_settings(
    host: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    token = MskTokens([host])().value
    url = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    assert url.startswith(f"https://kafka.{region}.amazonaws.com/?")


@pytest.mark.usefixtures("credentials")
def test_without_a_region_the_setting_is_named() -> None:
    with pytest.raises(TokenError, match="AWS_DEFAULT_REGION"):
        MskTokens(["kafka.museum.example"])()


def test_without_credentials_it_says_where_they_are_looked_for() -> None:
    with pytest.raises(TokenError, match="AWS_ACCESS_KEY_ID"):
        MskTokens(["b-1.inlake.abc.c2.kafka.eu-central-1.amazonaws.com"])()


def test_a_profile_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "museum")
    with pytest.raises(TokenError, match="museum"):
        MskTokens(["b-1.inlake.abc.c2.kafka.eu-central-1.amazonaws.com"])()


def test_a_role_that_is_refused_is_told_in_amazons_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with sts_that_refuses() as url:
        assume_role(monkeypatch, tmp_path, url)
        with pytest.raises(TokenError, match="AWS gives no credentials: AccessDenied"):
            MskTokens(["b-1.inlake.abc.c2.kafka.eu-central-1.amazonaws.com"])()
