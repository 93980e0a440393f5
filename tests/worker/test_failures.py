"""Which failures of a step are the platform's and pass, and which use up an attempt."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from obstore.exceptions import GenericError
from sqlalchemy.exc import IntegrityError, OperationalError

from app.storage import MissingArtifact
from star_engine.protocols import OutOfMemory
from worker.failures import describe


@pytest.mark.parametrize(
    ("problem", "code", "passes"),
    [
        (OSError(errno.ENOSPC, "full"), "disk_full", True),
        (OSError(errno.ESTALE, "stale"), "storage_error", True),
        (GenericError("503 from S3"), "storage_error", True),
        (OperationalError("x", {}, sqlite3.OperationalError("disk I/O error")), "database_error", True),
        (IntegrityError("x", {}, sqlite3.IntegrityError("null")), "database_error", False),
        (MissingArtifact("sha"), "bad_artifact", False),
        (FileNotFoundError(errno.ENOENT, "gone"), "internal_error", False),
        (OutOfMemory("too large"), "out_of_memory", False),
        (ValueError("wrong"), "invalid_input", False),
    ],
)
def test_only_what_the_platform_lacks_for_a_while_passes(problem: Exception, code: str, passes: bool) -> None:
    failure = describe(problem)
    assert (failure.error["code"], failure.passes) == (code, passes)
