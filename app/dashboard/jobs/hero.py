"""The chart at the top of a job's page: held-out accuracy over iterations beside all that it has to beat.

It is there from the first minute: what is not measured yet stands in it as pending, so that a reader sees
what the job is going to tell. Drawn here as SVG, since this part of the page is fetched again while the job
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.jobs.views import JobOut
from app.results.iterations import IterationOut
from app.tables.statuses import JobStatus
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import accuracy_interval
from star_engine.loop import PhaseName

State = Literal["known", "now", "pending", "missing"]
WIDTH, HEIGHT = 640, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 626, 14, 236  # of the plot, in units of the drawing
MAX_LABELS = 12  # below the axis
MAX_GUIDES = 60  # iterations ahead that are drawn one by one
NAMES = {
    EvaluationMode.FEW_SHOT_DIRECT: "Few-shot, answer only",
    EvaluationMode.FEW_SHOT_COT: "Few-shot with rationales",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """An accuracy with its 95 % interval; without one where the number of questions is not on record."""

    accuracy: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What the legend says of one model: the job's own newest iteration, a baseline, or a job beside it."""

    label: str
    hue: int  # 1 is the job's own
    state: State
    found: Measured | None = None
    note: str = ""
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    number: int
    state: State
    found: Measured | None


@dataclass(frozen=True, slots=True)
class Hero:
    """What is drawn. Places are in units of the drawing, WIDTH by HEIGHT."""

    lines: tuple[Line, ...]
    turns: tuple[Turn, ...]
    low: float  # of the vertical axis
    high: float

    @property
    def is_chart(self) -> bool:
        """A job without iterations has figures, and no curve."""
        return bool(self.turns)

    def x(self, number: int) -> float:
        last = self.turns[-1].number
        return round(LEFT + (RIGHT - LEFT) * number / last, 1)

    def y(self, share: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (share - self.low) / (self.high - self.low), 1)

    @property
    def grid(self) -> list[float]:
        """Shares at which a line is drawn."""
        low, high = round(10 * self.low), round(10 * self.high)
        return [tenth / 10 for tenth in range(low, high + 1, 1 if high - low <= 5 else 2)]

    @property
    def labels(self) -> list[Turn]:
        step = -(-len(self.turns) // MAX_LABELS)
        return [turn for turn in self.turns if turn.number % step == 0 or turn is self.turns[-1]]

    @property
    def known(self) -> list[tuple[Turn, Measured]]:
        return [(turn, turn.found) for turn in self.turns if turn.found is not None]

    @property
    def ahead(self) -> list[Turn]:
        return [turn for turn in self.turns if turn.state in ("now", "pending")][:MAX_GUIDES]

    @property
    def said(self) -> str:
        """The drawing in words, for those who do not see it."""
        own = [f"iteration {turn.number} {_percent(found)}" for turn, found in self.known]
        beside = [f"{line.label} {_percent(line.found)}" for line in self.lines[1:] if line.found]
        pending = [line.label for line in self.lines[1:] if line.state in ("now", "pending")]
        pending += [f"iteration {turn.number}" for turn in self.ahead[:1]]
        text = f"Held-out accuracy: {', '.join(own + beside) or 'nothing is measured yet'}."
        return f"{text} Pending: {', '.join(pending)}." if pending else text


def hero(
    job: JobOut, iterations: Sequence[IterationOut], beside: Mapping[str, tuple[float, int | None]]
) -> Hero | None:
    """What the chart of a job shows; None where a job measures no accuracy.

    beside: accuracy and number of questions of each baseline job that has one, by id.
    """
    config = job.config
    if job.purpose != "star" or config.get("method") == "quiet_star":
        return None
    by_number = {one.number: one for one in iterations}
    turns = () if config["baselines_only"] else tuple(_turns(job, by_number))
    lines = [_own(job, turns)] if turns else []
    lines += _baselines(job, by_number.get(0), hue=2)
    lines += _beside(job, beside, hue=2 + len(config["evaluation"]["baselines"]))
    shares = [share for found in _all(turns, lines) for share in (found.accuracy, found.low, found.high)]
    low, high = axis([share for share in shares if share is not None])
    return Hero(tuple(lines), turns, low, high)


def measured(accuracy: float, n: int | None) -> Measured:
    """With the exact interval of so many questions. The accuracy is recorded to six digits."""
    if not n:
        return Measured(accuracy)
    found = accuracy_interval(round(accuracy * n), n)
    return Measured(accuracy, found.low, found.high, n)


def _turns(job: JobOut, begun: Mapping[int, IterationOut]) -> Iterator[Turn]:
    last = max([0, *begun]) if job.is_terminal else max([job.iterations, *begun])
    for number in range(1, last + 1):
        metrics: Mapping[str, Any] = begun[number].metrics if number in begun else {}
        if "accuracy" in metrics:
            found = measured(metrics["accuracy"], metrics.get("evaluated", {}).get("n"))
            yield Turn(number, "known", found)
        elif job.is_terminal:
            yield Turn(number, "missing", None)
        else:
            now = number == job.iteration and job.status is JobStatus.RUNNING
            yield Turn(number, "now" if now else "pending", None)


def _own(job: JobOut, turns: Sequence[Turn]) -> Line:
    known = [turn for turn in turns if turn.found is not None]
    if not known:
        return Line("This job", 1, "missing" if job.is_terminal else "pending")
    newest = known[-1]
    inherited = any(one.inherited and one.iteration == newest.number for one in job.accuracies)
    note = f"iteration {newest.number}" + (", of the job it continues" if inherited else "")
    return Line("This job", 1, "known", newest.found, note)


def _baselines(job: JobOut, first: IterationOut | None, hue: int) -> Iterator[Line]:
    found = first.metrics.get("baselines", {}) if first else {}
    asking = job.status is JobStatus.RUNNING and job.phase == PhaseName.BASELINES
    waiting: State = "missing" if job.is_terminal or job.iteration else "now" if asking else "pending"
    for place, mode in enumerate(job.config["evaluation"]["baselines"]):
        label = NAMES[EvaluationMode(mode)]
        if mode in found:
            known = measured(found[mode]["accuracy"], found[mode]["n"])
            yield Line(label, hue + place, "known", known)
        else:
            yield Line(label, hue + place, waiting)


def _beside(job: JobOut, known: Mapping[str, tuple[float, int | None]], hue: int) -> Iterator[Line]:
    for place, one in enumerate(job.baselines):
        found = known.get(one["job"])
        state: State = "now" if one["status"] == JobStatus.RUNNING else "pending"
        if one["status"] in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED):
            state = "missing"
        shown = None if found is None else measured(*found)
        yield Line(one["preset"], hue + place, "known" if shown else state, shown, "best so far", one["job"])


def _all(turns: Sequence[Turn], lines: Sequence[Line]) -> list[Measured]:
    found = [turn.found for turn in turns] + [line.found for line in lines]
    return [one for one in found if one is not None]


def axis(shares: Sequence[float]) -> tuple[float, float]:
    """Whole tenths around what is shown, three of them at least; all of the axis while nothing is known."""
    if not shares:
        return 0.0, 1.0
    low, high = int(10 * min(shares)), -int(-10 * max(shares) // 1)
    while high - low < 3:
        low, high = max(0, low - 1), min(10, high + 1)
    if high - low > 5:  # a line at every second tenth, the edges among them
        low, high = low - low % 2, high + high % 2
    return low / 10, high / 10


def _percent(found: Measured | None) -> str:
    return "unknown" if found is None else f"{100 * found.accuracy:.1f} %"
