"""Sample: generate a rationale and an answer for every example, rationalize those that fail (lines 3 and 4).

The first slice of an iteration also finds out whether the sampler repeats itself, and leaves digests of its
tokens for the trainer. Checks that cost samples follow when all tries of the slice are in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.data.adaptive import Outcome, summary
from star_engine.diagnostics.determinism import TwicePlan, drawn_again, grade_determinism
from star_engine.diagnostics.token_parity import MAX_EXAMPLES, calling_texts, parity_texts, token_digests
from star_engine.evaluation.balance import is_selected
from star_engine.filters.funnel import REWARD
from star_engine.loop import PhaseName
from star_engine.phases.control import scorer_of
from star_engine.phases.phase import Alone, Ask, Asked, Context, Phase, Progress, Sizes, Slice, Work, divided
from star_engine.phases.rewards import give_rewards
from star_engine.record import Counts
from star_engine.sampling.probes import adopted, at_temperature
from star_engine.sampling.rationales import (
    WITH_HINT,
    Rationale,
    RationaleKey,
    Route,
    given_rationales,
    plan_tries,
    sampling_params,
)
from star_engine.tasks.examples import Example
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.outcomes import outcomes_of
from star_engine.training_set.resample_filters import Checked, plan_checks, to_check


@dataclass(slots=True)
class _Tries:
    """Records the tries of one slice and reports progress."""

    context: Context
    examples: int
    tried: int = 0
    hinted: int = 0  # with the answer as a hint, or with a procedural one
    reused: int = 0

    def count(self, keys: Iterable[RationaleKey]) -> Progress:
        for key in keys:
            hinted = key.route in WITH_HINT
            self.tried += not hinted
            self.hinted += hinted
        done = self.tried // self.context.config.generation.samples_per_example
        route = Route.RATIONALIZED if self.context.config.hints is None else Route.HINTED
        more = {str(route): self.hinted, "reused": self.reused}
        return Progress(done, self.examples, "examples", more)

    def record(self, batch: Sequence[Rationale]) -> Progress:
        self.context.record.add_tries(batch)
        self.reused += sum(item.reused for item in batch)
        return self.count(item.key for item in batch)


def _run(context: Context) -> Work:
    context = replace(context, config=at_temperature(context.config, context.part.temperature))
    config, record = context.config, context.record
    examples, recorded = record.examples(), record.verdicts()
    given = config.training_set.source is not Source.RATIONALES
    first = context.part.start == 0
    tries = _Tries(context, len(examples))
    yield tries.count(recorded)
    if found := _adopt(context, examples, recorded):
        yield tries.record(found)
        recorded = record.verdicts()
    if given and (texts := list(given_rationales(config, examples, recorded))):
        yield tries.record(texts)
    sampled = [] if given else examples
    again = drawn_again(config, context.iteration, sampled) if first else []
    spared = _too_easy(context, sampled)
    made = plan_tries(config, context.prompt_set, sampled, context.iteration, recorded, spared)
    plan = TwicePlan(made, again)
    yield Ask(plan, context.iteration - 1, tries.record)
    if config.training_set.checks or first or context.part.threshold is not None:
        yield Alone()
        yield from _check(context, examples)
        yield from _reward(context, examples)
    outcomes: dict[str, Outcome] = {}
    if config.records_selection:
        tries_made = record.tries([example.id for example in examples])
        hinted = config.hinted_in(context.iteration)
        outcomes = outcomes_of(config, context.prompt_set, examples, tries_made, hinted=hinted)
    record.finish_sample(_diagnose(context, plan, examples) if first else {}, outcomes)


def _too_easy(context: Context, examples: Sequence[Example]) -> Set[str]:
    """Ids of the examples that have not failed often enough to be tried with a hint, should they fail now."""
    least = context.config.rationalization.min_failures
    if least < 2:
        return frozenset()
    before = context.record.failures()
    return {one.id for one in examples if before.get(one.id, 0) + 1 < least}


def _adopt(
    context: Context, examples: Sequence[Example], recorded: Collection[RationaleKey]
) -> list[Rationale]:
    """The probes at these examples that count as tries, since they were made at the slice's temperature."""
    controller, temperature = context.config.controller, context.part.temperature
    if controller is None or temperature is None:
        return []
    place = controller.temperatures.index(temperature)
    names = {example.id for example in examples}
    probes = [one for one in context.record.probes() if one.key.example_id in names]
    return [one for one in adopted(context.config, place, probes) if one.key not in recorded]


