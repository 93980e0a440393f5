"""Makes an iteration's training set from verified rationales: decisions, the hint strip and its audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.prompts import check_layout, hint_text, render_completion, render_prompt
from star_engine.data.selection import chance
from star_engine.evaluation.accuracy import outcome
from star_engine.evaluation.solution_key import solution_key
from star_engine.filters.funnel import CHECKS, KEPT, LOW_REWARD, REWARD, UNHINTED, needed
from star_engine.filters.registry import FilterInput, cap_per_example, dedupe, filters_named, first_rejection
from star_engine.protocols import TrainingText
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.hints import HINT_MARK
from star_engine.tasks.programs.tool_use import Span, Turn, turns_as_json
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.answer_end import ending


@dataclass(frozen=True, slots=True)
class Decision:
    key: RationaleKey
    kept: bool
    reason: str  # "kept" or one of star_engine.filters.registry.REASONS
    end: int | None = None  # the text is trained on up to here: see answer_end; None: whole


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A kept rationale behind its prompt without the hint. The trainer appends EOS."""

    key: RationaleKey
    prompt: str
    completion: str
    hinted: bool = False  # the hint was left in on purpose: see keeps_hint()
    masked: tuple[Span, ...] = ()  # of the completion, where loss never falls: a tool's words, or a hint's
    turns: tuple[Turn, ...] = ()  # of the completion: as the model and its tool have put it together


@dataclass(frozen=True, slots=True)
class Coverage:
    """Examples in the training set, each counted once: as generated if any of its kept rationales is."""

    examples: int  # of the train split
    generated: int
    rationalized: int
    given: int = 0  # by the dataset, instead of either
    hinted: int = 0  # with a procedural hint, instead of rationalized

    @property
    def share(self) -> float:
        covered = self.generated + self.rationalized + self.hinted + self.given
        return covered / self.examples if self.examples else 0.0


class HintLeak(ValueError):
    """A training example carries its hint, or cannot be shown not to. Nothing may be trained on this set."""


def decide(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    rationales: Sequence[Rationale],
    *,
    hinted: bool | None = None,
) -> list[Decision]:
    """Return one decision per rationale, ordered by example, route and sample whatever their order of
    arrival.

    What is not correct is dropped for its verdict ("truncated" where an unparsed text ran into the token
    limit). Where failed examples were tried with procedural hints, those tries alone train (Hint-RFT). What
    is correct is cut where its answer ends, and goes through deduplication, then the filters,
    then the caps, of a solution and of the example: the order of star_engine.filters.funnel.STAGES.

    hinted: whether the iteration has tries with procedural hints, where `rationales` are a part of its; None:
    they are all.
    """
    options = config.training_set
    ordered = in_order(examples, rationales)
    dropped = {
        r.key: outcome(r.verdict, r.finish_reason) for r in ordered if r.verdict != VerdictCode.CORRECT
    }
    by_id = {example.id: example for example in examples}
    correct = [r for r in ordered if r.key not in dropped]
    endings = {r.key: ending(config, by_id[r.key.example_id], r) for r in correct}
    dropped |= {key: found.dropped for key, found in endings.items() if found.dropped}
    if hinted or (hinted is None and any(r.key.route is Route.HINTED for r in ordered)):
        unhinted = (r.key for r in correct if r.key.route is Route.GENERATED)
        dropped |= {key: UNHINTED for key in unhinted if key not in dropped}
    ends = {key: found.end for key, found in endings.items()}
    ended = [replace(r, text=r.text[: ends[r.key]]) for r in correct if r.key not in dropped]
    if options.dedupe:
        dropped |= dict.fromkeys(dedupe((r.key, r.key.example_id, r.text) for r in ended), "duplicate")
    unique = [r for r in ended if r.key not in dropped]
    dropped |= _rejected(config, prompt_set, examples, unique)
    dropped |= _failed(config, [r for r in unique if r.key not in dropped])
    if options.max_per_solution is not None:
        alike = ((r.key, (r.key.example_id, solution_key(r.text))) for r in unique if r.key not in dropped)
        dropped |= dict.fromkeys(cap_per_example(alike, options.max_per_solution), "same_solution")
    if options.max_per_example is not None:
        passed = ((r.key, r.key.example_id) for r in unique if r.key not in dropped)
        dropped |= dict.fromkeys(cap_per_example(passed, options.max_per_example), "cap")
    return [Decision(r.key, r.key not in dropped, dropped.get(r.key, KEPT), ends.get(r.key)) for r in ordered]


