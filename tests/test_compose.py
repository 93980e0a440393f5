from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.settings import Settings
from tests.databases import PROJECT

OURS = ("migrate", "api", "scheduler", "gpu-worker", "gpu-worker-1", "model-server")
SECRETLESS = "sandbox"
THEIRS = ("postgres", "redis")


@cache
def compose() -> Any:
    return yaml.safe_load((PROJECT / "docker-compose.yml").read_text())


def service(name: str) -> Any:
    return compose()["services"][name]


@cache
def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile by its name."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_compose_file_is_valid_by_the_schema_of_the_compose_specification() -> None:
    schema = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(compose())


class WithTags(yaml.SafeLoader):
    """A loader that knows the tags of compose files."""


def overriding(loader: WithTags, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


WithTags.add_constructor("!override", overriding)


def test_a_compose_file_for_more_gpus_has_a_worker_for_each_of_them() -> None:
    made = subprocess.run(["deploy/compose-gpus.sh", "8"], cwd=PROJECT, capture_output=True, text=True)
    more = yaml.load(made.stdout, WithTags)  # noqa: S506 - a SafeLoader
    schema = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(more)
    workers = {name: one for name, one in compose()["services"].items() if name.startswith("gpu-worker")}
    workers |= more["services"]
    devices = [one["deploy"]["resources"]["reservations"]["devices"] for one in workers.values()]
    assert [device["device_ids"] for [device] in devices] == [[str(gpu)] for gpu in range(8)]
    own = [one["volumes"][0 if one.get("extends") else 1].split(":")[0] for one in workers.values()]
    assert own == list(workers)  # checkpoints of one worker are never another's
    assert set(own) <= {*compose()["volumes"], *more["volumes"]}


@pytest.mark.parametrize("count", ["two", "2", ""])
def test_a_number_of_gpus_that_needs_no_file_is_refused(count: str) -> None:
    made = subprocess.run(["deploy/compose-gpus.sh", count], cwd=PROJECT, capture_output=True, text=True)
    assert (made.returncode, made.stdout) == (2, "")


def test_schema_refuses_a_misspelt_key() -> None:
    schema = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())
    misspelt = compose() | {"services": {"api": service("api") | {"heathcheck": {}}}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(misspelt)


def test_the_services_are_those_of_the_design() -> None:
    assert sorted(compose()["services"]) == sorted((*OURS, SECRETLESS, *THEIRS))


@pytest.mark.parametrize("name", [*OURS, SECRETLESS, *THEIRS])
def test_no_service_runs_as_root_or_may_become_root(name: str) -> None:
    user = service(name).get("user")
    if user is None:
        [user] = re.findall(r"^USER (\S+)$", stages()[service(name)["build"]["target"]], re.MULTILINE)
    assert user not in ("root", "0")
    assert service(name)["cap_drop"] == ["ALL"]
    assert service(name)["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", [*OURS[1:], SECRETLESS, *THEIRS])
def test_every_service_that_keeps_running_has_a_health_check(name: str) -> None:
    assert service(name)["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service(name)["restart"] == "unless-stopped"


@pytest.mark.parametrize(("name", "target"), [("api", "api"), ("gpu-worker", "worker")])
def test_an_image_by_itself_runs_and_checks_what_the_compose_file_does(name: str, target: str) -> None:
    stage = stages()[target].replace("\\\n", "")
    [command] = re.findall(r"^CMD (\[.*\])$", stage, re.MULTILINE)
    [check] = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", stage, re.MULTILINE)
    assert json.loads(command) == service(name)["command"]
    assert ["CMD", *json.loads(check)] == service(name)["healthcheck"]["test"]


@pytest.mark.parametrize("name", OURS[1:])
def test_nothing_starts_before_the_migrations_are_through(name: str) -> None:
    assert service(name)["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert service(name)["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert service("migrate")["depends_on"]["postgres"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", OURS)
def test_every_star_variable_is_a_setting_that_exists(name: str) -> None:
    variables = {key for key in service(name)["environment"] if key.startswith("STAR_")}
    assert {key.removeprefix("STAR_").lower() for key in variables} <= set(Settings.model_fields)
    assert variables >= {"STAR_DATABASE_URL", "STAR_BROKER_URL", "STAR_STORAGE_URL", "STAR_MODELS_FILE"}


@pytest.mark.parametrize("name", OURS)
def test_every_setting_can_be_given_in_the_env_file(name: str) -> None:
    """A setting is read from .env, unless the file itself decides it: where services find each other."""
    assert service(name)["env_file"] == [{"path": ".env", "required": False}]
    fixed = {
        key for key, value in service(name)["environment"].items() if not value.startswith(f"${{{key}:-")
    }
    serving = {"STAR_SERVING_HOST", "STAR_SERVING_PORT", "STAR_SERVING_URL"}
    assert fixed & serving == (serving if name == "model-server" else set())
    assert fixed - {"TMPDIR"} - serving == {
        "STAR_DATABASE_URL",
        "STAR_BROKER_URL",
        "STAR_STORAGE_URL",
        "STAR_MODELS_FILE",
        "STAR_SANDBOX_URL",
    }


@pytest.mark.parametrize("name", OURS)
def test_every_command_names_a_module_that_exists(name: str) -> None:
    modules = re.findall(r"(?:worker|app)\.\w+", " ".join(service(name)["command"]))
    assert modules or service(name)["command"][0] == "alembic"
    assert all(importlib.util.find_spec(module) for module in modules)


def test_only_the_api_can_be_reached_and_only_the_sender_of_webhooks_gets_out() -> None:
    assert [name for name in compose()["services"] if "ports" in service(name)] == ["api"]
    assert compose()["networks"]["backend"]["internal"] is True
    networks = {name: each["networks"] for name, each in compose()["services"].items() if name != "api"}
    assert networks.pop("scheduler") == ["backend", "outside"]
    assert networks.pop(SECRETLESS) == ["sandbox"]
    assert compose()["networks"]["sandbox"]["internal"] is True
    asking = {networks.pop(name)[1] for name in ("gpu-worker", "gpu-worker-1", "model-server")}
    assert asking == {"sandbox"}
    assert set(map(tuple, networks.values())) == {("backend",)}


def test_the_sandbox_has_no_secret_and_no_volume() -> None:
    assert service(SECRETLESS)["environment"] == {}
    assert "env_file" not in service(SECRETLESS)
    assert "volumes" not in service(SECRETLESS)
    assert importlib.util.find_spec(service(SECRETLESS)["command"][2])
    assert service("api")["environment"]["STAR_SANDBOX_URL"] == "http://sandbox:8900"


def test_redis_evicts_nothing_and_persists() -> None:
    words = service("redis")["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"


def test_gpu_worker_has_its_gpu_and_the_time_to_hand_its_step_back() -> None:
    worker = service("gpu-worker")
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert worker["stop_grace_period"] == "120s"
    assert worker["init"] is True
    assert {"--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"} <= {
        *worker["command"]
    }


def test_workers_differ_in_gpu_and_volume_alone() -> None:
    first, second = service("gpu-worker"), service("gpu-worker-1")
    own = {name for name in second if first.get(name) != second[name]}
    assert own == {"profiles", "volumes", "deploy"}
    devices = [one["deploy"]["resources"]["reservations"]["devices"][0] for one in (first, second)]
    assert [device["device_ids"] for device in devices] == [["0"], ["1"]]
    assert {*first["volumes"][:2]} & {*second["volumes"][:2]} == {"artifacts:/var/lib/star/artifacts"}


def test_the_server_of_models_is_reached_by_the_api_alone_and_has_a_gpu_of_its_own() -> None:
    server = service("model-server")
    assert server["profiles"] == ["serving"]
    assert server["environment"]["STAR_SERVING_URL"] == "http://model-server:8100"
    assert "backend" in service("api")["networks"]
    assert (
        server["environment"]["STAR_SANDBOX_URL"] == service("gpu-worker")["environment"]["STAR_SANDBOX_URL"]
    )
    [device] = server["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["${STAR_SERVING_GPU:-1}"]


@pytest.mark.parametrize("name", ["scheduler", "gpu-worker", "gpu-worker-1", "model-server"])
def test_an_update_takes_one_after_the_other_and_goes_back_if_that_fails(name: str) -> None:
    update = service(name)["deploy"]["update_config"]
    assert (update["parallelism"], update["order"]) == (1, "stop-first")
    assert update["failure_action"] == "rollback"
    assert service("scheduler")["deploy"]["replicas"] == 2


def test_every_named_volume_and_build_target_exists() -> None:
    mounts = [mount for each in compose()["services"].values() for mount in each.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if isinstance(mount, str)}
    assert named == set(compose()["volumes"])
    targets = {service(name)["build"]["target"] for name in OURS}
    assert targets == {"api", "worker"} <= set(stages())


def test_api_image_is_built_without_torch_and_vllm() -> None:
    built = stages()["python-with-uv"] + stages()["api-build"] + stages()["api"]
    assert set(re.findall(r"--extra (\S+)", built)) == {"otel"}
    assert "--extra vllm" in stages()["worker"]


def test_dockerfile_and_makefile_pin_the_same_uv_and_torch() -> None:
    pins = dict(
        re.findall(r"^(UV|TORCH)_VERSION := (\S+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    )
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert set(re.findall(r"\buv==(\S+)", dockerfile)) == {pins["UV"]}
    assert set(re.findall(r"\btorch==(\S+)", dockerfile)) == {pins["TORCH"]}


def test_build_context_holds_what_the_build_needs_and_no_more() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    pyproject = (PROJECT / "pyproject.toml").read_text()
    [packages] = re.findall(r"^packages = \[(.*)\]$", pyproject, re.MULTILINE)
    assert kept == {*re.findall(r'"(\w+)"', packages), "LICENSE", "README.md", "pyproject.toml", "uv.lock"}
    assert all((PROJECT / path).exists() for path in kept)
