"""Writes the README.md of an adapter: what it is, how it was made, how to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import CARD, EXAMPLE, MANIFEST, BaseModel, file_sha256, pretty, write_durably
from star_engine.config.fidelity import deviation_table
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.evaluation.collapse import CollapseMeasures
from star_engine.evaluation.receipt import Evidence, Receipt, make_receipt
from star_engine.evaluation.report import method_of, percent, points
from star_engine.protocols import BadAdapter
from star_engine.training_set.rows import Coverage

UNMEASURED = "not measured when this file was written"
RECEIPT, MEASURED_LATER = "## Receipt\n\n", "\n\nWhat was measured later"
UNTESTED = "Nothing had been measured on held-out questions when this file was written."


def write_card(
    directory: Path,
    base: BaseModel,
    config: StarConfig,
    iteration: int,
    coverage: Coverage,
    training_set_sha256: str,
    licence: str | None,
    prompt: str,
) -> None:
    """Write README.md with the front matter that model hubs read. `licence` is the base model's.

    prompt: one that the adapter was trained to be asked, to copy.
    """
    write_durably(
        directory / CARD,
        _front_matter(base, licence)
        + _TEXT.format(
            iteration=iteration,
            method=method_of(config),
            base=base.name,
            loading=_loading(base),
            revision=base.revision or "not recorded",
            kind=config.kind,
            weights_from=config.training.start_from,
            held="" if config.training.quantization is None else _FOUR_BITS,
            rank=config.training.lora.rank,
            alpha=config.training.lora.alpha,
            seed=config.seed,
            unmeasured=UNMEASURED,
            untested=UNTESTED,
            rationalization="on" if config.rationalization.enabled else "off",
            how=_how(config).format(kind=config.kind),
            trained_on=_trained_on(config, coverage),
            sha=training_set_sha256,
            prompted=_prompted(config),
            prompt=_fenced(prompt),
            against=_against(config),
            config=config.model_dump_json(indent=2),
        ),
    )


def is_measured(directory: Path) -> bool:
    """Whether manifest.json, which is written last, holds the held-out accuracy."""
    return "evaluation" in json.loads((directory / MANIFEST).read_text(encoding="utf-8"))


def state_receipt(directory: Path, evidence: Evidence, iteration: int, config: StarConfig) -> None:
    """Write what was measured on held-out questions into README.md and manifest.json: the accuracy, and the
    receipt as far as it is known, in place of an earlier one.

    The manifest's sha256 of the card follows. BadAdapter where the card has no place for it.
    """
    card = (directory / CARD).read_text(encoding="utf-8")
    found = make_receipt(evidence, iteration, method_of(config))
    split = config.evaluation.split
    said = f"{(found.accuracy or 0.0):.1%} ({found.correct} of {found.n} of the split {split})"
    if UNMEASURED not in card and said not in card:  # the latter: stated again, with many answers
        raise BadAdapter(f"{CARD} has no place for the accuracy: it was edited.")
    before, begins, rest = card.replace(UNMEASURED, said).partition(RECEIPT)
    _, ends, after = rest.partition(MEASURED_LATER)
    if not begins or not ends:
        raise BadAdapter(f"{CARD} has no place for the receipt: it was edited.")
    stated = f"{before}{begins}{_receipt(found)}{ends}{after}"
    write_durably(directory / CARD, stated)
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    size = (directory / CARD).stat().st_size
    manifest["files"][CARD] = {"sha256": file_sha256(directory / CARD), "bytes": size}
    measured = {
        "split": split,
        "n": found.n,
        "correct": found.correct,
        "accuracy": round(found.accuracy or 0.0, 6),
        "receipt": {
            "sentence": found.sentence,
            "chosen_from": found.chosen_from,
            "claims": [{"kind": one.kind, **asdict(one.comparison)} for one in found.claims],
            "not_run": [one.kind for one in found.not_run],
            "collapse": _measures(found.collapse),
        },
    }
    write_durably(directory / MANIFEST, pretty({**manifest, "evaluation": measured}))


def _receipt(found: Receipt) -> str:
    """The paired tests as a table."""
    lines = [
        found.sentence,
        "",
        "| against | questions | its accuracy | difference, points | 95 % interval | p |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found.claims:
        apart = one.comparison.difference
        lines.append(
            f"| {one.comparison.against} | {apart.n} | {percent(one.comparison.accuracy)} | "
            f"{points(apart.points)} | {points(apart.interval.low)} to {points(apart.interval.high)} | "
            f"{apart.p_value:.3f} |"
        )
    return "\n".join([*(lines if found.claims else lines[:1]), *_collapse(found.collapse)])


def _measures(found: CollapseMeasures | None) -> dict[str, Any] | None:
    """The measures of collapse without their sentences, which the receipt's holds."""
    if found is None:
        return None
    measures = asdict(found)
    del measures["sentences"]
    return measures


def _collapse(found: CollapseMeasures | None) -> Iterator[str]:
    """pass@k and how varied the answers are, beside the base model's; nothing before that is measured."""
    if found is None or found.base is None or found.adapter is None:
        return
    both = (found.base, found.adapter)
    yield from ("", "| many answers to a question | base model | this adapter |", "| --- | --- | --- |")
    passed = [{point.k: point for point in one.passed} for one in both]
    for k in sorted(passed[0].keys() & passed[1].keys()):
        shares = " | ".join(
            f"{percent(one[k].value)} ({percent(one[k].interval.low)} to {percent(one[k].interval.high)})"
            for one in passed
        )
        yield f"| pass@{k} | {shares} |"
    solutions, entropy = (
        " | ".join(f"{getattr(one, name):.2f}" for one in both) for name in ("solutions", "entropy")
    )
    yield f"| distinct solutions of a solved question | {solutions} |"
    yield f"| entropy of the answers to a question, bits | {entropy} |"


