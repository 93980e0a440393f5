"""A verifier before it is published: does the sampler find texts as likely as PEFT does? And its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import CARD, BaseModel, write_durably
from star_engine.adapters.score_parity import judge_scores
from star_engine.protocols import AdapterProbe, BadAdapter, Score

PARITY_TEXTS = 8  # that PEFT and the sampler score both


@dataclass(frozen=True, slots=True)
class VerifierVerification:
    """What was found when the verifier was loaded in PEFT and in the sampler."""

    weight_norm: float
    max_logit_delta: float
    score_difference: float  # mean over texts, in nats a token, between PEFT and the sampler
    texts: int  # scored by both
    pairs: int  # held out from its training
    pair_accuracy: float | None  # share of them whose right text ranks first; None: there are none
    pair_accuracy_before: float | None  # the same by the reference model


def judge_verifier(
    probe: AdapterProbe, peft: Sequence[Score], sampler: Sequence[Score], base: Sequence[Score]
) -> float:
    """The mean difference of the two scores in nats a token. Raises BadAdapter with the reason.

    Its greedy texts may be anything: it was trained to rank. base: what the sampler says without the adapter;
    where that is nearer to PEFT's, the sampler does not apply it.
    """
    if not probe.finite:
        raise BadAdapter("The verifier holds weights that are not finite: the training diverged.")
    if not probe.weight_norm > 0 or not probe.max_logit_delta > 0:
        raise BadAdapter("The verifier changes nothing: its weights are zero, or they are not applied.")
    return judge_scores(peft, sampler, base, "verifier")


def write_verifier_card(
    directory: Path,
    base: BaseModel,
    facts: Mapping[str, Any],
    measured: str,
    licence: str | None,
    prompt: str,
) -> None:
    """Write README.md. facts: of the manifest. measured: how it ranks held-out pairs, as a sentence."""
    training = facts["training"]
    front = [
        "---",
        f"base_model: {base.name}",
        "library_name: peft",
        *([f"license: {licence}"] if licence else []),
    ]
    front += ["tags:", "- lora", "- verifier", "- self-taught-reasoner", "---", ""]
    text = _TEXT.format(
        base=base.name,
        revision=base.revision or "not recorded",
        iteration=facts["iteration"],
        method=_METHOD[training["method"]],
        pairs=training["pairs"],
        sha=facts["pairs_sha256"],
        steps=training["steps"],
        stopped=_stopped(training),
        measured=measured,
        prompt=prompt,
    )
    write_durably(directory / CARD, "\n".join(front) + text)


def _stopped(training: Mapping[str, Any]) -> str:
    """By what the training was ended; empty where it has taken all its steps."""
    stop = training.get("stop", {})
    looks = stop.get("looks", ())
    if not looks:
        return ""
    best = max(one["best_of_k"] for one in looks)
    return (
        f"| stopped by | best of {stop['k']} on {stop['questions']} held-out train questions: {best:.1%}, no "
        f"better up to step {stop['trained_steps']} |\n"
    )


_METHOD = {
    "dpo": "DPO on pairs of right and wrong tries (V-STaR, arXiv 2402.06457)",
    "yes_no": 'learning the word behind "Is this answer right?" (arXiv 2408.15240)',
}

_TEXT = """
# Verifier of a self-taught reasoner, iteration {iteration}

A LoRA adapter for `{base}` (revision: {revision}) that ranks answers. It was trained by {method}. **It is no
generator**: what it writes may be anything. It says which of several answers is the likeliest to be right,
and never decides what is right.

| what | value |
| --- | --- |
| pairs learned | {pairs} |
| pairs | sha256 `{sha}` |
| optimizer steps | {steps} |
{stopped}| held-out pairs | {measured} |

A text is scored behind its bare question, as in this prompt (`prompt_example.txt`); of several answers the
one with the highest score is taken:

```text
{prompt}
```

Files, their sha256, how it was verified and all settings are in `manifest.json`.
"""
