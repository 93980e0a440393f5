"""What the commands of `star` share: options, the client, exit statuses, files of settings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from star_client.cli import completion
from star_client.client import StarClient
from star_client.errors import BadFile, Damaged, NotAuthorised, NotFound, OtherBase, Refused, StarError

FAILED, WRONG_USAGE, NOT_FOUND, REFUSED, NOT_AUTHORISED = 1, 2, 3, 4, 5
UNREACHABLE, PAUSED, CANCELLED, DAMAGED = 6, 7, 8, 9
INTERRUPTED = 130
OUTCOMES = {"succeeded": 0, "failed": FAILED, "paused": PAUSED, "cancelled": CANCELLED}
ERRORS: tuple[tuple[type[StarError], int], ...] = (
    (NotFound, NOT_FOUND),
    (NotAuthorised, NOT_AUTHORISED),
    (Refused, REFUSED),
    (Damaged, DAMAGED),
    (OtherBase, REFUSED),
    (BadFile, WRONG_USAGE),
)

AsJson = Annotated[bool, typer.Option("--json", help="For scripts: one JSON object per line.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.", autocompletion=completion.jobs)]
IfMatch = Annotated[
    str | None, typer.Option(help="Only this version: the `etag` that --json showed. Another one is refused.")
]
Limit = Annotated[int, typer.Option(min=1, max=100, help="At most this many, the newest first.")]
Grace = Annotated[int | None, typer.Option("--grace", min=0, help="Seconds that the old one still works.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


class Kind(StrEnum):
    """Of questions. The words of an option are completed, and others refused before anything is sent."""

    SCRATCHPAD = "scratchpad"
    NUMERIC = "numeric"
    CHOICE = "choice"
    EXACT = "exact"
    MATH = "math"
    PATTERN = "pattern"
    CODE = "code"
    PROGRAM = "program"
    REMOTE = "remote"
    DATE = "date"
    DOCUMENTS = "documents"


class JobStatus(StrEnum):
    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class JobOrder(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"


class Accept(StrEnum):
    NO_SPARK = "no_spark"


def exit_status(error: StarError) -> int:
    """Unreachable and ServerFailed are one status: neither is the caller's fault, and later it may work."""
    return next((status for kind, status in ERRORS if isinstance(error, kind)), UNREACHABLE)


def star(context: typer.Context) -> StarClient:
    """The client of this invocation, closed when it ends."""
    return context.with_resource(StarClient(context.find_root().obj))
