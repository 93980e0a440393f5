"""The chart of accuracy over k answers to a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from app.results.candidates import TestTimeCurvesOut
from star_engine.evaluation.candidates import curve_label

ALONGSIDE = ("pass", "majority")  # what of the base model is shown beside the adapter


def chart(measured: Sequence[TestTimeCurvesOut]) -> dict[str, Any] | None:
    """As macro `chart` of templates/_parts.html takes it: the newest model in full, the first one dashed."""
    if not measured:
        return None
    newest = measured[-1]
    series = list(_series(newest, newest.ks, dashed=False))
    if len(measured) > 1 and measured[0].iteration == 0:
        series += _series(measured[0], newest.ks, dashed=True)
    return {"x": newest.ks, "x_label": "Answers to a question (k)", "unit": "share", "log": True} | {
        "series": series
    }


def _series(one: TestTimeCurvesOut, ks: Sequence[int], *, dashed: bool) -> Iterator[dict[str, Any]]:
    for name, points in one.curves.items():
        label = curve_label(name)
        if label is None or (dashed and name not in ALONGSIDE):
            continue
        at = dict(zip(one.ks, points, strict=True))
        known = [at.get(k) for k in ks]
        yield {
            "label": f"{label}, base model" if dashed else label,
            "values": [point and point.value for point in known],
            "low": None if dashed else [point and point.low for point in known],
            "high": None if dashed else [point and point.high for point in known],
            "dashed": dashed or name == "best_of/random",
        }
