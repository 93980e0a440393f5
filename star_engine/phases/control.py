"""Control: before an iteration samples, find its temperature, and its threshold (B-STaR, Algorithm 1).

The threshold needs a scorer. Its own verifier a job has from its second iteration on, so the first has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from star_engine.config.controller import Controller
from star_engine.config.star import StarConfig
from star_engine.evaluation.balance import choose
from star_engine.loop import PhaseName
from star_engine.phases.phase import Alone, Ask, Context, Phase, Progress, Work
from star_engine.phases.rewards import give_rewards
from star_engine.record import Verifier
from star_engine.sampling.probes import plan_probes, probed
from star_engine.sampling.rationales import Rationale


def controller_of(config: StarConfig) -> Controller:
    """The settings of a run that has the phase."""
    if config.controller is None:
        raise ValueError("controller is not set: the run has no phase control")
    return config.controller


def scorer_of(context: Context) -> Verifier:
    """What rewards the tries of an iteration that has a threshold."""
    scorer = controller_of(context.config).scorer
    found = None if scorer is None else context.record.verifier(scorer)
    if found is None:
        raise ValueError(f"The iteration has a threshold of rewards, and its scorer {scorer} is not there.")
    return found


def _run(context: Context) -> Work:
    config, record, controller = context.config, context.record, controller_of(context.config)
    asked = record.examples()
    examples = probed(config, context.iteration, asked, controller.probe_examples)
    known = {one.key for one in record.probes()}
    done, total = len(known), len(examples) * config.generation.samples_per_example
    total *= len(controller.temperatures)

    def add(batch: Sequence[Rationale]) -> Progress:
        nonlocal done
        record.add_tries(batch)
        done += len(batch)
        return Progress(done, total, "probes")

    yield Progress(done, total, "probes")
    for place, temperature in enumerate(controller.temperatures):
        plan = plan_probes(config, context.prompt_set, examples, context.iteration, place, temperature, known)
        yield Ask(plan, context.iteration - 1, add)
    scored = controller.scorer is not None and record.verifier(controller.scorer) is not None
    if scored:
        yield Alone()
        yield from give_rewards(context, scorer_of(context), examples, record.probes())
    names = [one.id for one in examples]
    probes = record.probes()
    found = choose(config, controller, context.iteration, names, len(asked), probes, scored=scored)
    record.finish_control(found)


CONTROL = Phase(PhaseName.CONTROL, _run)
