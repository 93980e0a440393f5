"""The protocol of a phase: how it is cut into slices, what it asks of the GPU, what it writes and counts.

A phase runs as an iterator. It yields `Progress`; an `Ask`, whose plan the caller puts to the model while
`Ask.record` takes what comes back; and `Alone` before it uses the GPU by itself:

    run(context) --> Ask(plan, record) --> [requests -> sampler -> plan.finish -> record]* --> Alone? --> end

Several slices that ask the same model alike may share one call of the sampler: run_star and the workers of a
service drive the same phases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from star_engine.adapters.roles import AdapterRole
from star_engine.config.star import StarConfig
from star_engine.data.selection import shard_bounds
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.loop import PhaseName
from star_engine.protocols import Sampler, SamplingParams, Scorer, Trainer
from star_engine.record import Counts, Record
from star_engine.sampling.shared_calls import Plan
from star_engine.tasks.examples import PromptSet
from star_engine.thoughts import ThoughtModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice:
    """The share of a phase that is worked on as one step: some examples of one selection."""

    start: int = 0
    stop: int | None = None  # None: up to the selection's end
    mode: EvaluationMode | None = None  # how held-out examples are asked; None: these are train examples
    dataset: str | None = None  # another dataset that is measured as well; None: the run's own
    beyond: bool = False  # of a probe: the tries beyond those that the job itself would make
    temperature: float | None = None  # that a controller has found; None: generation.temperature
    threshold: float | None = None  # of rewards, likewise; None: there is none

    def of(self, selection: Sequence[int]) -> Sequence[int]:
        """The slice's part of a selection of positions."""
        return selection[self.start : self.stop]

    def as_json(self) -> dict[str, Any]:
        """What a step's row holds; nothing of a phase that is not divided."""
        if self.stop is None:
            return {}
        mode = self.mode and str(self.mode)
        more: dict[str, Any] = {"mode": mode, "dataset": self.dataset}
        more |= {"temperature": self.temperature, "threshold": self.threshold}
        known: dict[str, Any] = {name: value for name, value in more.items() if value is not None}
        known |= {"beyond": True} if self.beyond else {}
        return {"start": self.start, "stop": self.stop, **known}


def slice_from(work: Mapping[str, Any]) -> Slice:
    """Read a slice from the JSON of `Slice.as_json`; other entries of `work` are ignored."""
    mode = EvaluationMode(work["mode"]) if "mode" in work else None
    found = {name: work[name] for name in ("dataset", "beyond", "temperature", "threshold") if name in work}
    return Slice(work.get("start", 0), work.get("stop"), mode, **found)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a slice is, for people."""

    done: int
    total: int
    unit: str
    more: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What slices must have in common to share a call: the model that they ask, and how it decodes."""

    iteration: int  # whose adapter answers; 0: the base model
    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """A plan to run against the model of an iteration until it has no more requests.

    `record` takes what the plan made of completions, in batches of any size, each to be one effect.
    """

    plan: Plan[T | None]  # what it makes None of is not recorded
    iteration: int
    record: Callable[[Sequence[T]], Progress]


@dataclass(frozen=True, slots=True)
class Alone:
    """The phase needs the GPU exclusively from here on: no sampler call may be running."""


Work = Iterator[Ask[Any] | Alone | Progress]


class Gpu(Protocol):
    """The model of a run, as far as a phase needs it."""

    def sampler(self, iteration: int) -> Sampler:
        """The sampler with this iteration's adapter; 0: without one."""

    def scorer(self, adapter: Path | None) -> Scorer:
        """The base model with the adapter in this folder, of whatever role; None: without one."""

    def trainer(self) -> Trainer: ...

    def thoughts(self) -> ThoughtModel:
        """The base model as Quiet-STaR trains and measures it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a phase works with on one slice."""

    config: StarConfig
    prompt_set: PromptSet
    iteration: int
    part: Slice
    record: Record
    gpu: Gpu


class Sizes(Protocol):
    """How many examples there are to divide into slices."""

    def selected(self, iteration: int) -> range:
        """Places in the selection of an iteration's train examples that are to be sampled next."""

    def control(self, iteration: int) -> Mapping[str, Any]:
        """What the iteration's controller has found; empty: it has none."""

    def held_out(self, dataset: str | None) -> int:
        """Held-out examples that are asked, of the run's own dataset or of another one."""


def whole(config: StarConfig, iteration: int, sizes: Sizes, size: int) -> Iterator[Slice]:
    """Return the only slice of a phase that is not divided."""
    yield Slice()


def divided(
    count: int, size: int, mode: EvaluationMode | None, dataset: str | None, first: int = 0
) -> Iterator[Slice]:
    """Slices of at most `size` examples each, of sizes that differ by at most one; they begin at `first`."""
    bounds = shard_bounds(count, size)
    return (Slice(first + start, first + stop, mode, dataset) for start, stop in bounds)


def uncounted(config: StarConfig, counts: Counts) -> dict[str, Any]:
    """A phase that adds nothing to the metrics."""
    return {}


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a method."""

    name: PhaseName
    run: Callable[[Context], Work]
    slices: Callable[[StarConfig, int, Sizes, int], Iterator[Slice]] = whole
    metrics: Callable[[StarConfig, Counts], dict[str, Any]] = uncounted
    # What the first Ask of a slice will be, known before it runs; None: the phase shares no call.
    asks: Callable[[StarConfig, int, Slice], Asked] | None = None
    uses_gpu: bool = True
    # Whether what its slices record may call for more of them: see star_engine.data.adaptive.
    in_waves: bool = False
    role: AdapterRole = AdapterRole.GENERATOR  # of the adapter that it trains or verifies
