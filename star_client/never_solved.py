"""The examples a job never solved, to inspect or to continue with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_client.downloads import save
from star_client.jobs import ExportFormat
from star_client.objects import Dataset
from star_client.transport import Request, Transport


class NeverSolved:
    """Train examples that were tried, and never solved without the hint."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def download(self, job_id: str, file: Path, *, format: ExportFormat = "jsonl") -> Path:  # noqa: A002
        """Download them as a file that can be uploaded again."""
        return save(
            self._transport, Request("GET", f"/v1/jobs/{job_id}/never-solved", {"format": format}), file
        )

    def derive(self, job_id: str, *, name: str | None = None, held_out: bool = True) -> Dataset:
        """Create a dataset of them, whose `derived_from` names the job. held_out: with the
        held-out examples.
        """
        body: dict[str, Any] = {"held_out": held_out} | ({} if name is None else {"name": name})
        request = Request("POST", f"/v1/jobs/{job_id}/never-solved/dataset", json=body, again=True)
        return Dataset.model_validate_json(self._transport.send(request).content)
