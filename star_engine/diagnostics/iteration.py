"""What an iteration's recorded rationales say about its data. Costs no samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.diagnostics.guessing import luck, solved_again
from star_engine.diagnostics.second_opinion import audit_verdicts
from star_engine.diagnostics.texts import diversity, few_shot_similarity, length, style
from star_engine.evaluation.balance import exploration
from star_engine.filters.filter_input import FilterInput
from star_engine.filters.hint_talk import hint_talk
from star_engine.sampling.rationales import Rationale, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import Decision

FEW_ROWS = 50


@dataclass(frozen=True, slots=True)
class Before:
    """What the audit of iteration n needs of iteration n - 1."""

    taught: frozenset[str] = field(default_factory=frozenset)  # examples kept by rationalization
    mean_length: float | None = None  # tokens of its kept rationales
    style: Mapping[str, Any] | None = None  # of all its tries, where they are learned


def audit_iteration(
    config: StarConfig,
    prompt_set: PromptSet,
    iteration: int,
    examples: Sequence[Example],
    tries: Sequence[Rationale],
    decisions: Iterable[Decision],
    before: Before,
) -> Mapping[str, Any]:
    """Luck among the kept, rationalization yield, a second opinion on verdicts, and what the texts are like.

    JSON, the same for the same arguments. Rationales in the order of `decide`.
    """
    kept_by = {decision.key: decision for decision in decisions if decision.kept}
    kept_keys = set(kept_by)
    by_id = {example.id: example for example in examples}
    kept = [one for one in tries if one.key in kept_keys]
    correct = [one for one in tries if one.verdict == VerdictCode.CORRECT]
    unhinted = [one for one in tries if one.key.route is Route.GENERATED]
    again = {"of_iteration": iteration - 1, **solved_again(before.taught, tries)}
    return {
        "luck": asdict(luck(config.kind, examples, tries, kept_keys)),
        "rationalization_yield": again if before.taught else None,
        "verdicts": audit_verdicts(config, iteration, by_id, tries),
        "diversity": diversity(kept, correct),
        "exploration": exploration(list(by_id), config.generation.samples_per_example, unhinted),
        "length": length(kept, before.mean_length),
        "style": None if config.self_distillation is None else style(unhinted, before.style),
        "few_shot_similarity": few_shot_similarity(prompt_set, by_id, kept),
        "answer_end": {"kept": len(kept), "cut": sum(one.end is not None for one in kept_by.values())},
        "before_training": _before_training(config, kept),
        "hint_talk": _hint_talk(config, by_id, kept) if before.taught else None,
    }


def _before_training(config: StarConfig, kept: Sequence[Rationale]) -> list[str]:
    """Return warnings about the rows of an iteration before training. They stop nothing."""
    if config.training_set.source is not Source.RATIONALES:
        return []
    hinted = sum(one.key.route is Route.RATIONALIZED for one in kept)
    told = []
    if len(kept) < FEW_ROWS:
        told.append(
            f"Only {len(kept)} rows are trained on: what is learned from so few is mostly their wording. Add "
            "examples, sample more tries (generation.samples_per_example), or show better few-shot examples."
        )
    if kept and 2 * hinted > len(kept):
        share = "All" if hinted == len(kept) else f"{hinted} of {len(kept)}"
        told.append(
            f"{share} rows come from hints, which a model can follow without reasoning."
            + ("" if "hint_free" in config.training_set.checks else _offer(hinted))
        )
    return told


def _offer(hinted: int) -> str:
    return (
        " training_set.checks: [hint_free] keeps those that lead to the answer without the hint; here it "
        f"costs {hinted} greedy completions."
    )


def _hint_talk(config: StarConfig, by_id: Mapping[str, Example], kept: Iterable[Rationale]) -> dict[str, int]:
    """How many kept texts speak of a hint that they were not shown: a habit of rationalized rows."""
    generated = [one for one in kept if one.key.route is Route.GENERATED]
    items = (FilterInput.of(config.kind, by_id[one.key.example_id], one.text) for one in generated)
    return {"generated": len(generated), "speaking": sum(hint_talk(item) is not None for item in items)}
