"""Settings from variables and `.env`: what is wrong is named, what is unknown is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.settings import SettingsError, kafka_properties, load, read_environment, unknown_variables
from inlake.wiring import connect, connect_bus, connect_registry, connect_store


def test_the_defaults_need_nothing() -> None:
    settings = load({})
    assert (settings.bus, settings.store, settings.registry) == (
        "sqlite:.inlake/events.db",
        "file:.inlake/store",
        "dir:.inlake/schemas",
    )
    assert settings.host == "127.0.0.1"


def test_every_wrong_setting_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"INLAKE_PORT": "many", "INLAKE_TOPIC": "events", "INLAKE_MAX_DEPTH": "100000"})
    for name in ("INLAKE_PORT", "INLAKE_TOPIC", "INLAKE_MAX_DEPTH"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "many", "'many' is no whole number"),
        ("PORT", "65536", "65536 is more than 65535"),
        ("WORKERS", "0", "0 is less than 1"),
        ("SHED_MS", "slow", "'slow' is no number"),
        ("BUS_TIMEOUT", "0", "0 is not more than 0"),
        ("ALLOW_ANONYMOUS", "perhaps", "'perhaps' is neither true nor false"),
        ("LOG_FORMAT", "xml", "'xml' is not 'text' or 'json'"),
        ("TRACES", "127.0.0.1:4318", "'127.0.0.1:4318' is not http(s)://HOST:PORT"),
        ("ROOT_PATH", "/gw/", "'/gw/' is no path such as /gw: it begins with a slash, and ends without one"),
    ],
)
def test_a_wrong_value_is_quoted_with_what_is_wrong_about_it(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"INLAKE_{name}": value})
    assert str(caught.value) == f"INLAKE_{name}: {sentence}"


@pytest.mark.parametrize("url", ["kafka:", "kafka://", "mysql://x", "", "sqlite:", "kafka://["])
def test_a_wrong_url_stops_the_start_and_names_its_variable(url: str) -> None:
    with pytest.raises(SettingsError, match="INLAKE_BUS"):
        connect_bus(load({"INLAKE_BUS": url}) if url else load({}).model_copy(update={"bus": ""}), {})
    with pytest.raises(SettingsError, match="INLAKE_STORE"):
        connect_store(load({}).model_copy(update={"store": url}), {})
    with pytest.raises(SettingsError, match="INLAKE_REGISTRY"):
        connect_registry(load({}).model_copy(update={"registry": url}))


def test_a_file_where_the_folder_of_schemas_should_be_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "tate.artwork.avsc"
    file.write_text("{}")
    with pytest.raises(SettingsError, match=r"^INLAKE_REGISTRY: .*tate\.artwork\.avsc is a file: name the folder"):
        connect_registry(load({"INLAKE_REGISTRY": f"dir:{file}"}))


async def test_connecting_needs_no_service(tmp_path: Path) -> None:
    away = {
        "INLAKE_BUS": "kafka://127.0.0.1:1",
        "INLAKE_STORE": "s3://bucket/prefix",
        "INLAKE_REGISTRY": "http://127.0.0.1:1/apis/ccompat/v7",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "INLAKE_BUS_TIMEOUT": "1",
    }
    deployment = connect(load(away), away)
    await deployment.close()


def test_the_process_wins_over_the_file_and_empty_is_absent(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("INLAKE_PORT=1\nINLAKE_HOST=::1\nAWS_REGION=eu\nINLAKE_TOPIC=\n")
    environment = read_environment(env_file, {"INLAKE_PORT": "2"})
    assert load(environment).port == 2
    assert environment["AWS_REGION"] == "eu"
    assert load(environment).topic == "inlake.{schema}"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_may_be_in_brackets(host: str) -> None:
    assert load({"INLAKE_HOST": host}).host == "::1"


def test_kafka_variables_become_librdkafka_properties() -> None:
    variables = {"INLAKE_KAFKA_SASL_MECHANISM": "PLAIN", "INLAKE_KAFKA_CREATE_TOPICS": "true", "INLAKE_PORT": "1"}
    assert kafka_properties(variables) == {"sasl.mechanism": "PLAIN"}


def test_a_typing_error_is_told_with_the_nearest_name() -> None:
    assert unknown_variables({"INLAKE_PROT": "1", "PATH": "x"}) == [
        "INLAKE_PROT is not a setting; did you mean INLAKE_PORT?"
    ]


def test_topics_of_events_are_told_by_their_names() -> None:
    settings = load({"INLAKE_TOPIC": "a.{schema}-v1"})
    names = ["a.tate.artwork-v1", "inlake-unsecured", "a.-v1", "axtate-v1", "a.tate", "a.x-v1-copy", "orders"]
    assert [name for name in names if settings.is_topic_of_events(name)] == names[:2]


@pytest.mark.parametrize("rule", ["key", "event", "/maker", "/maker/id", "/", "/a~1b/~0", "/0"])
def test_a_rule_of_partitions_that_can_be_followed_is_taken(rule: str) -> None:
    assert load({"INLAKE_PARTITION_BY": rule}).partition_by == rule


@pytest.mark.parametrize("rule", ["keys", "maker", "#/maker", "/a~2", "/a~", "$.maker", "Key"])
def test_any_other_rule_of_partitions_stops_the_start_with_a_sentence(rule: str) -> None:
    with pytest.raises(SettingsError, match=r"^INLAKE_PARTITION_BY: .* neither key nor event nor a JSON Pointer"):
        load({"INLAKE_PARTITION_BY": rule})


@pytest.mark.parametrize(
    "source",
    [
        "/inlake",
        "museum",
        "https://museum.example/inlake?site=a/b#x",
        "urn:uuid:0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa",
        "//[2001:db8::1]:8000/inlake",
        "../inlake;v=1",
        "/mus%C3%A9e",
        "#a",
    ],
)
def test_a_source_that_is_a_uri_reference_is_taken(source: str) -> None:
    assert load({"INLAKE_SOURCE": source}).source == source


@pytest.mark.parametrize(
    "source",
    [
        "my museum",
        "musée",
        "1:2",
        "a:b c",
        "/a%2",
        "/a%",
        "<x>",
        "/a[1]",
        "a\\b",
        "//[::1",
        "http://[x]/",
        "/a#b#c",
        "/a\n",
    ],
)
def test_any_other_source_stops_the_start_with_a_sentence(source: str) -> None:
    with pytest.raises(SettingsError, match=r"^INLAKE_SOURCE: .* is no URI-reference"):
        load({"INLAKE_SOURCE": source})
