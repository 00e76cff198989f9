"""The manifests for Kubernetes: valid by its own schemas, closed as far as they can be, and those that the chart makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

import inlake
from inlake.settings import Settings, load, unknown_variables
from tests.docs.pages import ROOT

CHART, PLAIN = ROOT / "deploy" / "helm", ROOT / "deploy" / "kubernetes.yaml"
VALUES: dict[str, Any] = YAML(typ="safe").load((CHART / "values.yaml").read_text())
INSTALLED = Path(os.environ.get("HELM_BIN", "absent"))
"""Where services/ has installed helm and kubeconform; `services.sh env` says so."""
VERSIONS = ("1.30", "1.37")
"""Versions of Kubernetes whose schemas are there."""
SCHEMAS = (
    "deployment-apps-v1", "service-v1", "poddisruptionbudget-policy-v1", "ingress-networking-v1",
    "horizontalpodautoscaler-autoscaling-v2",
)  # fmt: skip
ALL = [
    "autoscaling.enabled=true", "allowAnonymous=true", "apiKeysSecret=keys", "rightsConfigMap=rights", "secrets={a,b}",
    "ingress.enabled=true", "ingress.tlsSecret=tls", "ingress.trustedProxies=10.0.0.0/8", "serviceAccount=museum",
    "imagePullSecrets[0].name=pull", "podLabels.a=b", "podAnnotations.a=b", "nodeSelector.a=b", "service.annotations.a=b",
    "tolerations[0].operator=Exists", "service.type=LoadBalancer",
]  # fmt: skip
"""Every option of the chart, on."""


def documents(text: str) -> list[dict[str, Any]]:
    return [found for found in YAML(typ="safe").load_all(StringIO(text)) if found]


def of_kind(text: str, kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents(text) if document["kind"] == kind]
    return found


def run(name: str, *arguments: str | Path, stdin: str = "", status: int = 0) -> str:
    program = shutil.which(name, path=f"{INSTALLED}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{name} is not there: services/services.sh install helm")
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def template(*values: str) -> str:
    options = [text for value in values for text in ("--set", value)]
    # a helm that is built by `go install` takes itself for one of Kubernetes 1.20
    return run("helm", "template", "inlake", CHART, "--kube-version", VERSIONS[0], *options)


def check(text: str) -> Iterator[str]:
    """The kinds of the documents, each of which fits its schema, in every version that is there."""
    for document in documents(text):
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
        yield document["kind"]


def test_the_plain_manifests_fit_the_schemas_of_kubernetes() -> None:
    assert sorted(check(PLAIN.read_text())) == ["Deployment", "PodDisruptionBudget", "Service"]


def test_a_manifest_with_a_wrong_name_does_not() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        list(check(PLAIN.read_text().replace("livenessProbe", "liveProbe")))


def test_the_chart_is_taken_by_helm_and_makes_the_plain_manifests() -> None:
    assert "0 chart(s) failed" in run("helm", "lint", "--strict", CHART)
    made = PLAIN.read_text().partition("---\n")
    assert all(line.startswith("#") for line in made[0].splitlines())
    assert "".join(made[1:]) == template(), f"helm template inlake deploy/helm >> {PLAIN.name}"


@pytest.mark.parametrize("version", [f"{version}.0" for version in VERSIONS])
def test_kubeconform_takes_all_that_the_chart_makes(version: str, tmp_path: Path) -> None:
    given = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}-local-strict"
    for name in (*SCHEMAS, "_definitions"):  # by their ids they stand on the web, here beside each other
        schema = json.loads((given / f"{name}.json").read_text())
        del schema["$id"]
        text = json.dumps(schema).replace('"/api/_definitions.json#', '"_definitions.json#')
        (tmp_path / f"{name}.json").write_text(text)
    location = f"{tmp_path}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    options = ["-strict", "-summary", "-kubernetes-version", version, "-schema-location", location]
    for text, count in ((PLAIN.read_text(), 3), (template(*ALL), 5)):
        said = run("kubeconform", *options, "-", stdin=text)
        assert f"{count} resources found" in said
        assert f"Valid: {count}, Invalid: 0, Errors: 0, Skipped: 0" in said
    wrong = run("kubeconform", *options, "-", stdin=PLAIN.read_text().replace("livenessProbe", "liveProbe"), status=1)
    assert "liveProbe" in wrong


def test_the_chart_with_every_option_fits_the_schemas_too() -> None:
    kinds = sorted(check(template(*ALL)))
    assert kinds == ["Deployment", "HorizontalPodAutoscaler", "Ingress", "PodDisruptionBudget", "Service"]


def test_the_pod_is_closed_as_far_as_it_can_be() -> None:
    pod = of_kind(PLAIN.read_text(), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]


def test_the_variables_are_settings_and_a_pod_has_time_to_stop() -> None:
    pod = of_kind(PLAIN.read_text(), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert unknown_variables(variables) == []
    settings: Settings = load(variables)
    assert pod["terminationGracePeriodSeconds"] >= settings.stop_delay + settings.shutdown_seconds + 10
    assert settings.stop_delay >= 2 * container["readinessProbe"]["periodSeconds"]
    limit, unit = container["resources"]["limits"]["memory"][:-2], container["resources"]["limits"]["memory"][-2:]
    assert (int(limit) << {"Mi": 20, "Gi": 30}[unit]) >= settings.max_memory + (300 << 20)
    assert container["image"].endswith(f":{inlake.__version__}")
