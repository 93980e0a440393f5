"""Reads YAML by the rules of JSON: null, true, false and decimal numbers; everything else is a text.

Plain YAML reads `no` as false, `12:30` as 750, `010` as 8 and a date as a date.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml


class SettingsLoader(yaml.SafeLoader):
    """A loader in which no key may be repeated."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - declared so

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key {key.value!r} stands there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_NUMBER = r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
for _tag, _pattern, _first in (
    ("null", r"(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"(?:true|false)$", list("tf")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", rf"{_NUMBER}$", list("-+.0123456789")),
):
    SettingsLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def load_settings(text: str) -> Any:
    """Parse YAML. Raises yaml.YAMLError, also for nesting that is too deep."""
    try:
        return yaml.load(text, SettingsLoader)  # noqa: S506 - a SafeLoader
    except RecursionError as problem:
        raise yaml.YAMLError("nested too deep") from problem