def _rejected(
    config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example], correct: Iterable[Rationale]
) -> dict[RationaleKey, str]:
    """The reason of the first filter that rejects a rationale, for those that one rejects."""
    filters = filters_named(config.training_set.filters)
    by_id = {example.id: example for example in examples}
    found = {}
    for rationale in correct:
        seen = filter_input(config, prompt_set, by_id[rationale.key.example_id], rationale)
        if reason := first_rejection(filters, seen):
            found[rationale.key] = reason
    return found


def _failed(config: StarConfig, passed: Iterable[Rationale]) -> dict[RationaleKey, str]:
    """The reason of the first check that a rationale has failed. ValueError where one was not made."""
    found: dict[RationaleKey, str] = {}
    for rationale in passed:
        for check in needed(config.training_set.checks, config.kind, rationale.key.route):
            if rationale.checks is None or check not in rationale.checks:
                raise ValueError(f"A rationale of {rationale.key.example_id!r} was not checked: {check}.")
            if not rationale.checks[check]:
                found.setdefault(rationale.key, CHECKS[check])
        if not (rationale.checks or {}).get(REWARD, True):
            found.setdefault(rationale.key, LOW_REWARD)
    return found


def filter_input(
    config: StarConfig, prompt_set: PromptSet, example: Example, rationale: Rationale
) -> FilterInput:
    """What the filters look at of a rationale, whose text is cut where its answer ends."""
    hinted = rationale.key.route is Route.RATIONALIZED
    return FilterInput(
        question=example.whole_question,
        answer=example.answer,
        choices=example.choices,
        kind=config.kind,
        route=rationale.key.route,
        completion=rationale.text,
        hint=hint_text(config.kind, example, config.rationalization.template) if hinted else None,
        fewshot_rationales=tuple(shown.rationale for shown in prompt_set.for_group(example.group)),
        least_words=config.training_set.min_words,
        tools=None if rationale.tools is None else rationale.tools.moved(0, len(rationale.text)),
    )


def in_order(examples: Sequence[Example], rationales: Iterable[Rationale]) -> list[Rationale]:
    """Sort by position of the example, then generated before rationalized, then sample: the training set's
    order.

    Raises ValueError for a rationale of an example that is not among `examples`.
    """
    position = {example.id: n for n, example in enumerate(examples)}
    known = list(rationales)
    strangers = {r.key.example_id for r in known} - position.keys()
    if strangers:
        raise ValueError(f"there are rationales of unknown examples, such as {min(strangers)!r}")
    return sorted(
        known, key=lambda r: (position[r.key.example_id], list(Route).index(r.key.route), r.key.sample)
    )


def build(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    rationales: Sequence[Rationale],
    decisions: Iterable[Decision],
) -> tuple[TrainingExample, ...]:
    """The training set of the kept rationales, in the order of `decide`.

    The hint is stripped by rendering the prompt again from the example (Algorithm 1, line 6: it enters as
    (x, r, y)), never by editing the prompt that the rationale was sampled from. It stays where
    `rationalization.p_keep_hint` says so, and the row says that it did.
    """
    ends = {decision.key: decision.end for decision in decisions if decision.kept}
    by_id = {example.id: example for example in examples}
    return tuple(
        TrainingExample(
            key=rationale.key,
            prompt=training_prompt(
                config,
                prompt_set,
                by_id[rationale.key.example_id],
                hinted=keeps_hint(config, rationale.key),
            ),
            completion=_completion(config, prompt_set, rationale, ends[rationale.key]),
            hinted=keeps_hint(config, rationale.key),
            masked=_masked(config, prompt_set, rationale, ends[rationale.key]),
            turns=_turns(config, prompt_set, rationale, ends[rationale.key]),
        )
        for rationale in in_order(examples, rationales)
        if rationale.key in ends
    )


def _completion(config: StarConfig, prompt_set: PromptSet, rationale: Rationale, end: int | None) -> str:
    """A row's completion: the rationale up to where its answer ends."""
    given = rationale.key.route in (Route.GIVEN, Route.MIXED)
    return render_completion(config.kind, rationale.text[:end], prompt_set.chat, given=given)


