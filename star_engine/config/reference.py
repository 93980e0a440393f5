"""The settings tree for readers and for schemas.

python -m star_engine.config.reference > docs/settings.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from star_engine.config.presets import PRESETS
from star_engine.config.star import StarConfig
from star_engine.section import Section
from star_engine.tasks.kind import Kind

_SIGNS = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}
_HEAD = """# Settings

Every setting of a job, by its path in `config`. A preset (`GET /v1/presets`) sets some of them; what a
request gives is merged into the preset at every depth. `make settings` writes this page.

| setting | type | default | what it does |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `path` is dotted, as in a request's `config`."""

    path: str
    type: str
    default: str
    description: str


def settings() -> Iterator[Setting]:
    """All settings in the order of the tree; of a choice between sections, those of each."""
    return _settings(StarConfig, "")


def _settings(section: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        inner = _sections(field.annotation)
        path = f"{prefix}{name}"
        if not inner:
            yield Setting(path, _type(field.annotation, field.metadata), _default(field), _said(field))
        for one in inner:
            many = f"{path}[]." if get_origin(field.annotation) is tuple else f"{path}."
            label = f"{many[:-1]} ({_kind(one)})." if _kind(one) else many
            yield from _settings(one, label)


def _said(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _sections(annotation: Any) -> list[type[Section]]:
    """The sections that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [one for part in get_args(annotation) for one in _sections(part)]


def _kind(section: type[BaseModel]) -> str:
    """What tells a section from the others that may stand in its place."""
    field = section.model_fields.get("kind")
    return str(field.default) if field is not None and isinstance(field.default, str) else ""


def _type(annotation: Any, metadata: Sequence[Any]) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *more = get_args(annotation)
        return _type(base, [*metadata, *more])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, UnionType):
        return " or ".join(_type(part, metadata) for part in get_args(annotation))
    if origin is tuple:
        return f"list of {_type(get_args(annotation)[0], ())}{_limits(metadata)}"
    if annotation is type(None):
        return "`null`"
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return " or ".join(f"`{member.value}`" for member in annotation)  # type: ignore[attr-defined]
    names = {date: "date", bool: "true or false", int: "integer", float: "number", str: "text"}
    return names.get(annotation, str(annotation)) + _limits(metadata)


def _limits(metadata: Sequence[Any]) -> str:
    flat = [one for item in metadata for one in (item.metadata if isinstance(item, FieldInfo) else [item])]
    said = []
    for limit in flat:
        if type(limit) in _SIGNS:
            sign, name = _SIGNS[type(limit)]
            said.append(f"{sign} {getattr(limit, name)}")
        elif isinstance(limit, MinLen):
            said.append(f"at least {limit.min_length}")
        elif isinstance(limit, MaxLen):
            said.append(f"at most {limit.max_length}")
    return f" ({', '.join(said)})" if said else ""


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return f"`{json.dumps(to_jsonable_python(field.default))}`"


@cache
def overrides() -> type[BaseModel]:
    """The settings tree with every setting optional: what a request may give. For schemas only; a config is
    validated once it is merged into its preset."""
    return _optional(StarConfig)


@cache
def _optional(section: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (
            Annotated[(_optional_type(field.annotation), None, *field.metadata)],
            Field(None, description=_said(field) or None, json_schema_extra=_drop_default),
        )
        for name, field in section.model_fields.items()
    }
    made = create_model(f"{section.__name__}Overrides", __doc__=section.__doc__, **fields)
    made.model_config["extra"] = "forbid"
    made.model_rebuild(force=True)
    return made


def _drop_default(schema: dict[str, Any]) -> None:
    """What a setting is without the request follows from the preset."""
    schema.pop("default", None)


def _optional_type(annotation: Any) -> Any:
    inner = _sections(annotation)
    if not inner or get_origin(annotation) is tuple:
        return annotation
    nothing = (None,) if type(None) in get_args(annotation) else ()
    return Union[(*(_optional(one) for one in inner), *nothing)]


def nearest(path: str) -> str | None:
    """The setting that an unknown path was probably meant to be; None where none is near."""
    section, _, name = path.rpartition(".")
    siblings = {name: path for name, path in _names() if path.rpartition(".")[0] == section}
    close = get_close_matches(name, siblings, 1, cutoff=0.7)
    if close:
        return siblings[close[0]]
    anywhere = [path for known, path in _names() if known == name]
    return anywhere[0] if anywhere else None


@cache
def _names() -> tuple[tuple[str, str], ...]:
    """Name and path of every setting and section."""
    return tuple(_paths(StarConfig, ""))


def _paths(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        yield name, prefix + name
        for inner in _sections(field.annotation):
            yield from _paths(inner, f"{prefix}{name}.")


def preset_configs(kind: Kind) -> Mapping[str, StarConfig]:
    """Every preset's settings for a kind of question."""
    return {name: make(kind) for name, make in PRESETS.items()}


def markdown() -> str:
    """docs/settings.md."""
    rows = (
        f"| `{one.path}` | {one.type} | {one.default} | {one.description} |".replace("||", "| |")
        for one in settings()
    )
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 - a command
