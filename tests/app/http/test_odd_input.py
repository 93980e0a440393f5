"""Odd values wherever a body can hold one: they are refused or taken, and never a fault of the server.

Generated from the OpenAPI document, as the access matrix is: new routes and fields are in it by themselves.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.jobs.openai_fine_tuning import FineTuningIn, as_job
from app.openapi.examples import PARAMETERS
from tests.app.api_harness import serve
from tests.app.http.test_access_matrix import JSON, OPERATIONS, SPEC, objects
from tests.factories import SCRIPT

Place = tuple[str | int, ...]

NESTED: Any = "deep"
for _ in range(200):
    NESTED = {"config": [NESTED]}
HALF = "\ud800"  # of a surrogate pair
ODD = (2**40, float("nan"), "a\x00b", HALF, NESTED)


def test_no_odd_value_in_a_body_is_a_fault_of_the_server(
    postgresql_database_url: str, tmp_path: Path
) -> None:
    """On PostgreSQL, which takes less than SQLite: no NUL, no half of a pair, no integer beyond a column."""
    free = {"rate_limit": "1000000/minute", "project_rate_limit": "1000000/minute"}
    scripted = {"sampler": "scripted", "sampler_script": SCRIPT, "shard_examples": 6}
    asked, faults = 0, []
    with serve(
        postgresql_database_url, tmp_path / "home", **scripted, **free, webhook_allowed_hosts=["hooks.test"]
    ) as api:
        ids = objects(api)
        for method, path, _, operation in OPERATIONS:
            for body in bodies(operation, ids):
                content = json.dumps(body).encode()
                answer = api.client.request(
                    method, path.format(**ids), content=content, headers={"Content-Type": JSON}
                )
                asked += 1
                if answer.status_code >= 500 and answer.status_code != 503:  # the device flow has no provider
                    faults.append((method, path, content[:300]))
    assert faults == []
    assert asked > 500


def test_a_fine_tuning_job_with_an_empty_suffix_has_the_name_of_its_data() -> None:
    sent = FineTuningIn(model="tiny", training_file="file_1", prompt_set="ps_1", suffix="")
    assert as_job(sent, "ds_1").name is None


def bodies(operation: dict[str, Any], ids: dict[str, Any]) -> Iterator[Any]:
    """The operation's example with one value of it made odd, or a field added that it leaves out."""
    content = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    if "example" not in content:
        return
    text = json.dumps(content["example"])
    for name, value in ids.items():
        text = text.replace(json.dumps(PARAMETERS[name]), json.dumps(value))
    example = json.loads(text)
    left_out = [(name,) for name in fields(content["schema"]) if name not in example]
    for place in [*places(example), *left_out]:
        for value in ODD:
            yield changed(example, place, value)


def fields(schema: dict[str, Any]) -> list[str]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return list(SPEC["components"]["schemas"].get(name, {}).get("properties", {}))


def places(body: Any, at: Place = ()) -> Iterator[Place]:
    """Where in a body a value stands: the whole, its fields, the first item of a list."""
    yield at
    if isinstance(body, dict):
        for name, value in body.items():
            yield from places(value, (*at, name))
    elif isinstance(body, list) and body:
        yield from places(body[0], (*at, 0))


def changed(body: Any, at: Place, value: Any) -> Any:
    if not at:
        return value
    copied = inner = copy.deepcopy(body)
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    return copied
