"""What may be asked of a webhook: a URL that it can be sent to, and events that there are."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from app.errors import Invalid
from app.http.schemas import In, Text
from app.ledger.events import EVENT_TYPES
from app.settings import Settings
from app.webhooks.targets import BadTarget, read_target

DEFAULT_EVENTS = ["job.succeeded", "job.failed", "job.cancelled", "job.paused"]
PATTERNS = ("*", *sorted({f"{name.partition('.')[0]}.*" for name in EVENT_TYPES}), *EVENT_TYPES)


def known_event(text: str) -> str:
    if text not in PATTERNS:
        raise ValueError(f"There are no such events; use some of {', '.join(PATTERNS)}")
    return text


Events = Annotated[list[Annotated[str, AfterValidator(known_event)]], Field(min_length=1, max_length=50)]
Url = Annotated[Text, Field(max_length=2000)]
Description = Annotated[Text, Field(max_length=500)]


class JobWebhookIn(In):
    """A webhook for the events of one job alone."""

    url: Url
    events: Events = DEFAULT_EVENTS


def check_url(url: str, settings: Settings, field: str = "url", code: str = "bad_webhook_url") -> None:
    """Raises Invalid for a URL that no webhook would be sent to, and no grader asked at."""
    try:
        read_target(url, settings.webhook_allowed_hosts)
    except BadTarget as bad:
        fix = "Use an https:// URL of a host on the public internet."
        raise Invalid.for_field(field, str(bad), fix, code=code) from bad
