"""The end of the demo: tables, one rationalized example, the adapter downloaded, checked and asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from examples.addition.arms import DIRECT, FEW_SHOT, GOLD, STAR, WITHOUT
from star_client.client import StarClient
from star_client.objects import Iteration, Job

ABOVE_WITHOUT = 0.10  # at iteration 1
ABOVE_FEW_SHOT = 0.20  # after the last one, over the base model with few-shot working


def show(
    star: StarClient, jobs: Mapping[str, Job], console: Console, home: Path, root: Path
) -> Iterator[str]:
    """Print the jobs' results; yields one sentence for everything that is not as it should be."""
    for job in jobs.values():
        if job.status != "succeeded":
            reason = job.status_reason.message if job.status_reason else ""
            yield f"{job.name}: the job is {job.status}. {reason}"
    if any(job.status != "succeeded" for job in jobs.values()):
        return
    found = {arm: star.jobs.iterations(job.id) for arm, job in jobs.items()}
    base = next(one.metrics.baselines for one in found[STAR] if one.number == 0)
    trained = {arm: [one for one in every if one.number > 0] for arm, every in found.items()}
    console.print(_accuracy_table(base, trained), _coverage_table(trained[STAR]))
    yield from claims(base["few_shot_cot"]["accuracy"], trained)
    yield from _show_rationalized(star, jobs[STAR], console)
    yield from _ask_adapter(star, jobs[STAR], console, home, root)


def claims(few_shot: float, trained: Mapping[str, Sequence[Iteration]]) -> Iterator[str]:
    """What docs/runs/addition.md claims, as far as these jobs can show it."""
    gained = (trained[STAR][-1].metrics.accuracy or 0.0) - few_shot
    if gained < ABOVE_FEW_SHOT:
        yield f"STaR is {_points(gained)} above few-shot with working, not {_points(ABOVE_FEW_SHOT)}"
    if WITHOUT in trained:
        first, ablated = (trained[arm][0].metrics.accuracy or 0.0 for arm in (STAR, WITHOUT))
        if first - ablated < ABOVE_WITHOUT:
            yield f"in iteration 1 STaR is {_points(first - ablated)} above the same without rationalization"


def _accuracy_table(base: Mapping[str, Any], trained: Mapping[str, Sequence[Iteration]]) -> Table:
    groups = sorted(base["few_shot_cot"]["by_group"])
    table = Table(
        "model",
        *(f"{group} digit{'s' * (group != '1')}" for group in groups),
        "all",
        title="Held-out accuracy",
    )

    def add(name: str, by_group: Mapping[str, Any], accuracy: float) -> None:
        table.add_row(name, *map(_percent, [*(by_group.get(group, 0.0) for group in groups), accuracy]))

    for mode in FEW_SHOT:
        add(f"base, {mode.replace('_', ' ')}", base[mode]["by_group"], base[mode]["accuracy"])
    for arm in (DIRECT, WITHOUT, STAR, GOLD):
        iterations = trained.get(arm, ())
        for one in iterations:
            name = f"{arm}, {one.number}" if len(iterations) > 1 else arm
            add(name, one.metrics.accuracy_by_group, one.metrics.accuracy or 0.0)
    return table


def _coverage_table(iterations: Sequence[Iteration]) -> Table:
    table = Table(
        "iteration", "solved", "generated", "rationalized", "total", title="Training set, share of examples"
    )
    for iteration in iterations:
        metrics = iteration.metrics
        shares = [metrics.coverage.get(name, 0.0) for name in ("generated", "rationalized", "total")]
        table.add_row(str(iteration.number), *map(_percent, [metrics.solve_rate or 0.0, *shares]))
    return table


def _show_rationalized(star: StarClient, job: Job, console: Console) -> Iterator[str]:
    """One example that was rationalized and trained on: its hint, and the training text without it."""
    page = star.rationales.list(job.id, route="rationalized", decision="kept", limit=1)
    if not page.data:
        yield "no rationalized rationale was kept"
        return
    found = star.rationales.get(job.id, page.data[0].id)
    row = found.training_row or {}
    prompt, hint = (found.prompt or ""), (found.hint or "")
    question = prompt.rpartition("\n\n")[2]
    console.print(
        Panel(f"{question}{row.get('completion')}", title=f"Sampled with the hint {hint!r} ({found.id})")
    )
    console.print(Panel(f"{row.get('prompt')}{row.get('completion')}", title="Trained on, hint stripped"))
    if not hint or hint not in question:
        yield f"{found.id} was rationalized without a visible hint"
    if hint and hint in str(row.get("prompt")):
        yield f"the hint of {found.id} is still in its training prompt"


def _ask_adapter(star: StarClient, job: Job, console: Console, home: Path, root: Path) -> Iterator[str]:
    """Download the best adapter (the client checks every sha256), load it with PEFT, ask it one problem."""
    if job.best is None:
        yield "there is no adapter"
        return
    folder = home / "adapters" / job.best.adapter_id
    star.adapters.download(job.best.adapter_id, folder)
    files = star.adapters.get(job.best.adapter_id).files
    console.print(f"Adapter of iteration {job.best.iteration} in {folder}:")
    for file in files:
        console.print(f"  {file.path:26}{file.size_bytes:>10,} bytes  sha256 {file.sha256[:16]}...")
    answers = star.answers.every(job.id, iteration=job.best.iteration, mode="adapter", verdict="correct")
    recorded = max(answers, key=lambda one: len(one.example.question))
    question = recorded.example.question
    text = ask(root / "examples" / "addition" / "model", folder, f"Input:\n{question}\nTarget:")
    console.print(Panel(f"Input:\n{question}\nTarget:{text}", title="Loaded with PEFT and asked"))
    if text.strip() != recorded.text.strip():
        yield f"the adapter answered {question} with {text!r}, and in the job with {recorded.text!r}"


def ask(base_model: Path, adapter: Path, prompt: str) -> str:
    """What the base model with this adapter writes after the prompt, greedily, loaded as users of PEFT do."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_model), adapter)
    tokens = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        written = model.generate(**tokens, max_new_tokens=96, do_sample=False)
    text = tokenizer.decode(written[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    return str(text).partition("\n\n")[0]


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"
