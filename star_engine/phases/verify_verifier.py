"""Verify the verifier: PEFT and the sampler must score alike; how it ranks pairs that it has not learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import EXAMPLE, check_layout, write_durably, write_manifest
from star_engine.adapters.probe import PROBES, installed_versions, probe_prompts
from star_engine.adapters.roles import AdapterRole
from star_engine.adapters.verifier import (
    PARITY_TEXTS,
    VerifierVerification,
    judge_verifier,
    write_verifier_card,
)
from star_engine.evaluation.candidates import Scored
from star_engine.evaluation.yes_no import score_yes_no
from star_engine.loop import PhaseName
from star_engine.phases.pairs import PAIRS_PER_CALL, pair_texts, score_pairs, verifier_of
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.phases.train_verifier import is_learnable
from star_engine.protocols import Scorer, ScoreRequest
from star_engine.training_set.pairs import PairRow, pairs_sha256

PROBE_TOKENS = 1  # what it writes is not looked at, only that it changes the next token


def _run(context: Context) -> Work:
    record, settings = context.record, verifier_of(context.config)
    rows = [row for row in record.pairs().recorded() if is_learnable(row, settings)]
    if not record.training_report():  # there were no pairs to train it on
        record.skip()
        return
    folder, end = record.draft(), context.prompt_set.end
    prompts = probe_prompts(context.config, context.prompt_set, record.probe_examples(PROBES))
    trainer = context.gpu.trainer()
    probe = trainer.probe(folder, prompts, PROBE_TOKENS)
    texts = [text for row in rows for text in pair_texts(row, end)][:PARITY_TEXTS]
    requests = [ScoreRequest(str(n), text) for n, text in enumerate(texts)]
    peft = trainer.score_trained(folder, requests)
    yield Progress(1, 3, "probes")
    base = list(context.gpu.scorer(None).score(requests))
    scorer = context.gpu.scorer(folder)
    apart = judge_verifier(probe, peft, list(scorer.score(requests)), base)
    yield Progress(2, 3, "probes")
    held_out = [row for row in rows if row.held_out]
    margins = list(_margins(context, scorer, held_out))
    verification = VerifierVerification(
        probe.weight_norm,
        probe.max_logit_delta,
        round(apart, 6),
        len(requests),
        len(held_out),
        _share([own for own, _ in margins]),
        _share([before for _, before in margins if before is not None]),
    )
    _publish(context, folder, rows, prompts[0], verification)


def _margins(
    context: Context, scorer: Scorer, rows: Sequence[PairRow]
) -> Iterator[tuple[float, float | None]]:
    """By how much each pair's right text ranks before the wrong one, by the job's own score; and by the
    reference's likelihood, where it was asked.
    """
    settings, end = verifier_of(context.config), context.prompt_set.end
    for first in range(0, len(rows), PAIRS_PER_CALL):
        some = rows[first : first + PAIRS_PER_CALL]
        if settings.method == "yes_no":
            yield from ((margin, None) for margin in _yes_no_margins(scorer, some, end))
            continue
        scored = score_pairs(scorer, some, end)
        for row in some:
            if row.position in scored:
                yield _margin(settings.score, row, *scored[row.position])


def _margin(score: str, row: PairRow, chosen: Scored, rejected: Scored) -> tuple[float, float]:
    lengths = (chosen.tokens, rejected.tokens) if score == "likelihood_per_token" else (1, 1)
    before = (row.reference_chosen or 0.0) / lengths[0] - (row.reference_rejected or 0.0) / lengths[1]
    own = chosen.total / lengths[0] - rejected.total / lengths[1]
    return own - (before if score == "reward" else 0.0), before


def _yes_no_margins(scorer: Scorer, rows: Sequence[PairRow], end: str | None) -> Iterator[float]:
    texts = [((row.position, side), text) for row in rows for side, text in enumerate(pair_texts(row, end))]
    found = {key: score.total for batch in score_yes_no(scorer, texts) for key, score in batch.items()}
    for row in rows:
        if (row.position, 0) in found and (row.position, 1) in found:
            yield found[row.position, 0] - found[row.position, 1]


def _share(margins: Iterable[float]) -> float | None:
    """The share above zero, a tie counting as half; None of none."""
    found = [0.5 if margin == 0 else float(margin > 0) for margin in margins]
    return round(sum(found) / len(found), 6) if found else None


def _publish(
    context: Context,
    folder: Path,
    rows: Sequence[PairRow],
    prompt: str,
    verification: VerifierVerification,
) -> None:
    record, origin = context.record, context.record.origin()
    facts = _facts(context, rows)
    write_durably(folder / EXAMPLE, prompt)
    write_verifier_card(folder, origin.base, facts, _said(verification), origin.licence, prompt)
    write_manifest(folder, facts, verification)
    check_layout(folder)
    record.finish_verification(folder, verification)


def _said(found: VerifierVerification) -> str:
    if found.pair_accuracy is None:
        return "none: all were learned"
    before = (
        "" if found.pair_accuracy_before is None else f"; {found.pair_accuracy_before:.1%} by its reference"
    )
    return f"{found.pair_accuracy:.1%} of {found.pairs} ranked right{before}"


def _facts(context: Context, rows: Sequence[PairRow]) -> Mapping[str, Any]:
    """Everything that the verifier depends on, for its manifest."""
    origin = context.record.origin()
    return {
        "job": origin.job,
        "iteration": context.iteration,
        "role": str(AdapterRole.VERIFIER),
        "dataset": origin.dataset,
        "prompt_set": origin.prompt_set,
        "base_model": {
            "id": origin.base.name,
            "revision": origin.base.revision,
            "files": dict(origin.base_files),
        },
        "pairs_sha256": pairs_sha256(rows),
        "training": context.record.training_report(),
        "config": context.config.model_dump(mode="json"),
        "versions": installed_versions(),
    }


VERIFY_VERIFIER = Phase(PhaseName.VERIFY_VERIFIER, _run, role=AdapterRole.VERIFIER)
