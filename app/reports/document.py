"""A job's report as headings, sentences, tables and charts, before it becomes Markdown or HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.http.schemas import rfc3339
from app.ledger.jobs.report import Coverage, JobReport
from app.reports import audits, claims, money, receipts, relatives, steering, test_time, tools
from app.reports.accuracies import NONE, accuracy_row, group_cell, name_of, share_cell
from app.tables.jobs import Job
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.answer import Verdict
from star_engine.evaluation.report import GroupAccuracy
from star_engine.filters.funnel import STAGES

MAX_LINES = 14  # groups that a table and a chart have room for


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Shares (0 to 1) over iterations or the like, one line per name."""

    title: str
    lines: Mapping[str, tuple[tuple[int, float], ...]]
    x_label: str = "iteration"
    ticks: tuple[str, ...] = ()  # written at 0, 1, 2 ... in place of these numbers


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    text: str
    table: Table | None = None
    chart: Chart | None = None


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    verdict: Verdict
    answer: str
    facts: Table
    sections: tuple[Section, ...]


def make_document(job: Job, report: JobReport) -> Document:
    makers = (
        _accuracy,
        _against,
        _over_seeds,
        _test_time,
        _receipt,
        _collapse,
        _beside,
        _groups,
        _differences,
        _coverage,
        _tools,
        _also,
        _steering,
        _funnel,
        _audits,
        _faithfulness,
        _cost,
        _money,
        _settings,
    )
    sections = [make(report) for make in makers]
    return Document(
        title=f"STaR report: {job.name}",
        verdict=report.answer.verdict,
        answer=report.answer.sentence,
        facts=_facts(job),
        sections=tuple(section for section in sections if section is not None),
    )


def _facts(job: Job) -> Table:
    facts = {
        "job": job.id,
        "status": f"{job.status}{f' ({job.stop_reason})' if job.stop_reason else ''}",
        "iteration": f"{job.iteration} of {job.config.iterations}",
        "model": job.model_id,
        "dataset": job.dataset_id,
        "prompt set": job.prompt_set_id,
        "created": rfc3339(job.created_at),
        "finished": rfc3339(job.finished_at) if job.finished_at else NONE,
    }
    return Table(("", ""), tuple(facts.items()))


def _accuracy(report: JobReport) -> Section:
    if not report.accuracies:
        return Section("Accuracy on held-out examples", "No evaluation is complete yet.")
    used = {row.iteration: row.coverage for row in report.coverage}
    header = (
        "what", "right", "accuracy", "95 % interval", "difference", "95 % interval", "p", "train data used"
    )  # fmt: skip
    rows = tuple(accuracy_row(row, used.get(row.iteration), report.method) for row in report.accuracies)
    text = (
        "Greedy answers. Differences are in points, to the better few-shot baseline, paired by example. "
        "Intervals (exact for accuracies, square-and-add for differences) and p (exact sign test) are of "
        "that row alone and over questions, not over training seeds. Train data used: the share of the "
        "iteration's examples in its training set: generated + rationalized or hinted, or given."
    )
    return Section("Accuracy on held-out examples", text, Table(header, rows))


def _against(report: JobReport) -> Section | None:
    if not report.answer.comparisons:
        return None
    table = Table(claims.AGAINST_HEADER, claims.against_rows(report.answer))
    return Section(f"{report.method} against other methods", claims.against_text(report.answer), table)


def _over_seeds(report: JobReport) -> Section | None:
    found = report.over_seeds
    if found is None:
        return None
    return Section(
        "Over seeds", claims.seeds_text(found), Table(claims.SEEDS_HEADER, claims.seed_rows(found))
    )


def _test_time(report: JobReport) -> Section | None:
    measured = report.test_time
    if not measured:
        return None
    lines = test_time.lines(measured, MAX_LINES)
    chart = Chart("Accuracy over k answers to a question", lines, "answers (k)", test_time.ticks(measured))
    table = Table(test_time.header(measured), test_time.rows(measured))
    return Section("Many answers to a question", test_time.TEXT, table, chart)


