"""Links that show a job's report without a key.

A link is `ID/SECRET`; of the secret only its SHA-256 is kept. It leads nowhere once it is expired or revoked,
its job or project is deleted, or the project forbids sharing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import clock, new_id
from app.errors import Forbidden, NotFound
from app.ledger.platform.audit_log import maker
from app.ledger.platform.projects import get_project
from app.tables.jobs import Job
from app.tables.platform import Project
from app.tables.quality import ShareLink

SECRET_BYTES = 32
_ID = re.compile(r"shr_[0-9a-z]{26}")
_NO_SECRET = "0" * 64  # no SHA-256 of anything that is sent


def create_share(
    session: Session, job: Job, *, lives_seconds: float, note: str | None
) -> tuple[ShareLink, str]:
    """Return the link's row and its secret, which cannot be read again.

    Raises Forbidden where the project forbids sharing.
    """
    if not get_project(session, job.project_id).sharing:
        raise Forbidden(
            "This project forbids links to reports; an admin of it can allow them.", code="sharing_forbidden"
        )
    secret = secrets.token_urlsafe(SECRET_BYTES)
    link = ShareLink(
        id=new_id("shr"),
        project_id=job.project_id,
        job_id=job.id,
        secret_sha256=_hashed(secret),
        note=note,
        expires_at=clock(lives_seconds),
        **maker(session),
    )
    session.add(link)
    session.flush()
    session.refresh(link)
    return link, secret


def opened(session: Session, share_id: str, secret: str) -> Job | None:
    """The job whose report the link shows; None where it leads nowhere, whatever the reason."""
    if _ID.fullmatch(share_id) is None:
        return None
    query = select(ShareLink, Job).join(Job, Job.id == ShareLink.job_id)
    query = query.join(Project, Project.id == ShareLink.project_id).where(
        ShareLink.id == share_id,
        ShareLink.revoked_at.is_(None),
        ShareLink.expires_at > clock(),
        Project.sharing.is_(True),
    )
    found = session.execute(query).one_or_none()
    right = compare_digest(_NO_SECRET if found is None else found[0].secret_sha256, _hashed(secret))
    return found[1] if found is not None and right else None


def find_share(session: Session, project_id: str, share_id: str) -> ShareLink:
    """Raises NotFound, also for a link of a deleted job."""
    query = select(ShareLink).join(Job, Job.id == ShareLink.job_id)
    query = query.where(ShareLink.id == share_id, ShareLink.project_id == project_id)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound(f"There is no share link {share_id}.")
    return found


def list_shares(
    session: Session, project_id: str, *, job_id: str | None, after: str | None, limit: int
) -> Sequence[ShareLink]:
    """Newest first, the revoked and expired too; `after` is the id of the last one seen."""
    query = select(ShareLink).join(Job, Job.id == ShareLink.job_id).where(ShareLink.project_id == project_id)
    if job_id is not None:
        query = query.where(ShareLink.job_id == job_id)
    if after is not None:
        query = query.where(ShareLink.id < after)
    return session.scalars(query.order_by(ShareLink.id.desc()).limit(limit)).all()


def revoke_share(session: Session, link: ShareLink) -> None:
    """It leads nowhere from the next request on. Revoking it twice changes nothing."""
    if link.revoked_at is None:
        link.revoked_at = clock()
        session.flush()
        session.refresh(link)


def set_sharing(session: Session, project: Project, *, allowed: bool) -> None:
    """Forbidden, the links that there are lead nowhere; allowed again, those that live do again."""
    project.sharing = allowed
    session.flush()


def _hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
