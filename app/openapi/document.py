"""The OpenAPI document: what FastAPI derives from the routes, with errors, examples and names put right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.http.auth import route_scope
from app.http.problems import MEDIA_TYPE
from app.http.schemas import PROBLEMS, ProblemOut
from app.openapi.examples import BODIES, PARAMETERS, PROBLEM

JsonObject = dict[str, Any]
WITH_BODY = frozenset({"post", "put", "patch"})
DESCRIPTION = (
    "A language model teaches itself to reason, as a managed job. Errors are problem details (RFC 9457) that "
    "name the field, the reason and the fix. Lists are pages: ask for the next with `after` = `last_id`."
)


def operation_id(route: APIRoute) -> str:
    """`jobs_list` for the function list_ of app.routes.jobs: what generated clients call it."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}_{route.endpoint.__name__.strip('_')}"


def document(app: FastAPI, public: frozenset[str]) -> JsonObject:
    """The document of all routes. `public`: paths that need no key. Made once per process."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
        scopes = {route.unique_id: route_scope(route) for route in app.routes if isinstance(route, APIRoute)}
        for path, method, operation in operations(made):
            if (scope := scopes[operation["operationId"]]) is not None:
                operation["x-required-scope"] = scope.value
            _tell_errors(path, method, operation, public)
            _give_examples(operation)
        schemas = made["components"]["schemas"] | _problem_schemas()
        made["components"]["schemas"] = dict(sorted(schemas.items()))
        app.openapi_schema = made
    return app.openapi_schema


def operations(spec: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _problem_schemas() -> JsonObject:
    """Made here: as the `model` of a response, FastAPI would make it again for every error of every route."""
    schema = ProblemOut.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    parts: JsonObject = schema.pop("$defs")
    made: JsonObject = jsonable_encoder(parts | {"ProblemOut": schema}, exclude_none=True)  # as FastAPI's are
    made["ProblemOut"]["examples"] = [PROBLEM]
    return made


def _tell_errors(path: str, method: str, operation: JsonObject, public: frozenset[str]) -> None:
    """Every error is problem JSON; what cannot happen to an operation is left out."""
    responses: JsonObject = operation["responses"]
    unwanted = set() if method in WITH_BODY else {"413"}
    if path in public:
        unwanted = {str(status) for status in PROBLEMS} - {"503"}
    for status in unwanted & responses.keys():
        del responses[status]
    for status, response in responses.items():
        if status >= "400":
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}


def _give_examples(operation: JsonObject) -> None:
    for parameter in operation.get("parameters", []):
        if parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]
    body = operation.get("requestBody", {}).get("content", {})
    for media_type, example in BODIES.get(operation["operationId"], {}).items():
        body[media_type]["example"] = example
