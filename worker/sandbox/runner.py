"""The sandbox of a worker: the one that its settings name, once it has passed its probe."""

from __future__ import annotations

from app.sandbox import RemoteRunner
from app.settings import Settings
from star_engine.tasks.programs.execution import CodeRunner
from worker.sandbox.local import LocalRunner
from worker.sandbox.probe import probe


def probed_runner(settings: Settings) -> tuple[CodeRunner | None, str | None]:
    """The runner, or why this worker has none. There is no second choice where one fails its probe."""
    if not settings.sandbox_url and settings.sandbox == "off":
        return None, "It is switched off: STAR_SANDBOX=off."
    runner: LocalRunner | RemoteRunner
    if settings.sandbox_url:
        runner = RemoteRunner(settings.sandbox_url, settings.sandbox_size or 4)
    else:
        runner = LocalRunner(settings.sandbox_size, user=settings.sandbox_user or None)
    problem = probe(runner)
    if problem is None:
        return runner, None
    runner.close()
    return None, problem
