"""Trying a judgement out: no job is made, nothing is stored."""

from __future__ import annotations

from app.data.verifiers import VerifierRunIn, VerifierRunOut, run_verifiers
from app.http.auth import Reader
from app.http.router import api_router

router = api_router("verifiers", "/v1/verifiers")


@router.post("/run", summary="Judge texts as a job would")
def run(caller: Reader, sent: VerifierRunIn) -> VerifierRunOut:
    """Per row: verdict, extracted answer with its span, each filter's result, and the training row's text.

    A row that cannot be judged has `errors`; the others are judged all the same.
    """
    return run_verifiers(sent)
