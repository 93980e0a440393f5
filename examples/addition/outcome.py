"""The end of the demo: tables, one rationalized example, the adapter downloaded, checked and asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from star_client.client import StarClient
from star_client.objects import Iteration, Job

GOAL = 0.90  # held-out accuracy that the demo's settings must reach
WEAK = 0.55  # and the few-shot accuracy that the base model must not exceed


def show(star: StarClient, job: Job, console: Console, home: Path, root: Path) -> Iterator[str]:
    """Print the job's result; yields one sentence for everything that is not as it should be."""
    if job.status != "succeeded":
        reason = job.status_reason.message if job.status_reason else ""
        yield f"the job is {job.status}. {reason}"
        return
    iterations = star.jobs.iterations(job.id)
    console.print(_accuracy_table(iterations), _coverage_table(iterations[1:]))
    few_shot = iterations[0].metrics.baselines["few_shot_cot"]["accuracy"]
    if few_shot > WEAK:
        yield f"the base model already solves {few_shot:.0%} few-shot"
    if job.config["rationalization"]["enabled"]:
        if job.best is None or job.best.accuracy < GOAL:
            yield f"no iteration reached {GOAL:.0%} on held-out problems"
        yield from _show_rationalized(star, job, console)
    yield from _ask_adapter(star, job, console, home, root)


def _accuracy_table(iterations: Sequence[Iteration]) -> Table:
    groups = sorted(iterations[0].metrics.baselines["few_shot_cot"]["by_group"])
    table = Table(
        "model",
        *(f"{group} digit{'s' * (group != '1')}" for group in groups),
        "all",
        title="Held-out accuracy",
    )
    for mode, found in iterations[0].metrics.baselines.items():
        shares = [found["by_group"].get(group, 0.0) for group in groups]
        table.add_row(mode.replace("_", " "), *map(_percent, [*shares, found["accuracy"]]))
    for iteration in iterations[1:]:
        metrics = iteration.metrics
        shares = [metrics.accuracy_by_group.get(group, 0.0) for group in groups]
        table.add_row(f"iteration {iteration.number}", *map(_percent, [*shares, metrics.accuracy or 0.0]))
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
    question, answer = "4 7 8 + 3 6 5", "8 4 3"
    text = ask(root / "examples" / "carry" / "model", folder, f"Input:\n{question}\nTarget:")
    console.print(Panel(f"Input:\n{question}\nTarget:{text}", title="Loaded with PEFT and asked"))
    if text.strip().rpartition("</scratch>")[2].strip() != answer:
        yield f"the adapter answered {question} with {text!r}"


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
