"""What a job's settings and its data must agree on before anything is sampled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from star_engine.config.star import Labels, StarConfig
from star_engine.config.training_set import Source
from star_engine.data.prompt_sets import check_prompt_set
from star_engine.data.row_errors import RowError
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.hints import HintForm
from star_engine.tasks.registry import task_of

MAX_SHOWN = 20


class Unfit(ValueError):
    """Settings that do not fit the data. `field` is the setting or the data at fault, by its dotted name."""

    def __init__(self, field: str, errors: Iterable[RowError]) -> None:
        self.field = field
        self.errors = tuple(errors)
        super().__init__("\n".join(f"{field}: {error.reason} {error.fix}" for error in self.errors))


def check_data(
    config: StarConfig, prompt_set: PromptSet, train: Sequence[Example], held_out: Sequence[Example]
) -> None:
    """Raise Unfit for data that the settings do not fit, each gold answer that is relied on included."""
    golds = held_out if config.labels is Labels.MAJORITY_VOTE else (*train, *held_out)
    read_already = task_of(config.kind).slow_gold  # when they were read: again it would take 10 ms each
    check_answers(config, prompt_set, () if read_already else golds)
    check_solutions(config, train)
    check_turns(config, (*train, *held_out))


def check_turns(config: StarConfig, examples: Iterable[Example]) -> None:
    """Raise Unfit, naming examples, where conversations are to be asked as one question."""
    if config.is_chat:
        return
    fix = "Use layout chat and a model with a chat template, or upload questions that stand alone."
    several = (example.id for example in examples if example.context)
    errors = [
        RowError(0, "layout", f"Example {name!r} has turns before its question.", fix)
        for name in islice(several, MAX_SHOWN)
    ]
    if errors:
        raise Unfit("config.layout", errors)


def check_answers(config: StarConfig, prompt_set: PromptSet, examples: Iterable[Example]) -> None:
    """Raise Unfit unless every few-shot rationale and the gold answer of each of these examples verifies.

    What is uploaded is verified by its kind alone when it is read; here it is verified as the job will, under
    its options. For the kind pattern this is the first time: the expression is the job's.
    """
    task, options = task_of(config.kind), config.verifier.options
    name = task.required_option
    if config.labels is Labels.MAJORITY_VOTE and task.runs_programs:
        reason = f"answers of kind {task.kind} are programs, which cannot be voted on; use labels gold"
        raise Unfit("config.labels", [_as_error(reason)])
    if name is not None and name not in options:
        wanted = task.options.model_fields[name].description or "which has no default"
        reason = f"the kind {task.kind} needs the option {name}, {wanted[0].lower()}{wanted[1:]}"
        raise Unfit(f"config.verifier.{name}", [_as_error(f"{reason.removesuffix('.')}; set it")])
    if errors := check_prompt_set(prompt_set, **options):
        raise Unfit("prompt_set", errors)
    if errors := list(islice(_misread_golds(config, examples), MAX_SHOWN)):
        raise Unfit("config.kind" if name is None else f"config.verifier.{name}", errors)


def check_solutions(config: StarConfig, examples: Iterable[Example]) -> None:
    """Raise Unfit, naming examples, where the job shows solutions that some of these do not have."""
    field = field_needing_solutions(config)
    if field is None:
        return
    fix = "Upload the dataset with a solution in every train row, or choose another value."
    without = (example.id for example in examples if example.solution is None)
    errors = [
        RowError(0, field, f"Example {name!r} has no solution.", fix) for name in islice(without, MAX_SHOWN)
    ]
    if errors:
        raise Unfit(field, errors)


def field_needing_solutions(config: StarConfig) -> str | None:
    """The setting that needs a worked solution of every train example, if there is one."""
    if config.training_set.source is Source.SOLUTIONS:
        return "config.training_set.source"
    hint = config.rationalization
    return "config.rationalization.hint" if hint.enabled and hint.hint is HintForm.FULL_SOLUTION else None


def _misread_golds(config: StarConfig, examples: Iterable[Example]) -> Iterator[RowError]:
    task, options = task_of(config.kind), config.verifier.options
    for number, example in enumerate(examples, start=1):
        try:
            task.check_gold(example, options)
        except ValueError as problem:
            reason = f"The answer {example.answer!r} of example {example.id!r}"
            yield _as_error(f"{reason} {problem}", number)


def _as_error(message: str, number: int = 0) -> RowError:
    """ValueErrors of the verifiers word the fix behind a semicolon."""
    reason, _, fix = message.partition("; ")
    fix = fix or "change it"
    return RowError(number, "answer", f"{reason[0].upper()}{reason[1:]}.", f"{fix[0].upper()}{fix[1:]}.")
