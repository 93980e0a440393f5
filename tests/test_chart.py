"""The Helm chart, rendered by Go's templates and validated by Kubernetes' schemas."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import yaml

from app.settings import Settings
from tests.databases import PROJECT
from tests.test_monitoring import METRIC

CHART = PROJECT / "deploy" / "helm" / "star"
VERSION = "1.31"  # of Kubernetes
KEDA = "keda.sh/v1alpha1"  # its schema is not Kubernetes' own
# The Go runtime gets a process of its own; it ends it at the first template that does not parse.
RENDER = """
import json, sys, tempfile
from pathlib import Path
import go_template
values, texts = json.load(sys.stdin)
file = Path(tempfile.mkdtemp()) / "template"
for text in texts:
    file.write_text(text)
    print("---\\n" + go_template.render(file, values).decode())
"""

Change = Callable[[dict[str, Any]], object]


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text()))


def render(changed: dict[str, Any]) -> list[dict[str, Any]]:
    """All objects, as `helm template demo` would make them: no function of the chart is Helm's alone."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    release = {"Name": "demo", "Namespace": "star", "Service": "Helm"}
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    texts = [helpers + file.read_text() for file in sorted((CHART / "templates").glob("*.yaml"))]
    given = json.dumps([{"Values": changed, "Release": release, "Chart": chart}, texts])
    done = subprocess.run([sys.executable, "-c", RENDER], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "<no value>" not in done.stdout
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@cache
def default() -> list[dict[str, Any]]:
    return render(values())


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [found] = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The name, the labels and the spec of each pod that the chart makes."""
    for one in objects:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = one["spec"]["template"]
            yield one["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def without_extras(changed: dict[str, Any]) -> None:
    for name in ("keda", "ingress", "network", "sandbox"):
        changed[name]["enabled"] = False


def two_classes(changed: dict[str, Any]) -> None:
    changed["workers"].append(changed["workers"][0] | {"class": "l4", "takesAny": False, "gpus": 2})
    changed["modelServers"] = []
    changed["images"]["pullSecrets"] = ["registry"]


@pytest.mark.parametrize("change", [lambda _: None, without_extras, two_classes])
def test_everything_the_chart_makes_is_valid_kubernetes(change: Change) -> None:
    changed = copy.deepcopy(values())
    change(changed)
    objects = render(changed)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names) >= 9
    for one in objects:
        if one["apiVersion"] != KEDA:
            kubernetes_validate.validate(one, VERSION, strict=True)


def test_a_misspelt_field_would_be_noticed() -> None:
    api = copy.deepcopy(named(default(), "Deployment", "demo-api"))
    api["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(api, VERSION, strict=True)


def test_values_are_refused_where_they_are_misspelt() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(values())
    for path in (["api"], ["workers", 0], ["modelServers", 0], ["keda"], []):
        wrong = copy.deepcopy(values())
        place: Any = wrong
        for step in path:
            place = place[step]
        place["replcas"] = 3
        assert not jsonschema.Draft7Validator(schema).is_valid(wrong), path


def test_no_container_is_root_or_writes_to_its_image() -> None:
    for name, _, spec in pods(default()):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], name
            assert container["resources"]["limits"]["memory"], name


def test_a_server_of_models_tells_the_api_where_it_is_and_is_reached_by_it_alone() -> None:
    [(labels, spec)] = [
        (labels, spec) for name, labels, spec in pods(default()) if name == "demo-models-small"
    ]
    told = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    service = named(default(), "Service", "demo-models-small")
    assert told["STAR_SERVING_URL"] == f"http://demo-models-small:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["selector"].items() <= labels.items()
    read = {name.removeprefix("STAR_").lower(): value for name, value in told.items()}
    assert read.keys() <= set(Settings.model_fields)
    assert json.loads(told["STAR_SERVING_MODELS"]) == values()["modelServers"][0]["models"]
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    policy = named(default(), "NetworkPolicy", "demo-models")["spec"]
    [rule] = policy["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    asking = named(default(), "NetworkPolicy", "demo-sandbox")["spec"]["ingress"][0]["from"][0]["podSelector"]
    assert "models" in asking["matchExpressions"][0]["values"]


def test_the_sandbox_has_no_secret_and_gets_nowhere() -> None:
    [(labels, spec)] = [(labels, spec) for name, labels, spec in pods(default()) if name == "demo-sandbox"]
    assert not {"env", "envFrom"} & spec["containers"][0].keys()
    assert [list(volume) for volume in spec["volumes"]] == [["name", "emptyDir"]]
    policy = named(default(), "NetworkPolicy", "demo-sandbox")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert (policy["egress"], policy["policyTypes"]) == ([], ["Ingress", "Egress"])


def test_services_policies_and_budgets_select_pods_that_there_are() -> None:
    labels = [labels for _, labels, _ in pods(default())]
    for one in default():
        kind, spec = one["kind"], one.get("spec", {})
        wanted = {
            "Service": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        }.get(kind)
        if wanted is not None:
            assert any(wanted(spec).items() <= found.items() for found in labels), one["metadata"]["name"]
    path = named(default(), "Ingress", "demo")["spec"]["rules"][0]["http"]["paths"][0]
    service = named(default(), "Service", path["backend"]["service"]["name"])
    assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_commands_are_those_of_the_compose_file() -> None:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    commands = {name: spec["containers"][0]["command"] for name, _, spec in pods(default())}
    for name in ("migrate", "api", "scheduler", "sandbox"):
        assert commands[f"demo-{name}"] == services[name]["command"], name
    assert commands["demo-worker-h100"] == services["gpu-worker"]["command"]
    assert importlib.util.find_spec("worker.health")


def test_every_star_variable_is_a_setting_that_exists() -> None:
    given = set(named(default(), "ConfigMap", "demo-settings")["data"])
    for _, _, spec in pods(default()):
        given |= {one["name"] for one in spec["containers"][0].get("env", [])}
    ours = {name.removeprefix("STAR_").lower() for name in given if name.startswith("STAR_")}
    assert {"gpu_class", "gpus", "sandbox_url", "storage_url"} <= ours <= set(Settings.model_fields)


def test_workers_get_their_gpus_and_the_time_to_hand_their_step_back() -> None:
    changed = values()
    two_classes(changed)
    workers = {name: spec for name, _, spec in pods(render(changed)) if "worker" in name}
    assert {
        name: spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for name, spec in workers.items()
    } == {
        "demo-worker-h100": 1,
        "demo-worker-l4": 2,
    }
    assert {spec["terminationGracePeriodSeconds"] for spec in workers.values()} == {120}


def test_workers_scale_from_zero_by_metrics_that_there_are_and_busy_ones_stay() -> None:
    scaled = named(default(), "ScaledObject", "demo-worker-h100")["spec"]
    target = scaled["scaleTargetRef"]
    assert "replicas" not in named(default(), target["kind"], target["name"])["spec"]  # KEDA's alone
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 4)
    queries = [trigger["metadata"]["query"] for trigger in scaled["triggers"]]
    for query in queries:
        promql_parser.parse(query)
    metrics = {name for query in queries for name in METRIC.findall(query)}
    source = (PROJECT / "app" / "ledger" / "platform" / "prometheus.py").read_text()
    assert metrics == {"star_queued_steps", "star_queued_steps_age_seconds", "star_workers"}
    assert all(f'"{name}"' in source for name in metrics)
    assert re.search(r'star_workers\{gpu_class="h100",state="busy"\}', queries[1])
    assert 'gpu_class=~"h100|any"' in queries[0]


def test_without_keda_every_class_has_its_most_workers() -> None:
    changed = values()
    without_extras(changed)
    objects = render(changed)
    assert named(objects, "StatefulSet", "demo-worker-h100")["spec"]["replicas"] == 4
    assert {one["kind"] for one in objects}.isdisjoint({"ScaledObject", "Ingress", "NetworkPolicy"})
    assert "STAR_SANDBOX_URL" not in named(objects, "ConfigMap", "demo-settings")["data"]
