"""What can be said of the image, the compose file and the unit without Docker and without systemd running."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from inlake.settings import Settings, kafka_properties, load, unknown_variables
from tests.docs.pages import ROOT

COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
GATEWAY: dict[str, str] = SERVICES["inlake"]["environment"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
UNIT = (ROOT / "deploy" / "inlake.service").read_text()
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.+)$", DOCKERFILE, re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return dict(LOCKED.findall((ROOT / name).read_text()))


def pinned(variable: str) -> str:
    """A version of services/lib/settings.sh."""
    found = re.search(
        rf"^{variable}=\$\{{{variable}:-(.+?)\}}", (ROOT / "services/lib/settings.sh").read_text(), re.MULTILINE
    )
    assert found
    return found[1]


def test_the_compose_file_follows_the_compose_specification() -> None:
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(ROOT / "compose.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_port_is_published_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_gateways_settings_are_settings() -> None:
    image = dict(re.findall(r"(INLAKE_\w+)=(\S+)", " ".join(instructions("ENV"))))
    variables = {**image, **GATEWAY}
    settings = load(variables)
    assert (settings.host, settings.allow_anonymous) == ("0.0.0.0", True)
    assert unknown_variables(variables) == []
    assert kafka_properties(variables) == {}


def test_the_gateway_finds_the_others_by_the_names_and_ports_they_have() -> None:
    host, port = GATEWAY["INLAKE_BUS"].removeprefix("kafka://").split(":")
    kafka = SERVICES[host]["environment"]
    assert f"INSIDE://{host}:{port}" in kafka["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INSIDE://:{port}" in kafka["KAFKA_LISTENERS"]
    registry = SERVICES["registry"]
    assert registry["environment"]["APICURIO_KAFKASQL_BOOTSTRAP_SERVERS"] == f"{host}:{port}"
    assert GATEWAY["INLAKE_REGISTRY"] == "http://registry:8080/apis/ccompat/v7"
    assert registry["ports"] == ["127.0.0.1:8081:8080"]
    s3 = SERVICES["s3"]
    assert GATEWAY["AWS_ENDPOINT_URL_S3"] == "http://s3:7070"
    assert s3["command"][:2] == ["--port", ":7070"]
    public = GATEWAY["INLAKE_STORE_PUBLIC_ENDPOINT"].removeprefix("http://")
    assert s3["ports"] == [f"{public}:7070"]
    bucket = SERVICES["bucket"]["environment"]
    assert bucket["BUCKET"] == "http://s3:7070/" + GATEWAY["INLAKE_STORE"].removeprefix("s3://").split("/")[0]
    keys = {GATEWAY["AWS_ACCESS_KEY_ID"], s3["environment"]["ROOT_ACCESS_KEY"], bucket["KEY"]}
    secrets = {GATEWAY["AWS_SECRET_ACCESS_KEY"], s3["environment"]["ROOT_SECRET_KEY"], bucket["SECRET"]}
    assert len(keys) == len(secrets) == 1


def test_the_servers_are_those_that_the_tests_run_against() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{pinned('KAFKA_VERSION')}"
    assert SERVICES["registry"]["image"] == f"apicurio/apicurio-registry:{pinned('APICURIO_VERSION')}"
    assert SERVICES["s3"]["image"] == f"versity/versitygw:{pinned('VERSITYGW_VERSION')}"


def test_what_a_service_waits_for_can_become_true() -> None:
    for service in SERVICES.values():
        for name, wish in service.get("depends_on", {}).items():
            if wish["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            else:
                assert "restart" not in SERVICES[name]  # it shall end


def test_what_is_kept_is_in_named_volumes() -> None:
    mounted = {v.split(":")[0] for service in SERVICES.values() for v in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])


def test_the_image_installs_nothing_without_a_hash() -> None:
    for install in re.findall(r"pip (?:--python \S+ )?install ([^&]*)", DOCKERFILE):
        assert "--require-hashes" in install or "--no-index" in install
    for lock in ("requirements-server.lock", "requirements-build.lock"):
        text = (ROOT / lock).read_text()
        assert len(LOCKED.findall(text)) == len(
            re.findall(r"^[a-z0-9-]+==.*\\\n    --hash=sha256:", text, re.MULTILINE)
        )
        assert "://" not in text


def test_the_image_runs_what_the_tests_run_and_no_tool_of_developers() -> None:
    developer, server = locked("requirements.lock"), locked("requirements-server.lock")
    assert server.items() <= developer.items()
    assert not server.keys() & {"pytest", "mypy", "ruff", "hypothesis", "boto3", "aiokafka"}
    assert locked("requirements-build.lock").items() <= developer.items()


def test_the_image_has_all_that_the_gateway_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["server"], *extras["otel"]]
    names = {re.split(r"[^\w-]", wish)[0].lower() for wish in wanted}
    assert names - locked("requirements-server.lock").keys() == set()


def test_the_image_runs_without_root_and_takes_signals_itself() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert instructions("ENTRYPOINT") == ['["inlake"]']  # exec form: SIGTERM reaches the gateway, not a shell
    assert instructions("CMD") == ['["serve"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert len(instructions("HEALTHCHECK")) == 1


def test_all_that_the_image_copies_is_there_and_let_in() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]]
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_containers_and_units_wait_longer_than_the_gateway_takes_to_stop() -> None:
    patience = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert patience
    longest = Settings().shutdown_seconds  # type: ignore[call-arg]
    assert int(patience[1]) > longest
    assert int(SERVICES["inlake"]["stop_grace_period"].removesuffix("s")) > longest


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    unit = tmp_path / "inlake.service"
    unit.write_text(UNIT.replace("/opt/inlake/bin/inlake", "/bin/true"))  # it must exist
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
