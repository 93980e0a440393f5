"""kill -9 of a worker whose model thinks: its job records what an undisturbed one does, as a fork does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.database import transaction
from app.ledger.data.prompt_sets import no_few_shot
from app.ledger.jobs.forks import ForkPoint
from app.ledger.queue.steps import claim_step
from app.tables.data import Dataset, Example
from star_engine.tasks.kind import Kind
from tests.factories import World, problem, spaced, total
from tests.faults.boundaries import Sleepers, armed
from tests.faults.conftest import quick_world
from tests.faults.recorded import recorded
from tests.platforms import platform
from worker.shared_calls import work_on

MODEL = Path(__file__).parents[2] / "examples" / "addition" / "model"
TRAIN, HELD_OUT = 30, 8
METHOD = {
    "window": 24, "thought_tokens": 2, "ahead_tokens": 2, "batch_windows": 2, "micro_batch": 2, "steps": 5,
    "checkpoint_every": 2, "warmup_steps": 1, "held_out_windows": 4, "shown_thoughts": 6,
    "zero_shot_questions": 3, "lora": {"rank": 2, "alpha": 4},
}  # fmt: skip
# Before and behind a checkpoint, and at every other boundary of the method's phases.
KILLS = (
    *("train.before_training", "train.step@4", "train.before_record", "train.after_finish"),
    *("verify_adapter.progress", "verify_adapter.before_record", "verify_adapter.after_finish"),
    *("evaluate.progress@2", "evaluate.after_record", "evaluate.before_record", "evaluate.after_finish"),
)

ONE_KILL = ("train.step@4",)


@pytest.fixture
def world(sqlite_database_url: str, tmp_path: Path) -> World:
    """A project with documents, and the questions of every world beside them, on a model that is real."""
    found = quick_world(
        sqlite_database_url, tmp_path / "home", sampler="transformers", threads=1, lease_seconds=15.0
    )
    found.load_model(MODEL, 1024)
    with transaction(found.engine) as session:
        prompt_set = no_few_shot(session, found.project_id)
        session.add(prompt_set)
        session.add(
            Dataset(
                id="ds_documents",
                project_id=found.project_id,
                name="documents",
                kind=Kind.DOCUMENTS.value,
                sha256="1" * 64,
                size_bytes=0,
                splits={"train": TRAIN, "validation": HELD_OUT},
            )
        )
        session.flush()
        session.add_all(map(document, range(TRAIN + HELD_OUT)))
        prompt_set_id = prompt_set.id
    return replace(found, dataset_id="ds_documents", prompt_set_id=prompt_set_id)


def document(number: int) -> Example:
    split, position = ("train", number) if number < TRAIN else ("validation", number - TRAIN)
    a, b = problem(number, 2)
    text = f"Input:\n{spaced(a)} + {spaced(b)}\nTarget:\n{total(a, b)}\n"
    place = {"dataset_id": "ds_documents", "split": split, "position": position}
    return Example(**place, external_id=f"d{number}", question=text, answer="")


def settings(questions: str, **changes: Any) -> dict[str, Any]:
    """A job on documents; other than in STaR nothing of CONFIG may stay."""
    own = {"kind": "documents", "method": "quiet_star", "quiet_star": METHOD, "iterations": 2}
    evaluation = {"baselines": (), "also": (questions,)}
    return {**own, "evaluation": evaluation, "generation": {}, "training": {}, **changes}


def undisturbed(world: World, **sent: Any) -> str:
    job_id, worker = world.submit(**sent), world.worker_context()
    try:
        while held := claim_step(world.engine, worker.worker_id, 60):
            work_on(worker, held)
    finally:
        worker.drop_gpu()
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    return job_id


def questions_of(world: World) -> str:
    """The dataset that every world has."""
    with transaction(world.engine) as session:
        return next(one.id for one in session.query(Dataset) if one.id != "ds_documents")


def test_a_fork_records_what_its_source_does_from_there_on(world: World) -> None:
    sent = settings(questions_of(world))
    source = undisturbed(world, **sent)
    whole = recorded(world, source)
    assert {"1 quiet", "2 quiet", "1 thoughts", "1 evaluations", "2 training_curves"} <= whole.keys()
    assert recorded(world, undisturbed(world, **sent, fork=ForkPoint(source, 1))) == whole


@pytest.mark.long
@pytest.mark.parametrize("kills", [ONE_KILL, KILLS], ids=["one", "all"])
def test_a_job_whose_worker_is_killed_records_what_an_undisturbed_one_does(
    kills: tuple[str, ...], world: World, empty_valkey_url: str
) -> None:
    sent = settings(questions_of(world))
    whole = recorded(world, undisturbed(world, **sent))
    with platform(world, empty_valkey_url) as running:
        running.scheduler()
        running.worker(STAR_FAILPOINTS=armed("kill", kills))
        job_id = world.submit(**sent)
        running.wait_for(job_id, "succeeded", seconds=900, meanwhile=Sleepers(running).wake)
        fired = {path.name for path in running.fired.iterdir()}
    assert fired == {point.partition("@")[0] for point in kills}
    assert recorded(world, job_id) == whole
