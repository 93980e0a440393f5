"""A job's iterations and events as its page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.jobs.events import EventOut
from app.jobs.views import JobOut
from app.results.iterations import IterationOut
from app.tables.statuses import JobStatus
from star_engine.config.star import StarConfig
from star_engine.loop import closing_phases, phases_of

MAX_STEPS = 60  # of the stepper: beyond, those that have not begun are left out


@dataclass(frozen=True, slots=True)
class StepperStep:
    number: int
    label: str
    state: Literal["done", "now", "stopped", "ahead"]
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class PhaseStep:
    name: str
    state: Literal["done", "now", "stopped", "ahead"]
    seconds: float | None  # of workers, once it is done


def stepper(job: JobOut, iterations: Sequence[IterationOut]) -> list[StepperStep]:
    """Iteration 0 (the baselines) to the last one that is planned, or was begun where the job has ended."""
    begun = {one.number: one for one in iterations}
    planned = [] if job.is_terminal else range(1, min(job.iterations, MAX_STEPS) + 1)
    return [_stepper_step(job, n, begun.get(n)) for n in sorted({*begun, *planned})]


def _stepper_step(job: JobOut, number: int, one: IterationOut | None) -> StepperStep:
    label = "Baselines" if number == 0 else str(number)
    if one is None:
        return StepperStep(number, label, "ahead", None)
    state: Literal["done", "now", "stopped"] = "done"
    if one.finished_at is None:
        state = "stopped" if _stands(job) else "now"
    return StepperStep(number, label, state, one.metrics.get("accuracy"))


def phases(job: JobOut, one: IterationOut) -> list[PhaseStep]:
    """Return the phases of one iteration in their order."""
    config = StarConfig.model_validate(job.config)
    names, closing = phases_of(config, one.number), closing_phases(config)
    at_its_end = one.number == job.iterations or (one.number == job.iteration and job.phase in closing)
    if one.number and (at_its_end or not {*closing}.isdisjoint(one.phases_done)):
        names += closing
    seconds = one.metrics.get("seconds", {})
    found = []
    for name in names:
        state: Literal["done", "now", "stopped", "ahead"] = "ahead"
        if name in one.phases_done:
            state = "done"
        elif job.iteration == one.number and job.phase == name:
            state = "stopped" if _stands(job) else "now"
        found.append(PhaseStep(name, state, seconds.get(name)))
    return found


def _stands(job: JobOut) -> bool:
    return job.is_terminal or job.status is JobStatus.PAUSED


def funnel_rows(metrics: dict[str, Any]) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """Route, and for each stage of its funnel: name, how many reached it, how many were sampled."""
    found = []
    for route, stages in (metrics.get("funnel") or {}).items():
        most = max(stages.values(), default=0)
        found.append((route, [(stage, count, most) for stage, count in stages.items()]))
    return found


def told(event: EventOut) -> str:
    """Describe an event in one sentence."""
    text = _told(event)
    return text[:1].upper() + text[1:]


def _told(event: EventOut) -> str:
    data = event.data
    phase = str(data.get("phase", "")).replace("_", " ")
    where = f"Iteration {data['iteration']}: " if data.get("iteration") else ""
    if event.type == "phase.started":
        count = data.get("steps", 1)
        return f"{where}{phase} begins, {count} step{'' if count == 1 else 's'}"
    if event.type == "phase.finished":
        return f"{where}{phase} is done{_found(data)}"
    if event.type == "iteration.finished":
        return f"{where or 'Baselines: '}finished{_found(data)}"
    if event.type == "adapter.verified":
        return f"{where}the adapter loads and changes the output"
    if event.type == "step.retried":
        return f"{where}{phase} is tried again: {data.get('message', data.get('code', ''))}"
    said = data.get("message") or data.get("stop_reason") or ""
    text = event.type.replace(".", " ").replace("_", " ").capitalize()
    return f"{text}: {str(said).replace('_', ' ')}" if said else text


def _found(data: dict[str, Any]) -> str:
    """Return the most telling figure of a phase."""
    for name, label in (("accuracy", "accuracy"), ("solve_rate", "solve rate")):
        if isinstance(data.get(name), float):
            return f", {label} {100 * data[name]:.1f} %"
    if isinstance(data.get("kept"), dict):
        return f", {sum(data['kept'].values())} rationales kept"
    return ""
