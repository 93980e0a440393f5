"""For how long a project keeps texts, events and files: as it is sent and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt
from sqlalchemy import Engine

from app.database import reading, transaction
from app.http.ranges import ANY_VERSION, Expected
from app.http.schemas import In, Item
from app.ledger.deletion.by_age import rule_of, set_rule
from app.ledger.platform.keys import Caller
from app.ledger.platform.projects import get_project, meant_project
from app.tables.retention import RetentionRule

MAX_DAYS = 36_500

Days = Annotated[StrictInt | None, Field(ge=1, le=MAX_DAYS)]


class DataRetentionIn(In):
    """Fields left out, or null: for good."""

    text_days: Annotated[
        Days,
        Field(description="Days after the end of a job: its rationales, answers and training sets go then."),
    ] = None
    event_days: Annotated[Days, Field(description="Days after the end of a job: its events go then.")] = None
    file_days: Annotated[Days, Field(description="Days after the upload of a file; datasets stay.")] = None


class DataRetentionOut(Item):
    object: Literal["data_retention"] = "data_retention"
    project: str
    text_days: int | None
    event_days: int | None
    file_days: int | None


def read_data_retention(db: Engine, caller: Caller, project: str | None = None) -> DataRetentionOut:
    """`project` is another than the caller's own, for operators."""
    with reading(db) as session:
        return _out(rule_of(session, meant_project(session, caller, project)))


def change_data_retention(
    db: Engine,
    caller: Caller,
    sent: DataRetentionIn,
    project: str | None = None,
    expected: Expected = ANY_VERSION,
) -> DataRetentionOut:
    """Replace the whole rule. What is too old by the new one goes within minutes, for good."""
    with transaction(db) as session:
        owner = get_project(session, meant_project(session, caller, project))
        expected.check(session, owner, lambda: _out(rule_of(session, owner.id)))
        return _out(set_rule(session, owner.id, sent.model_dump()))


def _out(rule: RetentionRule) -> DataRetentionOut:
    return DataRetentionOut(
        id=f"retention_{rule.project_id}",
        project=rule.project_id,
        text_days=rule.text_days,
        event_days=rule.event_days,
        file_days=rule.file_days,
    )
