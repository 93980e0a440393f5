"""The part of a report on many answers to a question: accuracy over k, of the base model and at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from star_engine.evaluation.candidates import curve_label
from star_engine.evaluation.report import percent

TEXT = (
    "Each held-out question was answered many times; every number is the average over all draws of k of the "
    "answers, with an exact 95 % interval over questions at the largest k. A tie is no majority. Best of k "
    "takes the answer with the highest score; by its own likelihood, the shortest and a random one need no "
    "verifier, and are what one has to beat. Where pass@k of the trained model falls below the base model's "
    "at large k, training has narrowed what it can solve."
)


def header(measured: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return ("model", "method", *(f"k = {k}" for k in _ks(measured)), "95 % interval")


def rows(measured: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    """A row per model and method, in the order of `header`."""
    return tuple(_rows(measured))


def lines(measured: Sequence[Mapping[str, Any]], most: int) -> dict[str, tuple[tuple[int, float], ...]]:
    """At most so many lines of a chart, by the place of k among those of `ticks`."""
    ks = _ks(measured)
    found = {
        f"{_model(one)}: {label}": tuple(
            (ks.index(k), point["value"]) for k, point in zip(one["ks"], points, strict=True)
        )
        for one in reversed(measured)
        for name, points in one["curves"].items()
        if (label := curve_label(name)) is not None and name != "pass_all"
    }
    return dict(list(found.items())[:most])


def ticks(measured: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(map(str, _ks(measured)))


def _rows(measured: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for one in measured:
        for name, points in one["curves"].items():
            label = curve_label(name)
            if label is not None:
                at = {k: percent(point["value"]) for k, point in zip(one["ks"], points, strict=True)}
                last = points[-1]
                between = f"{percent(last['low'])} to {percent(last['high'])}"
                yield (_model(one), label, *(at.get(k, "–") for k in _ks(measured)), between)


def _ks(measured: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({k for one in measured for k in one["ks"]})


def _model(one: Mapping[str, Any]) -> str:
    return f"iteration {one['iteration']}" if one["iteration"] else "base model"
