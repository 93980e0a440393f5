"""Trying a judgement out: no job is made, nothing is stored."""

from __future__ import annotations

from app.data.verifiers import GraderSecretOut, VerifierRunIn, VerifierRunOut, grader_secret_of, run_verifiers
from app.http.auth import Reader, Submitter
from app.http.dependencies import Config
from app.http.router import api_router

router = api_router("verifiers", "/v1/verifiers")


@router.post("/run", summary="Judge texts as a job would")
def run(caller: Reader, settings: Config, sent: VerifierRunIn) -> VerifierRunOut:
    """Per row: verdict, extracted answer with its span, each filter's result, and the training row's text.

    A row that cannot be judged has `errors`; the others are judged all the same.
    """
    return run_verifiers(settings, caller.project_id, sent)


@router.post("/secret", summary="Show the secret that signs what graders are sent")
def secret(caller: Submitter, settings: Config) -> GraderSecretOut:
    """Of kind `remote`. The same for all graders of the project; a library of Standard Webhooks verifies."""
    return grader_secret_of(settings, caller.project_id)
