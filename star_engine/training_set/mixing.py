"""Texts of other datasets mixed into a training set, in a given share of its rows: against forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import groups_without_examples
from star_engine.data.selection import select_examples
from star_engine.evaluation.accuracy import outcome
from star_engine.filters.funnel import KEPT
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, given_rationale
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import Decision, TrainingExample, audit_hints, build


class MixSource(Protocol):
    """The train examples of the datasets that `training_set.mix` names."""

    def mix_size(self, dataset: str) -> int:
        """How many there are."""

    def mix_examples(self, dataset: str, positions: Sequence[int]) -> Sequence[Example]:
        """Return the examples at these positions, ascending."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """What one dataset of `training_set.mix` adds to an iteration."""

    rationales: tuple[Rationale, ...]
    decisions: tuple[Decision, ...]
    rows: tuple[TrainingExample, ...]


def check_mix(config: StarConfig, prompt_set: PromptSet, mixed: Mapping[str, Sequence[Example]]) -> None:
    """ValueError for a dataset that `training_set.mix` names and that was not given or cannot be rendered."""
    for mix in config.training_set.mix:
        if not mixed.get(mix.dataset):
            raise ValueError(f"training_set.mix names {mix.dataset!r}: give its train examples by this name.")
        without = groups_without_examples(prompt_set, (example.group for example in mixed[mix.dataset]))
        if config.training_set.few_shot_in_prompt and without:
            raise ValueError(
                f"training_set.mix: {mix.dataset} has the group {without[0]!r}, to which the prompt set "
                "shows nothing; add few-shot examples of it, or set training_set.few_shot_in_prompt to false."
            )


def mixed_positions(config: StarConfig, iteration: int, place: int, kept: int, count: int) -> list[int]:
    """Which of the `count` train examples of the mix's dataset number `place` are taken, ascending.

    So many that they make its share of all rows, beside `kept` rows of the job's own; all of them where there
    are fewer. Drawn again in every iteration, by the job's seed.
    """
    mix = config.training_set.mix
    own = 1 - sum(one.share for one in mix)
    wanted = round(kept * mix[place].share / own)
    return select_examples(count, wanted, config.seed, iteration)


def mix_in(config: StarConfig, prompt_set: PromptSet, place: int, examples: Sequence[Example]) -> Mixed:
    """Rows of these examples, verified and audited like all others. Raises HintLeak.

    The text is the example's worked solution, or the answer alone where it has none; `sample` of their keys
    is the dataset's place in the mix. What is not correct is recorded and not trained on. The filters are
    not asked: they look for what models do with hints.
    """
    rationales = tuple(
        given_rationale(
            config, example, RationaleKey(example.id, Route.MIXED, place), direct=example.solution is None
        )
        for example in examples
    )
    decisions = tuple(
        Decision(one.key, True, KEPT)
        if one.verdict == VerdictCode.CORRECT
        else Decision(one.key, False, outcome(one.verdict, one.finish_reason))
        for one in rationales
    )
    rows = build(config, prompt_set, examples, rationales, decisions)
    audit_hints(config, prompt_set, examples, rationales, rows)
    return Mixed(rationales, decisions, rows)


def mix_all(
    config: StarConfig, prompt_set: PromptSet, iteration: int, kept: int, source: MixSource
) -> list[Mixed]:
    """What each dataset of `training_set.mix` adds to `kept` own rows: the same whenever it is asked."""
    made = []
    for place, mix in enumerate(config.training_set.mix):
        count = source.mix_size(mix.dataset)
        positions = mixed_positions(config, iteration, place, kept, count)
        made.append(mix_in(config, prompt_set, place, source.mix_examples(mix.dataset, positions)))
    return made
