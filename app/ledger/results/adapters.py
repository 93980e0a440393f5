"""Adapters: one per iteration and role, weights immutable once recorded, usable once verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import new_id
from app.errors import NotFound
from app.ledger.events import append_event
from app.ledger.jobs.facts import best_iteration
from app.ledger.platform.quotas import check_adapter
from app.ledger.quality.promotions import Place, current_promotion
from app.ledger.queue.steps import Claim, check_fence
from app.ledger.transitions import lock_job
from app.tables.base import JsonObject
from app.tables.data import Model
from app.tables.jobs import Job
from app.tables.rationales import Adapter
from star_engine.adapters.layout import CONFIG, HEAD, OPTIMIZER, THINKING, WEIGHTS
from star_engine.adapters.roles import AdapterRole
from star_engine.sampling.completion_cache import model_sha256


def record_adapter(
    session: Session,
    claim: Claim,
    files: Sequence[JsonObject],
    training: JsonObject,
    role: AdapterRole = AdapterRole.GENERATOR,
) -> None:
    """Record freshly trained weights. `files`: [{path, size_bytes, sha256}]. Raises Fenced, QuotaExceeded.

    An earlier attempt may have recorded its weights and died before it finished the step: those stay.
    """
    lock_job(
        session, claim.job_id
    )  # finish_step in the same transaction wants it, and it comes before the step
    check_fence(session, claim)
    if find_adapter(session, claim.job_id, claim.iteration, role) is None:
        check_adapter(session, claim.project_id, sum(int(entry["size_bytes"]) for entry in files))
        session.add(
            Adapter(
                id=new_id("adp"),
                job_id=claim.job_id,
                iteration_number=claim.iteration,
                role=role,
                files=list(files),
                training=training,
            )
        )


def record_verification(
    session: Session,
    claim: Claim,
    files: Sequence[JsonObject],
    verification: JsonObject,
    role: AdapterRole = AdapterRole.GENERATOR,
) -> None:
    """Record that the adapter is proven to load, with its card and manifest. Raises Fenced.

    Optimizer state that the next iteration goes on with stays beside them.
    """
    job = lock_job(session, claim.job_id)
    check_fence(session, claim)
    adapter = find_adapter(session, claim.job_id, claim.iteration, role)
    if adapter is None:
        raise RuntimeError(f"iteration {claim.iteration} of {claim.job_id} has no {role} to verify")
    if adapter.verification is None:
        adapter.files = [*files, *(entry for entry in adapter.files if entry["path"] == OPTIMIZER)]
        adapter.verification = verification
        append_event(session, job, "adapter.verified", {"iteration": claim.iteration, "adapter": adapter.id})


def record_measured(
    session: Session,
    claim: Claim,
    files: Sequence[JsonObject],
    role: AdapterRole = AdapterRole.GENERATOR,
) -> None:
    """Put card and manifest in the place of those that were written before they were measured. Raises Fenced.

    The only files of a verified adapter that ever change: with its evaluation, and with many answers to each
    question where the run asks for them. Its config and weights stay.
    """
    lock_job(session, claim.job_id)
    check_fence(session, claim)
    adapter = find_adapter(session, claim.job_id, claim.iteration, role)
    if adapter is not None:
        changed = {entry["path"]: entry for entry in files}
        adapter.files = [changed.get(entry["path"], entry) for entry in adapter.files]


def published_files(adapter: Adapter) -> list[JsonObject]:
    """The files that an adapter is used with: all but the optimizer state of its training."""
    return [entry for entry in adapter.files if entry["path"] != OPTIMIZER]


def find_adapter(
    session: Session, job_id: str, iteration: int, role: AdapterRole = AdapterRole.GENERATOR
) -> Adapter | None:
    query = select(Adapter).where(Adapter.job_id == job_id, Adapter.iteration_number == iteration)
    return session.scalars(query.where(Adapter.role == role)).one_or_none()


def adapter_to_ask(session: Session, job_id: str, iteration: int) -> Adapter | None:
    """The adapter that a step of this iteration samples with: the job's own, or the one that it was given."""
    given = session.get_one(Job, job_id).adapter_id
    return find_adapter(session, job_id, iteration) if given is None else session.get_one(Adapter, given)


