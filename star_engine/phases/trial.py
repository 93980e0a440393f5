"""Trial: ask an adapter, and the base model for comparison, a person's few questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, plan_answers
from star_engine.loop import PhaseName
from star_engine.phases.phase import Ask, Context, Phase, Progress, Work
from star_engine.tasks.examples import Example

# The base model knows the task from its few-shot examples alone.
MODES = (EvaluationMode.FEW_SHOT_COT, EvaluationMode.ADAPTER)


@runtime_checkable
class TrialRecord(Protocol):
    """The questions of a trial and their answers. A question's id is its position."""

    def questions(self, mode: EvaluationMode) -> Sequence[Example]:
        """Return the questions that have no answer yet."""

    def add_trial_answers(self, mode: EvaluationMode, batch: Sequence[EvaluatedAnswer]) -> None: ...

    def finish_trial(self) -> None: ...


def _run(context: Context) -> Work:
    record = context.record
    if not isinstance(record, TrialRecord):
        raise TypeError("only a service keeps trials")
    questions: Mapping[EvaluationMode, Sequence[Example]] = {mode: record.questions(mode) for mode in MODES}
    total = sum(map(len, questions.values()))
    done = 0

    def add(mode: EvaluationMode, batch: Sequence[EvaluatedAnswer]) -> Progress:
        nonlocal done
        record.add_trial_answers(mode, batch)
        done += len(batch)
        return Progress(done, total, "questions")

    for mode, asked in questions.items():
        iteration = context.iteration if mode is EvaluationMode.ADAPTER else 0
        plan = plan_answers(context.config, context.prompt_set, asked, mode, context.iteration, frozenset())
        yield Ask(plan, iteration, partial(add, mode))
    record.finish_trial()


TRIAL = Phase(PhaseName.TRIAL, _run)
