"""star jobs create."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from star_client.cli import completion
from star_client.cli.invocation import AsJson, star
from star_client.cli.jobs import JOB, follow
from star_client.cli.printing import Columns, print_one
from star_client.cli.quality.probes import wait_and_print
from star_client.client import StarClient
from star_client.interop.yaml_files import parse_value, read_settings
from star_client.job_request import JobRequest, Limits
from star_client.objects_results import DryRun, Estimate, Span, Warned

Config = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="YAML or JSON: changes to the preset.")
]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="One change, as in --set training.lora.rank=32")
]
Metadata = Annotated[list[str] | None, typer.Option(help="key=value, kept with the job.")]
OneKey = Annotated[str | None, typer.Option(help="The same key and the same job again make no second job.")]
Baselines = Annotated[
    list[str] | None,
    typer.Option("--baseline", help="A job to run as well, such as star-without-rationalization."),
]
Seeds = Annotated[
    list[int] | None, typer.Option("--seed", help="More than once: the job is repeated with each.")
]
GpuSeconds = Annotated[
    float | None, typer.Option("--budget-gpu-seconds", min=1, help="End it with what it has by then.")
]
Deadline = Annotated[
    str | None, typer.Option(help="The same: seconds from now, or a time as in 2026-01-31T12:00:00Z.")
]
Webhook = Annotated[str | None, typer.Option(help="Where to report its end to: https://...")]
Layout = Annotated[
    str | None, typer.Option(help="completion or chat; left out: chat for chat models. --set layout=...")
]
System = Annotated[str | None, typer.Option(help="System prompt of the chat layout. --set chat.system=...")]
Thinking = Annotated[str | None, typer.Option(help="on or off, in the chat layout. --set chat.thinking=...")]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Run although held-out questions are trained on.")
]
DryRunOnly = Annotated[bool, typer.Option("--dry-run", help="Show what it would be. Makes no job.")]
Questions = Annotated[
    int | None,
    typer.Option(
        "--probe", min=20, max=200, help="Ask so many train questions, 8 tries each, and wait. Makes no job."
    ),
]
ReturnEqual = Annotated[
    bool,
    typer.Option(
        "--return-equal", "--dedupe", help="Where an equal job (without baselines) is there, show that one."
    ),
]

SMALL_DATA = 2000  # train examples, below which `star` would show each one hundreds of times


def hint_of(one: DryRun) -> str | None:
    """That of the first example of the preview, with its place."""
    hints = [shown.get("procedural_hint") for shown in one.preview]
    found = next((hint for hint in hints if hint), None)
    if found is None:
        return None
    behind = f", behind {found['word']!r}" if found["word"] else ""
    return f"{found['name']} ({found['insert']}{behind}): {found['text'].strip()}"


def memory_of(one: DryRun) -> str | None:
    """What a step on documents takes; of other jobs it is not known."""
    most, least = one.work.get("memory_gib"), one.work.get("checkpointed_memory_gib")
    if most is None or least is None:
        return None
    return f"at most {most:g} GiB, with gradient checkpointing {least:g} GiB"


DRY_RUN: Columns[DryRun] = {
    "name": lambda one: one.name,
    "iterations": lambda one: one.config.get("iterations"),
    "steps": lambda one: sum(one.work.get("steps", ())),
    "passes": lambda one: " ".join(f"{passes:g}" for passes in one.work.get("passes", ())) or None,
    "tokens": lambda one: one.work.get("tokens"),
    "GPU memory": memory_of,
    "GPU-seconds": lambda one: span(one.estimate.gpu_seconds, one.estimate.unavailable.get("gpu_seconds")),
    "seconds": lambda one: span(one.estimate.seconds, one.estimate.unavailable.get("seconds")),
    "queue": lambda one: span(one.estimate.queue_seconds, one.estimate.unavailable.get("queue_seconds")),
    "cost": lambda one: cost(one.estimate),
    "procedural hint": hint_of,
    "warnings": lambda one: "\n".join(warning.message for warning in one.warnings) or "none",
}


def create(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(help="Id of a base model: star models list.", autocompletion=completion.models),
    ],
    dataset: Annotated[str, typer.Option(help="Id of a dataset.", autocompletion=completion.datasets)],
    prompt_set: Annotated[
        str | None,
        typer.Option(
            help="Id of a prompt set; left out for documents.", autocompletion=completion.prompt_sets
        ),
    ] = None,
    name: Annotated[str | None, typer.Option()] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings to start from; quick below 2,000 train examples, else star; documents: quiet-star."
        ),
    ] = None,
    config: Config = None,
    setting: Setting = None,
    layout: Layout = None,
    system: System = None,
    thinking: Thinking = None,
    baseline: Baselines = None,
    seed: Seeds = None,
    budget_gpu_seconds: GpuSeconds = None,
    deadline: Deadline = None,
    webhook: Webhook = None,
    priority: Annotated[int | None, typer.Option()] = None,
    metadata: Metadata = None,
    idempotency_key: OneKey = None,
    return_equal: ReturnEqual = False,
    allow_overlap: AllowOverlap = False,
    dry_run: DryRunOnly = False,
    probe: Questions = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with star jobs watch.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    wanted: JobRequest = {"model": model, "dataset": dataset, "prompt_set": prompt_set, "name": name}
    wanted |= {"config": chat_laid_over(merged_config(config, setting or []), layout, system, thinking)}
    wanted |= {"baselines": baseline, "seeds": seed, "budget": budget(budget_gpu_seconds, deadline)}
    wanted |= {"webhook": {"url": webhook} if webhook else None, "priority": priority}
    wanted |= {"metadata": pairs(metadata), "return_equal": return_equal or None}
    wanted |= {"allow_overlap": allow_overlap or None}
    client = star(context)
    wanted |= {"preset": preset or usual_preset(client, dataset)}
    if probe is not None:
        return _probe(client, probe, wanted, idempotency_key, as_json)
    if dry_run:
        return print_one(client.jobs.dry_run(**wanted), DRY_RUN, as_json)
    job = client.jobs.create(**wanted, idempotency_key=idempotency_key)
    if job.webhook and not (as_json and not watch):
        sys.stderr.write(f"Secret of its webhook: {job.webhook.get('secret')}\n")
    return follow(client, job.id, as_json) if watch else print_one(job, JOB, as_json)


def usual_preset(client: StarClient, dataset_id: str) -> str:
    """Return the preset of a job for which none was named, and say so where it is not the paper's."""
    dataset = client.datasets.get(dataset_id)
    train = dataset.splits.get("train", 0)
    if dataset.kind == "documents":
        return "quiet-star"
    if train >= SMALL_DATA:
        return "star"
    sys.stderr.write(
        f"Preset quick, for {train:,} train examples: 3 iterations of 3 passes. "
        "--preset star trains as long as the paper.\n"
    )
    return "quick"


