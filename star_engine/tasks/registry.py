"""The kinds by name. To add a kind, add it here and in `kind.py`; everything else is in its own file."""

from __future__ import annotations

from pydantic import ValidationError

from star_engine.tasks.choice import Choice
from star_engine.tasks.code import Code
from star_engine.tasks.date import Date
from star_engine.tasks.exact import Exact
from star_engine.tasks.math import Math
from star_engine.tasks.numeric import Numeric
from star_engine.tasks.pattern import Pattern
from star_engine.tasks.program import PROGRAM, REMOTE
from star_engine.tasks.scratchpad import Scratchpad
from star_engine.tasks.task import Task, TaskOptions
from star_engine.tasks.text.documents import Documents

TASKS: dict[str, Task] = {
    task.kind: task
    for task in (
        *(Numeric(), Choice(), Scratchpad(), Exact(), Math(), Pattern(), Date(), Code()),
        *(PROGRAM, REMOTE, Documents()),
    )
}


def task_of(kind: str) -> Task:
    """The task of this kind. Raises ValueError, naming the kinds that there are."""
    try:
        return TASKS[kind]
    except KeyError:
        raise ValueError(f"there is no kind {str(kind)!r}; use one of {', '.join(TASKS)}") from None


def check_options(kind: str, options: TaskOptions) -> None:
    """Raise ValueError for an unknown kind, an option that the kind does not have, or a bad value."""
    task = task_of(kind)
    allowed = task.options.model_fields
    for name in options:
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise ValueError(f"the kind {kind} has no option {name!r}; its options: {known}")
    if options:
        try:
            task.options.model_validate(options)
        except ValidationError as failure:
            reasons = (error["msg"].removeprefix("Value error, ") for error in failure.errors())
            raise ValueError("; ".join(reasons)) from failure
