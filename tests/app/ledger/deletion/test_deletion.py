"""What is deleted is gone at once, and removed a batch at a time with all that nothing else needs."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import Engine, event, func, select

from app.database import clock, new_id, reading, transaction
from app.errors import Conflict, NotFound
from app.ledger.deletion import mark, remove
from app.ledger.deletion.hold import hold_inputs
from app.ledger.deletion.projects import empty_projects
from app.ledger.deletion.remove import remove_deleted
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.jobs import cancel_job, get_job
from app.ledger.platform.quotas import standings
from app.ledger.queue.reaper import reap
from app.ledger.queue.steps import finish_step
from app.ledger.results.completion_cache import recorded_tries
from app.ledger.transitions import JobGone
from app.storage import MissingArtifact, Storage
from app.tables.base import WITH_DELETED, Base
from app.tables.data import Dataset, Example, PromptSet
from app.tables.files import File
from app.tables.jobs import Iteration, Job, Step
from app.tables.platform import ApiKey, Project
from app.tables.rationales import Adapter, Evaluation, Rationale
from app.tables.statuses import JobStatus
from app.tables.usage import Usage
from star_engine.config.star import StarConfig
from tests.app.ledger.ledger_driver import claim, finish_job
from tests.factories import CONFIG, World

NOW = timedelta(0)


def delete_job(world: World, job_id: str, *, baselines: bool = False) -> None:
    with transaction(world.engine) as session:
        mark.delete_job(session, job_id, baselines=baselines)


def finished_job(world: World) -> str:
    job_id = world.submit(iterations=1)
    finish_job(world)
    return job_id


def storage(world: World) -> Storage:
    return Storage(world.settings.resolved_storage_url())


def remove_all(world: World) -> None:
    remove_deleted(world.engine, storage(world), seconds=60, grace=NOW)


def count(engine: Engine, table: type[Base]) -> int:
    with reading(engine) as session:
        found = session.scalar(select(func.count()).select_from(table), execution_options=WITH_DELETED)
        return found or 0


def weights(world: World, job_id: str) -> str:
    with reading(world.engine) as session:
        adapter = session.scalars(select(Adapter).where(Adapter.job_id == job_id)).one()
        return str(adapter.files[0]["sha256"])


def test_deleted_job_is_not_found_by_any_query(world: World) -> None:
    job_id = finished_job(world)
    delete_job(world, job_id)
    with reading(world.engine) as session:
        with pytest.raises(NotFound):
            get_job(session, world.project_id, job_id)
        assert session.scalars(select(Job.id)).all() == []
        joined = select(Rationale.id).join(Job, Job.id == Rationale.job_id)
        assert session.scalars(joined).all() == []


def test_removal_leaves_usage_and_the_dataset_alone(world: World) -> None:
    job_id = finished_job(world)
    used = count(world.engine, Usage)
    delete_job(world, job_id)
    remove_all(world)
    assert [count(world.engine, table) for table in (Job, Step, Iteration, Rationale, Evaluation)] == [0] * 5
    assert count(world.engine, Usage) == used > 0
    assert count(world.engine, Example) > 0


def test_bytes_of_a_deleted_job_stay_for_an_hour(world: World) -> None:
    job_id = finished_job(world)
    sha = weights(world, job_id)
    delete_job(world, job_id)
    remove_deleted(world.engine, storage(world), seconds=60)
    assert count(world.engine, Rationale) == 0, "its texts go at once"
    assert storage(world).size(sha) > 0
    remove_all(world)
    with pytest.raises(MissingArtifact):
        storage(world).size(sha)


def test_bytes_that_another_projects_file_needs_stay(world: World) -> None:
    job_id = finished_job(world)
    sha = weights(world, job_id)
    with transaction(world.engine) as session:
        session.add(Project(id="proj_other", name="other"))
        session.flush()
        mine = File(id=new_id("file"), project_id="proj_other", filename="w", purpose="x", sha256=sha)
        mine.size_bytes = 1
        session.add(mine)
    delete_job(world, job_id)
    remove_all(world)
    assert count(world.engine, Job) == 0
    assert storage(world).size(sha) > 0


def test_removal_that_is_cut_short_goes_on_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove, "BATCH", 3)
    job_id = finished_job(world)
    delete_job(world, job_id)
    before = count(world.engine, Rationale)
    turns = 0
    while count(world.engine, Job) and turns < 1000:
        remove_deleted(world.engine, storage(world), seconds=0.001, grace=NOW)
        turns += 1
    assert turns > 1
    assert before > 0 == count(world.engine, Job)


def test_no_transaction_removes_more_than_a_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove, "BATCH", 3)
    removed: list[int] = []
    delete_job(world, finished_job(world))

    def note(_c: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE FROM rationales"):
            removed.append(cursor.rowcount)  # type: ignore[attr-defined]

    event.listen(world.engine, "after_cursor_execute", note)
    remove_all(world)
    assert sum(removed) > 3
    assert max(removed) == 3


@pytest.mark.parametrize("status", ["queued", "running"])
def test_active_job_is_refused(world: World, status: str) -> None:
    job_id = world.submit(iterations=1)
    if status == "running":
        claim(world)
    with pytest.raises(Conflict, match="Cancel it first") as refused:
        delete_job(world, job_id)
    assert refused.value.code == "job_active"


def test_dependents_of_a_job_are_named(world: World) -> None:
    job_id = finished_job(world)
    fork = world.submit(fork=ForkPoint(job_id, 1), iterations=2)
    with pytest.raises(Conflict, match=fork) as refused:
        delete_job(world, job_id)
    [dependent] = refused.value.dependents
    assert (dependent.object, dependent.id, dependent.reason) == ("job", fork, "was forked from it")
    finish_job(world)
    delete_job(world, fork)
    delete_job(world, job_id)


def test_baselines_are_deleted_with_their_job_where_that_is_asked_for(world: World) -> None:
    job_id = world.submit(iterations=1, beside={"direct_sft": {}})
    finish_job(world)
    with pytest.raises(Conflict, match="one of its baselines"):
        delete_job(world, job_id)
    delete_job(world, job_id, baselines=True)
    remove_all(world)
    assert count(world.engine, Job) == 0


def test_files_that_a_fork_shares_with_its_deleted_origin_stay_with_the_origin_gone(world: World) -> None:
    job_id = finished_job(world)
    fork = world.submit(fork=ForkPoint(job_id, 1), iterations=2)
    finish_job(world)
    sha = weights(world, job_id)
    delete_job(world, fork)
    remove_all(world)
    assert count(world.engine, Job) == 1
    assert storage(world).size(sha) > 0


def test_dataset_that_a_job_uses_is_refused_and_goes_after_the_job(world: World) -> None:
    job_id = finished_job(world)

    def delete_dataset() -> None:
        with transaction(world.engine) as session:
            mark.delete_dataset(session, world.dataset_id)

    with pytest.raises(Conflict) as refused:
        delete_dataset()
    assert [one.id for one in refused.value.dependents] == [job_id]
    delete_job(world, job_id)
    delete_dataset()
    remove_deleted(world.engine, storage(world), seconds=60)
    assert count(world.engine, Dataset) == 1, "the job's row still refers to it"
    remove_all(world)
    assert [count(world.engine, table) for table in (Job, Dataset, Example)] == [0, 0, 0]


def test_other_datasets_that_a_job_is_measured_on_count_as_used(world: World) -> None:
    with transaction(world.engine) as session:
        other = Dataset(id="ds_other", project_id=world.project_id, name="other", kind="scratchpad")
        other.sha256, other.size_bytes, other.splits = "1" * 64, 1, {"validation": 1}
        session.add(other)
    job_id = world.submit(evaluation={"also": ["ds_other"]})
    with pytest.raises(Conflict, match=job_id), transaction(world.engine) as session:
        mark.delete_dataset(session, "ds_other")


def test_prompt_set_goes_once_no_job_uses_it(world: World) -> None:
    job_id = finished_job(world)
    with pytest.raises(Conflict, match=job_id), transaction(world.engine) as session:
        mark.delete_prompt_set(session, world.prompt_set_id)
    delete_job(world, job_id)
    with transaction(world.engine) as session:
        mark.delete_prompt_set(session, world.prompt_set_id)
    remove_all(world)
    assert count(world.engine, PromptSet) == 0


def test_no_job_can_be_made_from_a_deleted_dataset(world: World) -> None:
    with transaction(world.engine) as session:
        mark.delete_dataset(session, world.dataset_id)
    config = StarConfig.model_validate(CONFIG)
    with pytest.raises(NotFound), transaction(world.engine) as session:
        hold_inputs(session, world.dataset_id, world.prompt_set_id, config)


def test_a_job_that_is_made_while_its_dataset_is_deleted_or_its_deletion_is_refused(world: World) -> None:
    outcomes: list[str] = []

    def attempt(what: str) -> None:
        try:
            if what == "submit":
                world.submit()
            else:
                with transaction(world.engine) as session:
                    mark.delete_dataset(session, world.dataset_id)
        except (Conflict, NotFound) as refused:
            outcomes.append(type(refused).__name__)
        except Exception as failed:  # noqa: BLE001 - NoResultFound: the factory itself reads the dataset
            outcomes.append(type(failed).__name__)
        else:
            outcomes.append(what)

    threads = [Thread(target=attempt, args=[what]) for what in ("submit", "delete")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({"submit", "delete"} & set(outcomes)) == 1, outcomes


def test_quotas_shrink_with_what_is_deleted(world: World) -> None:
    job_id = finished_job(world)
    with transaction(world.engine) as session:
        session.get_one(Dataset, world.dataset_id).size_bytes = 77
    before = used(world)
    delete_job(world, job_id)
    with transaction(world.engine) as session:
        mark.delete_dataset(session, world.dataset_id)
    assert (before["dataset_bytes"], used(world)["dataset_bytes"]) == (77, 0)
    assert before["adapter_bytes"] > 0 == used(world)["adapter_bytes"]


def used(world: World) -> dict[str, float]:
    with reading(world.engine) as session:
        return {one.name: one.used for one in standings(session, world.project_id)}


def test_texts_of_a_deleted_job_are_not_reused(world: World) -> None:
    job_id = finished_job(world)
    with transaction(world.engine) as session:
        row = session.scalars(select(Rationale).where(Rationale.job_id == job_id).limit(1)).one()
        row.request_sha256 = "f" * 64
    delete_job(world, job_id)
    with reading(world.engine) as session:
        assert recorded_tries(session, world.project_id, ["f" * 64]) == {}


def test_worker_of_a_failed_job_that_was_deleted_can_end_its_step(world: World) -> None:
    job_id = world.submit(iterations=1)
    held = claim(world)
    with transaction(world.engine) as session:
        cancel_job(session, get_job(session, world.project_id, job_id))
    with transaction(world.engine) as session:  # as if the job had failed at another step's end
        session.get_one(Job, job_id).status = JobStatus.FAILED
        session.flush()
        mark.delete_job(session, job_id)
    remove_all(world)
    assert count(world.engine, Job) == 1, "not while a step runs"
    with transaction(world.engine) as session:
        session.get_one(Step, held.step_id).lease_until = clock(-1)
    assert reap(world.engine, world.settings) == 1
    remove_all(world)
    assert count(world.engine, Job) == 0
    with pytest.raises(JobGone), transaction(world.engine) as session:
        finish_step(session, held, world.settings)


def test_archived_job_is_told_from_the_others(world: World) -> None:
    job_id = finished_job(world)
    with transaction(world.engine) as session:
        assert mark.archive_job(session, job_id, archived=True)[1]
        assert not mark.archive_job(session, job_id, archived=True)[1], "it was so already"
        assert mark.archive_job(session, job_id, archived=False)[1]
        assert session.get_one(Job, job_id).archived_at is None


def test_project_is_emptied_and_leaves_its_usage(world: World) -> None:
    finished_job(world)
    with pytest.raises(Conflict) as refused, transaction(world.engine) as session:
        mark.delete_project(session, world.project_id, contents=False)
    assert {one.object for one in refused.value.dependents} == {"job", "dataset", "prompt_set"}
    with transaction(world.engine) as session:
        mark.delete_project(session, world.project_id, contents=True)
    assert empty_projects(world.engine) == 0
    remove_all(world)
    assert empty_projects(world.engine) == 1
    assert [count(world.engine, table) for table in (Job, Dataset, PromptSet, ApiKey)] == [0] * 4
    assert count(world.engine, Usage) > 0
    assert count(world.engine, Project) == 1, "its usage refers to it"


def test_job_that_was_accepted_beside_the_deletion_of_its_project_is_cancelled(world: World) -> None:
    with transaction(world.engine) as session:
        mark.delete_project(session, world.project_id, contents=True)
    job_id = world.submit()
    empty_projects(world.engine)
    assert world.job(job_id).status == "cancelled"
    empty_projects(world.engine)
    remove_all(world)
    assert empty_projects(world.engine) == 1
    assert count(world.engine, Project) == 0, "nobody ever used it"
