"""A job whose artifacts lie in S3: trained, verified and downloaded, by the API or past it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI

from tests.app.api_harness import WEIGHTS
from tests.star_client.recorded_platform import platform


def test_a_job_on_s3_is_downloaded_through_the_api_and_by_links(
    sqlite_database_url: str, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_STORAGE_URL", s3_bucket)
    home = tmp_path / "home"
    home.mkdir()
    with platform(sqlite_database_url, home) as running, running.client() as star:
        job = running.submit(tmp_path)
        running.work()
        assert star.jobs.get(job).status == "succeeded"
        through = star.adapters.download(f"{job}:best", tmp_path / "through")
        assert star.adapters.archive(f"{job}:best", tmp_path / "whole.tar").stat().st_size > len(WEIGHTS)
        running.wire.statuses.clear()
        cast(FastAPI, running.wire.app).state.storage.link_seconds = 60
        target = tmp_path / "linked"
        target.mkdir()
        adapter = star.adapters.get(f"{job}:best")
        [weights] = [file for file in adapter.files if file.path == "adapter_model.safetensors"]
        part = target / f".{weights.path}.{weights.sha256[:16]}.part"
        part.write_bytes((tmp_path / "through" / weights.path).read_bytes()[:40])  # cut off by the user
        linked = star.adapters.download(adapter.id, target)
    assert [path.name for path in linked] == [path.name for path in through]
    assert [path.read_bytes() for path in linked] == [path.read_bytes() for path in through]
    assert running.wire.statuses[307] == len(linked)
    assert not (home / "artifacts").exists()
