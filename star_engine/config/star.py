"""Everything that decides what a STaR run does, written once for the API, the job's row and the engine.

Field names follow the paper and its released code where they name a thing (arXiv 2203.14465, section 3).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from star_engine.config.chat import Chat, PromptLayout
from star_engine.config.controller import Controller
from star_engine.config.distillation import SelfDistillation, check_distillation
from star_engine.config.evaluation import Evaluation
from star_engine.config.lora import Lora
from star_engine.config.pairs import PreferenceTraining, TrainedVerifier, check_pairs
from star_engine.config.quiet_star import OuterLoop, QuietStarMethod, check_quiet_star
from star_engine.config.schedules import GeometricSchedule, Schedule
from star_engine.config.selection import BY_DIFFICULTY, Selection, SelectionOrder
from star_engine.config.tool_checks import check_tools
from star_engine.config.tools import Hints, Tools
from star_engine.config.training_set import REASONING_FILTERS, Source, TrainingSetOptions
from star_engine.section import Section
from star_engine.tasks.code import CodeOptions
from star_engine.tasks.date import DateOptions
from star_engine.tasks.hints import HintForm
from star_engine.tasks.kind import Kind
from star_engine.tasks.math import MathOptions
from star_engine.tasks.numeric import NumericOptions
from star_engine.tasks.pattern import PatternOptions
from star_engine.tasks.program import ProgramOptions, RemoteOptions
from star_engine.tasks.reading.cut import TURN_STOPS
from star_engine.tasks.registry import check_options, task_of


class Labels(StrEnum):
    """Which labels decide what is trained on."""

    GOLD = "gold"
    MAJORITY_VOTE = "majority_vote"  # most of the model's own tries; gold answers reach the evaluation only


# Iterations whose prompts show the few-shot examples; a number: up to and including that iteration.
FewShot = Literal["always", "first_iteration"] | Annotated[int, Field(ge=1, strict=True)]


MAX_TOKENS = 32768  # of one completion


class Generation(Section):
    """The route without a hint."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Sampling temperature; 0 decodes greedily, as the paper does."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling: the smallest set of tokens with this probability. Without effect at temperature 0."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Only this many of the likeliest tokens; 0: all of them. Without effect at temperature 0."""
    samples_per_example: Annotated[int, Field(ge=1, le=256)] = 1
    """Tries for every train example in an iteration. More than 1 needs a temperature above 0."""
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 256
    """Tokens of a rationale at most. What is cut off before its answer does not train."""
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=16)
    ] = ()
    """Where texts end besides the stops of their kind, such as "\\n\\nTask:"; held-out answers, too."""
    few_shot: FewShot = "always"
    """Iterations whose prompts show the few-shot examples: always, the first only, or the first so many."""


class Verifier(
    CodeOptions, DateOptions, MathOptions, PatternOptions, ProgramOptions, RemoteOptions, NumericOptions
):
    """How an answer is read from a completion: the options of every kind, of which a job sets its own kind's.

    The kind checks them. Names that none of these classes has are its to refuse, or those of a kind that was
    registered from outside.
    """

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """Return the options that are set, as `Task.grade` takes them."""
        return self.model_dump(exclude_none=True)


class Rationalization(Section):
    """The route with the answer as a hint, tried where generation failed (section 3.1)."""

    enabled: bool = True
    """Whether failed examples are tried again with the answer as a hint (section 3.1 of the paper)."""
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the failed examples that are rationalized: p_rationalization of the released code."""
    min_failures: Annotated[int, Field(ge=1, le=100)] = 1
    """Iterations in a row without a right try, this one included, after which an example is rationalized.

    1: at once; more: the hardest alone. Iterations that did not ask the example do not count.
    """
    few_shot: FewShot = "always"
    """Iterations whose hinted prompts show the few-shot examples, as generation.few_shot."""
    p_keep_hint: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the rationalized rows that keep the hint in their prompt: p_show_hint_save of the code."""
    hint: HintForm | None = None
    """Where the answer stands in a hinted prompt; null: the paper's form for the kind."""
    hint_template: Annotated[str, Field(max_length=2000)] | None = None
    """What replaces the question in a hinted prompt, such as "{question} [It is {answer}.]"."""

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


