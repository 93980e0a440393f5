"""Trying a judgement without a job: what a job would make of one text and its gold answer.

The command `python -m star_engine judge`, `POST /v1/verifiers/run`, `star verifiers run` and the dashboard
all print what `judge_row` returns, and it calls what a job calls: the reader of datasets, the verifier, the
filters, the decision and the row that is trained on. Settings are a job's defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from star_engine.config.star import StarConfig
from star_engine.data.prompts import stops
from star_engine.data.readers import parse_row, read_example
from star_engine.data.row_errors import BadRows, RowError
from star_engine.filters.registry import FILTERS, REASONS
from star_engine.protocols import Completion
from star_engine.sampling.answers import Answer, judge, read_answer
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.section import Section
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.reading.cut import cut_at_first_stop, own_turn
from star_engine.tasks.registry import check_options, task_of
from star_engine.training_set.answer_end import ending
from star_engine.training_set.rows import build, decide, filter_input

MAX_COMPLETION = 200_000  # characters: a job writes 32,768 tokens at most
_NO_QUESTION = "-"  # stands in while the row is read: a dataset's rows need a question, a judgement does not


class JudgedRow(Section):
    """A text and what to judge it against. Other fields are ignored, since labelled rows carry more."""

    model_config = ConfigDict(extra="ignore")

    kind: str
    """Kind of question, as datasets name it."""
    completion: Annotated[str, Field(max_length=MAX_COMPLETION)]
    """What a model wrote behind the prompt."""
    answer: StrictStr | StrictInt | StrictFloat
    """The gold answer."""
    choices: tuple[str, ...] | None = None
    """For questions with choices: their texts, in order."""
    question: str | None = None
    """The question; filters that compare with it find nothing where it is left out."""
    route: Literal["generated", "rationalized", "hinted", "given"] = "generated"
    """How the text came: rationalized texts were shown the answer, hinted ones a sentence without it; given
    ones come from a dataset."""
    finish_reason: Literal["stop", "length"] = "stop"
    """length: the token limit cut the text."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the kind's verifier, as config.verifier of a job."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a job would make of a row; if it could not be judged, only `errors` is set."""

    row: int  # counts from 1
    verdict: str | None = None
    extracted: str | None = None  # completion[start:end]
    span: tuple[int, int] | None = None  # start and end, in characters of the completion as it was given
    canonical: str | None = None  # the extracted answer normalised: equal for equal answers
    rule: str | None = None
    decision: str | None = None  # "kept", or the reason of star_engine.filters.registry.REASONS
    why: str | None = None  # the decision in words; None where kept
    filters: Mapping[str, str | None] = field(default_factory=dict)  # name to why it drops; None: it does not
    trained_on: str | None = None  # the completion of the training row; None where there would be none
    errors: tuple[RowError, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them; an error's line is the row."""
        found = asdict(self)
        found["errors"] = [{"field": one.field, "reason": one.reason, "fix": one.fix} for one in self.errors]
        return found


def judge_lines(lines: Iterable[str | bytes]) -> Iterator[Judgement]:
    """Judge rows of JSONL as they come. Blank lines are skipped, and counted as lines."""
    for number, text in enumerate(lines, start=1):
        if text.strip():
            try:
                row = parse_row(text, number)
            except BadRows as bad:
                yield Judgement(number, errors=bad.errors)
                continue
            yield judge_row(row, number)


def judge_row(sent: Mapping[str, Any], number: int = 1) -> Judgement:
    """Judge one row with the fields of `JudgedRow`. Errors are returned in `errors`, never raised."""
    try:
        row = _read(sent, number)
        config = _config(row, number)
        example = _example(row, config, number)
    except BadRows as bad:
        return Judgement(number, errors=bad.errors)
    completion = Completion(example.id, row.completion, 0, 0, row.finish_reason)
    answer = judge(config, example, completion)
    key = RationaleKey(example.id, Route(row.route), 0)
    rationale = Rationale(
        key, answer.text, answer.verdict, answer.extracted, answer.rule, 0, 0, answer.finish_reason
    )
    nothing_shown = PromptSet(config.kind, ())
    decisions = decide(config, nothing_shown, [example], [rationale])
    rows = build(config, nothing_shown, [example], [rationale], decisions)
    decision = decisions[0]
    return Judgement(
        row=number,
        verdict=str(answer.verdict),
        extracted=answer.extracted,
        span=_span(config, example, row.completion, answer),
        canonical=answer.canonical,
        rule=answer.rule,
        decision=decision.reason,
        why=None if decision.kept else REASONS[decision.reason],
        filters=_rejections(config, example, rationale),
        trained_on=rows[0].completion if rows else None,
    )


