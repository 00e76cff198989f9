"""`inlake config`: what is set, from where, and no secret in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from inlake.settings import PREFIX, Settings
from tests.command import inlake

SECRET = "hush-hush"


def settings_of(text: str) -> dict[str, dict[str, str]]:
    return {line["variable"]: line for line in map(json.loads, text.splitlines())}


def test_every_setting_is_shown_with_its_default(tmp_path: Path) -> None:
    found = settings_of(inlake("config", "--json", cwd=tmp_path).stdout)
    assert {PREFIX + name.upper() for name in Settings.model_fields} <= set(found)
    assert found["INLAKE_BUS"] == {"variable": "INLAKE_BUS", "value": "sqlite:.inlake/events.db", "source": "default"}
    assert list(tmp_path.iterdir()) == []


def test_it_is_said_where_a_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INLAKE_PORT=8001\nINLAKE_MAX_DEPTH=50\nINLAKE_TOPIC=a.{schema}\n")
    variables: dict[str, Any] = {"INLAKE_PORT": "8002", "INLAKE_TOPIC": ""}
    found = settings_of(inlake("config", "--json", cwd=tmp_path, **variables).stdout)
    assert (found["INLAKE_PORT"]["value"], found["INLAKE_PORT"]["source"]) == ("8002", "environment")
    assert (found["INLAKE_MAX_DEPTH"]["value"], found["INLAKE_MAX_DEPTH"]["source"]) == ("50", ".env")
    assert (found["INLAKE_TOPIC"]["value"], found["INLAKE_TOPIC"]["source"]) == ("inlake.{schema}", "default")


@pytest.mark.parametrize("form", ["--json", ""])
def test_no_secret_is_shown(tmp_path: Path, form: str) -> None:
    (tmp_path / ".env").write_text(f"INLAKE_KAFKA_SASL_PASSWORD={SECRET}\n")
    variables: dict[str, Any] = {
        "INLAKE_REGISTRY": f"http://museum:{SECRET}@127.0.0.1:9/x",
        "INLAKE_REGISTRY_AUTH": f"museum:{SECRET}",
        "INLAKE_REGISTRY_TOKEN": SECRET,
        "INLAKE_TOKEN": SECRET,
        "AWS_ACCESS_KEY_ID": SECRET,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SECRET,
        "INLAKE_KAFKA_SSL_KEY_PEM": SECRET,
        "INLAKE_KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": SECRET,
    }
    done = inlake("config", *filter(None, [form]), cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stdout.count("••••") == 1 + len(variables)


def test_kafka_properties_have_the_names_of_librdkafka(tmp_path: Path) -> None:
    found = settings_of(inlake("config", "--json", cwd=tmp_path, INLAKE_KAFKA_SASL_MECHANISM="PLAIN").stdout)
    assert found["INLAKE_KAFKA_SASL_MECHANISM"]["kafka_property"] == "sasl.mechanism"
    assert "kafka_property" not in found["INLAKE_KAFKA_CREATE_TOPICS"]


def test_an_unknown_variable_is_told(tmp_path: Path) -> None:
    done = inlake("config", cwd=tmp_path, INLAKE_PROT="8001")
    assert "INLAKE_PROT is not a setting; did you mean INLAKE_PORT?" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("INLAKE_PORT", "many", "INLAKE_PORT: "),
        ("INLAKE_BUS", "rabbit://x", "INLAKE_BUS: "),
        ("INLAKE_STORE", "ftp://x", "INLAKE_STORE: "),
        ("INLAKE_REGISTRY", "x", "INLAKE_REGISTRY: "),
        ("INLAKE_API_KEYS", "absent", "INLAKE_API_KEYS: absent cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_and_exit_code_2(tmp_path: Path, variable: str, value: str, sentence: str) -> None:
    done = inlake("config", cwd=tmp_path, **cast("dict[str, Any]", {variable: value}))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_property_of_kafka_is_named_and_an_absent_broker_is_not(tmp_path: Path) -> None:
    right = inlake("config", cwd=tmp_path, INLAKE_BUS="kafka://127.0.0.1:9")
    assert (right.returncode, right.stderr) == (0, "")
    wrong = inlake("config", cwd=tmp_path, INLAKE_BUS="kafka://127.0.0.1:9", INLAKE_KAFKA_SASL_WRONG="x")
    assert wrong.returncode == 2
    assert "sasl.wrong" in wrong.stderr
