"""Everything that decides what a STaR run does, written once for the API, the job's row and the engine.

Field names follow the paper and its released code where they name a thing (arXiv 2203.14465, section 3).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from star_engine.config.schedules import GeometricSchedule, Schedule
from star_engine.config.training_set import REASONING_FILTERS, Source, TrainingSetOptions
from star_engine.section import Section
from star_engine.tasks.hints import HintForm
from star_engine.tasks.kind import Kind
from star_engine.tasks.math import MathOptions
from star_engine.tasks.numeric import NumericOptions
from star_engine.tasks.pattern import PatternOptions
from star_engine.tasks.registry import check_options, task_of


class Labels(StrEnum):
    """Whose word decides what is trained on."""

    GOLD = "gold"
    MAJORITY_VOTE = "majority_vote"  # most of the model's own tries; gold answers reach the evaluation only


# Iterations whose prompts show the few-shot examples; a number: up to and including that iteration.
FewShot = Literal["always", "first_iteration"] | Annotated[int, Field(ge=1, strict=True)]


class Generation(Section):
    """The route without a hint."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0  # the paper decodes greedily
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0  # 0: all tokens
    samples_per_example: Annotated[int, Field(ge=1, le=256)] = 1
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    few_shot: FewShot = "always"


class Verifier(MathOptions, PatternOptions, NumericOptions):
    """How an answer is read from a completion: the options of every kind, of which a job sets its own kind's.

    The kind checks them. Names that none of these classes has are its to refuse, or those of a kind that was
    registered from outside.
    """

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """Those that are set, as `Task.grade` takes them."""
        return self.model_dump(exclude_none=True)


class Rationalization(Section):
    """The route with the answer as a hint, tried where generation failed (section 3.1)."""

    enabled: bool = True
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0  # p_rationalization of the released code
    few_shot: FewShot = "always"
    # p_show_hint_save of the released code: the share of the rationalized that is trained on behind its hint
    p_keep_hint: Annotated[float, Field(ge=0, le=1)] = 0.0
    hint: HintForm | None = None  # None: the paper's form for the kind
    # The own form: what stands in place of the question, such as "{question} [It is {answer}.]".
    hint_template: Annotated[str, Field(max_length=2000)] | None = None

    @field_validator("hint_template")
    @classmethod
    def _complete(cls, template: str | None) -> str | None:
        if template is None:
            return None
        for place, without in (("{question}", "what is asked"), ("{answer}", "the hint")):
            if template.count(place) != 1:
                found = "lacks" if place not in template else "repeats"
                raise ValueError(f"the template {found} {place}; write it once, where {without} belongs")
        if other := re.search(r"\{(?!question\}|answer\})\w*\}", template):
            raise ValueError(f"the template has no value for {other[0]}; use {{question}} and {{answer}}")
        if re.search(r"\n\s*\n|^\s|\s$", template):
            raise ValueError("blank lines part the few-shot examples; remove those and outer white space")
        return template

    @model_validator(mode="after")
    def _one_hint(self) -> Self:
        if self.hint is not None and self.hint_template is not None:
            raise ValueError("hint and hint_template exclude each other; set one of them to null")
        return self

    @property
    def template(self) -> str | None:
        """What stands in place of the question in a hinted prompt; None: the paper's form for the kind."""
        return self.hint_template if self.hint is None else self.hint.template


class Lora(Section):
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class Training(Section):
    """Fine-tuning of one iteration."""

    start_from: Literal["base", "previous"] = "base"  # the paper retrains M each time (Algorithm 1, line 7)
    schedule: Schedule = GeometricSchedule()
    # completion: prompt tokens are read and not learned, as the released code means to; all: as it does
    loss: Literal["completion", "all"] = "completion"
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8  # sequences per optimizer step
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 0  # linear, then constant
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Annotated[int, Field(ge=16)] = 1024  # tokens of prompt and completion
    checkpoint_every: Annotated[int, Field(ge=1)] = 50  # steps; what a crash can cost
    lora: Lora = Lora()


class Evaluation(Section):
    split: Literal["validation", "test"] = "validation"
    max_examples: Annotated[int, Field(ge=1)] | None = None
    baselines: tuple[Literal["few_shot_direct", "few_shot_cot"], ...] = ("few_shot_direct", "few_shot_cot")
    # Datasets that every iteration is measured on as well, by id: forgetting, out of distribution.
    also: Annotated[tuple[str, ...], Field(max_length=8)] = ()