def _how(config: StarConfig) -> str:
    if config.preference is not None:
        return _PREFERENCE
    if config.self_distillation is not None:
        return _DISTILLATION[config.self_distillation.hint]
    return _HOW[config.training_set.source]


def _trained_on(config: StarConfig, coverage: Coverage) -> str:
    if config.self_distillation is not None:
        return f"every finished try at {coverage.examples} examples, right or wrong"
    rows = f"{coverage.generated} generated and {coverage.rationalized} rationalized"
    if config.hints is not None:
        rows = f"{coverage.generated} generated and {coverage.hinted} hinted"
    if coverage.given:
        rows = f"{coverage.given} given texts"
    if config.preference is not None:
        rows = f"pairs whose right text is one of {rows}"
    return f"{rows} of {coverage.examples} examples ({coverage.share:.1%})"


def _prompted(config: StarConfig) -> str:
    """How to prompt the adapter."""
    if not config.is_chat:
        return (
            f"Prompt it exactly as it was trained: the layout of kind `{config.kind}`, ending without white "
            f"space. This is one prompt; `{EXAMPLE}` holds it to the byte:"
        )
    system = "no system prompt" if config.chat.system is None else "the system prompt below"
    return (
        f"Prompt it exactly as it was trained: in the base model's chat template (sha256 "
        f"`{config.chat.template_sha256 or 'not recorded'}`) with {system}, as servers of chat completions "
        f"do. This is one whole prompt; `{EXAMPLE}` holds it to the byte. Its special tokens are all there: "
        "tokenize it with `add_special_tokens=False`."
    )


def _fenced(text: str) -> str:
    """A block of code that the text cannot end."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _loading(base: BaseModel) -> str:
    """A base model of a hub is found by its name and revision; another one has to be named."""
    if base.revision is not None and base.name.count("/") == 1:
        load = 'model = AutoPeftModelForCausalLM.from_pretrained("path/to/this/folder")'
        return f"from peft import AutoPeftModelForCausalLM\n\n{load}"
    loaded = f'AutoModelForCausalLM.from_pretrained("{base.name}")'
    return (
        "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        f'model = PeftModel.from_pretrained({loaded}, "path/to/this/folder")'
    )


def _against(config: StarConfig) -> str:
    """Describe how the preset `star` departs from the paper; empty for other methods."""
    if config.training_set.source is not Source.RATIONALES:
        return ""
    said = (
        "The preset `star` departs from the paper (arXiv 2203.14465) as follows; this run's own settings are "
        "below."
    )
    return f"## Against the paper\n\n{said}\n\n{deviation_table(code=False)}\n\n"


def _front_matter(base: BaseModel, licence: str | None) -> str:
    lines = ["---", f"base_model: {base.name}", "library_name: peft", "pipeline_tag: text-generation"]
    if licence:
        lines.append(f"license: {licence}")
    return "\n".join([*lines, "tags:", "- lora", "- self-taught-reasoner", "---", "", ""])


_HOW = {
    Source.RATIONALES: """STaR (Self-Taught Reasoner, Zelikman et al.
2022): the model wrote rationales for questions of kind `{kind}`, those that led to the right answer were
kept, and the model was fine-tuned on them. Every training text was rendered again without the hint.""",
    Source.ANSWERS: """direct fine-tuning: on
questions of kind `{kind}` and their answers, without rationales.""",
    Source.SOLUTIONS: """fine-tuning on the
dataset's worked solutions of questions of kind `{kind}`; the model wrote none of them itself.""",
}

_FOUR_BITS = "| trained over | the base model in 4 bits (QLoRA, nf4); load the adapter on it as it is |\n"

_PREFERENCE = """iterative RPO (arXiv
2404.19733): the model wrote rationales for questions of kind `{kind}`, and was fine-tuned to prefer those
that led to the right answer to those that did not."""

_DISTILLATION = {
    hint: f"""on-policy self-distillation
(arXiv 2601.18734): of its own tries at questions of kind `{{kind}}`, right or wrong, the model learned token
by token what the base model would have written {shown}."""
    for hint, shown in (
        ("right", "with the gold answer in view"),
        ("wrong", "with another question's answer in view, which is the control"),
        ("none", "without any answer in view, which is nothing new"),
    )
}

_TEXT = """# LoRA adapter of {method}, iteration {iteration}

A LoRA adapter for `{base}` (revision: {revision}), trained by {how}

| what | value |
| --- | --- |
| trained on | {trained_on} |
| held-out accuracy | {unmeasured} |
| rationalization | {rationalization} |
| training set | sha256 `{sha}` |
| weights start from | {weights_from} |
{held}| LoRA rank, alpha | {rank}, {alpha} |
| seed | {seed} |

Files, their sha256 and how the adapter was verified are in `manifest.json`.

## Receipt

{untested}

What was measured later, by another job for example, is in `GET /v1/adapters/ID/receipt` of the service that
trained it.

## Use

```python
{loading}
```

{prompted}

{prompt}

{against}## All settings

```json
{config}
```
"""