def _masked(
    config: StarConfig, prompt_set: PromptSet, rationale: Rationale, end: int | None
) -> tuple[Span, ...]:
    """Where in a row's completion the words of a tool stand, and those of a hint if the job masks them."""
    if rationale.tools is None:
        return ()
    at, text = _place(config, prompt_set, rationale, end)
    learned = config.hints is not None and not config.hints.masked
    spans = rationale.tools.moved(0, len(text)).spans
    return tuple((at + start, at + stop, who) for start, stop, who in spans if who == "output" or not learned)


def _turns(
    config: StarConfig, prompt_set: PromptSet, rationale: Rationale, end: int | None
) -> tuple[Turn, ...]:
    """Where in a row's completion the parts begin that are tokens by themselves, and their tokens."""
    if rationale.tools is None:
        return ()
    at, text = _place(config, prompt_set, rationale, end)
    return tuple((at + start, ids) for start, ids in rationale.tools.moved(0, len(text)).turns)


def row_text(
    config: StarConfig, prompt_set: PromptSet, example: Example, rationale: Rationale
) -> TrainingText:
    """A right try as it is trained on where it is kept."""
    end = ending(config, example, rationale).end
    completion = _completion(config, prompt_set, rationale, end)
    masked = tuple((start, stop) for start, stop, _ in _masked(config, prompt_set, rationale, end))
    turns = _turns(config, prompt_set, rationale, end)
    return TrainingText(training_prompt(config, prompt_set, example), completion, masked, turns=turns)


def _place(
    config: StarConfig, prompt_set: PromptSet, rationale: Rationale, end: int | None
) -> tuple[int, str]:
    """Where in a row's completion the rationale stands, and as much of it as is trained on."""
    text = rationale.text[:end]
    at = _completion(config, prompt_set, rationale, end).find(text)
    if at < 0:
        raise HintLeak(f"The completion of {rationale.key.example_id!r} does not hold its text as it is.")
    return at, text


def training_prompt(
    config: StarConfig, prompt_set: PromptSet, example: Example, *, hinted: bool = False
) -> str:
    """The prompt of a training example, with few-shot examples only where the config says so.

    hinted: as it was rationalized, few-shot examples included; for rows of `keeps_hint` only.
    """
    check_layout(config, prompt_set)
    shown = few_shot_trained(config, example)
    template = config.rationalization.template
    return render_prompt(
        config.kind, prompt_set, example, hint=hinted, few_shot=shown, hint_template=template
    )


def keeps_hint(config: StarConfig, key: RationaleKey) -> bool:
    """Whether the rationale of this key is trained on behind its hint: the same in every iteration.

    Section 5 of the paper expects that some hints may have to stay. Never for the generated: they had none.
    """
    if key.route is not Route.RATIONALIZED:
        return False
    return chance(config.seed, 0, "keep_hint", key.example_id) < config.rationalization.p_keep_hint


def few_shot_trained(config: StarConfig, example: Example) -> bool:
    """Whether this example's training prompt shows the few-shot examples: the same in every iteration."""
    share = float(config.training_set.few_shot_in_prompt)
    return chance(config.seed, 0, "few_shot_in_prompt", example.id) < share


