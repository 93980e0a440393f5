"""Plain data as JSON, whatever a subclass makes of it: the only thing that passes between code and tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

COLLECTIONS: dict[str, Any] = {"l": list, "t": tuple, "s": set, "f": frozenset}
SIMPLE: dict[Any, Any] = {int: 0, float: 0.0, str: ""}
NUMBERS = (("fractions", "Fraction"), ("decimal", "Decimal"))


def pack(value: Any, keep: Callable[[Any], int]) -> Any:
    """JSON for plain data, whatever a subclass makes of it; `keep` takes any other object for a number."""
    if value is None or value is True or value is False or type(value) in (int, float, str):
        return value
    for mark, base in COLLECTIONS.items():
        if isinstance(value, base):
            return [mark, *(pack(one, keep) for one in base.__iter__(value))]
    if isinstance(value, dict):
        return ["d", *([pack(k, keep), pack(v, keep)] for k, v in dict.items(value))]
    for simple, nothing in SIMPLE.items():
        if isinstance(value, simple):
            return simple.__add__(value, nothing)
    return pack_rare(value, keep)


def pack_rare(value: Any, keep: Callable[[Any], int]) -> Any:
    kind = type(value)
    if isinstance(value, bytes | bytearray):
        return ["b", bytes(value).hex()]
    if kind is complex:
        return ["c", value.real, value.imag]
    if kind is range:
        return ["r", value.start, value.stop, value.step]
    if (kind.__module__, kind.__name__) in NUMBERS:
        return ["n", kind.__module__, kind.__name__, str(value)]
    if hasattr(value, "__next__") or kind.__name__ in ("dict_keys", "dict_values", "dict_items", "deque"):
        return ["l", *(pack(one, keep) for one in value)]
    return ["o", keep(value)]


def unpack(packed: Any, of_object: Callable[[int], Any]) -> Any:
    if not isinstance(packed, list):
        return packed
    mark, *rest = packed
    if mark in COLLECTIONS:
        return COLLECTIONS[mark](unpack(one, of_object) for one in rest)
    if mark == "d":
        return {unpack(k, of_object): unpack(v, of_object) for k, v in rest}
    if mark == "o":
        return of_object(rest[0])
    if mark == "n" and tuple(rest[:2]) in NUMBERS:
        return getattr(__import__(rest[0]), rest[1])(rest[2])
    make: dict[str, Callable[..., Any]] = {"b": bytes.fromhex, "c": complex, "r": range}
    return make[mark](*rest)
