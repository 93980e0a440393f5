"""STaR in one process: drives `next_phase` on a sampler, a trainer and a directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from star_engine.adapters.layout import (
    WEIGHTS,
    BaseModel,
    check_layout,
    check_weights,
    judge_adapter,
    rewrite_config,
    write_manifest,
)
from star_engine.adapters.model_card import is_measured, state_accuracy, write_card
from star_engine.adapters.probe import PROBE_TOKENS, continue_greedily, installed_versions, probe_prompts
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.data.selection import check_curriculum, select_train, steps_in, training_seed
from star_engine.data.validation import check_data
from star_engine.diagnostics.sampler import audit_sampler
from star_engine.diagnostics.spark import MOST_SHOWN, Answered, chance_level, spark_facts, spark_mode
from star_engine.diagnostics.token_parity import check_parity, parity_texts, token_digests
from star_engine.evaluation.accuracy import (
    EvaluationMode,
    evaluate,
    outcome,
    select_held_out,
    summarise,
)
from star_engine.loop import Pause, Phase, PhaseName, Stop, next_in_any_case, next_phase
from star_engine.phases.build import build_iteration
from star_engine.phases.extra_datasets import check_along, measure_along
from star_engine.phases.pipelined import ask_and_sample
from star_engine.protocols import Sampler, Trainer, TrainingJob, TrainingText
from star_engine.run_directory import JsonLines, RunDirectory, check_line, rationale_line
from star_engine.sampling.labels import guesses_held_out
from star_engine.sampling.rationales import sample_rationales, solve_rate
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.mixing import check_mix
from star_engine.training_set.resample_filters import check_rationales, to_check
from star_engine.training_set.rows import TrainingExample, coverage, training_set_sha256
from star_engine.training_set.window import in_window, window


@dataclass(frozen=True, slots=True)
class Event:
    """What just happened. `name`: phase_started, progress, phase_finished, paused or stopped."""

    name: str
    iteration: int
    phase: PhaseName | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


_Work = Generator[Event, None, dict[str, Any]]


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

    Everything is recorded under `directory`. Called again with the same data and settings it goes on where
    it was: missing tries, missing answers, the newest checkpoint. Raises Unfit for settings that do not fit
    the data, OtherRun for a directory of another run, HintLeak before anything is trained on a leaking set,
    BadAdapter for an adapter that does not hold.
    """
    check_along(config, also)
    check_mix(config, prompt_set, mixed)
    check_curriculum(config, (example.group for example in train))
    check_data(config, prompt_set, train, held_out)
    record = RunDirectory(directory)
    record.begin(config, train, held_out, prompt_set, mixed)
    asked = [held_out[position] for position in select_held_out(config, len(held_out))]
    run = _Run(config, train, asked, prompt_set, sampler, trainer, record, base, licence, also, mixed)
    while isinstance(step := next_phase(config, record.history()), Phase):
        yield Event("phase_started", step.iteration, step.name)
        facts = yield from run.work(step)
        record.finish(step, facts)
        yield Event("phase_finished", step.iteration, step.name, facts)
    yield _end(step, record)


def _end(step: Stop | Pause, record: RunDirectory) -> Event:
    last = max((known.number for known in record.history()), default=0)
    if isinstance(step, Pause):
        return Event("paused", last, None, {"reason": str(step.reason), "diagnosis": step.diagnosis})
    return Event("stopped", last, None, {"reason": str(step.reason)})