class Training(Section):
    """Fine-tuning of one iteration."""

    start_from: Literal["base", "previous"] = "base"
    """Weights that an iteration starts from: base, as Algorithm 1 says, or the adapter before."""
    optimizer: Literal["fresh", "carry"] = "fresh"
    """fresh: AdamW starts fresh in each iteration. carry: it goes on with the moments and the step count of
    the iteration before (online, B-STaR), so that the warm-up is not repeated; needs start_from previous.
    """
    schedule: Schedule = GeometricSchedule()
    """How many optimizer steps an iteration takes."""
    loss: Literal["completion", "all"] = "completion"
    """Tokens that are learned: those of the completion, or all of them, as the released code in fact does."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Rows per optimizer step, where batch_tokens does not say otherwise."""
    batch_tokens: Annotated[int, Field(ge=16, le=2**22)] | None = None
    """Tokens per optimizer step at most: as many rows as fit, each read by itself. Null: batch_size rows.

    The paper's step is 8 packed sequences of 1,024. Setting batch_size over a preset sets this to null.
    """
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Peak learning rate of AdamW."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly; it is constant afterwards, but for decay_share."""
    decay_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of an iteration's steps, at its end, over which the rate falls linearly towards 0.

    0, as in the paper: the rate stays constant.
    """
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""
    max_length: Annotated[int, Field(ge=16)] = 1024
    """Tokens of prompt and completion together at most."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    """Optimizer steps between two checkpoints: what a crash can cost."""
    quantization: Literal["nf4"] | None = None
    """How the frozen base model is held while an adapter is trained; null: as it is. nf4: its linear layers
    in 4 bits (QLoRA, arXiv 2305.14314), where it would not fit otherwise. It is sampled as it is."""
    lora: Lora = Lora()
    """Shape of the adapter."""

    @model_validator(mode="after")
    def _carried_with_its_weights(self) -> Self:
        if self.optimizer == "carry" and self.start_from == "base":
            raise ValueError(
                "an optimizer's moments belong to the weights that they were made with; with optimizer carry "
                "set start_from to previous, or set optimizer to fresh"
            )
        return self


class Audits(Section):
    """Diagnostics computed beside training; they never decide what is trained on."""

    spark_level: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """How likely guessing may be to do as well as the few-shot baseline; where it is likelier (exact test),
    the job pauses. 0.05 asks for more right answers than 0.2, which suits 20 questions; null never pauses."""
    verdicts: Annotated[int, Field(ge=0)] = 200
    """Verdicts per iteration that a second method judges again."""
    determinism: Annotated[int, Field(ge=0, le=1000)] = 4
    """Tries per iteration that are generated twice and compared."""
    faithfulness: Annotated[int, Field(ge=0, le=1000)] = 0
    """Held-out questions per iteration that are asked again with a wrong hint, and whose answers are scored
    behind all, half and none of their rationale; 0: none. Each costs two greedy texts and three scores."""
    sentences: Annotated[int, Field(ge=0, le=1000)] = 0
    """Right tries per iteration whose answer the iteration's adapter scores after each sentence of their
    rationale, which is shown on the rationale's page; 0: none. Each costs a score per sentence."""

    @property
    def reads_rationales(self) -> bool:
        """Whether it is asked if answers come from their rationales, which is a phase of its own."""
        return self.faithfulness > 0 or self.sentences > 0


class StopRule(Section):
    """Ends a job before its last iteration. Reads the validation split, never the test split."""

    patience: Annotated[int, Field(ge=1)] | None = None
    """Iterations without a better accuracy after which the job stops; null: never."""
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Gain in accuracy, 0 to 1, that counts as better."""
    target_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Held-out accuracy, 0 to 1, at which the job stops; null: never."""


class CurriculumStage(Section):
    """From this iteration on, train on examples of these groups only, such as more digits in the paper's
    Figure 5.
    """

    from_iteration: Annotated[int, Field(ge=1)]
    """First iteration of the stage."""
    groups: Annotated[tuple[str, ...], Field(min_length=1)]
    """Groups whose train examples are used from then on."""


