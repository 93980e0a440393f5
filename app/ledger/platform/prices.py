"""What GPU time costs: GPU-seconds by class, at the prices that the deployment has set.

Money is worked out when it is asked for, at the prices of that moment. Where a part has no price, the whole
has none either: a sum that leaves something out would be read as the cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ledger.platform.spending import SpentFilter, narrowed
from app.settings import Settings
from app.tables.usage import Usage

UNDECLARED = ""  # the class of workers that state none


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a GPU's hour, by class."""

    currency: str
    per_hour: Mapping[str, float]

    def of(self, gpu_class: str | None) -> float | None:
        """None: no price is known."""
        return self.per_hour.get(gpu_class or UNDECLARED)


def prices_of(settings: Settings) -> Prices:
    return Prices(settings.currency, settings.gpu_prices)


@dataclass(slots=True)
class Held:
    """GPU-hours by class; a worker with two GPUs holds two."""

    hours: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, gpu_class: str | None, gpu_seconds: float) -> None:
        if gpu_seconds > 0:
            self.hours[gpu_class or UNDECLARED] += gpu_seconds / 3600

    def cost(self, prices: Prices) -> float | None:
        """None where any of it has no price."""
        if self.unpriced(prices):
            return None
        return sum((prices.of(name) or 0.0) * hours for name, hours in self.hours.items())

    def unpriced(self, prices: Prices) -> list[str]:
        """The classes whose price is missing."""
        return sorted(name for name in self.hours if prices.of(name) is None)


def why_no_price(classes: list[str]) -> str:
    """What to do about it, for people."""
    named = ", ".join(name or "workers that state no class" for name in classes)
    return f"No price is set for {named}: an operator names it in STAR_GPU_PRICES."


def held_by_iteration(session: Session, job_id: str) -> dict[int, Held]:
    """Of claims that have ended. Baselines are iteration 0."""
    seconds = func.sum(Usage.gpu_seconds * Usage.gpus)
    query = select(Usage.iteration_number, Usage.gpu_class, seconds).where(Usage.job_id == job_id)
    found: dict[int, Held] = {}
    for number, gpu_class, total in session.execute(query.group_by(Usage.iteration_number, Usage.gpu_class)):
        found.setdefault(number, Held()).add(gpu_class, float(total or 0))
    return dict(sorted(found.items()))


def held_by_job(session: Session, project_id: str, since: date | None, until: date | None) -> dict[str, Held]:
    """Of a project's claims that ended in these days (UTC, inclusive), by job, the oldest first."""
    seconds = func.sum(Usage.gpu_seconds * Usage.gpus)
    query = select(Usage.job_id, Usage.gpu_class, seconds)
    query = query.where(*narrowed(Usage, SpentFilter(project_id, since=since, until=until)))
    found: dict[str, Held] = {}
    for job_id, gpu_class, total in session.execute(query.group_by(Usage.job_id, Usage.gpu_class)):
        found.setdefault(job_id, Held()).add(gpu_class, float(total or 0))
    return dict(sorted(found.items()))


def added_up(parts: Mapping[str, Held] | Mapping[int, Held]) -> Held:
    whole = Held()
    for part in parts.values():
        for name, hours in part.hours.items():
            whole.hours[name] += hours
    return whole