def _probe(client: StarClient, questions: int, wanted: JobRequest, key: str | None, as_json: bool) -> None:
    begun = client.jobs.probe(questions, idempotency_key=key, **wanted)
    sys.stderr.write(f"{begun.probe.id} has begun. To cancel it: star jobs cancel {begun.probe.id}\n")
    if not as_json:
        print_one(begun, DRY_RUN, as_json)
    wait_and_print(client, begun.probe.id, as_json)


def budget(gpu_seconds: float | None, deadline: str | None) -> Limits | None:
    limits: Limits = {} if gpu_seconds is None else {"gpu_seconds": gpu_seconds}
    if deadline is not None:
        limits |= moment_or_seconds(deadline)
    return limits or None


def moment_or_seconds(text: str) -> Limits:
    try:
        return {"deadline_seconds": float(text)}
    except ValueError:
        pass
    try:
        return {"deadline": datetime.fromisoformat(text)}
    except ValueError as error:
        hint = f"{text!r} is neither seconds nor a time such as 2026-01-31T12:00:00Z."
        raise typer.BadParameter(hint, param_hint="--deadline") from error


def span(found: Span | None, unknown: Warned | None) -> str:
    if found is None:
        return f"not known: {unknown.message}" if unknown else "not known"
    return f"{found.expected:.0f} ({found.low:.0f} to {found.high:.0f})"


def cost(found: Estimate) -> str:
    if (known := found.cost) is None:
        unknown = found.unavailable.get("cost")
        return f"not known: {unknown.message}" if unknown else "not known"
    return f"{known.expected:.4g} {known.currency} ({known.low:.4g} to {known.high:.4g})"


def pairs(texts: list[str] | None) -> dict[str, str] | None:
    return dict(split_pair(text) for text in texts) if texts else None


def merged_config(file: Path | None, settings: list[str]) -> dict[str, Any] | None:
    """Merge the settings of --set into the file's; None means no changes to the preset."""
    config = read_settings(file) if file is not None else {}
    if not isinstance(config, dict):
        raise typer.BadParameter(f"{file} must hold settings by name.", param_hint="--config")
    for setting in settings:
        dotted, value = split_pair(setting)
        *path, last = dotted.split(".")
        section = config
        for name in path:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise typer.BadParameter(f"{name} is no section.", param_hint="--set")
        section[last] = parse_value(value)
    return config or None


def chat_laid_over(
    config: dict[str, Any] | None, layout: str | None, system: str | None, thinking: str | None
) -> dict[str, Any] | None:
    """Put --layout, --system and --thinking over the other settings; what is wrong the API says."""
    chat = {name: value for name, value in (("system", system), ("thinking", thinking)) if value is not None}
    made = dict(config or {})
    if layout is not None:
        made["layout"] = layout
    if chat:
        made["chat"] = {**made.get("chat", {}), **chat}
    return made or None


def split_pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is not of the form name=value.")
    return name, value