def _receipt(report: JobReport) -> Section | None:
    if report.receipt is None:
        return None
    table = Table(receipts.HEADER, receipts.rows(report.receipt))
    return Section(f"Receipt of iteration {report.receipt.iteration}", report.receipt.sentence, table)


def _collapse(report: JobReport) -> Section | None:
    """pass@k of the base model and of the final model in one chart, and what else shows a collapse."""
    found = report.collapse
    if found is None or not found.sentences:
        return None
    lines, ticks = receipts.pass_chart(found)
    chart = Chart("pass@k: any of k answers is right", lines, "answers (k)", ticks) if lines else None
    table = Table(receipts.COLLAPSE_HEADER, receipts.collapse_rows(found))
    text = f"{receipts.COLLAPSE_TEXT} {' '.join(found.sentences)}"
    return Section("Does the trained model still solve what the base model could?", text, table, chart)


def _beside(report: JobReport) -> Section | None:
    if not report.relatives:
        return None
    table = Table(relatives.HEADER, relatives.relative_rows(report.relatives))
    lines = relatives.curves(_curve(report), report.relatives, MAX_LINES)
    chart = Chart("Accuracy over iterations, beside other jobs", lines) if lines else None
    return Section("Beside other methods", relatives.TEXT, table, chart)


def _curve(report: JobReport) -> list[tuple[int, float]]:
    best: dict[int, float] = {}
    for row in report.accuracies:
        best[row.iteration] = max(row.accuracy, best.get(row.iteration, 0.0))
    return sorted(best.items())


def _differences(report: JobReport) -> Section | None:
    rows = relatives.setting_rows(report.relatives)
    if not rows:
        return None
    text = "All other settings are the same."
    return Section("Settings that differ", text, Table(relatives.SETTINGS_HEADER, rows))


def _groups(report: JobReport) -> Section | None:
    """Return the curves of Figure 4; iteration 0 is the baseline."""
    shown = [row for row in report.accuracies if row.mode is EvaluationMode.ADAPTER or row.difference is None]
    if not any(row.mode is EvaluationMode.ADAPTER for row in shown):
        return None
    lines: dict[str, dict[int, GroupAccuracy]] = {}
    for row in shown:
        whole = GroupAccuracy(row.n, row.correct, row.accuracy, row.interval)
        for group, found in (row.by_group or {"all": whole}).items():
            lines.setdefault(group, {})[row.iteration] = found
    names = tuple(lines)[:MAX_LINES]
    rows = tuple(
        (name_of(row, report.method), *(group_cell(lines[name].get(row.iteration)) for name in names))
        for row in shown
    )
    text = (
        "Iteration 0 is the better few-shot baseline. In brackets the 95 % interval and the examples asked."
    )
    if len(lines) > MAX_LINES:
        text += f" These are {MAX_LINES} of {len(lines)} groups; the report in JSON has all."
    drawn = {name: tuple((n, one.accuracy) for n, one in lines[name].items()) for name in names}
    chart = Chart("Accuracy per group over iterations", drawn)
    return Section("Accuracy by group", text, Table(("what", *names), rows), chart)


def _coverage(report: JobReport) -> Section | None:
    if not report.coverage:
        return None
    header = (
        "iteration", "asked", "solve rate", "kept, generated", "kept, rationalized", "coverage",
        "newly solved", "retained", "forgotten", "never", "optimizer steps",
    )  # fmt: skip
    text = (
        "Of the train examples asked in each iteration, tried without a hint: newly solved for the first "
        "time, retained from an earlier iteration, forgotten since, never solved so far."
    )
    lines = {
        "solve rate": tuple(
            (row.iteration, row.solve_rate) for row in report.coverage if row.solve_rate is not None
        ),
        "coverage": tuple((row.iteration, row.coverage["total"]) for row in report.coverage if row.coverage),
    }
    chart = Chart(
        "Solve rate and coverage over iterations", {name: line for name, line in lines.items() if line}
    )
    given = any("given" in (row.kept or {}) for row in report.coverage)
    hinted = any("hinted" in (row.kept or {}) for row in report.coverage)
    called = {"kept, generated": "kept, given"} if given else {}
    called |= {"kept, rationalized": "kept, hinted"} if hinted else {}
    names = tuple(called.get(name, name) for name in header)
    table = Table(names, tuple(map(_coverage_row, report.coverage)))
    return Section("Train data, coverage and churn", text, table, chart if chart.lines else None)


