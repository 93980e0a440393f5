"""The README.md of an adapter, in our own words: what it is, how it came about, how to use it."""

from __future__ import annotations

from pathlib import Path

from star_engine.adapters import CARD, BaseModel, write_durably
from star_engine.config import StarConfig
from star_engine.training_set import Coverage


def write_card(
    directory: Path,
    base: BaseModel,
    config: StarConfig,
    iteration: int,
    coverage: Coverage,
    training_set_sha256: str,
    licence: str | None = None,
) -> None:
    """Write README.md with the front matter that model hubs read. `licence` is the base model's."""
    write_durably(
        directory / CARD,
        _front_matter(base, licence)
        + _TEXT.format(
            iteration=iteration,
            base=base.name,
            revision=base.revision or "not recorded",
            kind=config.kind,
            weights_from=config.training.start_from,
            rank=config.training.lora.rank,
            alpha=config.training.lora.alpha,
            seed=config.seed,
            rationalization="on" if config.rationalization.enabled else "off",
            share=f"{coverage.share:.1%}",
            generated=coverage.generated,
            rationalized=coverage.rationalized,
            examples=coverage.examples,
            sha=training_set_sha256,
            config=config.model_dump_json(indent=2),
        ),
    )


def _front_matter(base: BaseModel, licence: str | None) -> str:
    lines = ["---", f"base_model: {base.name}", "library_name: peft", "pipeline_tag: text-generation"]
    if licence:
        lines.append(f"license: {licence}")
    return "\n".join([*lines, "tags:", "- lora", "- self-taught-reasoner", "---", "", ""])


_TEXT = """# LoRA adapter of STaR iteration {iteration}

A LoRA adapter for `{base}` (revision: {revision}), trained by STaR (Self-Taught Reasoner, Zelikman et al.
2022): the model wrote rationales for questions of kind `{kind}`, those that led to the right answer were
kept, and the model was fine-tuned on them. Every training text was rendered anew without the hint.

| what | value |
| --- | --- |
| trained on | {generated} generated and {rationalized} rationalized of {examples} examples ({share}) |
| rationalization | {rationalization} |
| training set | sha256 `{sha}` |
| weights start from | {weights_from} |
| LoRA rank, alpha | {rank}, {alpha} |
| seed | {seed} |

Files, their sha256 and how the adapter was verified are in `manifest.json`.

## Use

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "path/to/this/folder")
```

Prompt it exactly as it was trained: the layout of kind `{kind}`, ending without white space.

## All settings

```json
{config}
```
"""
