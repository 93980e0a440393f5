"""What went wrong in a step, in words for the person who submitted the job."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError

from app.errors import QuotaExceeded
from app.outages import is_disk_full, is_storage_outage
from app.storage import CorruptArtifact, MissingArtifact
from app.tables.base import JsonObject
from star_engine.diagnostics.token_parity import TokenMismatch
from star_engine.protocols import BadAdapter, OutOfMemory
from star_engine.tasks.programs.execution import GraderFailed, SandboxFailed
from star_engine.training_set.rows import HintLeak
from worker.base_models import BadModel
from worker.gpu.process import GpuDied, GpuFailed
from worker.lease import Stalled

# What says nothing about the GPU process, which then stays warm.
_HARMLESS = (
    "invalid_input",
    "database_error",
    "sandbox_failed",
    "grader_failed",
    "hint_leak",
    "token_mismatch",
)


@dataclass(frozen=True, slots=True)
class Failure:
    error: JsonObject  # {code, category (user | platform | capacity), message, hint, log_tail?}
    retryable: bool
    gpu_is_lost: bool = True
    passes: bool = False  # the platform's, and waited out: it uses up no attempt of the step


_NOTHING_TRAINED = {
    "hint_leak": "Nothing was trained. Please report this job: its prompts show the answer.",
    "token_mismatch": "Nothing was trained. Ask the people who run the platform to check the base model.",
}


def describe(problem: Exception) -> Failure:
    """Code, category, message and hint for an exception that ended a step."""
    if isinstance(problem, OutOfMemory):
        hint = "Lower training.batch_size, training.max_length or generation.max_tokens, or use a larger GPU."
        return _failure("out_of_memory", "capacity", str(problem), hint)
    if isinstance(problem, GpuDied | GpuFailed):
        code = "gpu_process_died" if isinstance(problem, GpuDied) else "gpu_process_failed"
        failure = _failure(code, "platform", str(problem), "The log tail shows its last words.")
        return Failure({**failure.error, "log_tail": problem.log_tail}, retryable=True)
    if isinstance(problem, Stalled):
        return _failure("gpu_stalled", "platform", str(problem), "The GPU process was replaced.")
    if isinstance(problem, BadAdapter):
        hint = "Look at the training loss of this iteration; a lower training.learning_rate often helps."
        return _failure("adapter_verification_failed", "platform", str(problem), hint, retryable=False)
    if isinstance(problem, HintLeak | TokenMismatch):
        code = "hint_leak" if isinstance(problem, HintLeak) else "token_mismatch"
        return _failure(code, "platform", str(problem), _NOTHING_TRAINED[code], retryable=False)
    if isinstance(problem, BadModel | CorruptArtifact | MissingArtifact):
        hint = "Ask the people who run the platform to restore the file; the job can then be submitted again."
        return _failure("bad_artifact", "platform", str(problem), hint, retryable=False)
    if (passing := _passing_failure(problem)) is not None:
        return passing
    if isinstance(problem, ValueError | QuotaExceeded):
        code = problem.code if isinstance(problem, QuotaExceeded) else "invalid_input"
        return _failure(code, "user", str(problem), "Correct the data or the setting named above.", False)
    if isinstance(problem, SQLAlchemyError):
        hint = "Please report this job: the database refused what its step recorded."
        return _failure("database_error", "platform", type(problem).__name__, hint)
    return _failure(
        "internal_error", "platform", f"{type(problem).__name__}: {problem}", "Please report this job."
    )


def _passing_failure(problem: Exception) -> Failure | None:
    """What the platform lacks for a while: it is waited out, and uses up no attempt of the step."""
    if is_disk_full(problem):
        hint = "Free some space on the worker's or the storage's disk; what was recorded so far is kept."
        return _passing("disk_full", "There is no space left on the disk.", hint)
    if is_storage_outage(problem):
        hint = "The storage did not answer; the step is tried again by itself."
        return _passing("storage_error", f"{type(problem).__name__}: {problem}", hint)
    if isinstance(problem, GraderFailed):
        hint = "Nothing was judged. Look at the grader of verifier.grader_url; it is asked again by itself."
        return _passing("grader_failed", str(problem), hint)
    if isinstance(problem, SandboxFailed):
        hint = "A program was not executed, so nothing was judged; the step is tried again by itself."
        return _passing("sandbox_failed", f"The sandbox failed: {problem}", hint)
    if isinstance(problem, OperationalError | InternalError | InterfaceError):
        hint = "The database did not answer; the step is tried again by itself."
        return _passing("database_error", type(problem).__name__, hint)
    return None


def _passing(code: str, message: str, hint: str) -> Failure:
    return replace(_failure(code, "platform", message, hint), passes=True)


def _failure(code: str, category: str, message: str, hint: str, retryable: bool = True) -> Failure:
    error = {"code": code, "category": category, "message": message, "hint": hint}
    return Failure(
        error,
        retryable,
        gpu_is_lost=code not in _HARMLESS,
    )
