"""What a job's state means, in one line, and what can be done about it."""

from __future__ import annotations

from app.jobs.views import JobOut
from app.ledger.transitions import JOB_TRANSITIONS
from app.tables.statuses import JobStatus, Purpose
from star_engine.loop import StopReason

ENDED = {
    "completed_iterations": "It ran all its iterations.",
    "plateau": "It stopped by itself: the accuracy no longer rose.",
    "target_reached": "It stopped by itself: the accuracy that was asked for is reached.",
    "coverage_saturated": "It stopped by itself: there was nothing left to learn from.",
    "no_tool_use": (
        "It stopped by itself: without hints the model never calls its tool, so that no row would teach it. "
        "Let it learn the hint (hints.masked: false), sample more widely (a top_p of 0.95 cuts off a rare "
        "call), hint for longer (hints.iterations), or show a call in the prompt set."
    ),
    "user_cancelled": "Somebody cancelled it. What it had recorded is kept.",
    "deadline": "Its deadline came before its end.",
    "budget_exhausted": "It used up its GPU time.",
}
PHASES = {
    "baselines": "asking the base model the held-out examples",
    "control": "finding its temperature",
    "sample": "writing rationales",
    "build": "choosing the rationales to train on",
    "train": "training an adapter",
    "verify_adapter": "checking the adapter",
    "pairs": "pairing right and wrong tries",
    "train_verifier": "training the verifier",
    "verify_verifier": "checking the verifier",
    "evaluate": "asking the adapter the held-out examples",
    "faithfulness": "asking the adapter with wrong hints, and scoring answers without their rationales",
    "test_time": "answering each held-out question many times",
    "probe": "asking the base model a sample of the train questions",
    "trial": "answering",
}


def explain(job: JobOut) -> str:
    """Explain the job's state in one line."""
    if job.status is JobStatus.RUNNING and (job.queue is None or job.queue.reason == "running"):
        where = f"Iteration {job.iteration} of {job.iterations}: " if job.iteration else ""
        text = f"{where}{PHASES.get(job.phase or '', 'between two phases')}."
        return text[0].upper() + text[1:]
    if job.status is JobStatus.PAUSED and job.status_reason is not None:
        return "It paused itself, for a reason that you can fix."
    if job.status is JobStatus.PAUSING:
        return "Its running steps hand back what they have done."
    if job.status is JobStatus.VALIDATING:
        return "It is being checked before any GPU time is spent."
    if job.queue is not None:
        return job.queue.message
    if job.status is JobStatus.FAILED and job.status_reason is not None:
        return f"It failed while {PHASES.get(job.status_reason.get('phase') or '', 'it ran')}."
    return ENDED.get(job.stop_reason or "", "It has ended.")


def verbs(job: JobOut) -> frozenset[str]:
    """Return the actions the job's state allows: cancel, pause, resume, accept (resume despite the reason),
    fork, retry, archive, unarchive, delete.
    """
    nexts = JOB_TRANSITIONS.get(job.status, frozenset())
    found = set()
    if nexts & {JobStatus.CANCELLING, JobStatus.CANCELLED} and job.status is not JobStatus.CANCELLING:
        found.add("cancel")
    if JobStatus.PAUSED in nexts and job.status is not JobStatus.PAUSING:
        found.add("pause")
    if job.status is JobStatus.PAUSED and job.status_reason is None:
        found.add("resume")
    elif job.status is JobStatus.PAUSED and (job.status_reason or {}).get("code") == StopReason.NO_SPARK:
        found.add("accept")
    if job.purpose is Purpose.STAR and job.started_at is not None:
        found.add("fork")
    if job.status is JobStatus.FAILED:
        found.add("retry")
    if job.is_terminal:
        found |= {"delete", "unarchive" if job.archived_at else "archive"}
    return frozenset(found)
