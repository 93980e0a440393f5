"""Build: from an iteration's tries to its training set, hints stripped and proven gone (lines 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.diagnostics.iteration import Before, audit_iteration
from star_engine.filters.funnel import KEPT, SURPLUS, funnel
from star_engine.loop import PhaseName
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.record import Built, Counts
from star_engine.sampling.labels import labelled
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.diagnosis import diagnose
from star_engine.training_set.mixing import MixSource, mix_all
from star_engine.training_set.overrides import overruled, say_overridden
from star_engine.training_set.rows import Decision, audit_hints, build, decide, in_order, training_set_sha256


def build_iteration(
    config: StarConfig,
    prompt_set: PromptSet,
    iteration: int,
    examples: Sequence[Example],
    tries: Sequence[Rationale],
    before: Before,
    overrides: Mapping[RationaleKey, str],
    mixed: MixSource,
    surplus: Set[str] = frozenset(),
) -> Built:
    """Decide, strip the hints, prove that they are gone, mix other datasets in. Raises HintLeak.

    `overrides`: verdicts of people, which replace the verifier's and a majority's. `surplus`: ids of examples
    whose tries are recorded and not trained on. Too few rows of the run's own pause it, however many are
    mixed in: then `diagnosis` says why.
    """
    rationales = in_order(examples, tries)
    seen = labelled(config, examples, rationales)
    judged = overruled(seen.rationales, overrides)
    decided = say_overridden(decide(config, prompt_set, seen.examples, judged), overrides)
    decisions = _without_surplus(decided, surplus)
    own = build(config, prompt_set, seen.examples, judged, decisions)
    audit_hints(config, prompt_set, seen.examples, judged, own)
    added = mix_all(config, prompt_set, iteration, len(own), mixed)
    rows = (*own, *(row for one in added for row in one.rows))
    final = overruled(rationales, overrides)
    return Built(
        decisions=(*decisions, *(decision for one in added for decision in one.decisions)),
        rows=rows,
        mixed=tuple(one.rationales for one in added),
        sha256=training_set_sha256(rows),
        diagnosis=None if len(own) >= config.training_set.min_kept else diagnose(decisions),
        diagnostics=audit_iteration(config, prompt_set, iteration, examples, final, decisions, before),
    )


def _without_surplus(decisions: Sequence[Decision], surplus: Set[str]) -> list[Decision]:
    """The same decisions, with what would be kept of these examples dropped."""
    return [
        replace(one, kept=False, reason=SURPLUS) if one.kept and one.key.example_id in surplus else one
        for one in decisions
    ]


def _run(context: Context) -> Work:
    record, recorded = context.record, False
    while not recorded:
        examples, tries = record.iteration_examples(), record.tries()
        yield Progress(0, len(tries), "rationales")
        built = build_iteration(
            context.config,
            context.prompt_set,
            context.iteration,
            examples,
            tries,
            record.before(),
            record.overrides(tries),
            record,
            record.surplus(),
        )
        recorded = record.finish_build(built)


def routes(config: StarConfig) -> tuple[Route, ...]:
    """The routes by which a run's rationales come."""
    given = config.training_set.source is not Source.RATIONALES
    hinted = Route.RATIONALIZED if config.hints is None else Route.HINTED
    own = (Route.GIVEN,) if given else (Route.GENERATED, hinted)
    return (*own, Route.MIXED) if config.training_set.mix else own


def own_rows(kept: Mapping[str, int]) -> int:
    """Rows of the run's own dataset among `kept`, which counts rows by route."""
    return sum(count for route, count in kept.items() if route != Route.MIXED)


def _metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    names = [str(route) for route in routes(config)]
    kept, dropped = dict.fromkeys(names, 0), {name: dict[str, int]() for name in names}
    reasons = counts.reasons()
    for route, reason, count in reasons:
        if reason == KEPT:
            kept[route] = count
        else:
            dropped[route][reason] = count
    return {
        "kept": kept,
        "dropped": dropped,
        "funnel": funnel(reasons),
        "coverage": _coverage(config, counts),
    }


def _coverage(config: StarConfig, counts: Counts) -> dict[str, float]:
    """Shares of the iteration's examples that are in its training set; each counts once."""
    asked, covered = counts.selected(), counts.covered()
    found = {str(route): covered.get(str(route), 0) for route in routes(config) if route is not Route.MIXED}
    shares = {**found, "total": sum(covered.values())}
    return {name: round(count / asked, 6) if asked else 0.0 for name, count in shares.items()}


BUILD = Phase(PhaseName.BUILD, _run, metrics=_metrics, uses_gpu=False)