def _check(context: Context, examples: Sequence[Example]) -> Work:
    """Make the checks that the slice's rationales have not been through (`training_set.checks`)."""
    config, record = context.config, context.record
    if not config.training_set.checks:
        return
    by_id = {example.id: example for example in examples}
    open_ = to_check(config, context.prompt_set, examples, record.tries(list(by_id)))
    done = 0

    def add(batch: Sequence[Checked]) -> Progress:
        nonlocal done
        record.add_checks(dict(batch))
        done += len(batch)
        return Progress(done, len(open_), "checks")

    plan = plan_checks(config, context.prompt_set, context.iteration, by_id, open_)
    yield Ask(plan, context.iteration - 1, add)


def _reward(context: Context, examples: Sequence[Example]) -> Work:
    """Reward the slice's tries, and say of the right ones whether that is above the threshold."""
    record, threshold = context.record, context.part.threshold
    if threshold is None:
        return
    names = [example.id for example in examples]
    yield from give_rewards(context, scorer_of(context), examples, record.tries(names))
    right = [one for one in record.tries(names) if one.verdict == VerdictCode.CORRECT]
    record.add_checks({one.key: {**(one.checks or {}), REWARD: is_selected(one, threshold)} for one in right})


def _diagnose(context: Context, plan: TwicePlan, examples: Sequence[Example]) -> dict[str, Any]:
    """Run the diagnostics of the sampler that produced the iteration's tries, while it is loaded."""
    sampler = context.gpu.sampler(context.iteration - 1)
    few = context.record.iteration_examples(MAX_EXAMPLES)
    texts = parity_texts(context.config, context.prompt_set, few)
    names = list(dict.fromkeys(key.example_id for key in plan.answers))
    tries = {one.key: one for one in context.record.tries(names)}
    found = {
        "sampler_tokens": token_digests(sampler.token_ids(texts)),
        "determinism": grade_determinism(plan.answers, tries),
    }
    if context.config.tools.python is None:
        return found
    made = context.record.tries([example.id for example in examples])
    calling = calling_texts(context.config, context.prompt_set, examples, made)
    digests = token_digests(sampler.token_ids(list(calling.values())))
    return {**found, "sampler_tool_tokens": dict(zip(calling, digests, strict=True))}


def _slices(config: StarConfig, iteration: int, sizes: Sizes, size: int) -> Iterator[Slice]:
    places = sizes.selected(iteration)
    control = sizes.control(iteration)
    parts = divided(len(places), size, None, None, places.start)
    found = control.get("temperature"), control.get("threshold")
    return (replace(part, temperature=found[0], threshold=found[1]) for part in parts)


def _asks(config: StarConfig, iteration: int, part: Slice) -> Asked:
    return Asked(iteration - 1, sampling_params(at_temperature(config, part.temperature)))


def _metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    sampled = {route: dict(verdicts) for route, verdicts in counts.verdicts().items()}
    if config.training_set.source is not Source.RATIONALES:
        return {"sampled": sampled}  # nothing was asked, so nothing was solved
    asked, selection = counts.selected(), counts.selection()
    solved = counts.solved() if selection is None else selection.solved
    found = {"sampled": sampled, "solve_rate": round(solved / asked, 6) if asked else 0.0}
    if config.tools.python is not None:
        found["tool_use"] = {route: one.as_json() for route, one in counts.tool_use().items()}
    return found if selection is None else {**found, "selection": summary(selection)}


SAMPLE = Phase(PhaseName.SAMPLE, _run, _slices, _metrics, _asks, in_waves=True)
