"""What a job's charts show: a specification each, as macro `chart` of templates/_parts.html takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.ledger.jobs.relations import Relative
from app.ledger.jobs.report import Coverage, JobReport
from app.results.iterations import IterationOut
from star_engine.config.presets import FIXED_TEMPERATURE
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.balance import DISTINCT
from star_engine.evaluation.report import AccuracyRow, GroupAccuracy
from star_engine.filters.funnel import STAGES
from star_engine.loop import PhaseName

Spec = dict[str, Any]
Values = Sequence[float | None]
MAX_GROUPS = 12  # curves that one chart still shows apart


def charts(iterations: Sequence[IterationOut], report: JobReport) -> list[tuple[str, Spec]]:
    """Title and specification of each chart that has something to show."""
    turns = [one for one in iterations if one.number > 0]
    made = [
        ("Held-out accuracy by group", groups(report.accuracies)),
        ("Accuracy on other datasets", others(iterations)),
        ("Solve rate: train examples right without a hint", solve_rate(report.coverage)),
        ("Coverage: train examples in the training set", coverage(report.coverage)),
        ("Churn: what became of the train examples", churn(report.coverage)),
        ("Filter funnel: rationales that reached each stage", funnel(report.coverage)),
        ("Exploration: train examples by distinct right solutions", explored(turns, report.relatives)),
        (
            "Exploitation: train examples whose best rewarded tries are right",
            exploited(turns, report.relatives),
        ),
        ("Entropy of the answers, in bits", entropy(turns, report.relatives)),
        ("Temperature and threshold", _of_metrics(turns, "number", CONTROL)),
        ("Train examples asked", _of_metrics(turns, "number", SELECTED)),
        ("Training loss", _of_metrics(turns, "number", LOSS)),
        ("Worker time by phase", _of_metrics(turns, "seconds", PHASE_SECONDS)),
        ("Tokens trained on", _of_metrics(turns, "number", {"Tokens": _training("tokens")})),
    ]
    return [(title, spec) for title, spec in made if spec is not None]


def others(iterations: Sequence[IterationOut]) -> Spec | None:
    """Draw the accuracy on each dataset of evaluation.also, from the base model's on: what is forgotten."""
    names = sorted({name for one in iterations for name in one.metrics.get("also", {})})
    read = {name: _other(name) for name in names[:MAX_GROUPS]}
    return _of_metrics(iterations, "share", read)


def _other(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda metrics: metrics.get("also", {}).get(name, {}).get("accuracy")


def explored(turns: Sequence[IterationOut], relatives: Sequence[Relative] = ()) -> Spec | None:
    """Draw Pass@K-S and the share of distinct solutions, dashed those of the arm at a fixed temperature."""
    return _beside_fixed(turns, relatives, "share", EXPLORED)


def exploited(turns: Sequence[IterationOut], relatives: Sequence[Relative] = ()) -> Spec | None:
    """Draw Best-of-K and Reward@K-S, dashed those of the arm at a fixed temperature."""
    return _beside_fixed(turns, relatives, "share", EXPLOITED)


def entropy(turns: Sequence[IterationOut], relatives: Sequence[Relative] = ()) -> Spec | None:
    return _beside_fixed(turns, relatives, "number", {"Entropy": lambda found: found.get("entropy")})


def _beside_fixed(
    turns: Sequence[IterationOut],
    relatives: Sequence[Relative],
    unit: str,
    read: Mapping[str, Callable[[Mapping[str, Any]], float | None]],
) -> Spec | None:
    x = [turn.number for turn in turns]
    own = {turn.number: turn.metrics.get("audits", {}).get("exploration") or {} for turn in turns}
    series = [_series(label, [value(own[n]) for n in x]) for label, value in read.items()]
    for one in relatives:
        if one.role == f"baseline {FIXED_TEMPERATURE}":
            fixed = dict(one.exploration)
            series += [
                _series(f"{label}, fixed temperature", [value(fixed.get(n, {})) for n in x], dashed=True)
                for label, value in read.items()
            ]
    return _spec(x, unit, series)


def groups(rows: Sequence[AccuracyRow]) -> Spec | None:
    """Draw accuracy by group, one curve each, starting at the better few-shot baseline (the
    paper's Figure 4).
    """
    base = [row for row in rows if row.mode is not EvaluationMode.ADAPTER and row.difference is None]
    by_number = {row.iteration: row.by_group for row in rows if row.mode is EvaluationMode.ADAPTER}
    if base:
        by_number[0] = base[0].by_group
    x = sorted(by_number)
    names = sorted({name for found in by_number.values() for name in found}, key=_natural)
    if len(names) < 2 or not any(x):
        return None
    return _spec(
        x, "share", [_group(name, [by_number[n].get(name) for n in x]) for name in names[:MAX_GROUPS]]
    )


def _group(name: str, found: Sequence[GroupAccuracy | None]) -> dict[str, Any]:
    return _series(
        name,
        [one.accuracy if one else None for one in found],
        low=[one.interval.low if one else None for one in found],
        high=[one.interval.high if one else None for one in found],
    )


def solve_rate(rows: Sequence[Coverage]) -> Spec | None:
    return _over(rows, "share", {"Solve rate": lambda row: row.solve_rate})


def coverage(rows: Sequence[Coverage]) -> Spec | None:
    """Draw the share of the iteration's examples in the training set, by the route of their rationale."""
    routes = list(dict.fromkeys(name for row in rows for name in row.coverage or {}))
    return _over(rows, "share", {_label(name): _part("coverage", name) for name in routes})


def churn(rows: Sequence[Coverage]) -> Spec | None:
    names = ("newly_solved", "retained", "forgotten", "never")
    return _over(rows, "number", {_label(name): _part("churn", name) for name in names})


def funnel(rows: Sequence[Coverage]) -> Spec | None:
    """Draw the funnel of both routes together; the page of an iteration separates them."""

    def reached(stage: str) -> Callable[[Coverage], float | None]:
        return lambda row: sum(counts[stage] for counts in row.funnel.values()) if row.funnel else None

    return _over(rows, "number", {_label(stage): reached(stage) for stage in STAGES})


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _natural(name: str) -> tuple[int, str]:
    """Groups of 2 digits before those of 10."""
    return (int(name), "") if name.isdecimal() else (10**9, name)


def _part(fact: str, name: str) -> Callable[[Coverage], float | None]:
    def read(row: Coverage) -> float | None:
        found = getattr(row, fact)
        return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)

    return read


