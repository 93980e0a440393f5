"""star keys, projects, usage, quota, audit: what a team shares."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, Grace, Limit, star
from star_client.cli.printing import Columns, amount, console, moment, print_all, print_json, print_one
from star_client.objects_platform import (
    ApiKey,
    AuditEntry,
    DataRetention,
    Project,
    Quota,
    Standing,
    TextUsage,
    Usage,
    Worker,
)

keys = typer.Typer(no_args_is_help=True, help="API keys of the project; needs the scope admin.")
projects = typer.Typer(no_args_is_help=True, help="For operators.")

KEY: Columns[ApiKey] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "scopes": lambda one: ", ".join(one.scopes),
    "expires": lambda one: one.expires_at and moment(one.expires_at),
    "revoked": lambda one: one.revoked_at and moment(one.revoked_at),
}
NEW_KEY: Columns[ApiKey] = {**KEY, "key": lambda one: one.key}
PROJECT: Columns[Project] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "created": lambda one: moment(one.created_at),
}
USAGE: Columns[Usage] = {
    "day": lambda one: one.day,
    "job": lambda one: one.job,
    "phase": lambda one: one.phase,
    "claims": lambda one: one.claims,
    "GPU-seconds": lambda one: one.gpu_seconds,
    "programs": lambda one: one.executions,
    "sandbox seconds": lambda one: one.sandbox_seconds,
}
TEXT_USAGE: Columns[TextUsage] = {
    "day": lambda one: one.day,
    "model": lambda one: one.model,
    "base": lambda one: one.base_model,
    "texts": lambda one: one.texts,
    "prompt tokens": lambda one: one.prompt_tokens,
    "completion tokens": lambda one: one.completion_tokens,
    "programs": lambda one: one.executions,
    "sandbox seconds": lambda one: one.sandbox_seconds,
}
AUDIT: Columns[AuditEntry] = {
    "when": lambda one: moment(one.created_at),
    "key": lambda one: one.key,
    "action": lambda one: one.action,
    "change": lambda one: one.change,
    "target": lambda one: one.target,
    "fields": lambda one: ", ".join(one.fields),
    "reason": lambda one: one.reason,
}
WORKERS: Columns[Worker] = {
    "worker": lambda one: one.id,
    "GPUs": lambda one: one.gpus,
    "class": lambda one: one.gpu_class,
    "GiB": lambda one: one.gpu_memory_gib,
    "sandbox": lambda one: one.sandbox,
    "busy": lambda one: "yes" if one.busy else "no",
    "sick": lambda one: one.sick,
    "seen": lambda one: moment(one.seen_at),
}
QUOTA: Columns[Quota] = {
    "running jobs": lambda one: standing(one.running_jobs),
    "queued jobs": lambda one: standing(one.queued_jobs),
    "GPU-hours": lambda one: standing(one.gpu_hours),
    "bytes of datasets": lambda one: standing(one.dataset_bytes),
    "bytes of adapters": lambda one: standing(one.adapter_bytes),
}

RETENTION: Columns[DataRetention] = {
    "texts, days": lambda one: one.text_days or "for good",
    "events, days": lambda one: one.event_days or "for good",
    "files, days": lambda one: one.file_days or "for good",
}
KeptDays = Annotated[int | None, typer.Option(min=0, help="Days to keep them; 0: for good.")]

WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="Its id, as `star workers` shows it.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Its id: key_...")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def standing(found: Standing) -> str:
    held = f", {amount(found.held)} held" if found.held else ""
    return f"{amount(found.used)} used{held}, limit {'none' if found.limit is None else amount(found.limit)}"


@keys.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument()],
    scope: Annotated[list[str] | None, typer.Option(help="read, submit, admin; default: submit.")] = None,
    expires: Annotated[int | None, typer.Option(min=60, help="In so many seconds; default: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows the key. It is shown once."""
    made = star(context).api_keys.create(name, scopes=scope or ["submit"], expires_in_seconds=expires)
    print_one(made, NEW_KEY, as_json)


