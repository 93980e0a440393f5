"""An adapter that thinks, before it is published: whether it loads and thinks as it was trained. Its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import CARD, MANIFEST, BaseModel, file_sha256, pretty, write_durably
from star_engine.adapters.model_card import UNMEASURED
from star_engine.config.star import StarConfig
from star_engine.protocols import BadAdapter
from star_engine.thoughts import ThoughtProbe

MAX_DIFFERENCE = 0.05  # of a hidden state's largest value, between thinking all at once and one by one


@dataclass(frozen=True, slots=True)
class ThoughtVerification:
    """What was found when the adapter was loaded and thought."""

    weight_norm: float
    max_logit_delta: float  # of plain next tokens against the base model
    parallel_difference: float  # of thinking at all positions at once from thinking at each alone, relative
    start_norm: float  # how far the start of a thought has moved
    end_norm: float


def judge_thoughts(probe: ThoughtProbe) -> ThoughtVerification:
    """Raises BadAdapter with the reason."""
    if not probe.finite:
        raise BadAdapter("The adapter holds weights that are not finite: the training diverged.")
    if not probe.weight_norm > 0 or not probe.max_logit_delta > 0:
        raise BadAdapter("The adapter changes nothing: its LoRA matrices are zero, or they are not applied.")
    if probe.parallel_difference > MAX_DIFFERENCE:
        raise BadAdapter(
            f"Thoughts at all positions at once differ by {probe.parallel_difference:.1%} from thoughts one "
            "by one: this base model's attention cannot be used for them."
        )
    return ThoughtVerification(
        weight_norm=round(probe.weight_norm, 6),
        max_logit_delta=round(probe.max_logit_delta, 6),
        parallel_difference=round(probe.parallel_difference, 9),
        start_norm=round(probe.start_norm, 6),
        end_norm=round(probe.end_norm, 6),
    )


def write_quiet_card(
    directory: Path,
    base: BaseModel,
    config: StarConfig,
    iteration: int,
    training: Mapping[str, Any],
    licence: str | None,
) -> None:
    """Write README.md with the front matter that model hubs read. `licence` is the base model's."""
    front = ["---", f"base_model: {base.name}", "library_name: peft"]
    front += [f"license: {licence}"] if licence else []
    front += ["tags:", "- lora", "- quiet-star", "- self-taught-reasoner", "---", ""]
    text = _TEXT.format(
        base=base.name,
        revision=base.revision or "not recorded",
        iteration=iteration,
        thoughts=_THOUGHTS[training["thoughts"]].format(tokens=training["thought_tokens"]),
        ahead=training["ahead_tokens"],
        documents=training["documents"],
        steps=training["steps"],
        tokens=training["tokens"],
        started=training["started_from"],
        seed=config.seed,
        unmeasured=UNMEASURED,
        config=config.model_dump_json(indent=2),
    )
    write_durably(directory / CARD, "\n".join(front) + text)


def state_measured(directory: Path, facts: Mapping[str, Any]) -> None:
    """Write what was measured on held-out documents into README.md and manifest.json, once."""
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    if "evaluation" in manifest:
        return
    said = (
        f"{facts['nll_with']:.4f} nats a token with thoughts, {facts['nll_without']:.4f} without, "
        f"{facts['nll_base']:.4f} by the base model ({facts['tokens']} tokens)"
    )
    card = (directory / CARD).read_text(encoding="utf-8").replace(UNMEASURED, said, 1)
    write_durably(directory / CARD, card)
    entry = {"sha256": file_sha256(directory / CARD), "bytes": (directory / CARD).stat().st_size}
    manifest["files"][CARD] = entry
    write_durably(directory / MANIFEST, pretty({**manifest, "evaluation": dict(facts)}))


_THOUGHTS = {
    "sampled": "{tokens} tokens between start and end, by the model itself",
    "random": "{tokens} random tokens between start and end (a control)",
    "pause": "start and end alone (a control)",
    "off": "none: the adapter reads without thoughts",
}

_TEXT = """
# Quiet-STaR adapter, iteration {iteration}

Thoughts between the tokens of ordinary text (Zelikman et al. 2024, arXiv 2403.09629): a LoRA adapter for
`{base}` (revision: {revision}), a mixing head and two soft tokens. **vLLM cannot serve it**: it loads no head
beside LoRA matrices and mixes no predictions. Without thoughts the LoRA part alone is what PEFT loads.

| what | value |
| --- | --- |
| a thought | {thoughts} |
| tokens predicted after it | {ahead} |
| documents | {documents} |
| optimizer steps, tokens read | {steps}, {tokens} |
| weights start from | {started} |
| seed | {seed} |
| held-out documents | {unmeasured} |

A gain says little alone: compare it with the controls (random thoughts, pauses, continued training).

## Use

```python
import torch
from pathlib import Path
from star_engine.gpu.causal_lm import load_model, load_tokenizer
from star_engine.gpu.quiet_star.files import load_quiet_adapter
from star_engine.gpu.quiet_star.thinking import Thinker
from star_engine.gpu.quiet_star.writing import write

folder = Path("path/to/{base}")
tokenizer = load_tokenizer(folder)
base = load_model(folder, dtype=torch.float32, device="cpu")
model, head, settings = load_quiet_adapter(base, Path("path/to/this/adapter"))
special = torch.tensor(tokenizer.all_special_ids)
prompt = tokenizer("The capital of Peru is")["input_ids"]
for one in write(Thinker(model, head, settings), prompt, special, max_tokens=20, seed=0):
    print(repr(tokenizer.decode(one.thought)), "->", repr(tokenizer.decode(one.token)))
```

A thought is never part of the text. Files, their sha256, how the adapter was verified and what was measured
are in `manifest.json`; `quiet_star.json` says how it thinks.

## All settings

```json
{config}
```
"""