def verifier_to_ask(
    session: Session, project_id: str, job_id: str, iteration: int, name: str
) -> Adapter | None:
    """The job's newest verifier up to this iteration ("verifier"); None where it has none yet. Or another
    job's of the project by its id: NotFound where its weights are gone.
    """
    if name == AdapterRole.VERIFIER:
        own = select(Adapter).where(Adapter.job_id == job_id, Adapter.role == AdapterRole.VERIFIER)
        own = own.where(Adapter.iteration_number <= iteration, Adapter.verification.is_not(None))
        return session.scalars(own.order_by(Adapter.iteration_number.desc()).limit(1)).one_or_none()
    adapter, _ = get_adapter(session, project_id, name)
    if adapter.role is not AdapterRole.VERIFIER or adapter.deleted_at is not None:
        raise NotFound(f"There is no verifier {name} any more.")
    return adapter


def answering_model(
    session: Session, job_id: str, model_id: str, iteration: int
) -> tuple[str | None, str | None]:
    """The SHA-256 of the model that a step of this iteration asks (0: the base model), and its adapter's id.

    The first is None where the base model's files are not pinned. Raises RuntimeError where the iteration has
    no adapter: else the base model would answer in its name.
    """
    base = session.get_one(Model, model_id).files
    if iteration == 0:
        return model_sha256(base, None), None
    adapter = adapter_to_ask(session, job_id, iteration)
    if adapter is None:
        raise RuntimeError(f"iteration {iteration} of {job_id} has no adapter to sample with")
    loaded = (CONFIG, WEIGHTS, HEAD, THINKING)  # the last two of an adapter that thinks between tokens
    files = {entry["path"]: entry["sha256"] for entry in adapter.files if entry["path"] in loaded}
    return model_sha256(base, files), adapter.id


def list_adapters(session: Session, job_id: str) -> Sequence[Adapter]:
    """A job's verified adapters of every role, by iteration, the generator first."""
    query = select(Adapter).where(Adapter.job_id == job_id, Adapter.verification.is_not(None))
    order = (Adapter.iteration_number, Adapter.role != AdapterRole.GENERATOR, Adapter.id)
    return session.scalars(query.order_by(*order)).all()


def list_project_adapters(
    session: Session,
    project_id: str,
    *,
    model: str | None,
    after: str | None,
    limit: int,
    askable_on: frozenset[str] | None = None,
) -> Sequence[tuple[Adapter, Job]]:
    """Verified adapters of a project, newest first, each with its job.

    askable_on: only those that write texts, whose weights are there, on one of these base models.
    """
    query: Any = _verified(project_id).order_by(Adapter.id.desc()).limit(limit)
    if askable_on is not None:
        there = Adapter.role == AdapterRole.GENERATOR, Adapter.deleted_at.is_(None)
        query = query.where(*there, Job.model_id.in_(askable_on))
    if model is not None:
        query = query.where(Job.model_id == model)
    if after is not None:
        query = query.where(Adapter.id < after)
    return session.execute(query).all()


def names_adapter(name: str) -> bool:
    """Whether `get_adapter` may know the name; a base model that is called so goes first."""
    return name.startswith(("adp_", "job_")) or "@" in name


def get_adapter(session: Session, project_id: str, name: str) -> tuple[Adapter, Job]:
    """A verified adapter of this project, with its job; else NotFound.

    `name` is an adapter's id, an alias of a job's generator or of what thinks (`job_...:best`, `job_...:last`
    or `job_...:3`, its iteration; of equally accurate iterations the earlier one is the best), or a name and
    a stage that one was promoted to: `default@production`.
    """
    job_id, colon, which = name.partition(":")
    adapter_id = _of_job(session, job_id, which) if colon else name
    if "@" in name:
        promotion = current_promotion(session, project_id, Place(*name.split("@", 1)))
        adapter_id = None if promotion is None else promotion.adapter_id
    row = session.execute(_verified(project_id).where(Adapter.id == adapter_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no adapter {name}.")
    return row


def _verified(project_id: str) -> Any:
    joined = select(Adapter, Job).join(Job, Job.id == Adapter.job_id)
    return joined.where(Job.project_id == project_id, Adapter.verification.is_not(None))


def _of_job(session: Session, job_id: str, which: str) -> str | None:
    """The id that an alias stands for now; None if it stands for none."""
    job = session.get(Job, job_id)
    if job is None:
        return None
    if which == "best":
        best = best_iteration(session, job)
        return None if best is None else str(best["adapter_id"])
    verified = [one for one in list_adapters(session, job_id) if one.role is not AdapterRole.VERIFIER]
    if which == "last":
        return verified[-1].id if verified else None
    return next((one.id for one in verified if str(one.iteration_number) == which), None)


def adapter_by_id(session: Session, adapter_id: str) -> Adapter:
    """A verified adapter of any project: who asks for it has been checked before. Else NotFound."""
    found = session.get(Adapter, adapter_id)
    if found is None or found.verification is None:
        raise NotFound(f"There is no adapter {adapter_id}.")
    return found