class Audits(Section):
    """What is looked into beside the training; it decides nothing that is trained on."""

    # Few-shot prompting with rationales must beat guessing at this level (exact binomial test), else the job
    # pauses before iteration 1; None: it never does. Lenient: 20 held-out examples must do to show it.
    spark_level: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    verdicts: Annotated[int, Field(ge=0)] = 200  # per iteration, judged again by a second method
    determinism: Annotated[int, Field(ge=0, le=1000)] = 4  # per iteration, tries that are generated twice


class StopRule(Section):
    """Ends a job before its last iteration. Reads the validation split, never the test split."""

    patience: Annotated[int, Field(ge=1)] | None = None  # iterations without a better accuracy; None: off
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.005
    target_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None


class CurriculumStage(Section):
    """From this iteration on, train examples of these groups only: more digits, in the paper's Figure 5."""

    from_iteration: Annotated[int, Field(ge=1)]
    groups: Annotated[tuple[str, ...], Field(min_length=1)]


class StarConfig(Section):
    """One STaR run."""

    kind: Kind
    iterations: Annotated[int, Field(ge=1, le=200)] = 5
    baselines_only: bool = False  # measure evaluation.baselines, then stop: no iteration is run
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    examples_per_iteration: Annotated[int, Field(ge=1)] | None = None  # None: the whole train split
    curriculum: tuple[CurriculumStage, ...] = ()  # empty: examples of every group in every iteration
    verifier: Verifier = Verifier()
    labels: Labels = Labels.GOLD
    # More than this share of an example's tries must agree; 0: the most frequent answer wins
    min_agreement: Annotated[float, Field(ge=0, lt=1)] = 0.5
    generation: Generation = Generation()
    rationalization: Rationalization = Rationalization()
    training_set: TrainingSetOptions = TrainingSetOptions()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    audits: Audits = Audits()
    stop: StopRule = StopRule()

    @field_validator("curriculum")
    @classmethod
    def _ascending(cls, stages: tuple[CurriculumStage, ...]) -> tuple[CurriculumStage, ...]:
        begins = [stage.from_iteration for stage in stages]
        if begins and (begins[0] != 1 or begins != sorted(set(begins))):
            raise ValueError("the first stage begins at from_iteration 1, and each later one after the last")
        return stages

    @model_validator(mode="after")
    def _fitting_options(self) -> Self:
        check_options(self.kind, self.verifier.options)  # ValueError naming the options of the kind
        return self

    @model_validator(mode="after")
    def _votable(self) -> Self:
        if self.labels is Labels.GOLD:
            return self
        if self.generation.samples_per_example < 2:
            raise ValueError("one try has no majority; set generation.samples_per_example to 2 or more")
        if self.generation.temperature == 0:
            raise ValueError("at temperature 0 all tries are one; set generation.temperature to 0.7 or so")
        if self.rationalization.enabled:
            raise ValueError("a hint would show the gold answer; set rationalization.enabled to false")
        if self.training_set.checks:
            raise ValueError("checks are held against the gold answer; leave training_set.checks empty")
        if self.training_set.mix:
            raise ValueError("mixed rows are trained on by gold answers; leave training_set.mix empty")
        return self

    @model_validator(mode="after")
    def _given_once(self) -> Self:
        """Where the dataset gives the texts, nothing is sampled and one training is all there is."""
        if self.training_set.source is Source.RATIONALES:
            return self
        given = self.training_set
        unreasoned = REASONING_FILTERS.intersection(given.filters) if given.source is Source.ANSWERS else ()
        for unfit, mend in (
            (self.iterations != 1, "iterations must be 1: another one would train on the same texts"),
            (self.rationalization.enabled, "rationalization.enabled must be false"),
            (self.generation.samples_per_example != 1, "generation.samples_per_example must be 1"),
            (given.checks, "training_set.checks must be empty"),
            (unreasoned, "training_set.filters must not name answer_only, answer_first or too_short"),
        ):
            if unfit:
                raise ValueError(f"training_set.source {given.source} samples nothing; {mend}")
        return self

    @model_validator(mode="after")
    def _fitting_hint(self) -> Self:
        hint, forms = self.rationalization.hint, task_of(self.kind).hint_forms
        if hint is not None and hint not in forms:
            fitting = " or ".join(forms)
            raise ValueError(f"examples of kind {self.kind} cannot show the hint {hint}; use {fitting}")
        return self
