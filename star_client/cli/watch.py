"""Following a job on a screen: bars for its phases, a row for each iteration; plain lines where there is no
terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from star_client.cli.printing import percent
from star_client.client import StarClient
from star_client.objects import Event, Iteration, Job, Metrics, Progress
from star_client.objects_results import Answer

PHASES = ("sample", "build", "train", "verify_adapter", "evaluate")
WAIT_SECONDS = 1.0  # between two looks at the progress, if nothing happens
SETTLED = frozenset({"paused"})  # beside the terminal ones: goes on only when somebody acts
ROUTES = ("generated", "rationalized", "hinted", "given")  # in this order, those of a job


@dataclass(frozen=True, slots=True)
class Snapshot:
    job: Job
    iterations: tuple[Iteration, ...]
    events: tuple[Event, ...]  # since the snapshot before


def snapshots(star: StarClient, job_id: str) -> Iterator[Snapshot]:
    """The job's state at once, and again whenever something happens or a second has passed, until it has
    ended or is paused. Over all snapshots each event appears once, those of before included."""
    seen = 0
    iterations: tuple[Iteration, ...] = ()
    while True:
        job = star.jobs.get(job_id)  # before its events: then those of an ended job are all there
        settled = job.is_terminal or job.status in SETTLED
        page = star.jobs.list_events(job_id, after=seen, limit=1000)
        if page.data:
            seen = page.data[-1].seq
            iterations = star.jobs.iterations(job_id)
        yield Snapshot(job, iterations, page.data)
        if settled and not page.has_more:
            return
        star.jobs.list_events(job_id, after=seen, limit=1, wait=WAIT_SECONDS)


def watch_job(star: StarClient, job_id: str, console: Console) -> Job:
    """Show a job until it has ended or is paused; returns its last state."""
    watch = _watch_live if console.is_terminal else _watch_plain
    return watch(star, job_id, console)


def _watch_live(star: StarClient, job_id: str, console: Console) -> Job:
    with Live(console=console, refresh_per_second=4) as live:
        for snapshot in snapshots(star, job_id):
            live.update(picture(snapshot))
    return snapshot.job


def _watch_plain(star: StarClient, job_id: str, console: Console) -> Job:
    shown = ""
    for snapshot in snapshots(star, job_id):
        for event in snapshot.events:
            console.print(event_line(event), soft_wrap=True)
        line = progress_line(snapshot.job)
        if line not in ("", shown):
            console.print(Text(line), soft_wrap=True)
            shown = line
    if snapshot.iterations:
        console.print(iteration_table(snapshot.iterations))
    return snapshot.job


def event_line(event: Event) -> Text:
    """Time, type and the plain values of an event; its tables belong to the iteration."""
    values = {name: value for name, value in event.data.items() if not isinstance(value, Mapping | list)}
    words = " ".join(f"{name}={value}" for name, value in values.items())
    return Text(f"{event.created_at:%H:%M:%S} {event.type} {words}".rstrip())


def progress_line(job: Job) -> str:
    """Progress in tenths, so that a log gets a line now and then and not every second."""
    if job.progress is not None and job.progress.loading_seconds is not None:
        return f"{job.phase} of iteration {job.iteration}: loading the model"
    if job.phase is None or job.progress is None or job.progress.total < 10 or job.is_terminal:
        return ""
    percent = job.progress.done * 10 // job.progress.total * 10
    return (
        f"{job.phase} of iteration {job.iteration}: {percent} % of {job.progress.total} {job.progress.unit}"
    )


def picture(snapshot: Snapshot) -> RenderableType:
    job = snapshot.job
    head = Text.assemble((job.name or job.id, "bold"), f"  {job.id}  ", (job.status, _colour(job)))
    head.append(f"  iteration {job.iteration} of {job.iterations}")
    parts: list[RenderableType] = [head]
    if snapshot.iterations:
        parts.append(iteration_table(snapshot.iterations))
    if not job.is_terminal:
        parts.append(_bars(job, snapshot.iterations))
    return Group(*parts)


def iteration_table(iterations: tuple[Iteration, ...]) -> Table:
    """Shares of the train examples: solved without a hint, and in the training set by route. Accuracy is that
    on the held-out split; in iteration 0 that of the better few-shot baseline."""
    known = {route for one in iterations for route in one.metrics.coverage}
    routes = [route for route in ROUTES if route in known] or list(ROUTES[:2])
    columns = ("iteration", "solved", *routes, "coverage", "loss", "accuracy", "time")
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for iteration in iterations:
        table.add_row(*_cells(iteration, routes))
    return table


def _cells(iteration: Iteration, routes: Sequence[str]) -> list[str]:
    metrics = iteration.metrics
    seconds = sum(metrics.seconds.values())
    return [
        "0 (few-shot)" if iteration.number == 0 else str(iteration.number),
        percent(metrics.solve_rate),
        *(percent(metrics.coverage.get(share)) for share in (*routes, "total")),
        _loss(metrics),
        percent(metrics.accuracy),
        f"{seconds:.0f} s" if seconds else "",
    ]


def _loss(metrics: Metrics) -> str:
    first, last = metrics.training.get("loss_first"), metrics.training.get("loss_last")
    return "" if first is None or last is None else f"{first:.3f} → {last:.3f}"


def _amount(progress: Progress) -> str:
    if progress.loading_seconds is not None:
        return f"loading the model, {progress.loading_seconds} s so far"
    return f"{progress.done}/{progress.total} {progress.unit}"


def _bars(job: Job, iterations: tuple[Iteration, ...]) -> Table:
    """A bar for each phase of the current iteration."""
    done = next((one.phases_done for one in iterations if one.number == job.iteration), ())
    phases = PHASES if job.iteration else ("baselines",)
    grid = Table.grid(padding=(0, 1))
    for phase in phases:
        if phase in done:
            grid.add_row(phase, ProgressBar(total=1, completed=1, width=40), "done")
        elif phase == job.phase and job.progress is not None and job.progress.total:
            progress = job.progress
            bar = ProgressBar(total=progress.total, completed=progress.done, width=40)
            grid.add_row(phase, bar, _amount(progress))
        else:
            grid.add_row(Text(phase, "dim"), ProgressBar(total=1, completed=0, width=40), "")
    return grid


def verdict_line(answer: Answer) -> Text:
    """Whether STaR helped, in a word and a colour, and why."""
    colours = {"helped": "bold green", "no_difference": "bold yellow", "worse": "bold red"}
    word = {"unknown": "not known yet"}.get(answer.verdict, answer.verdict.replace("_", " "))
    return Text.assemble(
        (f"{word.capitalize()}.", colours.get(answer.verdict, "bold")), f" {answer.sentence}"
    )


def outcome(job: Job) -> Text:
    """How it ended, and what to do about it, in a few lines."""
    text = Text.assemble((f"{job.id} {job.status}", f"bold {_colour(job)}"))
    if job.stop_reason is not None:
        text.append(f" ({job.stop_reason})")
    if job.best is not None:
        below = (
            f", below few-shot prompting ({percent(job.best.few_shot)})" if job.best.below_few_shot else ""
        )
        text.append(
            f"\n{'Highest' if below else 'Best'} adapter: {job.best.adapter_id} of iteration "
            f"{job.best.iteration}{', taken over from the job it continues' * job.best.inherited}, "
            f"{percent(job.best.accuracy)} of the held-out examples{below}."
        )
    if job.status_reason is not None:
        text.append(f"\n{job.status_reason.code}: {job.status_reason.message}")
        text.append(f"\n{job.status_reason.hint}" if job.status_reason.hint else "")
    return text


def _colour(job: Job) -> str:
    colours = {"succeeded": "green", "failed": "red", "paused": "yellow", "cancelled": "yellow"}
    return colours.get(job.status, "cyan")
