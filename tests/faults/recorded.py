"""All that a job has recorded, without ids and clocks: two jobs of the same settings must agree in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.database import reading
from app.tables.base import Base
from app.tables.candidates import Candidate, PreferencePair, QuestionCurve, Thought, VerifierCurve
from app.tables.jobs import Iteration
from app.tables.rationales import Adapter, Evaluation, Rationale, TrainingCurve, TrainingExample
from star_engine.adapters.layout import HEAD, WEIGHTS
from tests.factories import World

TABLES = (
    *(Rationale, TrainingExample, TrainingCurve, Evaluation),
    *(Candidate, QuestionCurve, PreferencePair, VerifierCurve, Thought),
)
OF_A_ROW = {  # ids, clocks and what was looked up: they may differ
    *("id", "job_id", "iteration_id", "rationale_id", "sampler_adapter_id", "created_at", "reused"),
}
OF_A_CLAIM = {"seconds", "reused"}  # metrics


def recorded(world: World, job_id: str) -> dict[str, list[str]]:
    """Rows by iteration and table, as sorted JSON, with the hashes of all weights."""
    found: dict[str, list[str]] = {}
    with reading(world.engine) as session:
        iterations = select(Iteration).where(Iteration.job_id == job_id).order_by(Iteration.number)
        for iteration in session.scalars(iterations):
            facts = [iteration.phases_done, _timeless(iteration.metrics), iteration.training_set_sha256]
            found[f"{iteration.number} facts"] = [_json(facts)]
            for table in TABLES:
                rows = _rows(session, table, table.iteration_id == iteration.id)
                found[f"{iteration.number} {table.__tablename__}"] = rows
        adapters = select(Adapter).where(Adapter.job_id == job_id)
        for adapter in session.scalars(adapters):
            weights = [one["sha256"] for one in adapter.files if one["path"] in (WEIGHTS, HEAD)]
            facts = [weights, _timeless(adapter.training), adapter.verification]
            found[f"{adapter.iteration_number} {adapter.role}"] = [_json(facts)]
    return {name: rows for name, rows in found.items() if rows}


def _rows(session: Session, table: type[Base], which: ColumnElement[bool]) -> list[str]:
    columns = [one for one in table.__table__.columns if one.key not in OF_A_ROW]
    return sorted(_json(list(row)) for row in session.execute(select(*columns).where(which)))


def _timeless(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a clock has measured, at any depth."""
    return {
        name: _timeless(value) if isinstance(value, Mapping) else value
        for name, value in facts.items()
        if name not in OF_A_CLAIM
    }


def _json(values: object) -> str:
    return json.dumps(values, sort_keys=True)