def _training(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda metrics: metrics.get("training", {}).get(name)


def _seconds(phase: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda metrics: metrics.get("seconds", {}).get(phase)


def _count_of(section: str, count: int) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda found: found.get(section, {}).get(str(count))


def _fact(section: str, name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda metrics: metrics.get(section, {}).get(name)


# Of audits.exploration: star_engine.evaluation.balance.
EXPLORED: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    **{f"{count} or more": _count_of("pass", count) for count in DISTINCT},
    "Distinct among right tries": lambda found: found.get("distinct_share"),
}
EXPLOITED = {
    "Best of K": _count_of("rewarded", 1),
    **{f"{count} best": _count_of("rewarded", count) for count in DISTINCT[1:]},
}
CONTROL = {
    "Temperature": _fact("control", "temperature"),
    "Threshold": _fact("control", "threshold"),
    "Balance score": _fact("control", "score"),
}
SELECTED = {name.capitalize(): _fact("selection", name) for name in ("asked", "used")}
LOSS = {"First step": _training("loss_first"), "Last step": _training("loss_last")}
PHASE_SECONDS = {_label(phase): _seconds(phase) for phase in PhaseName}


def _over(
    rows: Sequence[Coverage], unit: str, read: Mapping[str, Callable[[Coverage], float | None]]
) -> Spec | None:
    series = [_series(label, [value(row) for row in rows]) for label, value in read.items()]
    return _spec([row.iteration for row in rows], unit, series)


def _of_metrics(
    turns: Sequence[IterationOut],
    unit: str,
    read: Mapping[str, Callable[[Mapping[str, Any]], float | None]],
) -> Spec | None:
    series = [_series(label, [value(turn.metrics) for turn in turns]) for label, value in read.items()]
    return _spec([turn.number for turn in turns], unit, series)


def _series(
    label: str,
    values: Values,
    *,
    low: Values | None = None,
    high: Values | None = None,
    dashed: bool = False,
) -> dict[str, Any]:
    return {"label": label, "values": list(values), "low": low, "high": high, "dashed": dashed}


def _spec(x: Sequence[int], unit: str, series: Sequence[dict[str, Any]]) -> Spec | None:
    """Return the chart's data, or None where there is none, so that no empty chart is shown."""
    known = [one for one in series if any(value is not None for value in one["values"])]
    return {"x": list(x), "x_label": "Iteration", "unit": unit, "series": known} if known else None
