"""A message where a job ends or pauses, by apprise: Slack, Teams, Discord, mail and a hundred others."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from star_client.errors import StarError
from star_client.objects import Job

TOLD = frozenset({"paused", "succeeded", "failed", "cancelled"})


class NotSent(RuntimeError):
    """The receiver did not take the message; it is sent again."""


class Notices:
    """`--notify URL` as apprise writes it: `slack://...`, `mailto://...`, or a Slack hook."""

    def __init__(self, url: str) -> None:
        try:
            apprise: Any = import_module("apprise")
        except ImportError as missing:
            raise StarError("The package apprise is missing: pip install apprise") from missing
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise StarError("apprise does not know this URL; its wiki lists those that it knows.")
        self.name = f"notify:{self._apprise[0].url(privacy=True)}"

    def tell(self, job: Job, dashboard: str) -> None:
        """Send what became of the job. Raises NotSent."""
        title, body = message(job, dashboard)
        if not self._apprise.notify(title=title, body=body):
            raise NotSent(f"{self.name} did not take the message")


def message(job: Job, dashboard: str) -> tuple[str, str]:
    """Title and text: the reason where there is one, the best accuracy, and where to look."""
    lines = []
    if job.status_reason is not None:
        lines.append(job.status_reason.message)
    if job.best is not None and job.best.accuracy is not None:
        lines.append(f"Best held-out accuracy {job.best.accuracy:.1%}, iteration {job.best.iteration}.")
    lines.append(f"{dashboard}/jobs/{job.id}")
    return f"{job.name or job.id}: {job.status}", "\n".join(lines)
