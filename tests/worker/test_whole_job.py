"""A whole job through the ledger and real GPU processes that hold a scripted model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.errors import Conflict
from app.ledger.events import list_events
from app.ledger.jobs.report import read_report
from app.ledger.platform.keys import Caller
from app.ledger.queue.steps import claim_step
from app.ledger.results.adapters import list_adapters
from app.ledger.results.iterations import each_training_example
from app.ledger.results.overrides import override_verdict
from app.ledger.results.regrade import ChangedPage, regrade_iteration
from app.reports.document import make_document
from app.reports.markdown import markdown
from app.tables.data import Dataset, Example
from app.tables.jobs import Iteration, Job, Step
from app.tables.rationales import Evaluation, Rationale, TrainingExample
from star_engine.sampling.rationales import Route
from star_engine.training_set.rows import training_set_sha256
from tests.factories import CONFIG, TRAIN, World, make_world
from worker.context import WorkerContext
from worker.shared_calls import work_on


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    return make_world(database_url, tmp_path / "home")


@pytest.fixture
def bench(world: World) -> Iterator[WorkerContext]:
    bench = world.worker_context()
    yield bench
    bench.drop_gpu()


def work_until_idle(bench: WorkerContext) -> None:
    while (claim := claim_step(bench.engine, bench.worker_id, 60, bench.warm_model)) is not None:
        work_on(bench, claim)


def test_a_job_runs_from_its_first_step_to_two_verified_adapters(world: World, bench: WorkerContext) -> None:
    job_id = world.submit()
    work_until_idle(bench)
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_iterations"), job.status_reason
    with reading(world.engine) as session:
        iterations = session.scalars(
            select(Iteration).where(Iteration.job_id == job_id).order_by(Iteration.number)
        ).all()
        adapters = list_adapters(session, job_id)
        events = list_events(session, job_id, 0, 1000)
        steps = session.scalars(select(Step)).all()
    assert [iteration.number for iteration in iterations] == [0, 1, 2]
    assert iterations[0].metrics["accuracy"] < iterations[1].metrics["accuracy"] == 1.0
    assert iterations[1].metrics["coverage"]["rationalized"] > 0
    assert iterations[2].metrics["coverage"] == {"generated": 1.0, "rationalized": 0.0, "total": 1.0}
    assert [adapter.iteration_number for adapter in adapters] == [1, 2]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {step.status for step in steps} == {"succeeded"}
    assert {step.attempt for step in steps} == {1}


def test_a_job_may_train_on_the_answers_of_its_dataset_alone(world: World, bench: WorkerContext) -> None:
    options = {"source": "answers", "filters": []}
    job_id = world.submit(iterations=1, rationalization={"enabled": False}, training_set=options)
    work_until_idle(bench)
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_iterations"), job.status_reason
    with reading(world.engine) as session:
        metrics = [row.metrics for row in session.scalars(select(Iteration).order_by(Iteration.number))]
        trained = session.scalars(select(TrainingExample)).all()
        tries = session.execute(select(Rationale.route, Rationale.text, Example.answer).join(Example)).all()
        report = read_report(session, session.get_one(Job, job_id))
    assert {route for route, _, _ in tries} == {"given"}
    assert all(text == answer for _, text, answer in tries)
    assert sorted(row.completion for row in trained) == sorted(f"\n{answer}" for _, _, answer in tries)
    assert metrics[1]["kept"] == {"given": TRAIN}
    assert metrics[1]["coverage"] == {"given": 1.0, "total": 1.0}
    assert "solve_rate" not in metrics[1]
    assert metrics[0]["accuracy"] < metrics[1]["accuracy"] == 1.0
    assert "fine-tuning on the answers" in report.answer.sentence
    text = markdown(make_document(job, report))
    assert "fine-tuning on the answers, iteration 1" in text
    assert "kept, given" in text


def test_a_job_follows_its_curriculum_its_window_and_its_epochs(world: World, bench: WorkerContext) -> None:
    stages = [{"from_iteration": 1, "groups": ["1"]}, {"from_iteration": 2, "groups": ["1", "2"]}]
    training = CONFIG["training"] | {"schedule": {"kind": "epochs", "epochs": 1}, "batch_size": 2}
    options = {"window": "all", "dedupe": False}
    job_id = world.submit(iterations=2, curriculum=stages, training=training, training_set=options)
    work_until_idle(bench)
    with reading(world.engine) as session:
        tried = session.execute(
            select(Rationale.iteration_number, Example.group)
            .join(Example, Example.id == Rationale.example_id)
            .distinct()
        ).all()
        kept = [
            len(session.scalars(select(Rationale).filter_by(iteration_number=n, decision="kept")).all())
            for n in (1, 2)
        ]
        adapters = list_adapters(session, job_id)
    assert sorted(tuple(row) for row in tried) == [(1, "1"), (2, "1"), (2, "2")]
    assert [adapter.training["training_examples"] for adapter in adapters] == [kept[0], sum(kept)]
    assert [adapter.training["steps"] for adapter in adapters] == [-(-kept[0] // 2), -(-sum(kept) // 2)]


def test_every_trained_row_points_back_to_one_correct_rationale(world: World, bench: WorkerContext) -> None:
    job_id = world.submit(iterations=1)
    work_until_idle(bench)
    with reading(world.engine) as session:
        rows = session.execute(
            select(TrainingExample, Rationale).join(Rationale, Rationale.id == TrainingExample.rationale_id)
        ).all()
        tries = session.scalars(select(Rationale).where(Rationale.job_id == job_id)).all()
    assert len(rows) == sum(item.decision == "kept" for item in tries) > 0
    assert all(rationale.verdict == "correct" for _, rationale in rows)
    assert all("Target: " not in row.prompt for row, _ in rows)
    assert all(item.decision is not None for item in tries)


def test_checks_that_cost_samples_are_recorded_with_the_rationale_and_decide_on_it(
    world: World, bench: WorkerContext
) -> None:
    """The pupil cannot go on from a rationale, so that none leads to its answer without the hint."""
    world.submit(iterations=1, training_set={"checks": ["hint_free"]})
    work_until_idle(bench)
    with reading(world.engine) as session:
        tries = session.scalars(select(Rationale).where(Rationale.verdict == "correct")).all()
        [iteration] = session.scalars(select(Iteration).where(Iteration.number == 1))
    found = {(item.route, item.reason, str(item.checks)) for item in tries}
    assert found == {
        ("generated", "kept", "None"),
        ("rationalized", "hint_needed", "{'hint_free': False}"),
    }
    assert iteration.metrics["funnel"]["rationalized"]["trained"] == 0


def test_another_dataset_is_measured_along_and_mixed_in_and_counts_in_nothing_of_the_jobs_own(
    world: World, bench: WorkerContext
) -> None:
    store_other_dataset(world)
    mix = {"mix": [{"dataset": "ds_other", "share": 0.1}]}
    job_id = world.submit(iterations=1, evaluation={"also": ["ds_other"]}, training_set=mix)
    work_until_idle(bench)
    job = world.job(job_id)
    config = job.config
    with reading(world.engine) as session:
        base, first = session.scalars(select(Iteration).order_by(Iteration.number))
        page = markdown(make_document(job, read_report(session, job)))
    metrics = first.metrics
    assert base.metrics["also"] == metrics["also"] == {"ds_other": {"accuracy": 1.0, "n": 3}}
    assert metrics["evaluated"]["n"] == base.metrics["baselines"]["few_shot_cot"]["n"] == 8
    assert "Accuracy of each iteration's model on the datasets of evaluation.also." in page
    own = metrics["kept"]["generated"] + metrics["kept"]["rationalized"]
    assert metrics["kept"]["mixed"] == metrics["funnel"]["mixed"]["trained"] == round(own / 9) > 0
    assert metrics["training"]["training_examples"] == own + metrics["kept"]["mixed"]
    assert set(metrics["coverage"]) == {"generated", "rationalized", "total"}
    assert metrics["coverage"]["total"] == own / TRAIN
    rows = list(each_training_example(world.engine, first.id, config))
    assert [row.completion for row in rows if row.key.route is Route.MIXED] == ["\n2", "\n3"]
    assert training_set_sha256(rows) == first.training_set_sha256
    caller = Caller(world.project_id, world.key_id, frozenset())
    with transaction(world.engine) as session:
        [tried, _] = session.scalars(select(Rationale).where(Rationale.route == "mixed"))
        with pytest.raises(Conflict, match="mixed in from another dataset"):
            override_verdict(session, caller, job, tried, "wrong", "not so")
    again = regrade_iteration(world.engine, job, first, config, config, ChangedPage(5, None))
    assert again.found.training_set_sha256 == first.training_set_sha256


def store_other_dataset(world: World) -> None:
    """Three held-out examples, and two to train on that bear the ids of the job's own."""
    with transaction(world.engine) as session:
        own = session.get_one(Dataset, world.dataset_id)
        fields = {"name": "other", "kind": own.kind, "sha256": "1" * 64, "size_bytes": 0}
        splits = {"validation": 3, "train": 2}
        session.add(Dataset(id="ds_other", project_id=own.project_id, splits=splits, **fields))
        session.flush()
        query = select(Example.external_id).filter_by(dataset_id=own.id, split="train", position=1)
        session.add_all(
            Example(
                dataset_id="ds_other", split=split, position=n, external_id=f"{split[0]}{n}",
                question=f"{n + 1} + 1", answer=str(n + 2), group="1",
            )
            for split, count in splits.items() for n in range(count)
        )  # fmt: skip
        taken = session.scalars(select(Example).filter_by(dataset_id="ds_other", external_id="t1")).one()
        taken.external_id = session.scalars(query).one()


