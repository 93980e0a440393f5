"""An adapter's receipt on its page: the tables, and pass@k of base and trained model in one chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.reports import receipts
from app.results.quality.receipts import ReceiptOut
from star_engine.evaluation.collapse import CollapseMeasures, pass_lines


@dataclass(frozen=True, slots=True)
class ShownReceipt:
    receipt: ReceiptOut
    measures: tuple[tuple[str, ...], ...]  # of collapse: name, base model, trained model
    chart: dict[str, Any] | None  # as macro `chart` of templates/_parts.html takes it


def shown_receipt(found: ReceiptOut) -> ShownReceipt:
    collapse = found.collapse
    if collapse is None:
        return ShownReceipt(found, (), None)
    return ShownReceipt(found, receipts.collapse_rows(collapse), _chart(collapse))


def _chart(collapse: CollapseMeasures) -> dict[str, Any] | None:
    lines = pass_lines(collapse)
    ks = sorted({point.k for one in lines.values() for point in one})
    series = []
    for name, points in lines.items():
        at = {point.k: point for point in points}
        known = [at.get(k) for k in ks]
        series.append(
            {
                "label": name.capitalize(),
                "values": [one and one.value for one in known],
                "low": [one and one.interval.low for one in known],
                "high": [one and one.interval.high for one in known],
                "dashed": name == "base model",
            }
        )
    if not series:
        return None
    return {"x": ks, "x_label": "Answers to a question (k)", "unit": "share", "log": True, "series": series}
