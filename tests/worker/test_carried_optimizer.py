"""`training.optimizer: carry` in the service: state goes from iteration to iteration, and into forks."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.database import clock, reading, transaction
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.retention import remove_weights
from app.storage import Storage
from app.tables.rationales import Adapter
from star_engine.adapters.layout import LAYOUT, OPTIMIZER, WEIGHTS
from tests.factories import World, make_world
from tests.worker.test_waves import library, work_in_any_order

SETTINGS: dict[str, Any] = {
    "training": {
        "schedule": {"kind": "linear", "start": 3, "add": 1},
        "batch_size": 4,
        "start_from": "previous",
        "optimizer": "carry",
    },
    "evaluation": {"baselines": ["few_shot_cot"], "max_examples": 4},
    "audits": {"spark_level": None},
}


def adapters(world: World, job_id: str) -> list[Adapter]:
    with reading(world.engine) as session:
        query = select(Adapter).where(Adapter.job_id == job_id).order_by(Adapter.iteration_number)
        return list(session.scalars(query))


def steps_of(world: World, adapter: Adapter, folder: Path) -> int:
    """How many steps the optimizer had taken when the adapter was done."""
    files = {one["path"]: one["sha256"] for one in adapter.files}
    path = folder / adapter.id
    Storage(world.settings.resolved_storage_url()).fetch(files[OPTIMIZER], path)
    return int(json.loads(path.read_text())["steps"])


def test_the_optimizer_of_an_iteration_goes_on_in_the_next_and_in_forks(
    database_url: str, tmp_path: Path
) -> None:
    world = make_world(database_url, tmp_path / "home")
    job_id = world.submit(**SETTINGS)
    work_in_any_order(world, 1)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    made = adapters(world, job_id)
    assert [steps_of(world, one, tmp_path) for one in made] == [3, 7]  # 3, then 4 on top of them
    assert [one.training.get("optimizer_from") for one in made] == [None, "iteration 1"]
    forked = world.submit(**SETTINGS, fork=ForkPoint(job_id, 1))
    work_in_any_order(world, 2)
    copied = adapters(world, forked)
    assert [steps_of(world, one, tmp_path) for one in copied] == [3, 7]
    assert {one["path"] for one in copied[0].files} == LAYOUT | {OPTIMIZER}
    directory = library(world, tmp_path / "run", SETTINGS)
    assert json.loads(directory.optimizer_path(2).read_text()) == {"steps": 7}
    assert {path.name for path in directory.adapter(2).iterdir()} == LAYOUT
    manifest = json.loads((directory.adapter(2) / "manifest.json").read_text())
    assert manifest["optimizer"] == "AdamW, carried on from iteration 1"


def test_the_state_of_a_deleted_adapter_is_removed_with_its_weights(
    database_url: str, tmp_path: Path
) -> None:
    world = make_world(database_url, tmp_path / "home")
    job_id = world.submit(**{**SETTINGS, "iterations": 1})
    work_in_any_order(world, 1)
    [made] = adapters(world, job_id)
    storage = Storage(world.settings.resolved_storage_url())
    with transaction(world.engine) as session:
        session.get_one(Adapter, made.id).deleted_at = clock(-60)
    assert remove_weights(world.engine, storage, timedelta(0)) == 1
    [left] = adapters(world, job_id)
    assert {one["path"] for one in left.files} == LAYOUT - {WEIGHTS}