def test_a_job_in_which_nothing_is_kept_pauses_with_a_diagnosis(world: World, bench: WorkerContext) -> None:
    job_id = world.submit(generation={"max_tokens": 3}, audits={"spark_level": None})
    work_until_idle(bench)
    job = world.job(job_id)
    assert job.status == "paused"
    assert job.status_reason is not None
    assert job.status_reason["code"] == "insufficient_kept"
    assert "max_tokens" in job.status_reason["message"]


def test_no_evaluation_or_rationale_is_recorded_twice_when_two_workers_share_a_job(
    world: World, bench: WorkerContext
) -> None:
    world.submit(iterations=1)
    other = world.worker_context("worker:2")
    try:
        for _ in range(100):
            claims = [claim_step(item.engine, item.worker_id, 60) for item in (bench, other)]
            for item, claim in zip((bench, other), claims, strict=True):
                if claim is not None:
                    work_on(item, claim)
            if not any(claims):
                break
    finally:
        other.drop_gpu()
    with reading(world.engine) as session:
        evaluations = session.scalars(select(Evaluation)).all()
        keys = [(item.iteration_id, item.mode, item.example_id) for item in evaluations]
        owners = set(session.scalars(select(Step.status)))
    assert len(keys) == len(set(keys)) == 3 * 8
    assert owners == {"succeeded"}
