"""Probe: try a sample of the train questions before a job, with the tries of its first iteration and more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName
from star_engine.phases.phase import Ask, Asked, Context, Phase, Progress, Sizes, Slice, Work, divided
from star_engine.sampling.probe import ITERATION, TRIES, beyond, beyond_settings, plan_beyond
from star_engine.sampling.rationales import Rationale, plan_tries, sampling_params

FEWEST_QUESTIONS = 8  # in a step: each takes several tries


def _run(context: Context) -> Work:
    config, record = context.config, context.record
    examples, recorded = record.examples(), record.verdicts()
    numbers = beyond(config) if context.part.beyond else range(config.generation.samples_per_example)
    total = len(examples) * len(numbers)
    done = sum(key.sample in numbers for key in recorded)

    def add(batch: Sequence[Rationale]) -> Progress:
        nonlocal done
        record.add_tries(batch)
        done += len(batch)
        return Progress(min(done, total), total, "tries")

    yield Progress(min(done, total), total, "tries")
    if context.part.beyond:
        plan = plan_beyond(config, context.prompt_set, examples, recorded)
    else:
        once = config.rationalization.min_failures == 1  # else no example has failed often enough
        unhinted = frozenset[str]() if once else frozenset(one.id for one in examples)
        plan = plan_tries(config, context.prompt_set, examples, ITERATION, recorded, unhinted)
    yield Ask(plan, ITERATION - 1, add)
    record.finish_sample({}, {})


def _slices(config: StarConfig, iteration: int, sizes: Sizes, size: int) -> Iterator[Slice]:
    """The job's own tries, and those beyond them: slices of two kinds, for they are decoded otherwise."""
    count, questions = len(sizes.selected(ITERATION)), max(min(size, FEWEST_QUESTIONS), size // TRIES)
    yield from divided(count, questions, None, None)
    if beyond(config):
        yield from (replace(part, beyond=True) for part in divided(count, questions, None, None))


def _asks(config: StarConfig, iteration: int, part: Slice) -> Asked:
    return Asked(ITERATION - 1, sampling_params(beyond_settings(config) if part.beyond else config))


PROBE = Phase(PhaseName.PROBE, _run, _slices, asks=_asks)
