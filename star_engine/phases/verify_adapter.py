"""Verify the adapter: load it in PEFT and in the sampler, compare both with the base model, publish it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import (
    EXAMPLE,
    AdapterVerification,
    TextsDiffer,
    check_layout,
    judge_adapter,
    write_durably,
    write_manifest,
)
from star_engine.adapters.model_card import write_card
from star_engine.adapters.probe import (
    PROBE_TOKENS,
    PROBES,
    continue_greedily,
    installed_versions,
    probe_prompts,
)
from star_engine.adapters.score_parity import judge_scores, judge_shifts
from star_engine.loop import PhaseName
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.protocols import AdapterProbe, ScoreRequest, TrainingText
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
    texts = continue_greedily(sampler, prompts, PROBE_TOKENS)
    try:
        verification = judge_adapter(probe, texts)
    except TextsDiffer as doubt:
        verification = _judge_by_scores(context, folder, prompts, probe, doubt)
    origin, made = record.origin(), record.provenance()
    _, sha256 = made.training_sets[-1]
    write_durably(folder / EXAMPLE, prompts[0])
    write_card(
        folder, origin.base, config, context.iteration, _coverage(made), sha256, origin.licence, prompts[0]
    )
    write_manifest(folder, _facts(context, origin, made), verification)
    check_layout(folder)
    record.finish_verification(folder, verification)


def _judge_by_scores(
    context: Context, folder: Path, prompts: Sequence[str], probe: AdapterProbe, doubt: TextsDiffer
) -> AdapterVerification:
    """What PEFT wrote, scored by PEFT, by the sampler with the adapter and without it. Raises BadAdapter.

    In bfloat16 two tokens may be as likely as each other: the engines then write different texts and find
    each text as likely. Where they hold the base model in two forms, by how much the adapter moves the scores
    is compared. Where PEFT wrote nothing there is nothing to score, and the doubt stands.
    """
    written = [(prompt, text) for prompt, text in zip(prompts, probe.texts, strict=True) if text]
    if not written:
        raise doubt
    requests = [
        ScoreRequest(str(n), TrainingText(prompt, text), eos=False)
        for n, (prompt, text) in enumerate(written)
    ]
    trainer = context.gpu.trainer()
    peft = trainer.score_trained(folder, requests)
    two_forms = (
        context.config.training.quantization is not None or context.record.origin().sampled is not None
    )
    peft_base = trainer.score_trained(None, requests) if two_forms else None
    base = list(context.gpu.scorer(None).score(requests))
    served = list(context.gpu.scorer(folder).score(requests))
    if peft_base is None:
        apart = judge_scores(peft, served, base, "adapter")
    else:
        apart = judge_shifts(peft, peft_base, served, base)
    return replace(doubt.found, score_difference=round(apart, 6))


def _coverage(made: Provenance) -> Coverage:
    generated, rationalized, hinted, given = (
        made.covered.get(str(route), 0)
        for route in (Route.GENERATED, Route.RATIONALIZED, Route.HINTED, Route.GIVEN)
    )
    return Coverage(made.asked, generated, rationalized, given, hinted)


def _optimizer(training: Mapping[str, Any]) -> str:
    carried = training.get("optimizer_from")
    return "AdamW, fresh in this iteration" if carried is None else f"AdamW, carried on from {carried}"


def _sampled(origin: Origin) -> dict[str, Any]:
    """The form of the base model that was sampled, where that is not the one that was trained on."""
    if origin.sampled is None:
        return {}
    one = origin.sampled
    return {"sampled_as": {"id": one.name, "revision": one.revision, "files": dict(origin.sampled_files)}}


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
        **_sampled(origin),
        "prompt": {
            "layout": context.config.layout or "completion",
            "template_sha256": context.config.chat.template_sha256,
            "system": context.config.chat.system,
            "example": EXAMPLE,
        },
        "training_set_sha256": made.training_sets[-1][1],
        "training_sets": [{"iteration": number, "sha256": sha256} for number, sha256 in made.training_sets],
        "optimizer": _optimizer(made.training),
        "training": dict(made.training),
        "config": context.config.model_dump(mode="json"),
        "versions": installed_versions(),
    }


VERIFY_ADAPTER = Phase(PhaseName.VERIFY_ADAPTER, _run)
