"""Do PEFT and the sampler find texts equally likely? Roundings part greedy texts, and scores hardly."""

from __future__ import annotations

from collections.abc import Sequence

from star_engine.protocols import BadAdapter, Score

TOLERANCE = 0.1  # nats a token: bfloat16 kernels of two engines differ by some hundredths


def judge_scores(peft: Sequence[Score], sampler: Sequence[Score], base: Sequence[Score], what: str) -> float:
    """The mean difference of PEFT and sampler in nats a token. Raises BadAdapter with the reason.

    base: what the sampler says without the adapter. Where the adapter moves PEFT's scores from there, it must
    move the sampler's too. what: the adapter is, in words.
    """
    apart, before, moved = _difference(peft, sampler), _difference(peft, base), _difference(sampler, base)
    if apart > TOLERANCE:
        raise BadAdapter(f"PEFT and the sampler score texts differently: by {apart:.3f} nats a token.")
    if (before > TOLERANCE and apart > before / 2) or moved < before / 4:
        raise BadAdapter(f"The sampler scores as the base model does: it does not apply the {what}.")
    return apart


def judge_shifts(
    peft: Sequence[Score], peft_base: Sequence[Score], sampler: Sequence[Score], base: Sequence[Score]
) -> float:
    """The same where PEFT has another form of the base model than the sampler, as one in 4 bits.

    The two bases differ by more than roundings, so what is compared is by how much the adapter moves each
    token's score in PEFT and in the sampler. Raises BadAdapter with the reason.
    """
    trained, served = _shifts(peft, peft_base), _shifts(sampler, base)
    apart, moved = _difference(trained, served), _difference(sampler, base)
    by_peft = _difference(peft, peft_base)
    if moved < by_peft / 4:
        raise BadAdapter("The sampler scores as the base model does: it does not apply the adapter.")
    if apart > max(TOLERANCE, by_peft / 2):
        raise BadAdapter(
            f"PEFT and the sampler are moved differently by the adapter: by {apart:.3f} nats a token, where "
            f"PEFT is moved by {by_peft:.3f}."
        )
    return apart


def _shifts(scores: Sequence[Score], before: Sequence[Score]) -> list[Score]:
    known = {score.key: score for score in before}
    return [
        Score(one.key, tuple(a - b for a, b in zip(one.logprobs, known[one.key].logprobs, strict=True)))
        for one in scores
    ]


def _difference(one: Sequence[Score], other: Sequence[Score]) -> float:
    found = {score.key: score for score in other}
    apart = [
        abs(a - b) for score in one for a, b in zip(score.logprobs, found[score.key].logprobs, strict=True)
    ]
    return sum(apart) / len(apart) if apart else 0.0
