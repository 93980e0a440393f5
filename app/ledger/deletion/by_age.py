"""Removes what projects no longer want to keep: texts and events of jobs that ended long ago, old files.

What a job was, used and measured stays, as do its adapters: only what people and models wrote goes. The audit
log says what was removed, and by which rule.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Engine, delete, select
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.failpoints import failpoint
from app.ledger.data.files import delete_file
from app.ledger.deletion.remove import SECONDS, remove_rows
from app.ledger.transitions import TERMINAL
from app.tables.audit import AuditEntry
from app.tables.candidates import Candidate, PreferencePair, Thought
from app.tables.executions import Execution
from app.tables.files import File
from app.tables.jobs import Event, Iteration, Job
from app.tables.logs import JobLog
from app.tables.overrides import Override
from app.tables.platform import Project
from app.tables.quality import Study, StudyPair
from app.tables.rationales import Evaluation, Rationale, TrainingExample, TrialAnswer
from app.tables.retention import RetentionRule

DAY = 86_400
BATCH = 100  # objects per transaction and project
BY = "retention"  # in the place of a key, in the audit log

log = structlog.get_logger()


def rule_of(session: Session, project_id: str) -> RetentionRule:
    """The project's rule; an empty one where it has none."""
    return session.get(RetentionRule, project_id) or RetentionRule(project_id=project_id)


def set_rule(session: Session, project_id: str, days: dict[str, int | None]) -> RetentionRule:
    """Replace the rule: what is not named is kept for good. `days`: text_days, event_days, file_days."""
    rule = rule_of(session, project_id)
    for name in ("text_days", "event_days", "file_days"):
        setattr(rule, name, days.get(name))
    session.add(rule)
    session.flush()
    return rule


def remove_by_age(engine: Engine, seconds: float = SECONDS) -> int:
    """Go on removing for some `seconds`; returns how many jobs and files lost something."""
    ends = time.monotonic() + seconds
    with reading(engine) as session:
        alive = select(RetentionRule).join(Project, Project.id == RetentionRule.project_id)
        rules = session.scalars(alive).all()
    found = sum(_apply(engine, rule) for rule in rules)
    with reading(engine) as session:
        half_removed = list(session.scalars(select(Job.id).where(Job.texts_left).order_by(Job.id)))
    for job_id in half_removed:
        if not _remove_texts(engine, job_id, ends) or time.monotonic() > ends:
            break
    return found


def _apply(engine: Engine, rule: RetentionRule) -> int:
    """Mark what is too old by this rule; events go at once, since they are few."""
    with transaction(engine) as session:
        texts = _ended(session, rule, rule.text_days, Job.texts_removed_at.is_(None))
        for job in texts:
            job.texts_removed_at, job.texts_left = clock(), True
            _remember(session, rule, "texts", rule.text_days, "jobs", job.id)
        events = _ended(session, rule, rule.event_days, Job.events_removed_at.is_(None))
        for job in events:
            job.events_removed_at = clock()
            for table in (Event, JobLog):
                session.connection().execute(delete(table).where(table.job_id == job.id))
            _remember(session, rule, "events", rule.event_days, "jobs", job.id)
        files = _old_files(session, rule)
        for file in files:
            delete_file(session, file)
            _remember(session, rule, "file", rule.file_days, "files", file.id)
        failpoint("retention.before_commit")
        return len({job.id for job in (*texts, *events)}) + len(files)


def _ended(session: Session, rule: RetentionRule, days: int | None, still: ColumnElement[bool]) -> list[Job]:
    """Jobs that ended more than `days` ago, without those that another scheduler holds."""
    if days is None:
        return []
    query = select(Job).where(
        Job.project_id == rule.project_id,
        Job.status.in_(TERMINAL),
        Job.finished_at < clock(-days * DAY),
        still,
    )
    held = query.order_by(Job.id).limit(BATCH).with_for_update(skip_locked=True)
    return list(session.scalars(held))


def _old_files(session: Session, rule: RetentionRule) -> list[File]:
    if rule.file_days is None:
        return []
    query = select(File).where(
        File.project_id == rule.project_id,
        File.deleted_at.is_(None),
        File.created_at < clock(-rule.file_days * DAY),
    )
    return list(session.scalars(query.order_by(File.id).limit(BATCH).with_for_update(skip_locked=True)))


def _remember(
    session: Session, rule: RetentionRule, what: str, days: int | None, target_type: str, target: str
) -> None:
    entry = AuditEntry(
        project_id=rule.project_id,
        key_id=BY,
        request_id=BY,
        action=f"{what} removed after {days} days",
        change="deleted" if target_type == "files" else "changed",
        target_type=target_type,
        target=target,
        fields=[] if target_type == "files" else [what],
    )
    session.add(entry)


def _remove_texts(engine: Engine, job_id: str, ends: float) -> bool:
    """Whether all texts of the job are gone."""
    for table, which in _removed(job_id):
        if not remove_rows(engine, Job, job_id, table, which, ends):
            return False
    for table, which, blank in _blanked(job_id):
        if not remove_rows(engine, Job, job_id, table, which, ends, blank):
            return False
    with transaction(engine) as session:
        session.connection().execute(delete(Execution).where(Execution.job_id == job_id))
        job = session.get(Job, job_id)
        if job is not None:
            job.texts_left = False
    log.info("texts_removed", job=job_id)
    return True


def _removed(job_id: str) -> Iterator[tuple[Any, ColumnElement[bool]]]:
    """Tables that hold what was written, those that refer to others first. Curves and metrics stay."""
    iterations = select(Iteration.id).where(Iteration.job_id == job_id)
    yield TrainingExample, TrainingExample.iteration_id.in_(iterations)
    yield Override, Override.job_id == job_id
    yield Rationale, Rationale.job_id == job_id
    yield Candidate, Candidate.iteration_id.in_(iterations)
    yield PreferencePair, PreferencePair.iteration_id.in_(iterations)
    yield Thought, Thought.iteration_id.in_(iterations)
    yield TrialAnswer, TrialAnswer.job_id == job_id


def _blanked(job_id: str) -> Iterator[tuple[Any, ColumnElement[bool], dict[str, Any]]]:
    """Tables whose texts go while their rows stay: reports, receipts and comparisons pair the verdicts of
    answers, and a study's result is of its pairs. A blank answer loses the key of its request, so that no
    other job reuses it.
    """
    iterations = select(Iteration.id).where(Iteration.job_id == job_id)
    answered = Evaluation.iteration_id.in_(iterations) & (Evaluation.text != "")
    yield Evaluation, answered, {"text": "", "extracted": None, "request_sha256": None}
    studies = select(Study.id).where(Study.job_id == job_id)
    shown = StudyPair.study_id.in_(studies) & ((StudyPair.first_text != "") | (StudyPair.second_text != ""))
    yield StudyPair, shown, {"first_text": "", "second_text": ""}