def _read(sent: Mapping[str, Any], number: int) -> JudgedRow:
    fields = JudgedRow.model_fields
    given = {name: value for name, value in sent.items() if value is not None}
    errors = []
    for name in sorted(given.keys() - fields.keys()):
        if meant := get_close_matches(name.lower(), sorted(fields.keys() - given.keys()), n=1, cutoff=0.8):
            fix = f"Write {meant[0]!r} if that is meant."
            errors.append(RowError(number, name, "Not a field of a row.", fix))
    try:
        row = JudgedRow.model_validate(given)
    except ValidationError as failure:
        found = {str(one["loc"][0]): one for one in reversed(failure.errors())}
        errors += [_field_error(number, name, one["type"], one["msg"]) for name, one in found.items()]
        raise BadRows(errors) from failure
    if errors:
        raise BadRows(errors)
    return row


def _field_error(number: int, name: str, kind_of_error: str, message: str) -> RowError:
    means = JudgedRow.model_fields[name].description or ""
    if kind_of_error == "missing":
        return RowError(number, name, "Missing.", f"Give it: {means[0].lower()}{means[1:]}")
    return RowError(number, name, f"{message}.", means)


def _config(row: JudgedRow, number: int) -> StarConfig:
    """A job's default settings for the row's kind and options."""
    try:
        task = task_of(row.kind)
    except ValueError as problem:
        raise BadRows([_worded(number, "kind", problem)]) from problem
    try:
        check_options(row.kind, row.options)
    except ValueError as problem:
        raise BadRows([_worded(number, "options", problem)]) from problem
    name = task.required_option
    if name is not None and row.options.get(name) is None:
        means = task.options.model_fields[name].description or ""
        reason = f"The kind {task.kind} needs the option {name}."
        raise BadRows([RowError(number, f"options.{name}", reason, f"Give it: {means}")])
    return StarConfig.model_validate({"kind": Kind(row.kind), "verifier": row.options})


def _example(row: JudgedRow, config: StarConfig, number: int) -> Example:
    """The row as an example of a dataset, its gold answer checked as at upload and under the options."""
    written = {"question": row.question or _NO_QUESTION, "answer": row.answer, "choices": row.choices}
    example = read_example(written, config.kind, line=number)
    if row.options:
        try:
            task_of(config.kind).check_gold(example, config.verifier.options)
        except ValueError as problem:
            message = ValueError(f"{example.answer!r} {problem}")
            raise BadRows([_worded(number, "answer", message)]) from problem
    return example if row.question else replace(example, question="")


def _worded(number: int, name: str, problem: ValueError) -> RowError:
    """ValueErrors of the kinds word the fix behind a semicolon."""
    reason, _, fix = str(problem).partition("; ")
    fix = fix or "change it"
    return RowError(number, name, f"{reason[0].upper()}{reason[1:]}.", f"{fix[0].upper()}{fix[1:]}.")


def _span(config: StarConfig, example: Example, completion: str, answer: Answer) -> tuple[int, int] | None:
    """Return where the extracted answer stands in the given completion, including outer white space."""
    if answer.extracted is None:
        return None
    found = read_answer(config, example, answer.text)
    if found.span is None or found.extracted != answer.extracted:
        return None
    head = own_turn(completion)
    cut = cut_at_first_stop(completion[head:], stops(config.kind))
    before = head + len(cut) - len(cut.lstrip())
    return before + found.span[0], before + found.span[1]


def _rejections(config: StarConfig, example: Example, rationale: Rationale) -> dict[str, str | None]:
    """Every filter there is, the job's own or not, on the text up to where its answer ends."""
    nothing_shown = PromptSet(config.kind, ())
    end = ending(config, example, rationale).end
    ended = replace(rationale, text=rationale.text[:end])
    seen = filter_input(config, nothing_shown, example, ended)
    return {name: REASONS[name] if rejects(seen) else None for name, rejects in FILTERS.items()}
