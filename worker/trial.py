"""The step that puts a person's questions to an adapter, and to the base model beside it."""

from __future__ import annotations

from app.database import reading, transaction
from app.ledger.data.prompt_sets import load_prompt_set
from app.ledger.jobs.trials import Asked, open_questions, record_trial_answer
from app.ledger.queue.steps import Claim, finish_step
from star_engine.evaluation.accuracy import EvaluationMode, evaluate
from worker.context import Workbench, load_adapter
from worker.lease import Lease

MODES: dict[Asked, EvaluationMode] = {
    "base": EvaluationMode.FEW_SHOT_COT,  # the base model knows the task from its few-shot examples alone
    "adapter": EvaluationMode.ADAPTER,
}


def answer_trial(bench: Workbench, claim: Claim, lease: Lease) -> None:
    """Ask what has not been answered yet, recording each answer as it comes."""
    for asked in MODES:
        _ask(bench, claim, lease, asked)
    with transaction(bench.engine) as session:
        finish_step(session, claim, bench.settings)


def _ask(bench: Workbench, claim: Claim, lease: Lease, asked: Asked) -> None:
    with reading(bench.engine) as session:
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
        questions = open_questions(session, claim, asked)
    if not questions:
        return
    load_adapter(bench, claim, lease, claim.iteration if asked == "adapter" else 0)
    examples = list(questions.values())
    gpu = bench.gpu(claim.model_id)
    answers = evaluate(gpu, claim.config, prompt_set, examples, MODES[asked], claim.iteration, frozenset())
    for done, answer in enumerate(answers, start=1):
        position = int(answer.example_id)
        judged = questions[position].answer != ""
        with transaction(bench.engine) as session:
            record_trial_answer(session, claim, asked, position, answer, judged=judged)
        lease.report(done, len(questions), "questions")
