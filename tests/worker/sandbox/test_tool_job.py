"""A job whose model calls Python while it reasons: Hint-RFT first, then without hints (START)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from app.database import reading, transaction
from app.ledger.queue.capacity import note_sandbox, saw_worker
from app.ledger.queue.steps import claim_step
from app.ledger.results.answers import Against, AnswerFilter, Changed, answer_page
from app.ledger.results.executions import executed
from app.ledger.results.rationales import trained_rows
from app.tables.data import Dataset, Example, PromptSet
from app.tables.jobs import Iteration
from app.tables.rationales import Evaluation, Rationale
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.tasks.kind import Kind
from tests.factories import World, make_world
from tests.worker.sandbox.counted import Counted
from worker.context import WorkerContext
from worker.ledger_record import LedgerRecord
from worker.sandbox.monty import MontyRunner
from worker.shared_calls import work_on

TRAIN, HELD_OUT = 6, 3
FACTORS = [(17 + n, 23 + 2 * n) for n in range(TRAIN + HELD_OUT)]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> World:
    script = "tests.worker.sandbox.tool_pupil:pupil"
    world = make_world(database_url, tmp_path / "home", sampler_script=script, retry_seconds=0.01)
    with transaction(world.engine) as session:
        session.execute(delete(Example))
        dataset = session.get_one(Dataset, world.dataset_id)
        dataset.kind, dataset.splits = Kind.NUMERIC, {"train": TRAIN, "validation": HELD_OUT}
        prompt_set = session.get_one(PromptSet, world.prompt_set_id)
        prompt_set.kind = Kind.NUMERIC
        block = {"question": "What is 3 times 4?", "answer": "12", "rationale": "It is 12.\n#### 12"}
        prompt_set.examples = [{**block, "choices": None, "group": None}]
        for number, (a, b) in enumerate(FACTORS):
            split, position = ("train", number) if number < TRAIN else ("validation", number - TRAIN)
            session.add(
                Example(
                    dataset_id=world.dataset_id,
                    split=split,
                    position=position,
                    external_id=f"e{number}",
                    question=f"What is {a} times {b}?",
                    answer=str(a * b),
                )
            )
    return world


@pytest.fixture
def context(world: World) -> Iterator[WorkerContext]:
    context = world.worker_context()
    with transaction(context.engine) as session:
        saw_worker(session, context.worker_id)
        note_sandbox(session, context.worker_id, "No Landlock.")
    yield context
    context.drop_gpu()


def submit(world: World, **more: Any) -> str:
    settings: dict[str, Any] = {
        "kind": "numeric",
        "iterations": 2,
        "rationalization": {"enabled": False},
        "tools": {"python": {}},
        "hints": {"groups": ["calculation"]},
        "training_set": {"filters": ["tool_fake", "all_calls_failed", "output_ignored", "repetition"]},
        "evaluation": {"baselines": ["few_shot_cot"]},
        "audits": {"spark_level": None},
    }
    return world.submit(**{**settings, **more})


def work(context: WorkerContext) -> None:
    while (claim := claim_step(context.engine, context.worker_id, 60, context.warm_model)) is not None:
        work_on(context, claim)


def test_a_job_learns_to_call_its_tool_and_says_how_often(world: World, context: WorkerContext) -> None:
    job_id = submit(world)
    work(context)
    job = world.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_iterations"), job.status_reason
    with reading(world.engine) as session:
        _, first, second = session.scalars(select(Iteration).order_by(Iteration.number)).all()
        rows = trained_rows(session, first.id)
        modes = Counter(session.scalars(select(Evaluation.mode)))
    assert (first.metrics["tool_use"]["generated"]["rate"], first.metrics["tool_use"]["hinted"]["rate"]) == (
        0,
        1,
    )
    assert second.metrics["tool_use"].keys() == {"generated"}
    assert second.metrics["tool_use"]["generated"]["rate"] == 1
    assert (first.metrics["kept"], second.metrics["kept"]) == (
        {"generated": 0, "hinted": TRAIN},
        {"generated": TRAIN, "hinted": 0},
    )
    figures = {mode: one["accuracy"] for mode, one in second.metrics["tool_accuracy"].items()}
    assert figures == {"adapter": 1.0, "adapter_without_tools": 0.0, "adapter_hinted": 1.0}
    assert modes["adapter_without_tools"] == 2 * HELD_OUT
    assert all([who for _, _, who in row.masked] == ["hint", "output"] for row in rows)
    assert len(rows) == TRAIN
    wanted = AnswerFilter(iteration=2, changed=Changed.LOST)
    with reading(world.engine) as session:
        before = Against(1, EvaluationMode.ADAPTER)
        lost = answer_page(session, job_id, wanted, before, after=None, limit=50)
    assert [one.given.mode for one in lost] == []  # what it fails without its tool is not lost


def test_a_step_done_again_replays_its_calls(
    world: World, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = MontyRunner(1)
    counted = Counted(runner)
    monkeypatch.setattr("worker.sandbox.calculations.interpreter", lambda: counted)
    begun = LedgerRecord.add_tries

    def fail_once(record: LedgerRecord, batch: Any) -> None:
        if any(one.tools.calls for one in batch):
            monkeypatch.setattr(LedgerRecord, "add_tries", begun)
            raise OSError("lost before it was recorded")
        begun(record, batch)

    monkeypatch.setattr(LedgerRecord, "add_tries", fail_once)
    job_id = submit(world)
    deadline = time.monotonic() + 120
    while world.job(job_id).finished_at is None:
        assert time.monotonic() < deadline, (world.job(job_id).status, world.job(job_id).status_reason)
        work(context)
    runner.close()
    assert world.job(job_id).status == "succeeded"
    assert set(counted.times.values()) == {1}
    with reading(world.engine) as session:
        assert executed(session, job_id)[0] == len(counted.times) == TRAIN + HELD_OUT
        uses = session.scalars(select(Rationale.tools)).all()
    assert all(use is not None for use in uses)


def test_calls_of_cpython_wait_for_a_worker_with_a_sandbox(world: World, context: WorkerContext) -> None:
    submit(world, tools={"python": {"runtime": "cpython"}})
    assert claim_step(context.engine, context.worker_id, 60, None) is None
    with transaction(context.engine) as session:
        note_sandbox(session, context.worker_id, None)
    assert claim_step(context.engine, context.worker_id, 60, None) is not None
