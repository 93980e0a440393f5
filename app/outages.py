"""Recognizes temporary failures of database or disk, which say nothing against the request or step."""

from __future__ import annotations

import errno
import sqlite3

from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

OUTAGE_STATES = (
    "08",  # connection exception
    "57P",  # shut down, crashed, starting up
    "53300",  # too many connections
    "40",  # deadlock, serialization failure
    "55P03",  # lock timeout: somebody holds on to a row
)
AWAY = frozenset(  # what a network or a disk says that is not there
    {
        errno.EIO,
        errno.ESTALE,
        errno.EROFS,
        errno.ENODEV,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)
FULL_STATE = "53100"  # of PostgreSQL: its disk is full


def is_outage(problem: Exception) -> bool:
    """Whether the database is away, or busy for somebody else."""
    if isinstance(problem, PoolTimeout):
        return True
    if not isinstance(problem, DBAPIError):
        return False
    if problem.connection_invalidated:
        return True
    if not isinstance(problem, OperationalError):
        return False
    if isinstance(problem.orig, sqlite3.Error):
        return getattr(problem.orig, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_CANTOPEN"))
    state = getattr(problem.orig, "sqlstate", None)
    return state is None or state.startswith(OUTAGE_STATES)


def is_storage_outage(problem: Exception) -> bool:
    """Whether the storage is away, or refuses this deployment until its operator does something."""
    if isinstance(problem, OSError) and not isinstance(problem, FileNotFoundError):
        return problem.errno in AWAY
    return isinstance(problem, GenericError | PermissionDeniedError | UnauthenticatedError)


def is_disk_full(problem: Exception) -> bool:
    """Whether the disk of this process, of the storage or of the database has no room."""
    if isinstance(problem, OSError):
        return problem.errno in (errno.ENOSPC, errno.EDQUOT)
    if not isinstance(problem, DBAPIError):
        return False
    if isinstance(problem.orig, sqlite3.Error):
        return getattr(problem.orig, "sqlite_errorname", "") == "SQLITE_FULL"
    return getattr(problem.orig, "sqlstate", None) == FULL_STATE
