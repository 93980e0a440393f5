from __future__ import annotations

from enum import StrEnum

import pytest
from sqlalchemy import func, select, text, update

from app.database import reading, transaction
from app.ledger.queue.steps import claim_step
from app.ledger.transitions import IllegalTransition, lock_job, move_job
from app.tables.base import CODES, Base, EnumText
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from tests.app.api_harness import Api
from tests.app.dashboard.conftest import sign_in


def write(api: Api, table: str, column: str, value: str) -> None:
    """As a newer version would, that knows more codes than this one."""
    with transaction(api.engine) as session:
        session.execute(update(Base.metadata.tables[table]).values({column: value}))


def test_column_of_an_enum_holds_its_value_as_text(api: Api) -> None:
    api.job()
    with reading(api.engine) as session:
        assert session.scalar(text("SELECT status FROM jobs")) == "queued"
        assert session.scalar(select(Job.status)) is JobStatus.QUEUED
        assert session.scalar(select(func.count()).where(Job.status == "queued")) == 1


@pytest.mark.parametrize("codes", CODES)
def test_code_that_this_version_does_not_know_is_read_as_it_was_written(codes: type[StrEnum]) -> None:
    read = EnumText(codes).process_result_value("of_next_year", None)  # type: ignore[arg-type]  # takes no part
    assert isinstance(read, codes)
    assert (read, str(read), f"{read}") == ("of_next_year",) * 3
    assert read not in list(codes)
    with pytest.raises(ValueError, match="of_next_year"):
        codes("of_next_year")


@pytest.mark.parametrize("column", ["status", "purpose", "phase", "stop_reason"])
def test_job_with_a_code_of_a_newer_version_is_listed(column: str, api: Api) -> None:
    job = api.job()
    write(api, "jobs", column, "of_next_year")
    (listed,) = api.client.get("/v1/jobs").json()["data"]
    assert listed == api.client.get(f"/v1/jobs/{job['id']}").json()
    assert listed[column] == "of_next_year"
    assert listed["is_terminal"] is False
    page = sign_in(api, api.admin).get("/jobs")
    assert page.status_code == 200
    assert job["id"] in page.text


@pytest.mark.parametrize("table", ["datasets", "prompt_sets"])
def test_data_of_a_kind_of_a_newer_version_is_listed(table: str, api: Api) -> None:
    api.job()
    write(api, table, "kind", "of_next_year")
    (listed,) = api.client.get(f"/v1/{table.replace('_', '-')}").json()["data"]
    assert listed["kind"] == "of_next_year"


def test_step_of_a_phase_that_this_version_does_not_know_is_left_to_newer_workers(api: Api) -> None:
    api.job()
    write(api, "steps", "phase", "of_next_year")
    assert claim_step(api.engine, "worker:1", 60) is None
    write(api, "steps", "phase", "baselines")
    assert claim_step(api.engine, "worker:1", 60) is not None


def test_job_with_settings_of_a_newer_version_is_listed_and_left_to_newer_workers(api: Api) -> None:
    newer, older = api.job(priority=9), api.job(metadata={"a": "b"})
    stored = {**newer["config"], "of_next_year": True}
    with transaction(api.engine) as session:
        session.get_one(Job, newer["id"]).stored_config = stored
    claims = [claim_step(api.engine, f"worker:{number}", 60) for number in range(9)]
    assert {claim.job_id for claim in claims if claim is not None} == {older["id"]}
    shown = {job["id"]: job for job in api.client.get("/v1/jobs").json()["data"]}
    assert shown[newer["id"]]["config"] == stored
    assert shown[newer["id"]]["estimate_unavailable"] is not None
    assert api.client.post(f"/v1/jobs/{newer['id']}/cancel").status_code == 202


def test_filter_by_a_status_that_this_version_does_not_know_is_refused(api: Api) -> None:
    assert api.client.get("/v1/jobs", params={"status": "of_next_year"}).status_code == 422


def test_job_in_a_status_of_a_newer_version_is_not_moved(api: Api) -> None:
    job = api.job()
    write(api, "jobs", "status", "of_next_year")
    with transaction(api.engine) as session, pytest.raises(IllegalTransition, match="of_next_year"):
        move_job(session, lock_job(session, job["id"]), JobStatus.RUNNING)
    assert api.client.post(f"/v1/jobs/{job['id']}/resume").status_code == 409


def test_every_column_of_an_enum_is_a_text_column() -> None:
    columns = [one for table in Base.metadata.tables.values() for one in table.columns]
    kinds = {str(one.type.compile()) for one in columns if isinstance(one.type, EnumText)}
    assert kinds == {"TEXT"}
