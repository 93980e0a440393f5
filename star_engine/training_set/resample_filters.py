"""Filters that cost samples: what a correct rationale has to stand up to before it is kept.

hint_free: a rationalized rationale is set behind the question without the hint, up to where it states its
answer; greedily continued, it must lead to the answer. permuted_choices: asked again with the choices in
another order, greedily and the way it was sampled, the model must give the same choice.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion
from star_engine.data.selection import chance
from star_engine.evaluation.accuracy import EvaluationMode, evaluation_params
from star_engine.filters.funnel import needed
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.answers import judge
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, rationale_prompt
from star_engine.tasks.choice import turned
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.grading import grade
from star_engine.tasks.registry import task_of
from star_engine.training_set.rows import decide

# Where a sentence, or a line, ends: the answer is cut off with the sentence that states it.
_END_BEFORE = re.compile(r"[.!?]\s+|\n")


@dataclass(frozen=True, slots=True)
class _Asked:
    key: RationaleKey
    check: str
    example: Example  # as it is asked and judged: for permuted choices in their new order
    said: str  # of the rationale, what stands in the prompt already


def to_check(
    config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example], tries: Sequence[Rationale]
) -> list[Rationale]:
    """Return the tries that all cheaper filters keep, that have a check to pass, and that are unchecked.

    `tries`: all of these examples, so that duplicates are known.
    """
    free = {"checks": (), "max_per_example": None, "max_per_solution": None}
    cheap = config.model_copy(update={"training_set": config.training_set.model_copy(update=free)})
    kept = {decision.key for decision in decide(cheap, prompt_set, examples, tries) if decision.kept}
    asked = config.training_set.checks
    return [
        one
        for one in tries
        if one.key in kept and one.checks is None and needed(asked, config.kind, one.key.route)
    ]


Checked = tuple[RationaleKey, dict[str, bool]]  # which checks a rationale has passed


@dataclass(slots=True)
class CheckPlan:
    """The requests that check some rationales, and what becomes of each completion.

    Greedy, whatever the job samples with. A rationale comes once, when all of its checks are in; those with
    nothing to check are left out.
    """

    config: StarConfig
    asked: dict[str, _Asked]
    missing: dict[RationaleKey, int]
    queue: deque[SampleRequest]
    opening: str = ""  # see PromptSet
    found: dict[RationaleKey, dict[str, bool]] = field(default_factory=dict)

    @property
    def params(self) -> SamplingParams:
        return evaluation_params(self.config, EvaluationMode.ADAPTER)

    def finish(self, completion: Completion) -> Checked | None:
        item = self.asked[completion.key]
        whole = replace(completion, text=item.said + completion.text)
        opening = "" if item.said else self.opening
        right = judge(self.config, item.example, whole, opening=opening).verdict == "correct"
        self.found.setdefault(item.key, {})[item.check] = right
        if len(self.found[item.key]) < self.missing[item.key]:
            return None
        return item.key, self.found.pop(item.key)


def plan_checks(
    config: StarConfig,
    prompt_set: PromptSet,
    iteration: int,
    examples: Mapping[str, Example],
    tries: Iterable[Rationale],
) -> CheckPlan:
    """The plan of checking these rationales."""
    asked: dict[str, _Asked] = {}
    missing: dict[RationaleKey, int] = {}
    for one in tries:
        for check in needed(config.training_set.checks, config.kind, one.key.route):
            name = f"{check}/{one.key.route}/{one.key.sample}/{one.key.example_id}"
            asked[name] = _ask(config, check, examples[one.key.example_id], one)
            missing[one.key] = missing.get(one.key, 0) + 1
    queue = deque(
        SampleRequest(name, _prompt(config, prompt_set, iteration, item)) for name, item in asked.items()
    )
    return CheckPlan(config, asked, missing, queue, prompt_set.opening)


def before_the_answer(config: StarConfig, example: Example, text: str) -> str:
    """The rationale up to the sentence or line that states its answer; empty if that is the first."""
    span = grade(task_of(config.kind), example, text, config.verifier.options).span
    if span is None:
        return text.rstrip()
    ends = [end.end() for end in _END_BEFORE.finditer(text, 0, span[0])]
    return text[: ends[-1]].rstrip() if ends else ""


def permuted(config: StarConfig, example: Example) -> Example:
    """The example with its choices turned round by one to all but one, drawn by the job's seed."""
    choices = example.choices or ()
    if len(choices) < 2:
        return example
    by = 1 + int(chance(config.seed, 0, "permute", example.id) * (len(choices) - 1))
    return turned(example, by)


def _ask(config: StarConfig, check: str, example: Example, one: Rationale) -> _Asked:
    if check == "hint_free":
        return _Asked(one.key, check, example, before_the_answer(config, example, one.text))
    return _Asked(one.key, check, permuted(config, example), "")


def _prompt(config: StarConfig, prompt_set: PromptSet, iteration: int, item: _Asked) -> str:
    route = Route.GENERATED if item.check == "hint_free" else item.key.route
    prompt = rationale_prompt(config, prompt_set, item.example, route, iteration)
    return prompt + (render_completion(config.kind, item.said, prompt_set.chat) if item.said else "")
