"""Asks graders: signed HTTPS POSTs to an address that a job names, guarded as webhooks are (app/webhooks).

    POST grader_url {"type": "grade", "timestamp": ..., "data": {"example": {...}, "answer": "..."}}
    200             {"value": true}

A grader that gives no answer, or says 429 or 5xx, is asked again, and then the step waits: GraderFailed is no
verdict. 422 says that this answer cannot be judged. Anything else is a mistake of the grader: the verdict is
`error`, and it is not recorded, so that a fixed grader is asked again.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.http.schemas import rfc3339
from app.settings import Settings
from app.webhooks.post import post
from app.webhooks.secrets import grader_secret, server_secret, signature_headers
from app.webhooks.targets import BadTarget, Resolve, Target, read_target, resolve
from star_engine.tasks.programs.execution import (
    CodeRunner,
    Execution,
    GraderFailed,
    Program,
    SandboxFailed,
    Status,
)

ATTEMPTS = 3
PAUSE_SECONDS = 0.5  # before the second one; twice that before the third
ANSWER_BYTES = 65_536


class BadGrader(ValueError):
    """A grader's answer that is none: its owner has to correct it."""


@dataclass(frozen=True, slots=True)
class Grader:
    """A CodeRunner that asks graders; what is code goes on to `sandbox`.

    secret: the project's, which signs. allowed_hosts: beside those of the public internet, as for webhooks.
    """

    secret: str
    allowed_hosts: tuple[str, ...] = ()
    sandbox: CodeRunner | None = None
    ask: Resolve | None = None  # a name's addresses; None: the system's resolver
    known: dict[str, Execution] = field(
        default_factory=dict
    )  # a text is judged whole, and again where it ends

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        """What the graders say, one after the other. Raises GraderFailed, BadGrader, SandboxFailed."""
        for program in programs:
            if program.url is not None:
                if program.sha256 not in self.known:
                    self.known[program.sha256] = self._asked(program.url, program)
                yield self.known[program.sha256]
            elif self.sandbox is None:
                raise SandboxFailed("no sandbox is installed in this process, so no code is executed")
            else:
                yield from self.sandbox.run([program], owner)

    def _asked(self, url: str, program: Program) -> Execution:
        began = time.monotonic()
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS * attempt)
            try:
                target = read_target(url, self.allowed_hosts)
                status, said = self._post(target, resolve(target, self.ask), program)
            except BadTarget as bad:
                why = str(bad)
            except TimeoutError:
                why = f"The grader did not answer within {program.limits.wall_s:g} s."
            except (OSError, http.client.HTTPException) as failure:
                why = f"The grader could not be reached: {type(failure).__name__}."
            else:
                if status != 429 and status < 500:
                    return _execution(status, said, int((time.monotonic() - began) * 1000))
                why = f"The grader answered with {status}."
        raise GraderFailed(why)

    def _post(self, target: Target, address: str, program: Program) -> tuple[int, bytes]:
        """The same message id on every attempt, so that a grader may know it again."""
        moment = datetime.now(UTC)
        example, answer = program.call[1] if program.call else ({}, "")
        sent = {"type": "grade", "timestamp": rfc3339(moment), "data": {"example": example, "answer": answer}}
        body = json.dumps(sent, ensure_ascii=True, separators=(",", ":"))
        headers = signature_headers([self.secret], f"grade_{program.sha256[:32]}", moment, body)
        return post(target, address, body, headers, program.limits.wall_s, ANSWER_BYTES)


def project_grader(settings: Settings, project_id: str, sandbox: CodeRunner | None) -> Grader:
    """What asks a project's graders. Raises Unavailable where the deployment has no secret to sign with."""
    secret = grader_secret(server_secret(settings), project_id)
    return Grader(secret, tuple(settings.webhook_allowed_hosts), sandbox)


def _execution(status: int, said: bytes, wall_ms: int) -> Execution:
    if status == 422:
        return Execution(Status.ERROR, error="the grader cannot judge this answer", wall_ms=wall_ms)
    if not 200 <= status < 300:
        raise BadGrader(f"The grader answered with {status}.")
    try:
        value: Any = json.loads(said)["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadGrader('The grader answered with something else than {"value": ...}.') from None
    if not isinstance(value, bool | int | float):
        raise BadGrader("The grader's value is neither true, false nor a number.")
    return Execution(Status.OK, value=value, wall_ms=wall_ms)