@keys.command("list")
def list_keys(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    print_all(star(context).api_keys.list(limit=limit).data, KEY, as_json)


@keys.command("rotate")
def rotate_key(context: typer.Context, key_id: KeyId, grace: Grace = None, as_json: AsJson = False) -> None:
    """A new key in the place of this one."""
    print_one(star(context).api_keys.rotate(key_id, grace_seconds=grace), NEW_KEY, as_json)


@keys.command("revoke")
def revoke_key(context: typer.Context, key_id: KeyId, as_json: AsJson = False) -> None:
    """Revoke a key; it stops working within seconds."""
    print_one(star(context).api_keys.revoke(key_id), KEY, as_json)


@projects.command("create")
def create_project(
    context: typer.Context, name: Annotated[str, typer.Argument()], as_json: AsJson = False
) -> None:
    print_one(star(context).projects.create(name), PROJECT, as_json)


@projects.command("list")
def list_projects(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    print_all(star(context).projects.list(limit=limit).data, PROJECT, as_json)


def list_usage(
    context: typer.Context,
    job: Annotated[str | None, typer.Option(help="Only of this job.")] = None,
    since: Day = None,
    until: Day = None,
    texts: Annotated[
        bool, typer.Option("--texts", help="Tokens of completions by day and model instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """GPU-seconds and programs in the sandbox by day, job and phase, and their sums."""
    first, last = since and since.date(), until and until.date()
    if texts:
        print_all(list(star(context).usage.texts(since=first, until=last)), TEXT_USAGE, as_json)
        return
    found = list(star(context).usage.every(job=job, since=first, until=last))
    print_all(found, USAGE, as_json)
    if not as_json:
        console.print(f"{sum(one.gpu_seconds for one in found):.1f} GPU-seconds in all")
        if programs := sum(one.executions for one in found):
            seconds = sum(one.sandbox_seconds for one in found)
            console.print(f"{programs} programs in the sandbox, {seconds:.1f} CPU seconds")


def show_quota(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the project's quota and usage."""
    found = star(context).usage.quota()
    if as_json:
        return print_json(found)
    return print_one(found, QUOTA, as_json)


def data_retention(
    context: typer.Context,
    texts: KeptDays = None,
    events: KeptDays = None,
    files: KeptDays = None,
    as_json: AsJson = False,
) -> None:
    """Show, or set, for how many days texts and events of ended jobs, and files, are kept.

    With an option the project's rule is changed, for which the key needs the scope admin; 0 keeps for good.
    What is too old by it is removed within minutes and cannot be restored.
    """
    rules = star(context).data_retention
    found = rules.get()
    given = {"text_days": texts, "event_days": events, "file_days": files}
    changed = {name: days or None for name, days in given.items() if days is not None}
    if changed:
        before = {name: getattr(found, name) for name in given}
        found = rules.set(**{**before, **changed}, if_match=found.etag)
    print_one(found, RETENTION, as_json)


def list_audit(
    context: typer.Context,
    target: Annotated[str | None, typer.Option(help="Only changes of this object.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as 'POST /v1/jobs'.")] = None,
    key: Annotated[str | None, typer.Option(help="Only by the key of this id.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List who changed what."""
    found = star(context).audit.list(target=target, action=action, key=key, limit=limit)
    print_all(found.data, AUDIT, as_json)


def list_workers(context: typer.Context, as_json: AsJson = False) -> None:
    """The workers that are there, of all projects."""
    print_all(list(star(context).workers.every()), WORKERS, as_json)


def release_worker(context: typer.Context, worker: WorkerId, as_json: AsJson = False) -> None:
    """Let a worker whose GPU was found sick claim steps again; it tests itself first. For operators."""
    print_one(star(context).workers.release(worker), WORKERS, as_json)
