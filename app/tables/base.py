"""What all tables share."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from sqlalchemy import JSON, BigInteger, Dialect, Integer, MetaData, Text, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    ORMExecuteState,
    Session,
    mapped_column,
    with_loader_criteria,
)
from sqlalchemy.types import TypeDecorator

from app.database import UtcDateTime, clock
from app.tables.statuses import BaseModelTaskKind, BaseModelTaskStatus, JobStatus, Purpose, StepStatus
from star_engine.adapters.roles import AdapterRole
from star_engine.loop import PhaseName, StopReason
from star_engine.sampling.rationales import Route
from star_engine.tasks.kind import Kind

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Serial = BigInteger().with_variant(Integer(), "sqlite")  # SQLite autoincrements INTEGER keys only
JsonObject = dict[str, Any]
Code = TypeVar("Code", bound=StrEnum)
CODES: tuple[type[StrEnum], ...] = (
    AdapterRole,
    BaseModelTaskKind,
    BaseModelTaskStatus,
    JobStatus,
    Kind,
    PhaseName,
    Purpose,
    Route,
    StepStatus,
    StopReason,
)

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class EnumText(TypeDecorator[Code]):
    """A member of an enum, stored as its value in a text column, so that a new member needs no migration.

    A value that the enum does not know was written by a newer version during a rolling upgrade. It is read
    as a member that no name leads to: equal to none of the known ones, and shown as it was written.
    sqlalchemy.Enum would raise LookupError for the whole page of rows.
    """

    impl = Text
    cache_ok = True

    def __init__(self, codes: type[Code]) -> None:
        super().__init__()
        self.codes = codes

    def process_bind_param(self, value: Code | str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Code | None:
        try:
            return None if value is None else self.codes(value)
        except ValueError:
            return unknown_member(self.codes, str(value))


def unknown_member(codes: type[Code], value: str) -> Code:
    """What `codes(value)` refuses to make: user input is checked by the enum, the database's own is not."""
    member = str.__new__(codes, value)
    member._name_ = member._value_ = value
    return member


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        JsonObject: Json,
        list[Any]: Json,
        datetime: UtcDateTime(),
        **{codes: EnumText(codes) for codes in CODES},
    }


def created() -> Mapped[datetime]:
    return mapped_column(default=clock())


class Deletable:
    """What is marked as deleted first and removed later, a batch at a time (app/ledger/deletion).

    From the mark on no query finds it, so that no route can forget to look; what removes it executes its
    queries with WITH_DELETED.
    """

    deleted_at: Mapped[datetime | None] = mapped_column()


WITH_DELETED = {"with_deleted": True}
_NOT_DELETED = with_loader_criteria(Deletable, lambda row: row.deleted_at.is_(None), include_aliases=True)


@event.listens_for(Session, "do_orm_execute")
def _hide_deleted(state: ORMExecuteState) -> None:
    asked = state.is_select and not state.is_column_load and not state.is_relationship_load
    if asked and not state.execution_options.get("with_deleted", False):
        state.statement = state.statement.options(_NOT_DELETED)
