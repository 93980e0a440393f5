"""What in a newer OpenAPI document would break a client that was written against an older one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.openapi.document import JsonObject, operations


def breaking_changes(old: JsonObject, new: JsonObject) -> list[str]:
    """Sentences, one per change. Empty: every request of before is still taken, and answered as before.

    Looked at: operations, parameters, properties of bodies and of answers to any depth, their types and the
    values that they may take.
    """
    known = {(path, method): operation for path, method, operation in operations(new)}
    found: list[str] = []
    for path, method, before in operations(old):
        name = f"{method.upper()} {path}"
        after = known.get((path, method))
        if after is None:
            found.append(f"{name} is gone")
            continue
        found += [f"{name}: {change}" for change in _of_operation(_Pair(old, new), before, after)]
    return found


def _of_operation(pair: _Pair, before: JsonObject, after: JsonObject) -> Iterator[str]:
    yield from _of_parameters(pair, before, after)
    old_body, new_body = (pair.body(one) for one in (before, after))
    if new_body and not old_body and after["requestBody"].get("required"):
        yield "needs a body now"
    yield from _of_request(pair, old_body, new_body, "the body")
    for status, response in before["responses"].items():
        if status >= "400":
            continue
        if status not in after["responses"]:
            yield f"no longer answers with {status}"
            continue
        old_answer, new_answer = (_schema(one) for one in (response, after["responses"][status]))
        yield from _of_answer(pair, old_answer, new_answer, "the answer")


def _of_parameters(pair: _Pair, before: JsonObject, after: JsonObject) -> Iterator[str]:
    old, new = ({(p["in"], p["name"]): p for p in one.get("parameters", [])} for one in (before, after))
    for key, parameter in new.items():
        if parameter.get("required") and not old.get(key, {}).get("required"):
            yield f"needs the parameter {key[1]} now"
    for key, parameter in old.items():
        if key not in new:
            yield f"no longer takes the parameter {key[1]}"
        else:
            yield from _narrowed(pair, parameter["schema"], new[key]["schema"], f"the parameter {key[1]}")


def _of_request(pair: _Pair, before: JsonObject, after: JsonObject, where: str) -> Iterator[str]:
    if not before or not after:
        return
    old, new = pair.resolve(before, after)
    yield from _narrowed(pair, old, new, where)
    for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{where} needs {name} now"
    for name, inner in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{where} no longer takes {name}"
        elif pair.enter(inner):
            yield from _of_request(pair, inner, new["properties"][name], f"{where}.{name}")


def _of_answer(pair: _Pair, before: JsonObject, after: JsonObject, where: str) -> Iterator[str]:
    if not before or not after:
        return
    old, new = pair.resolve(before, after)
    if _types(old) and _types(new) - _types(old):
        yield f"{where} may be {', '.join(sorted(_types(new) - _types(old)))} now"
    for name, inner in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{where} lacks {name}"
        elif pair.enter(inner):
            yield from _of_answer(pair, inner, new["properties"][name], f"{where}.{name}")
    if "items" in old and "items" in new and pair.enter(old["items"]):
        yield from _of_answer(pair, old["items"], new["items"], f"{where}[]")


def _narrowed(pair: _Pair, before: JsonObject, after: JsonObject, where: str) -> Iterator[str]:
    old, new = pair.resolve(before, after)
    if _types(new) and _types(old) - _types(new):
        yield f"{where} may no longer be {', '.join(sorted(_types(old) - _types(new)))}"
    if "enum" in old and "enum" in new and set(old["enum"]) - set(new["enum"]):
        yield f"{where} no longer takes {', '.join(sorted(map(str, set(old['enum']) - set(new['enum']))))}"
    for limit, sign in (
        ("maximum", 1),
        ("maxLength", 1),
        ("maxItems", 1),
        ("minimum", -1),
        ("minLength", -1),
    ):
        if limit in new and (limit not in old or sign * new[limit] < sign * old[limit]):
            yield f"{where} has a narrower {limit} now"


def _types(schema: JsonObject) -> set[str]:
    """The JSON types that a schema allows; empty: any. Integers count as numbers that they are."""
    if "type" in schema:
        return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    if "$ref" in schema:
        return {"object"}
    inner = [_types(one) for one in schema.get("anyOf", [])]
    return set().union(*inner) if inner and all(inner) else set()


def _schema(response: JsonObject) -> JsonObject:
    content = response.get("content", {}).get("application/json", {})
    return dict(content.get("schema", {}))


class _Pair:
    """Two documents compared side by side; each reference is followed once per comparison."""

    def __init__(self, old: JsonObject, new: JsonObject) -> None:
        self._old, self._new = old, new
        self._seen: set[str] = set()

    def resolve(self, before: JsonObject, after: JsonObject) -> tuple[JsonObject, JsonObject]:
        return _follow(self._old, before), _follow(self._new, after)

    def enter(self, schema: JsonObject) -> bool:
        """Whether to look inside: a reference that was followed before leads in a circle."""
        name = schema.get("$ref", "")
        if name in self._seen:
            return False
        if name:
            self._seen.add(name)
        return True

    def body(self, operation: JsonObject) -> JsonObject:
        return _schema(operation.get("requestBody", {}))


def _follow(spec: JsonObject, schema: JsonObject) -> JsonObject:
    """The schema that a reference, alone or beside null, stands for."""
    options = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(options) == 1 and "$ref" in options[0]:
        schema = options[0]
    while "$ref" in schema:
        found: Any = spec
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema
