"""Trying judgements out: what a job would make of texts, by the engine's own command, stored nowhere.

The command runs as a child with a time limit: a text or a gold answer that a verifier takes long over must
hold nobody else up, and a regular expression that runs in this process would hold up every thread of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from app.data.judge import GRADER_FAILED, SANDBOX_FAILED
from app.errors import Invalid, Unavailable
from app.grader import project_grader
from app.http.schemas import In, JsonObject
from app.sandbox import service_url
from app.settings import Settings
from star_engine.tasks.programs.execution import SandboxFailed

MAX_ROWS = 100
MAX_CHARACTERS = 1_000_000  # of all rows of a request, as JSON
SECONDS = 20  # for all rows of a request; a row takes some milliseconds, one of kind math 0.01 s
AT_ONCE = 2  # children; each may take a core
SECONDS_TO_WAIT = 5  # for one of these places
_JUDGED = (0, 2)  # exit statuses; 2: some row could not be judged, which its line says
_INHERITED = ("PATH", "PYTHONPATH", "TMPDIR", "LANG")
_places = BoundedSemaphore(AT_ONCE)


class VerifierRunIn(In):
    rows: Annotated[list[JsonObject], Field(min_length=1, max_length=MAX_ROWS)] = Field(
        description=(
            "Each: kind, completion, answer; where wanted choices, question, route (generated, rationalized, "
            "hinted or given), finish_reason (stop or length), options as config.verifier of a job. Other "
            f"fields are left alone. {MAX_CHARACTERS} characters of JSON in all."
        )
    )


class RowErrorOut(BaseModel):
    field: str
    reason: str
    fix: str


class JudgementOut(BaseModel):
    """What a job would make of a row with its default settings. `errors`: why it could not be judged."""

    row: int = Field(description="Counts from 1.")
    verdict: str | None
    extracted: str | None
    span: tuple[int, int] | None = Field(
        description="Where `extracted` stands in the completion as it was sent: start and end, in characters."
    )
    canonical: str | None = Field(description="The extracted answer normalised: the same for equal answers.")
    rule: str | None = Field(description="What decided the verdict.")
    decision: str | None = Field(description="`kept`, or the reason why the text would not be trained on.")
    why: str | None = Field(description="The reason in words.")
    filters: dict[str, str | None] = Field(
        description="Why each filter would drop the text, by filter name; null: it would not."
    )
    trained_on: str | None = Field(
        description="The completion of the training row, up to where the answer ends; null: there is none."
    )
    errors: list[RowErrorOut]


class VerifierRunOut(BaseModel):
    object: Literal["verifiers.run"] = "verifiers.run"
    data: list[JudgementOut]


class GraderSecretOut(BaseModel):
    object: Literal["verifiers.secret"] = "verifiers.secret"
    secret: str = Field(description="Signs what the project's graders are sent, as Standard Webhooks says.")


_JUDGEMENT = TypeAdapter(JudgementOut)


def run_verifiers(settings: Settings, project_id: str, sent: VerifierRunIn) -> VerifierRunOut:
    """Judge the rows. What a grader is sent is signed with the project's secret.

    Raises Invalid for too much text or a grader that gives no answer, SandboxFailed where a program is not
    executed, Unavailable where others are being judged.
    """
    lines = [json.dumps(row) for row in sent.rows]
    characters = sum(map(len, lines))
    if characters > MAX_CHARACTERS:
        raise Invalid.for_field(
            "rows",
            f"The rows are {characters} characters of JSON, more than {MAX_CHARACTERS}.",
            "Send them in several requests, or run `python -m star_engine judge` on your own machine.",
            code="too_long",
        )
    if not _places.acquire(timeout=SECONDS_TO_WAIT):
        raise Unavailable("Other texts are being judged. Try again in some seconds.")
    try:
        said = _judge("\n".join(lines).encode(), _graders(settings, project_id))
    finally:
        _places.release()
    found = [_JUDGEMENT.validate_json(line) for line in said]
    return VerifierRunOut(data=[*found, *map(_not_judged, range(len(found) + 1, len(lines) + 1))])


def grader_secret_of(settings: Settings, project_id: str) -> GraderSecretOut:
    """Raises Unavailable where the deployment has no secret to sign with."""
    return GraderSecretOut(secret=project_grader(settings, project_id, None).secret)


def _graders(settings: Settings, project_id: str) -> str:
    """What the child needs to ask graders: null where the deployment cannot sign."""
    try:
        grader = project_grader(settings, project_id, None)
    except Unavailable:
        return "null"
    return json.dumps({"secret": grader.secret, "allowed_hosts": grader.allowed_hosts})


def _judge(rows: bytes, graders: str) -> Sequence[bytes]:
    """The lines that the engine's command prints within the time that there is."""
    command = [sys.executable, "-m", "app.data.judge", service_url()]
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment["STAR_JUDGE_GRADERS"] = graders
    try:
        ended = subprocess.run(
            command, input=rows, capture_output=True, timeout=SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as late:
        whole, _, _ = (late.stdout or b"").rpartition(b"\n")
        return whole.splitlines()
    if ended.returncode in (SANDBOX_FAILED, GRADER_FAILED):
        why = ended.stderr.rstrip().rpartition(b"\n")[2].decode(errors="replace")
        if ended.returncode == SANDBOX_FAILED:
            raise SandboxFailed(why)
        fix = "Correct options.grader_url, or see to it that the grader answers there."
        raise Invalid.for_field("rows", why, fix, code="grader_failed", detail=f"Nothing was judged. {why}")
    if ended.returncode not in _JUDGED:
        # Its last line may quote what a row holds, which no log may: only the exception's name.
        last = ended.stderr.rstrip().rpartition(b"\n")[2].partition(b":")[0]
        raise RuntimeError(f"judging failed: {last[:100].decode(errors='replace')}")
    return ended.stdout.splitlines()


def _not_judged(row: int) -> JudgementOut:
    nothing: Mapping[str, Any] = dict.fromkeys(JudgementOut.model_fields)
    late = RowErrorOut(
        field="row",
        reason=f"Not judged: the {SECONDS} s of a request were over.",
        fix="Send it alone, or shorten its completion or its answer.",
    )
    return JudgementOut.model_validate({**nothing, "row": row, "filters": {}, "errors": [late]})
