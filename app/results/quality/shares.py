"""Links to a job's report as they are made and shown, and the report behind one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt
from sqlalchemy import Engine

from app.database import reading, transaction
from app.http.idempotency import UNKEYED, Once
from app.http.ranges import ANY_VERSION, Expected
from app.http.schemas import In, Item, MadeByOut, Page, Resource, Text, Timestamp, made_by, page
from app.ledger.jobs.jobs import get_job
from app.ledger.jobs.relations import baselines_of
from app.ledger.jobs.report import read_report
from app.ledger.platform import shares as ledger
from app.ledger.platform.keys import Caller
from app.ledger.platform.projects import get_project, meant_project
from app.reports.document import Document, make_document
from app.settings import Settings
from app.tables.quality import ShareLink

DAY = 86_400  # seconds
DEFAULT_DAYS, MAX_DAYS = 30, 365
PATH = "/shared"  # with the link's id and its secret behind it


class ShareIn(In):
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS
    note: Annotated[Text, Field(max_length=200, description="For whom it is.")] | None = None


class ShareOut(Resource):
    """A link to a job's report, without its secret, which is not stored."""

    object: Literal["share"] = "share"
    job: str
    note: str | None
    expires_at: Timestamp
    revoked_at: Timestamp | None
    created_by: MadeByOut | None


class NewShareOut(ShareOut):
    url: Annotated[
        str, Field(description="The address that shows the report to everybody who has it. Shown only once.")
    ]


class SharingIn(In):
    allowed: StrictBool


class SharingOut(Item):
    object: Literal["sharing"] = "sharing"
    project: str
    allowed: Annotated[bool, Field(description="Links to reports may be made, and those made before work.")]


def create_share(
    db: Engine,
    caller: Caller,
    settings: Settings,
    job_id: str,
    sent: ShareIn,
    *,
    asked_at: str,
    once: Once = UNKEYED,
) -> NewShareOut:
    """Raises NotFound, and Forbidden where the project forbids sharing. `asked_at`: how the server was
    reached, for the address where no STAR_PUBLIC_URL is set."""
    with transaction(db) as session:
        job = get_job(session, caller.project_id, job_id)
        lives = sent.expires_in_days * DAY
        row, secret = ledger.create_share(session, job, lives_seconds=lives, note=sent.note)
        once.remember(session, row.id)
    base = (settings.public_url or asked_at).rstrip("/")
    return NewShareOut(**dict(_out(row)), url=f"{base}{PATH}/{row.id}/{secret}")


def read_shares(
    db: Engine, caller: Caller, *, limit: int, job: str | None = None, after: str | None = None
) -> Page[ShareOut]:
    """A page of the project's links, newest first."""
    with reading(db) as session:
        if job is not None:
            get_job(session, caller.project_id, job)
        found = ledger.list_shares(session, caller.project_id, job_id=job, after=after, limit=limit + 1)
    return page([_out(row) for row in found], limit)


def read_share(db: Engine, caller: Caller, share_id: str) -> ShareOut:
    with reading(db) as session:
        return _out(ledger.find_share(session, caller.project_id, share_id))


def revoke_share(db: Engine, caller: Caller, share_id: str) -> ShareOut:
    with transaction(db) as session:
        link = ledger.find_share(session, caller.project_id, share_id)
        ledger.revoke_share(session, link)
        return _out(link)


def read_sharing(db: Engine, caller: Caller, project: str | None = None) -> SharingOut:
    """`project` is another than the caller's own, for operators."""
    with reading(db) as session:
        found = get_project(session, meant_project(session, caller, project))
        return _sharing(found.id, found.sharing)


def change_sharing(
    db: Engine, caller: Caller, sent: SharingIn, project: str | None = None, expected: Expected = ANY_VERSION
) -> SharingOut:
    """Allow links to reports, or forbid them: then those that there are lead nowhere."""
    with transaction(db) as session:
        owner = get_project(session, meant_project(session, caller, project))
        expected.check(session, owner, lambda: _sharing(owner.id, owner.sharing))
        ledger.set_sharing(session, owner, allowed=sent.allowed)
        return _sharing(owner.id, owner.sharing)


def read_shared_report(db: Engine, share_id: str, secret: str) -> Document | None:
    """The report behind a link; None where it leads nowhere.

    Of other jobs it names the baselines and replicates alone, which were made with this one; no prices.
    """
    with reading(db) as session:
        job = ledger.opened(session, share_id, secret)
        if job is None:
            return None
        report = read_report(session, job)
        beside = {one.id for one in baselines_of(session, job.id)}
        relatives = tuple(one for one in report.relatives if one.job in beside)
        return make_document(job, replace(report, relatives=relatives))


def _sharing(project_id: str, allowed: bool) -> SharingOut:
    return SharingOut(id=f"sharing_{project_id}", project=project_id, allowed=allowed)


def _out(row: ShareLink) -> ShareOut:
    return ShareOut(
        id=row.id,
        created_at=row.created_at,
        job=row.job_id,
        note=row.note,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        created_by=made_by(row.created_by, row.creator),
    )
