"""Links that show a job's report without a key."""

from __future__ import annotations

from collections.abc import Iterator

from star_client.errors import SecretLost
from star_client.objects import Fields, Json, Page, Resource, Timestamp
from star_client.resources import every
from star_client.transport import Request, Transport, matching, once

LARGEST_PAGE = 100


class Share(Resource):
    """A link to a report. `url`, its address, only in the answer that makes it: it is not stored."""

    job: str
    note: str | None = None
    expires_at: Timestamp
    revoked_at: Timestamp | None = None
    created_by: Json | None = None  # key, name
    created_at: Timestamp
    url: str | None = None


class Sharing(Fields):
    """Whether links to reports may be made in the project, and whether those made before work."""

    project: str
    allowed: bool


class Shares:
    """Whoever has the address of a link reads the report of its job, and nothing else."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        job_id: str,
        *,
        expires_in_days: int = 30,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Share:
        """Make a link that works for 1 to 365 days. Its `url` is in this answer alone.

        Sent with an Idempotency-Key, so that a retry makes no second one. Raises SecretLost where the link
        was made and the answer did not arrive.
        """
        body = {"expires_in_days": expires_in_days, "note": note}
        made = self._one(once(f"/v1/jobs/{job_id}/shares", body, idempotency_key))
        if made.url is None:
            raise SecretLost(
                f"{made.id} was made, but the answer that showed its address was lost, and it is not stored. "
                f"Revoke it (star jobs share --revoke {made.id}) and make another."
            )
        return made

    def list(self, *, job: str | None = None, limit: int = 20, after: str | None = None) -> Page[Share]:
        """Newest first, those that are expired or revoked too."""
        request = Request("GET", "/v1/shares", {"job": job, "limit": limit, "after": after})
        return Page[Share].model_validate_json(self._transport.send(request).content)

    def every(self, *, job: str | None = None) -> Iterator[Share]:
        """As `list`, over all pages."""
        return every(self._transport, "/v1/shares", Share, {"job": job, "limit": LARGEST_PAGE})

    def get(self, share_id: str) -> Share:
        return self._one(Request("GET", f"/v1/shares/{share_id}"))

    def revoke(self, share_id: str) -> Share:
        """It leads nowhere from now on. Revoking it twice changes nothing."""
        return self._one(Request("POST", f"/v1/shares/{share_id}/revoke", again=True))

    def allowed(self, *, project: str | None = None) -> Sharing:
        """Whether the project allows links to reports."""
        return Sharing.read_from(self._transport.send(Request("GET", "/v1/sharing", {"project": project})))

    def allow(
        self, allowed: bool = True, *, project: str | None = None, if_match: str | None = None
    ) -> Sharing:
        """Allow links, or forbid them: then those that there are lead nowhere. Needs the scope admin."""
        params, headers = {"project": project}, matching(if_match)
        request = Request("PUT", "/v1/sharing", params, headers, {"allowed": allowed}, again=True)
        return Sharing.read_from(self._transport.send(request))

    def _one(self, request: Request) -> Share:
        return Share.model_validate_json(self._transport.send(request).content)