def audit_hints(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    rationales: Sequence[Rationale],
    rows: Sequence[TrainingExample],
) -> None:
    """Prove that no row shows its answer before the completion. HintLeak at the first that cannot be proven.

    Every row must come from exactly one correct rationale and equal, byte for byte, what is rendered from
    it up to where its answer ends. Its prompt must not depend on the gold answer (rendered for another
    answer it stays the same), must differ from the hinted prompt, and must not carry the hint mark. Rows of
    `keeps_hint`, and no others, must say that they are hinted, and must have the hinted prompt. Fails closed:
    a row that fits nothing is a leak.
    """
    by_id = {example.id: example for example in examples}
    by_key = {rationale.key: rationale for rationale in rationales}
    seen: set[RationaleKey] = set()
    for row in rows:
        where = f"Training example {row.key.example_id!r} ({row.key.route}, try {row.key.sample})"
        rationale, example = by_key.get(row.key), by_id.get(row.key.example_id)
        right = rationale is not None and rationale.verdict == VerdictCode.CORRECT
        if rationale is None or example is None or not right or row.key in seen:
            raise HintLeak(f"{where} does not come from exactly one correct rationale.")
        seen.add(row.key)
        if row.hinted is not keeps_hint(config, row.key):
            raise HintLeak(f"{where} says {row.hinted} to its hint being kept, against p_keep_hint.")
        _audit_prompt(config, prompt_set, example, row, where)
        end = ending(config, example, rationale).end
        if row.completion != _completion(config, prompt_set, rationale, end):
            raise HintLeak(f"{where} has a completion that is not its rationale up to its answer's end.")
        if row.masked != _masked(config, prompt_set, rationale, end):
            raise HintLeak(f"{where} does not mask what a tool or a hint has said, and nothing else.")
        if row.turns != _turns(config, prompt_set, rationale, end):
            raise HintLeak(f"{where} is not cut into the turns in which it was written.")


def _audit_prompt(
    config: StarConfig, prompt_set: PromptSet, example: Example, row: TrainingExample, where: str
) -> None:
    if row.prompt != training_prompt(config, prompt_set, example, hinted=row.hinted):
        raise HintLeak(f"{where} has a prompt that is not rendered from its example.")
    if row.hinted:
        return
    if row.prompt != training_prompt(config, prompt_set, _with_other_gold(config, example)):
        raise HintLeak(f"{where} has a prompt that depends on the gold answer.")
    hint = hint_text(config.kind, example, config.rationalization.template)
    if hint and row.prompt == training_prompt(config, prompt_set, example, hinted=True):
        raise HintLeak(f"{where} has the hinted prompt.")
    if HINT_MARK in row.prompt:
        raise HintLeak(f"{where} carries the hint mark {HINT_MARK} in its prompt.")


def _with_other_gold(config: StarConfig, example: Example) -> Example:
    if example.solution is not None:
        example = replace(example, solution=f"other than {example.solution}")
    return task_of(config.kind).other_gold(example)


def masks_from(written: Iterable[Sequence[Any]]) -> tuple[Span, ...]:
    """The spans that `training_fields` has written."""
    return tuple((int(start), int(end), origin) for start, end, origin in written)


def training_fields(row: TrainingExample) -> dict[str, Any]:
    """Return one row as it is downloaded. `hinted` is present only if true, `masked` only where it has spans:
    [start, end, hint or output] in characters of the completion; `turns` where it has a tool: [start, tokens]
    of each part that is tokens by itself, null where they are those of the base model's tokenizer.
    """
    fields: dict[str, Any] = {
        "example_id": row.key.example_id,
        "route": str(row.key.route),
        "sample": row.key.sample,
        "prompt": row.prompt,
        "completion": row.completion,
    }
    masked = {"masked": [list(span) for span in row.masked]} if row.masked else {}
    turns = {"turns": turns_as_json(row.turns)} if row.turns else {}
    return fields | ({"hinted": True} if row.hinted else {}) | masked | turns


def training_line(row: TrainingExample) -> str:
    """Return one row as a line of JSONL, exactly as downloaded and hashed."""
    return json.dumps(training_fields(row), ensure_ascii=False)


def training_set_sha256(rows: Iterable[TrainingExample]) -> str:
    """sha256 of the rows as JSONL, every line ended by a line feed."""
    digest = sha256()
    for row in rows:
        digest.update(f"{training_line(row)}\n".encode())
    return digest.hexdigest()


def coverage(examples: Sequence[Example], rows: Iterable[TrainingExample]) -> Coverage:
    """How much of the train split is in the training set, split by route (the paper's 78.2 + 8.5 %)."""
    routes: dict[str, set[Route]] = {}
    for row in (row for row in rows if row.key.route is not Route.MIXED):
        routes.setdefault(row.key.example_id, set()).add(row.key.route)
    generated = sum(Route.GENERATED in found for found in routes.values())
    given = sum(Route.GIVEN in found for found in routes.values())
    hinted = sum(Route.HINTED in found and Route.GENERATED not in found for found in routes.values())
    rationalized = len(routes) - generated - given - hinted
    return Coverage(len(examples), generated, rationalized, given, hinted)
