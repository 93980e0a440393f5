"""Verify the adapter: load it in PEFT and in the sampler, compare both with the base model, publish it."""

from __future__ import annotations

from typing import Any

from star_engine.adapters.layout import EXAMPLE, check_layout, judge_adapter, write_durably, write_manifest
from star_engine.adapters.model_card import write_card
from star_engine.adapters.probe import (
    PROBE_TOKENS,
    PROBES,
    continue_greedily,
    installed_versions,
    probe_prompts,
)
from star_engine.loop import PhaseName
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.record import Origin, Provenance
from star_engine.sampling.rationales import Route
from star_engine.training_set.rows import Coverage


def _run(context: Context) -> Work:
    record, config = context.record, context.config
    folder = record.draft()
    prompts = probe_prompts(config, context.prompt_set, record.probe_examples(PROBES))
    probe = context.gpu.trainer().probe(folder, prompts, PROBE_TOKENS)
    yield Progress(1, 2, "probes")
    sampler = context.gpu.sampler(context.iteration)
    verification = judge_adapter(probe, continue_greedily(sampler, prompts, PROBE_TOKENS))
    origin, made = record.origin(), record.provenance()
    _, sha256 = made.training_sets[-1]
    write_durably(folder / EXAMPLE, prompts[0])
    write_card(
        folder, origin.base, config, context.iteration, _coverage(made), sha256, origin.licence, prompts[0]
    )
    write_manifest(folder, _facts(context, origin, made), verification)
    check_layout(folder)
    record.finish_verification(folder, verification)


def _coverage(made: Provenance) -> Coverage:
    generated, rationalized, hinted, given = (
        made.covered.get(str(route), 0)
        for route in (Route.GENERATED, Route.RATIONALIZED, Route.HINTED, Route.GIVEN)
    )
    return Coverage(made.asked, generated, rationalized, given, hinted)


def _facts(context: Context, origin: Origin, made: Provenance) -> dict[str, Any]:
    """Everything that the adapter depends on, for its manifest."""
    return {
        "job": origin.job,
        "iteration": context.iteration,
        "dataset": origin.dataset,
        "prompt_set": origin.prompt_set,
        "base_model": {
            "id": origin.base.name,
            "revision": origin.base.revision,
            "files": dict(origin.base_files),
        },
        "prompt": {
            "layout": context.config.layout or "completion",
            "template_sha256": context.config.chat.template_sha256,
            "system": context.config.chat.system,
            "example": EXAMPLE,
        },
        "training_set_sha256": made.training_sets[-1][1],
        "training_sets": [{"iteration": number, "sha256": sha256} for number, sha256 in made.training_sets],
        "optimizer": "AdamW, fresh in this iteration",
        "training": dict(made.training),
        "config": context.config.model_dump(mode="json"),
        "versions": installed_versions(),
    }


VERIFY_ADAPTER = Phase(PhaseName.VERIFY_ADAPTER, _run)
