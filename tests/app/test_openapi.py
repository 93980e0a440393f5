"""The committed openapi.json is the contract: what is served is what it says, and nothing breaks unseen."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.main import create_app
from app.openapi.breaking import breaking_changes
from app.openapi.document import operations

COMMITTED = Path(__file__).parents[2] / "openapi.json"
JSON = "application/json"


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return create_app().openapi()


def test_nothing_that_clients_rely_on_has_gone(spec: dict[str, Any]) -> None:
    assert breaking_changes(json.loads(COMMITTED.read_text()), spec) == []


def test_committed_document_is_the_served_one(spec: dict[str, Any]) -> None:
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(spec)), "run: make openapi"


def test_operations_have_names_of_their_own_and_say_what_they_do(spec: dict[str, Any]) -> None:
    found = [operation for _, _, operation in operations(spec)]
    assert len({operation["operationId"] for operation in found}) == len(found)
    assert all(operation["summary"] for operation in found)


def test_no_schema_is_named_after_the_module_that_holds_it(spec: dict[str, Any]) -> None:
    """FastAPI puts the module's path before the name where two classes are called the same."""
    assert [name for name in spec["components"]["schemas"] if name.startswith("app__")] == []


def test_every_error_is_problem_json(spec: dict[str, Any]) -> None:
    for path, method, operation in operations(spec):
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)


def test_every_path_parameter_and_json_body_has_an_example(spec: dict[str, Any]) -> None:
    for path, method, operation in operations(spec):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert "example" in parameter, (method, path, parameter["name"])
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
            if media_type == JSON:
                assert "example" in body, (method, path)


def test_examples_of_bodies_fit_their_schemas(spec: dict[str, Any]) -> None:
    for path, method, operation in operations(spec):
        body = operation.get("requestBody", {}).get("content", {}).get(JSON)
        if body is not None:
            schema = {**body["schema"], "components": spec["components"]}
            errors = [error.message for error in Draft202012Validator(schema).iter_errors(body["example"])]
            assert errors == [], (method, path)


def job_body(spec: dict[str, Any]) -> dict[str, Any]:
    """The schema of what POST /v1/jobs takes."""
    name = spec["paths"]["/v1/jobs"]["post"]["requestBody"]["content"][JSON]["schema"]["$ref"]
    found: dict[str, Any] = spec["components"]["schemas"][name.rpartition("/")[2]]
    return found


def changed(spec: dict[str, Any], change: Any) -> list[str]:
    newer = copy.deepcopy(spec)
    change(newer)
    return breaking_changes(spec, newer)


def test_an_operation_that_is_gone_breaks(spec: dict[str, Any]) -> None:
    found = changed(spec, lambda new: new["paths"].pop("/v1/jobs"))
    assert sorted(found) == ["GET /v1/jobs is gone", "POST /v1/jobs is gone"]


def test_a_field_that_an_answer_lacks_breaks(spec: dict[str, Any]) -> None:
    found = changed(spec, lambda new: new["components"]["schemas"]["JobOut"]["properties"].pop("status"))
    assert "GET /v1/jobs/{job_id}: the answer lacks status" in found


def test_a_field_that_a_body_needs_or_takes_no_longer_breaks(spec: dict[str, Any]) -> None:
    def need(new: dict[str, Any]) -> None:
        job_body(new)["required"].append("priority")

    assert "POST /v1/jobs: the body needs priority now" in changed(spec, need)
    found = changed(spec, lambda new: job_body(new)["properties"].pop("preset"))
    assert "POST /v1/jobs: the body no longer takes preset" in found


def test_a_parameter_of_another_type_or_a_narrower_range_breaks(spec: dict[str, Any]) -> None:
    def narrow(new: dict[str, Any]) -> None:
        listed = new["paths"]["/v1/jobs"]["get"]["parameters"]
        next(one for one in listed if one["name"] == "limit")["schema"]["maximum"] = 50

    assert changed(spec, narrow) == ["GET /v1/jobs: the parameter limit has a narrower maximum now"]


def test_what_is_added_does_not_break(spec: dict[str, Any]) -> None:
    def add(new: dict[str, Any]) -> None:
        new["paths"]["/v1/more"] = {"get": new["paths"]["/v1/jobs"]["get"]}
        new["components"]["schemas"]["JobOut"]["properties"]["more"] = {"type": "string"}
        job_body(new)["properties"]["more"] = {"type": "string"}

    assert changed(spec, add) == []
