"""STaR in one process: drives the phases that `next_phase` names on a sampler, a trainer and a directory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from star_engine.adapters.layout import BaseModel
from star_engine.config.quiet_star import OuterLoop
from star_engine.config.star import StarConfig
from star_engine.data.prompts import check_layout
from star_engine.data.selection import check_curriculum
from star_engine.data.validation import check_data
from star_engine.evaluation.candidates import VERIFIER
from star_engine.loop import Pause, PhaseName, PhaseRef, Stop, next_in_any_case, next_phase
from star_engine.phases.phase import Ask, Context, Phase, Progress, Slice, Work
from star_engine.phases.table import PHASES
from star_engine.protocols import Sampler, Scorer, Trainer
from star_engine.record import Origin
from star_engine.run_directory import RunDirectory
from star_engine.run_record import DirectoryCounts, Run, RunRecord
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example, PromptSet
from star_engine.thoughts import ThoughtModel
from star_engine.training_set.mixing import check_mix

_UNDIVIDED = 2**31  # examples in a slice: one process has nobody to share a phase with


@dataclass(frozen=True, slots=True)
class Event:
    """What just happened. `name`: phase_started, progress, phase_finished, paused or stopped.

    Facts of progress: done, total and unit, and what else the phase counts. Facts of a finished phase: what
    it adds to the metrics of its iteration, as in history.jsonl.
    """

    name: str
    iteration: int
    phase: PhaseName | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def run_star(
    config: StarConfig,
    train: Sequence[Example],
    held_out: Sequence[Example],
    prompt_set: PromptSet,
    sampler: Sampler,
    trainer: Trainer,
    directory: Path,
    *,
    base: BaseModel = BaseModel("base model"),
    licence: str | None = None,
    also: Mapping[str, Sequence[Example]] = MappingProxyType({}),
    mixed: Mapping[str, Sequence[Example]] = MappingProxyType({}),
) -> Iterator[Event]:
    """Run STaR to its end (Algorithm 1) and yield what happens; the last event is "stopped" or "paused".

    Everything is recorded under `directory`. Called again with the same data and settings it continues where
    it was: missing tries, missing answers, the newest checkpoint. For the chat layout the prompt set is one
    that `star_engine.data.chat.with_chat` has made ready. Raises Unfit for settings that do not fit
    the data, OtherRun for a directory of another run, HintLeak before anything is trained on a leaking set,
    BadAdapter for an adapter that does not hold.
    """
    if config.method is OuterLoop.QUIET_STAR:
        raise ValueError("As a library Quiet-STaR is a run of its own: python -m star_engine quiet-star.")
    check_layout(config, prompt_set)
    _check_other_datasets(config, also)
    _check_scorer(config)
    check_mix(config, prompt_set, mixed)
    check_curriculum(config, (example.group for example in train))
    check_data(config, prompt_set, train, held_out)
    record = RunDirectory(directory)
    record.begin(config, train, held_out, prompt_set, mixed)
    run = Run(config, train, held_out, prompt_set, record, Origin(base, licence), also, mixed)
    driver = _Driver(run, sampler, trainer)
    while isinstance(step := next_phase(config, record.history()), PhaseRef):
        yield Event("phase_started", step.iteration, step.name)
        facts = yield from driver.work(step)
        yield Event("phase_finished", step.iteration, step.name, facts)
    yield _end(step, record)


def _check_other_datasets(config: StarConfig, also: Mapping[str, Sequence[Example]]) -> None:
    missing = [name for name in config.evaluation.also if not also.get(name)]
    if missing:
        raise ValueError(f"evaluation.also names {missing[0]!r}: give run_star its examples under this name.")


def _check_scorer(config: StarConfig) -> None:
    """Another job's verifier is known to a service alone."""
    test_time, controller = config.evaluation.test_time, config.controller
    for setting, name in (
        ("evaluation.test_time.scorer", None if test_time is None else test_time.ranker),
        ("controller.scorer", None if controller is None else controller.scorer),
    ):
        if name not in (None, VERIFIER):
            raise ValueError(
                f"{setting} names the adapter {name} of another job, which run_star does not know: use "
                "verifier, or run the job in a service."
            )


def _end(step: Stop | Pause, record: RunDirectory) -> Event:
    last = max((known.number for known in record.history()), default=0)
    if isinstance(step, Pause):
        return Event("paused", last, None, {"reason": str(step.reason), "diagnosis": step.diagnosis})
    return Event("stopped", last, None, {"reason": str(step.reason)})


@dataclass(slots=True)
class _Begun:
    """A slice at work."""

    step: PhaseRef
    record: RunRecord
    work: Work