@dataclass(frozen=True, slots=True)
class _Run:
    config: StarConfig
    train: Sequence[Example]
    held_out: Sequence[Example]
    prompt_set: PromptSet
    sampler: Sampler
    trainer: Trainer
    record: RunDirectory
    base: BaseModel
    licence: str | None
    also: Mapping[str, Sequence[Example]]  # by the names of evaluation.also
    mixed: Mapping[str, Sequence[Example]]  # by the names of training_set.mix

    def work(self, step: Phase) -> _Work:
        phases: dict[PhaseName, Callable[[int], _Work]] = {
            PhaseName.BASELINES: self._baselines,
            PhaseName.SAMPLE: self._sample,
            PhaseName.BUILD: self._build,
            PhaseName.TRAIN: self._train,
            PhaseName.VERIFY_ADAPTER: self._verify_adapter,
            PhaseName.EVALUATE: self._evaluate,
        }
        return phases[step.name](step.iteration)

    def _baselines(self, iteration: int) -> _Work:
        self.sampler.use(None)
        modes = [EvaluationMode(mode) for mode in self.config.evaluation.baselines]
        found = {}
        for mode in modes:
            found[str(mode)] = yield from self._ask(PhaseName.BASELINES, iteration, mode)
        best = max(facts["accuracy"] for facts in found.values())
        guessed = self.held_out if guesses_held_out(self.config) else self.train
        chance = chance_level(self.config.kind, guessed)
        asked = spark_mode(list(found))
        failed = self._failed(iteration, EvaluationMode(asked))
        spark = spark_facts(asked, found[asked]["overall"], chance, self.config, failed)
        along = self._along(EvaluationMode.FEW_SHOT_COT, iteration)
        return {"accuracy": best, "baselines": found, **spark, **along}

    def _failed(self, iteration: int, mode: EvaluationMode) -> list[Answered]:
        answers = {one.example_id: one for one in self.record.answers(iteration, mode)}
        return [
            Answered(example.question, example.answer, said.text, outcome(said.verdict, said.finish_reason))
            for example in self.held_out
            if (said := answers.get(example.id)) is not None and said.verdict != VerdictCode.CORRECT
        ][:MOST_SHOWN]

    def _sample(self, iteration: int) -> _Work:
        self.sampler.use(self._adapter_before(iteration))
        examples = self._examples_of(iteration)
        recorded = {r.key: r.verdict for r in self.record.rationales(iteration)}
        fresh = sample_rationales(self.sampler, self.config, self.prompt_set, examples, iteration, recorded)
        done = len(recorded)
        with JsonLines(self.record.rationales_path(iteration)) as lines:
            for rationale in fresh:
                lines.append(rationale_line(rationale))
                done += 1
                facts = {"done": done, "verdict": str(rationale.verdict), "route": str(rationale.key.route)}
                yield Event("progress", iteration, PhaseName.SAMPLE, facts)
        yield from self._check(iteration, examples)
        rationales = self.record.rationales(iteration)
        found: dict[str, Any] = {"rationales": len(rationales)}
        if self.config.training_set.source is Source.RATIONALES:
            found["solve_rate"] = solve_rate(examples, rationales)
        audit = audit_sampler(self.sampler, self.config, self.prompt_set, iteration, examples, rationales)
        return {**found, **audit}

    def _check(self, iteration: int, examples: list[Example]) -> Iterator[Event]:
        tries = self.record.rationales(iteration)
        open_ = to_check(self.config, self.prompt_set, examples, tries)
        by_id = {example.id: example for example in examples}
        found = check_rationales(self.sampler, self.config, self.prompt_set, iteration, by_id, open_)
        with JsonLines(self.record.checks_path(iteration)) as lines:
            for done, (key, results) in enumerate(found, start=1):
                lines.append(check_line(key, results))
                facts = {"checked": done, "of": len(open_)}
                yield Event("progress", iteration, PhaseName.SAMPLE, facts)

    def _build(self, iteration: int) -> _Work:
        examples = self._examples_of(iteration)
        tries, before = self.record.rationales(iteration), self.record.audited(iteration - 1)
        built = build_iteration(self.config, self.prompt_set, iteration, examples, tries, before, self.mixed)
        self.record.write_training_set(iteration, built.decisions, built.rows)
        facts = {"kept": built.facts["kept"], "of": len(built.decisions)}
        yield Event("progress", iteration, PhaseName.BUILD, facts)
        return {**built.facts, "coverage": asdict(coverage(self.train, built.rows))}

    def _train(self, iteration: int) -> _Work:
        rows = self._rows_to_train(iteration)
        texts = tuple(TrainingText(row.prompt, row.completion) for row in rows)
        training = self.config.training
        steps = steps_in(training.schedule, iteration, rows=len(rows), batch_size=training.batch_size)
        start = self._adapter_before(iteration) if training.start_from == "previous" else None
        sought = parity_texts(self.config, self.prompt_set, self._examples_of(iteration))
        trained = token_digests(self.trainer.training_token_ids(sought))
        check_parity(sought, self.record.sampler_tokens(iteration), trained)
        out, checkpoints = self.record.adapter(iteration), self.record.checkpoints(iteration)
        seed = training_seed(self.config.seed, iteration)
        loss = None
        job = TrainingJob(texts, training, steps, seed, out, checkpoints, start)
        for progress in self.trainer.train(job):
            loss = progress.loss
            yield Event("progress", iteration, PhaseName.TRAIN, asdict(progress))
        rewrite_config(out, self.base)
        check_weights(out / WEIGHTS, training.lora.rank)
        return {"steps": steps, "seed": seed, "last_loss": loss}

    def _verify_adapter(self, iteration: int) -> _Work:
        adapter = self.record.adapter(iteration)
        prompts = probe_prompts(self.config, self.prompt_set, self.held_out or self.train)
        probe = self.trainer.probe(adapter, prompts, PROBE_TOKENS)
        self.sampler.use(adapter)
        verification = judge_adapter(probe, continue_greedily(self.sampler, prompts, PROBE_TOKENS))
        yield Event("progress", iteration, PhaseName.VERIFY_ADAPTER, asdict(verification))
        rows = self.record.training_set(iteration)
        digest = training_set_sha256(rows)
        covered = coverage(self.train, rows)
        training, trained = self.config.training, len(self._rows_to_train(iteration))
        start = self._adapter_before(iteration) if training.start_from == "previous" else None
        write_card(adapter, self.base, self.config, iteration, covered, digest, self.licence)
        facts = {
            "base_model": asdict(self.base),
            "iteration": iteration,
            "training_set_sha256": digest,
            "training_sets": [
                {"iteration": number, "sha256": training_set_sha256(self.record.training_set(number))}
                for number in window(self.config, iteration)
            ],
            "started_from": "base" if start is None else f"iteration {iteration - 1}",
            "optimizer": "AdamW, fresh in this iteration",
            "training_examples": trained,
            "steps": steps_in(training.schedule, iteration, rows=trained, batch_size=training.batch_size),
            "config": self.config.model_dump(mode="json"),
            "versions": installed_versions(),
        }
        write_manifest(adapter, facts, verification)
        check_layout(adapter)
        shutil.rmtree(self.record.checkpoints(iteration), ignore_errors=True)
        return asdict(verification)

    def _evaluate(self, iteration: int) -> _Work:
        self.sampler.use(self.record.adapter(iteration))
        phase = Phase(iteration, PhaseName.EVALUATE)
        if next_in_any_case(self.config, self.record.history(), phase) is not None:
            yield from self._sample_beside(iteration)
        facts = yield from self._ask(PhaseName.EVALUATE, iteration, EvaluationMode.ADAPTER)
        asked, adapter = facts["overall"], self.record.adapter(iteration)
        if asked["n"] and not is_measured(adapter):
            state_accuracy(adapter, asked["correct"], asked["n"], self.config.evaluation.split)
        return {**facts, **self._along(EvaluationMode.ADAPTER, iteration)}

    def _sample_beside(self, iteration: int) -> Iterator[Event]:
        """Begin the next iteration beside the evaluation: its tries come from the same adapter."""
        following = self._examples_of(iteration + 1)
        asked = (self.sampler, self.config, self.prompt_set, self.held_out, following, iteration, self.record)
        for phase, facts in ask_and_sample(*asked):
            yield Event("progress", phase.iteration, phase.name, facts)

    def _along(self, mode: EvaluationMode, iteration: int) -> dict[str, Any]:
        return measure_along(
            self.sampler, self.config, self.prompt_set, self.also, mode, iteration, self.record
        )

    def _ask(self, phase: PhaseName, iteration: int, mode: EvaluationMode) -> _Work:
        done = {answer.example_id for answer in self.record.answers(iteration, mode)}
        answers = evaluate(self.sampler, self.config, self.prompt_set, self.held_out, mode, iteration, done)
        with JsonLines(self.record.answers_path(iteration, mode)) as lines:
            for count, answer in enumerate(answers, start=len(done) + 1):
                lines.append(asdict(answer))
                facts = {"done": count, "of": len(self.held_out), "mode": str(mode)}
                yield Event("progress", iteration, phase, facts)
        accuracy = summarise(self.record.answers(iteration, mode))
        return {"accuracy": accuracy.accuracy, **asdict(accuracy)}

    def _examples_of(self, iteration: int) -> list[Example]:
        groups = [example.group for example in self.train]
        chosen = select_train(self.config, len(self.train), iteration, groups)
        return [self.train[position] for position in chosen]

    def _rows_to_train(self, iteration: int) -> tuple[TrainingExample, ...]:
        sets = [self.record.training_set(number) for number in window(self.config, iteration)]
        return in_window(self.config, sets)

    def _adapter_before(self, iteration: int) -> Path | None:
        return self.record.adapter(iteration - 1) if iteration > 1 else None
