"""Tries with a teacher: what the model wrote, and the prompt behind which its teacher reads it (OPSD)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion, render_prompt
from star_engine.protocols import DistilledText, TrainingText
from star_engine.sampling.rationales import Rationale, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import few_shot_trained, in_order, training_prompt


def taught_texts(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    tries: Iterable[Rationale],
    hint: Literal["right", "wrong", "none"],
) -> tuple[DistilledText, ...]:
    """Every generated try that ended by itself, in the training set's order, right or wrong.

    Both prompts are rendered from one template, so that without a hint they are one and the loss is 0. Raises
    ValueError where no try ended by itself.
    """
    shown = examples if hint != "wrong" else with_other_answers(examples)
    by_id = {one.id: (one, other) for one, other in zip(examples, shown, strict=True)}
    texts = []
    for one in in_order(examples, tries):
        if one.key.route is not Route.GENERATED or one.finish_reason != "stop" or not one.text.strip():
            continue
        example, seen = by_id[one.key.example_id]
        student = TrainingText(
            training_prompt(config, prompt_set, example),
            render_completion(config.kind, one.text, prompt_set.chat),
            end=prompt_set.end,
        )
        prompt = student.prompt if hint == "none" else _hinted(config, prompt_set, seen)
        texts.append(DistilledText(student, replace(student, prompt=prompt)))
    if not texts:
        raise ValueError(
            f"No try of the iteration ended before the token limit, so there is nothing to learn: raise "
            f"generation.max_tokens above {config.generation.max_tokens}."
        )
    return tuple(texts)


def with_other_answers(examples: Sequence[Example]) -> list[Example]:
    """Each example with the answer of the next one of its group that has another: a plausible wrong one.

    Where its group has none, any other example's; where all answers are one, its own stays. A letter is taken
    from a question with no more choices, so that it names one here, too.
    """
    groups: dict[str | None, list[Example]] = {}
    for one in examples:
        groups.setdefault(one.group, []).append(one)
    unlike = {
        id(one): _next_unlike(group, place) for group in groups.values() for place, one in enumerate(group)
    }
    found = []
    for place, one in enumerate(examples):
        near = unlike[id(one)] or _next_unlike(examples, place) or one
        found.append(replace(one, answer=near.answer, solution=near.solution))
    return found


def _next_unlike(examples: Sequence[Example], place: int) -> Example | None:
    """The next example behind this place, and then from the first on, whose answer is another that fits."""
    own = examples[place]
    choices = len(own.choices or ())
    others = (examples[at] for at in chain(range(place + 1, len(examples)), range(place)))
    fitting = (other for other in others if len(other.choices or ()) <= choices)
    return next((other for other in fitting if other.answer != own.answer), None)


def _hinted(config: StarConfig, prompt_set: PromptSet, example: Example) -> str:
    """The training prompt with the answer in view; few-shot examples only where it has them too."""
    return render_prompt(
        config.kind,
        prompt_set,
        example,
        hint=True,
        few_shot=few_shot_trained(config, example),
        hint_template=config.rationalization.template,
    )
