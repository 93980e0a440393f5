"""Which tries a probe makes: those of the job's first iteration, and as many more as tell how hard data is.

A probe asks a sample of the train questions before a job costs anything. Its tries have the prompts, seeds
and decoding of the job's own first iteration, so that the job finds them on record and samples them no second
time. Where the job makes fewer than eight tries to a question, or one greedy one, the rest is sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from star_engine.config.star import StarConfig
from star_engine.sampling.rationales import RationaleKey, Route, SamplingPlan, plan_tries
from star_engine.tasks.examples import Example, PromptSet

TRIES = 8  # sampled ones, to each question
GREEDY_TEMPERATURE = 0.8  # of a greedy job's sampled tries, which would all be the same at 0
ITERATION = 1  # whose tries they are
FEWEST, MOST = 20, 200  # questions


def counted(config: StarConfig) -> range:
    """The sample numbers of the tries that pass@k and the shares are counted from."""
    greedy = config.generation.temperature == 0
    return range(1, TRIES + 1) if greedy else range(TRIES)


def beyond(config: StarConfig) -> range:
    """The sample numbers that the job itself would not make."""
    own = config.generation.samples_per_example
    return range(own, max(own, counted(config).stop))


def beyond_settings(config: StarConfig) -> StarConfig:
    """The job's settings with which those are made."""
    generation = {
        "temperature": config.generation.temperature or GREEDY_TEMPERATURE,
        "samples_per_example": max(1, beyond(config).stop),
    }
    settings = config.model_dump(mode="json")
    settings["generation"] |= generation
    settings["rationalization"]["enabled"] = False
    settings["hints"] = None
    return StarConfig.model_validate(settings)


def plan_beyond(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    recorded: Mapping[RationaleKey, str],
) -> SamplingPlan:
    """The plan of the tries that the job itself would not make and that are not in `recorded`."""
    own = {
        RationaleKey(example.id, Route.GENERATED, sample): ""
        for example in examples
        for sample in range(beyond(config).start)
    }
    return plan_tries(beyond_settings(config), prompt_set, examples, ITERATION, {**own, **recorded})
