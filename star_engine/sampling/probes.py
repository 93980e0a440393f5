"""Probes: tries made before an iteration samples, at each temperature of its controller's grid.

A probe is asked exactly as the generated try of the same number would be at its temperature, seed included.
So those at the temperature that is chosen become generated tries, and are not sampled again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from star_engine.config.star import Rationalization, StarConfig
from star_engine.data.selection import chance
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, SamplingPlan, plan_tries
from star_engine.tasks.examples import Example, PromptSet


def at_temperature(config: StarConfig, temperature: float | None) -> StarConfig:
    """The same settings with another temperature of generation; None: the same."""
    if temperature is None:
        return config
    generation = config.generation.model_copy(update={"temperature": temperature})
    return config.model_copy(update={"generation": generation})


def probed(config: StarConfig, iteration: int, examples: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` of an iteration's examples, drawn by the seed, in their order."""
    drawn = sorted(examples, key=lambda one: chance(config.seed, iteration, "probe", one.id))[:count]
    wanted = {one.id for one in drawn}
    return [one for one in examples if one.id in wanted]


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """The requests at one temperature of the grid, and what becomes of each completion."""

    inner: SamplingPlan
    place: int  # of the temperature in the grid

    @property
    def queue(self) -> deque[SampleRequest]:
        return self.inner.queue

    @property
    def params(self) -> SamplingParams:
        return self.inner.params

    def finish(self, completion: Completion) -> Rationale | None:
        made = self.inner.finish(completion)
        return None if made is None else replace(made, key=_as_probe(self.inner.config, self.place, made.key))


def plan_probes(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Iterable[Example],
    iteration: int,
    place: int,
    temperature: float,
    recorded: Collection[RationaleKey],
) -> ProbePlan:
    """The plan of the probes at one temperature that are not in `recorded`. No hint is given."""
    unhinted = config.model_copy(update={"rationalization": Rationalization(enabled=False), "hints": None})
    at = at_temperature(unhinted, temperature)
    asked = list(examples)
    known = {
        key: ""
        for one in asked
        for key in _generated(config, one)
        if _as_probe(config, place, key) in recorded
    }
    return ProbePlan(plan_tries(at, prompt_set, asked, iteration, known), place)


def of_place(config: StarConfig, place: int, probes: Iterable[Rationale]) -> list[Rationale]:
    """The probes at one temperature of the grid."""
    samples = config.generation.samples_per_example
    return [one for one in probes if one.key.sample // samples == place]


def adopted(config: StarConfig, place: int, probes: Iterable[Rationale]) -> Iterator[Rationale]:
    """The probes at one temperature of the grid as the generated tries that they stand for."""
    samples = config.generation.samples_per_example
    for one in of_place(config, place, probes):
        key = RationaleKey(one.key.example_id, Route.GENERATED, one.key.sample % samples)
        yield replace(one, key=key, reused=True)


def _generated(config: StarConfig, example: Example) -> Iterator[RationaleKey]:
    for sample in range(config.generation.samples_per_example):
        yield RationaleKey(example.id, Route.GENERATED, sample)


def _as_probe(config: StarConfig, place: int, key: RationaleKey) -> RationaleKey:
    sample = place * config.generation.samples_per_example + key.sample
    return RationaleKey(key.example_id, Route.PROBE, sample)
