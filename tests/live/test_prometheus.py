"""A real Prometheus scrapes a gateway: it takes the figures and the alert rules, and each picture of the board shows something."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.command import Served, free_port, serving

DEPLOY = Path(__file__).parents[2] / "deploy"
INSTALLED = Path(os.environ.get("PROMETHEUS_HOME", "absent"))
"""Where services/ has installed it; `services.sh env` says so."""
SCHEMA = '{"type": "record", "name": "N", "fields": [{"name": "n", "type": "int"}]}'

pytestmark = pytest.mark.slow


def program(name: str) -> str:
    found = shutil.which(name, path=f"{INSTALLED}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not there: services/services.sh install prometheus")
    return found


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Callable[..., Any]]:
    """Prometheus with the rules of deploy/, which scrapes every second; a function that asks its API."""
    port = free_port()
    shutil.copy(DEPLOY / "alerts.yml", folder)
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yml]\n"
        f"scrape_configs: [{{job_name: inlake, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    command = [program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, cwd=folder
        )

    def ask(path: str, **query: str) -> Any:
        answer = httpx2.get(f"http://127.0.0.1:{port}/api/v1/{path}", params=query, trust_env=False, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    try:
        wait_until(lambda: ask("query", query="up")["result"], folder)
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def wait_until(found: Callable[[], Any], folder: Path, seconds: float = 60) -> Any:
    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            if result := found():
                return result
        except (httpx2.TransportError, AssertionError) as error:
            said = str(error)
        time.sleep(0.2)
    raise AssertionError(f"{said}\n{(folder / 'prometheus.log').read_text()[-2000:]}")


def use(served: Served) -> None:
    """Requests of all kinds: taken, refused for their content, and beyond a quota."""
    file: Any = {"record": (None, '{"n": 1}'), "file": ("a", b"bytes")}
    with httpx2.Client(base_url=served.url, trust_env=False, timeout=30) as client:
        for n in [1, "x"] * 4:
            client.post("/ingress/record-json?schema=n", json={"n": n})
        client.post("/ingress/record-json-and-binary?schema=n", files=file)
        for _ in range(40):
            client.get("/schemas")


def test_promtool_takes_the_alert_rules_and_what_metrics_says(tmp_path: Path) -> None:
    promtool = program("promtool")
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", DEPLOY / "alerts.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with serving(tmp_path) as served:
        text = httpx2.get(f"{served.url}/metrics", trust_env=False).text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_picture_shows_something_and_a_gateway_that_dies_is_an_alert(tmp_path: Path) -> None:
    program("prometheus")
    settings = {
        "INLAKE_WORKERS": "2",
        "INLAKE_QUOTA_PRINCIPAL": "requests=30",
        "INLAKE_BUS": "kafka://127.0.0.1:9",  # nobody is there, so that events wait
        "INLAKE_OUTBOX": "sqlite:outbox.db",
        "INLAKE_REJECTS": "sqlite:rejects.db",
    }
    with serving(tmp_path, **settings) as served:
        (tmp_path / "n.avsc").write_text(SCHEMA)
        assert served.inlake("schemas", "add", "n", tmp_path / "n.avsc").returncode == 0
        with prometheus(tmp_path, served.url.partition("://")[2]) as ask:
            use(served)
            wait_until(lambda: ask("query", query='inlake_quota_refused_total{job="inlake"} > 0')["result"], tmp_path)
            time.sleep(2.5)  # a rate needs two samples
            panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
            for panel in panels:
                for target in panel["targets"]:
                    text = target["expr"].replace("$job", "inlake").replace("$__rate_interval", "30s")
                    assert ask("query", query=text)["result"], (panel["title"], text)
            rules = ask("rules")["groups"][0]["rules"]
            assert {(rule["health"], rule.get("lastError")) for rule in rules} == {("ok", None)}, rules
            firing = {rule["name"] for rule in rules if rule["state"] != "inactive"}
            assert firing <= {"InlakeRejectsMany", "InlakeQuota", "InlakeOutboxWaits"}, firing
            served.process.terminate()
            served.process.wait(60)
            wait_until(
                lambda: [
                    rule
                    for rule in ask("rules")["groups"][0]["rules"]
                    if (rule["name"], rule["state"]) == ("InlakeDown", "pending")
                ],
                tmp_path,
            )