def _tools(report: JobReport) -> Section | None:
    rows = tools.tool_rows(report.coverage)
    return Section("With the tool and without it", tools.TEXT, Table(tools.HEADER, rows)) if rows else None


def _coverage_row(row: Coverage) -> tuple[str, ...]:
    kept, churned = row.kept or {}, row.churn
    parts: tuple[int | None, ...] = (None,) * 4
    if churned is not None:
        parts = (churned.newly_solved, churned.retained, churned.forgotten, churned.never)
    return (
        str(row.iteration),
        _count(None if churned is None else churned.asked),
        share_cell(row.solve_rate),
        _count(kept.get("generated", kept.get("given"))),
        _count(kept.get("rationalized", kept.get("hinted"))),
        share_cell(row.coverage["total"] if row.coverage else None),
        *map(_count, parts),
        _count(row.steps),
    )


def _funnel(report: JobReport) -> Section | None:
    header = ("iteration", "route", *(stage.replace("_", " ") for stage in STAGES))
    rows = tuple(
        (str(row.iteration), route, *(str(reached[stage]) for stage in STAGES))
        for row in report.coverage
        for route, reached in (row.funnel or {}).items()
    )
    text = (
        "How many rationales reached each stage. Parsed: an answer could be read; answered: exactly one; "
        "leak free: no filter found the hint, a copy or a false step; trained: within the cap as well."
    )
    return Section("From sampled to trained", text, Table(header, rows)) if rows else None


def _audits(report: JobReport) -> Section | None:
    rows = audits.audit_rows(report.coverage)
    text = " ".join((audits.TEXT, *audits.told(report.coverage)))
    return Section("Audits of the training data", text, Table(audits.HEADER, rows)) if rows else None


def _faithfulness(report: JobReport) -> Section | None:
    rows = audits.faithful_rows(report.coverage)
    if not rows:
        return None
    title = "Whether answers come from their rationales"
    return Section(title, audits.FAITHFUL_TEXT, Table(audits.FAITHFUL_HEADER, rows))


def _also(report: JobReport) -> Section | None:
    names = sorted({name for row in report.coverage for name in row.also or {}})
    rows = tuple(
        (str(row.iteration), *(share_cell((row.also or {}).get(name, {}).get("accuracy")) for name in names))
        for row in report.coverage
        if row.also
    )
    text = "Accuracy of each iteration's model on the datasets of evaluation.also."
    return Section("Other datasets", text, Table(("iteration", *names), rows)) if rows else None


def _steering(report: JobReport) -> Section | None:
    rows = steering.rows(report)
    return (
        Section("Exploration and exploitation", steering.TEXT, Table(steering.HEADER, rows)) if rows else None
    )


def _count(value: int | None) -> str:
    return NONE if value is None else str(value)


def _cost(report: JobReport) -> Section | None:
    if not report.cost:
        return None
    rows = [(cost.phase, str(cost.steps), f"{cost.seconds:.1f}") for cost in report.cost]
    steps, seconds = sum(cost.steps for cost in report.cost), sum(cost.seconds for cost in report.cost)
    table = Table(("phase", "steps", "worker seconds"), (*rows, ("total", str(steps), f"{seconds:.1f}")))
    return Section("Cost", "Time that workers spent on the last attempts of steps that have ended.", table)


def _money(report: JobReport) -> Section | None:
    if report.prices is None or not report.held:
        return None
    table = Table(money.HEADER, money.rows(report, report.prices))
    return Section("In money", money.text(report.held, report.prices), table)


def _settings(report: JobReport) -> Section:
    rows = tuple(
        (
            switch.name,
            json.dumps(switch.value),
            "" if switch.value == switch.preset else json.dumps(switch.preset),
        )
        for switch in report.switches
    )
    text = "The last column is filled where the preset star has another value for this kind of task."
    return Section("Settings", text, Table(("setting", "value", "preset star"), rows))
