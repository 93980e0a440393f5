"""Rewards: what the scorer of a controller says of tries, as B-STaR's process reward model would (section 3).

There a reward is 1 for a right answer, plus the lowest score of a step between -1 and 1. Here a verifier of
whole texts takes the place of the second part: twice the probability that it gives to the text being right,
less 1. A yes/no verifier says it as log p(yes) - log p(no). For one that was trained by DPO it is what
Bradley and Terry's model says of the text against another that the reference finds as likely:
beta * (log p - log p of the reference).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from star_engine.evaluation.candidates import Scored, score_distinct
from star_engine.evaluation.yes_no import score_yes_no
from star_engine.phases.phase import Context, Progress
from star_engine.phases.test_time import as_a_verifier_reads
from star_engine.protocols import TrainingText
from star_engine.record import Verifier
from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.examples import Example

UNREAD = -1.0  # of an empty text, or of one that the scorer has no room for
DECIMALS = 6


def reward_of(logit: float) -> float:
    """A verifier's log odds of a text being right, on the scale from -1 to 1."""
    return round(math.tanh(logit / 2), DECIMALS)


def give_rewards(
    context: Context, verifier: Verifier, examples: Sequence[Example], tries: Sequence[Rationale]
) -> Iterator[Progress]:
    """Record the rewards of the tries that have none. Call it alone: the GPU changes its adapter."""
    by_id = {example.id: example for example in examples}
    open_ = [one for one in tries if one.reward is None]
    texts = [
        (one.key, as_a_verifier_reads(context, by_id[one.key.example_id], one.text, one.tools))
        for one in open_
        if one.text.strip()
    ]
    done = len(tries) - len(open_)
    for found in _logits(context, verifier, texts):
        context.record.add_rewards({key: reward_of(logit) for key, logit in found.items()})
        done += len(found)
        open_ = [one for one in open_ if one.key not in found]
        yield Progress(done, len(tries), "rewards")
    if open_:
        context.record.add_rewards(dict.fromkeys((one.key for one in open_), UNREAD))
        yield Progress(len(tries), len(tries), "rewards")


Texts = Sequence[tuple[RationaleKey, TrainingText]]


def _logits(context: Context, verifier: Verifier, texts: Texts) -> Iterator[Mapping[RationaleKey, float]]:
    """Log odds of each text that the scorer has room for, in batches."""
    if not texts:
        return
    if verifier.method == "yes_no":
        for found in score_yes_no(context.gpu.scorer(verifier.folder), texts):
            yield {key: score.total for key, score in found.items()}
        return
    own = _likelihoods(context, verifier.folder, texts)
    before = _likelihoods(context, verifier.reference, texts)
    yield {
        key: verifier.beta * (score.total - before[key].total) for key, score in own.items() if key in before
    }


def _likelihoods(context: Context, adapter: Path | None, texts: Texts) -> dict[RationaleKey, Scored]:
    ended = [(key, text, True) for key, text in texts]
    batches: Iterable[dict[RationaleKey, Scored]] = score_distinct(context.gpu.scorer(adapter), ended)
    return {key: score for found in batches for key, score in found.items()}
