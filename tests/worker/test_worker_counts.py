"""One job on one worker and the same job on three: what is recorded must not tell which was which."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.database import reading
from app.ledger.queue.steps import Claim, claim_step
from app.ledger.results.counts import read_question_curves
from app.tables.candidates import Candidate
from app.tables.data import Example
from app.tables.jobs import Iteration
from app.tables.rationales import Evaluation, Rationale, TrainingExample
from star_engine.testing.fakes import Script
from tests.factories import TRAIN, World, make_world, pupil
from worker.context import WorkerContext
from worker.shared_calls import work_on

SETTINGS: dict[str, Any] = {
    "seed": 7,
    "generation": {"max_tokens": 400, "temperature": 0.7, "samples_per_example": 2},
    "rationalization": {"probability": 0.8},
    "evaluation": {"test_time": {"samples": 3}},
}


def signing_pupil() -> Script:
    """The pupil, with a digest of the prompt and the seed that it was given inside its scratchpad."""
    answer: Script = pupil()

    def signed(request: Any, adapter: Path | None) -> str:
        digest = sha256(f"{request.prompt}|{request.seed}".encode()).hexdigest()
        return answer(request, adapter).replace("</scratch>", f"{digest}\n</scratch>", 1)

    return signed


def test_one_worker_and_three_record_the_same(database_url: str, tmp_path: Path) -> None:
    script = f"{__name__}:signing_pupil"
    world = make_world(database_url, tmp_path / "home", sampler_script=script, shard_examples=TRAIN)
    jobs = []
    for count in (1, 3):
        job_id = world.submit(**SETTINGS)
        with benches(world, f"of-{count}", count) as workers:
            work_together(workers)
        assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
        jobs.append(job_id)
    alone, shared = jobs
    assert world.step_count(shared) > world.step_count(alone)  # the work was indeed cut differently
    assert tries(world, shared) == tries(world, alone) != []
    assert training_sets(world, shared) == training_sets(world, alone) != []
    assert answers(world, shared) == answers(world, alone) != []
    assert candidates(world, shared) == candidates(world, alone) != []
    assert curves(world, shared) == curves(world, alone) != []


@contextmanager
def benches(world: World, name: str, count: int) -> Iterator[list[WorkerContext]]:
    with ExitStack() as stack:
        made = [world.worker_context(f"worker:{name}:{number}") for number in range(count)]
        for bench in made:
            stack.callback(bench.drop_gpu)
        yield made


def work_together(workers: list[WorkerContext]) -> None:
    """Everybody claims, then all work at the same time, until nothing is left."""
    with ThreadPoolExecutor(len(workers)) as pool:
        while any(claims := [claim_step(one.engine, one.worker_id, 60) for one in workers]):
            list(pool.map(_work, workers, claims))


def _work(bench: WorkerContext, claim: Claim | None) -> None:
    if claim is not None:
        work_on(bench, claim)


def tries(world: World, job_id: str) -> list[Any]:
    """Every try with its prompt's digest (inside its text), its verdict and its decision."""
    rows = (
        select(
            Rationale.iteration_number,
            Example.external_id,
            Rationale.route,
            Rationale.sample,
            Rationale.text,
            Rationale.verdict,
            Rationale.decision,
            Rationale.reason,
        )
        .join(Example, Example.id == Rationale.example_id)
        .where(Rationale.job_id == job_id)
    )
    with reading(world.engine) as session:
        return sorted(tuple(row) for row in session.execute(rows))


def training_sets(world: World, job_id: str) -> list[Any]:
    """The SHA-256 of every iteration's training set, and its rows in order."""
    with reading(world.engine) as session:
        made = session.scalars(
            select(Iteration).filter_by(job_id=job_id).where(Iteration.number > 0).order_by(Iteration.number)
        ).all()
        return [(one.training_set_sha256, _rows(session, one.id)) for one in made]


def _rows(session: Any, iteration_id: int) -> list[tuple[str, str]]:
    rows = select(TrainingExample).filter_by(iteration_id=iteration_id).order_by(TrainingExample.position)
    return [(row.prompt, row.completion) for row in session.scalars(rows)]


def answers(world: World, job_id: str) -> list[Any]:
    """Every held-out answer."""
    rows = (
        select(Iteration.number, Evaluation.mode, Evaluation.example_id, Evaluation.text, Evaluation.verdict)
        .join(Iteration, Iteration.id == Evaluation.iteration_id)
        .where(Iteration.job_id == job_id)
    )
    with reading(world.engine) as session:
        return sorted(tuple(row) for row in session.execute(rows))


def candidates(world: World, job_id: str) -> list[Any]:
    """Every answer where a question has many, with what its generator makes of it."""
    rows = (
        select(Iteration.number, Candidate.example_id, Candidate.sample, Candidate.text, Candidate.scores)
        .join(Iteration, Iteration.id == Candidate.iteration_id)
        .where(Iteration.job_id == job_id)
    )
    with reading(world.engine) as session:
        return sorted((number, *place, str(scores)) for number, *place, scores in session.execute(rows))


def curves(world: World, job_id: str) -> list[Any]:
    """What the answers to each question come to, and the metrics of them all."""
    query = select(Iteration).filter_by(job_id=job_id).order_by(Iteration.number)
    with reading(world.engine) as session:
        return [
            (one.metrics.get("test_time"), read_question_curves(session, one.id))
            for one in session.scalars(query)
        ]