@dataclass(slots=True)
class _Driver:
    """Works on phases one after the other; what the next one asks may share a call with an evaluation."""

    run: Run
    local_sampler: Sampler
    local_trainer: Trainer
    ahead: tuple[Slice, _Begun] | None = None  # the first slice of the phase that follows, asked already
    sampled: int = 0  # places of the iteration's selection that earlier waves of the phase have sampled

    def sampler(self, iteration: int) -> Sampler:
        self.local_sampler.use(self.run.directory.adapter(iteration) if iteration else None)
        return self.local_sampler

    def scorer(self, adapter: Path | None) -> Scorer:
        self.local_sampler.use(adapter)
        return self.local_sampler

    def trainer(self) -> Trainer:
        return self.local_trainer

    def thoughts(self) -> ThoughtModel:
        raise ValueError("As a library Quiet-STaR is a run of its own: python -m star_engine quiet-star.")

    def selected(self, iteration: int) -> range:
        return range(self.sampled, self.run.selected(iteration))

    def control(self, iteration: int) -> dict[str, Any]:
        return dict(self.run.directory.metrics().get(iteration, {}).get("control", {}))

    def held_out(self, dataset: str | None) -> int:
        return self.run.held_out_count(dataset)

    def work(self, step: PhaseRef) -> Generator[Event, None, dict[str, Any]]:
        """Run a phase, slice by slice, and record it as done; returns its metrics."""
        phase, config = PHASES[step.name], self.run.config
        found: dict[str, Any] = {}
        for part in self._parts(phase, step.iteration):
            begun = self._begin(step, part)
            for item in begun.work:
                if isinstance(item, Ask):
                    yield from self._answer(begun, item)
                elif isinstance(item, Progress):
                    yield _progress(step, item)
            found |= begun.record.found
        counts = DirectoryCounts(self.run, step.iteration)
        facts = {**phase.metrics(config, counts), **found}
        self.run.directory.finish(step, facts)
        return facts

    def _parts(self, phase: Phase, iteration: int) -> Iterator[Slice]:
        """The slices of a phase, wave after wave."""
        self.sampled, more = 0, True
        while more:
            yield from phase.slices(self.run.config, iteration, self, _UNDIVIDED)
            if phase.in_waves:
                self.sampled = self.run.selected(iteration)
            more = phase.in_waves and self.run.selections.go_on(iteration)
        self.sampled = 0

    def _begin(self, step: PhaseRef, part: Slice) -> _Begun:
        if self.ahead is not None and (self.ahead[0], self.ahead[1].step) == (part, step):
            begun, self.ahead = self.ahead[1], None
            return begun
        record = RunRecord(self.run, step.iteration, part, PHASES[step.name].role)
        context = Context(self.run.config, self.run.prompt_set, step.iteration, part, record, self)
        return _Begun(step, record, PHASES[step.name].run(context))

    def _answer(self, begun: _Begun, ask: Ask[Any]) -> Iterator[Event]:
        """Put the plan to its model, and with an evaluation's the tries of the next iteration."""
        asks = [(begun.step, ask)]
        following = self._follow(begun, ask)
        if following is not None:
            asks.append(following)
        if not any(one.plan.queue for _, one in asks):
            return
        plans = [one.plan for _, one in asks]
        side_by_side = self.run.config.executes
        for number, item in share_call(self.sampler(ask.iteration), plans, side_by_side=side_by_side):
            if item is not None:
                step, one = asks[number]
                yield _progress(step, one.record([item]))

    def _follow(self, begun: _Begun, ask: Ask[Any]) -> tuple[PhaseRef, Ask[Any]] | None:
        """The first request of the phase that follows in any case, if it asks the same model alike."""
        step, config = begun.step, self.run.config
        if step.name is not PhaseName.EVALUATE or begun.record.part.dataset is not None:
            return None
        following = next_in_any_case(config, self.run.directory.history(), step)
        if following is None:
            return None
        part = next(iter(PHASES[following.name].slices(config, following.iteration, self, _UNDIVIDED)), None)
        if part is None:
            return None
        ahead = self._begin(following, part)
        for item in ahead.work:
            if isinstance(item, Ask):
                alike = (item.iteration, item.plan.params) == (ask.iteration, ask.plan.params)
                self.ahead = (part, ahead) if alike else None
                return (following, item) if alike else None
            if not isinstance(item, Progress):
                return None
        return None


def _progress(step: PhaseRef, progress: Progress) -> Event:
    facts = {"done": progress.done, "total": progress.total, "unit": progress.unit, **progress.more}
    return Event("progress", step.iteration, step.name, facts)