class StarConfig(Section):
    """The settings of one STaR run."""

    kind: Kind
    """Kind of question: how it is laid out and how its answer is verified."""
    iterations: Annotated[int, Field(ge=1, le=200)] = 5
    """Iterations of the outer loop."""
    baselines_only: bool = False
    """Measure evaluation.baselines and stop, without any iteration."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything random: examples, samples, batches, new adapter weights."""
    examples_per_iteration: Annotated[int, Field(ge=1)] | None = None
    """Train examples drawn for an iteration; null: the whole train split."""
    curriculum: tuple[CurriculumStage, ...] = ()
    """Stages that restrict the train examples to groups; empty: every group in every iteration."""
    selection: Selection = Selection()
    """Which of them an iteration asks, where that follows from what the iterations before found."""
    layout: PromptLayout | None = None
    """Prompts as text to go on from, or as a conversation in the model's chat template. Null: chat for models
    that have a template and are not listed as base models, else completion; as a library always completion.
    """
    chat: Chat = Chat()
    """The chat layout: what stands around the question in the model's own chat template."""
    verifier: Verifier = Verifier()
    """How an answer is read from a completion; the options of the job's kind."""
    labels: Labels = Labels.GOLD
    """Which labels decide what is trained on: gold answers, or a majority of the model's own tries."""
    min_agreement: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """For majority votes: more than this share of an example's tries must agree."""
    generation: Generation = Generation()
    """The route without a hint."""
    controller: Controller | None = None
    """Finds the temperature of each iteration by a balance score (B-STaR); null: generation.temperature."""
    rationalization: Rationalization = Rationalization()
    """The route with the answer as a hint."""
    tools: Tools = Tools()
    """What the model may call while it reasons."""
    hints: Hints | None = None
    """Sentences that make it call them, put into texts of the first iterations (START); null: none."""
    training_set: TrainingSetOptions = TrainingSetOptions()
    """What of the correct rationales is trained on."""
    training: Training = Training()
    """Fine-tuning of one iteration."""
    evaluation: Evaluation = Evaluation()
    """What accuracy is measured on."""
    audits: Audits = Audits()
    """Diagnostics; they do not affect what is trained on."""
    preference: PreferenceTraining | None = None
    """Train on pairs of right and wrong tries instead of right ones alone (iterative RPO); null: do not."""
    self_distillation: SelfDistillation | None = None
    """Train on every try, taught by the base model with the answer in view (OPSD); null: do not."""
    trained_verifier: TrainedVerifier | None = None
    """A verifier trained on right and wrong tries, which ranks answers (V-STaR); null: none."""
    stop: StopRule = StopRule()
    """When the job ends before its last iteration."""
    method: OuterLoop = OuterLoop.STAR
    """What the iterations are: `star` samples, filters and trains; `quiet_star` trains to think in text."""
    quiet_star: QuietStarMethod | None = None
    """Thoughts between the tokens of documents (Quiet-STaR); of that method alone."""

    @property
    def is_chat(self) -> bool:
        """Whether prompts are conversations."""
        return self.layout == "chat"

    @property
    def executes(self) -> bool:
        """Whether texts are judged by programs, or call them: then they are finished side by side."""
        return task_of(self.kind).runs_programs or self.tools.python is not None

    @property
    def stops(self) -> tuple[str, ...]:
        """Where a completion ends even without EOS: the stops of the kind and the job's own.

        In the chat layout a turn ends with its token; a line such as "Question:" may stand in it.
        """
        own = TURN_STOPS if self.is_chat else task_of(self.kind).layout.stops
        return tuple(dict.fromkeys((*own, *self.generation.stop)))

    @property
    def records_selection(self) -> bool:
        """Whether what an iteration asks, or tries with a hint, follows from what earlier ones found."""
        hints = self.rationalization
        return self.selection.recorded or (hints.enabled and hints.min_failures > 1)

    @property
    def tool_fence(self) -> str:
        """What opens a block of the tool; kind code, whose answers are blocks of Python, has its own."""
        return "run" if self.kind == Kind.CODE else "python"

    def hinted_in(self, iteration: int) -> bool:
        """Whether failed questions of an iteration are tried again with a procedural hint."""
        return self.hints is not None and iteration <= self.hints.iterations

    @field_validator("curriculum")
    @classmethod
    def _ascending(cls, stages: tuple[CurriculumStage, ...]) -> tuple[CurriculumStage, ...]:
        begins = [stage.from_iteration for stage in stages]
        if begins and (begins[0] != 1 or begins != sorted(set(begins))):
            raise ValueError("the first stage begins at from_iteration 1, and each later one after the last")
        return stages

    @model_validator(mode="after")
    def _fitting_layout(self) -> Self:
        if self.layout == "completion" and self.chat != Chat():
            raise ValueError("chat settings need the chat layout; set layout to chat, or leave chat out")
        if self.is_chat and self.training.loss != "completion":
            raise ValueError(
                "in the chat layout the assistant's turn alone is learned; set training.loss to completion"
            )
        return self

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
            raise ValueError("checks are compared with the gold answer; leave training_set.checks empty")
        if self.training_set.mix:
            raise ValueError("mixed rows are trained on by gold answers; leave training_set.mix empty")
        if self.audits.faithfulness:
            raise ValueError("a wrong hint is compared with the gold answer; set audits.faithfulness to 0")
        if self.audits.sentences:
            raise ValueError("only right tries are read by the sentence; set audits.sentences to 0")
        return self

    @model_validator(mode="after")
    def _selectable(self) -> Self:
        """Something is known of each example, and the rows to sample for can be counted beforehand."""
        chosen = self.selection
        if not chosen.recorded:
            return self
        if self.training_set.source is not Source.RATIONALES:
            raise ValueError(f"training_set.source {self.training_set.source} samples nothing to select by")
        if self.labels is not Labels.GOLD:
            raise ValueError(
                "the win rates that examples are selected by are of gold answers, which a majority vote must "
                "not see; leave selection out"
            )
        if chosen.order in BY_DIFFICULTY and chosen.rows is None and self.examples_per_iteration is None:
            raise ValueError(
                f"an iteration that asks every example asks the same in any order; with {chosen.order} set "
                "examples_per_iteration or selection.rows"
            )
        if chosen.order is SelectionOrder.ADAPTIVE and chosen.rows is None and not self._rows_counted:
            raise ValueError(
                "how many rows an iteration needs follows from steps x batch_size; for a schedule of epochs "
                "or batch_tokens set selection.rows"
            )
        return self

    @model_validator(mode="after")
    def _controllable(self) -> Self:
        """A balance score needs right tries that can differ, and to know how many are enough."""
        if self.controller is None:
            return self
        if self.training_set.source is not Source.RATIONALES:
            raise ValueError(f"training_set.source {self.training_set.source} samples nothing to control")
        if self.labels is not Labels.GOLD:
            raise ValueError(
                "by a majority vote the tries that agree are right, so a controller would find the lowest "
                "temperature best; leave controller out"
            )
        own = self.controller.scorer == "verifier"
        trained = self.trained_verifier
        if own and (trained is None or trained.when != "every_iteration"):
            raise ValueError(
                "controller.scorer names the job's own verifier, which an iteration has from the one before; "
                "set trained_verifier.when to every_iteration, or name another job's verifier by its id"
            )
        if self.generation.samples_per_example < 2:
            raise ValueError("of one try there is no balance; set generation.samples_per_example to 8 or so")
        if self.controller.rows_wanted is None and not self._rows_counted:
            raise ValueError(
                "how many tries of a question are enough follows from steps x batch_size; for a schedule of "
                "epochs or batch_tokens set controller.rows_wanted"
            )
        return self

    @property
    def _rows_counted(self) -> bool:
        """Whether the rows of an iteration's steps are known before it has any."""
        return self.training.batch_tokens is None and self.training.schedule.kind != "epochs"

    @model_validator(mode="after")
    def _has_pairs(self) -> Self:
        check_pairs(self)
        check_distillation(self)
        check_tools(self)
        check_quiet_star(self)
        return self

    @model_validator(mode="after")
    def _given_once(self) -> Self:
        """With texts given by the dataset nothing is sampled, so one iteration is all there is."""
        if self.training_set.source is Source.RATIONALES:
            return self
        given = self.training_set
        unreasoned = REASONING_FILTERS.intersection(given.filters) if given.source is Source.ANSWERS else ()
        for unfit, fix in (
            (self.iterations != 1, "iterations must be 1: another one would train on the same texts"),
            (self.rationalization.enabled, "rationalization.enabled must be false"),
            (self.generation.samples_per_example != 1, "generation.samples_per_example must be 1"),
            (given.checks, "training_set.checks must be empty"),
            (unreasoned, "training_set.filters must not name answer_only, answer_first or too_short"),
        ):
            if unfit:
                raise ValueError(f"training_set.source {given.source} samples nothing; {fix}")
        return self

    @model_validator(mode="after")
    def _fitting_hint(self) -> Self:
        hint, forms = self.rationalization.hint, task_of(self.kind).hint_forms
        if hint is not None and hint not in forms:
            fitting = " or ".join(forms)
            raise ValueError(f"examples of kind {self.kind} cannot show the hint {hint}; use {fitting}")
        return self
