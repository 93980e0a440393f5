"""A verifier on the dashboard: by what it was ended, how it ranks, and that it is no generator."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.app.api_harness import Api, addition_rows, serve, worker
from tests.app.dashboard.conftest import Visitor, sign_in
from tests.factories import CONFIG

SCRIPT = "tests.app.quality.sampled_pupil:pupil"
SETTINGS: dict[str, Any] = {
    "iterations": 1,
    "generation": {"max_tokens": 400, "temperature": 0.7, "samples_per_example": 4},
    "rationalization": {"enabled": False},
    "training": {"checkpoint_every": 2},
    "trained_verifier": {
        "held_out": 0.4,
        "batch_size": 2,
        "schedule": {"kind": "fixed", "steps": 6},
        "stop": {"k": 3, "patience": 1},
    },
    "evaluation": {"test_time": {"samples": 3, "scorer": "verifier"}},
}


@pytest.fixture
def api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve(sqlite_database_url, tmp_path / "home", sampler="scripted", sampler_script=SCRIPT) as found:
        yield found


@pytest.fixture
def visitor(api: Api) -> Visitor:
    return sign_in(api, api.admin)


def test_its_page_says_how_it_ranks_and_offers_no_question(api: Api, visitor: Visitor) -> None:
    shared = {name: value for name, value in CONFIG.items() if name not in ("kind", *SETTINGS)}
    job = api.job(dataset=api.dataset(addition_rows(24), validation=8)["id"], config=shared | SETTINGS)["id"]
    with worker(api) as work_off:
        work_off()
    adapters = api.client.get(f"/v1/jobs/{job}/adapters").json()["data"]
    verifier = next(one for one in adapters if one["role"] == "verifier")
    stop, proof = verifier["training"]["stop"], verifier["verification"]
    assert len(stop["looks"]) == 2

    page = visitor.get(f"/adapters/{verifier['id']}")
    assert page.status_code == 200
    text = unescape(page.text)
    assert "ranks answers" in text
    assert f"{100 * proof['pair_accuracy']:.1f} % of {proof['pairs']} held-out pairs" in text
    for look in stop["looks"]:
        assert f"step {look['step']}: {100 * look['best_of_k']:.1f} %" in text
    assert 'id="ask-title"' not in text  # a verifier writes nothing
    assert "Texts changed" not in text
    assert f"{job}:1" not in text  # that, and last, are names of the generator
    assert f"{job}:last" not in text

    generator = next(one for one in adapters if one["role"] == "generator")
    shown = visitor.get(f"/adapters/{generator['id']}").text
    assert 'id="ask-title"' in shown
    assert {f"{job}:1" in shown, f"{job}:last" in shown} == {True}
    listed = visitor.get(f"/jobs/{job}/adapters")
    assert listed.status_code == 200
    assert f"{100 * proof['pair_accuracy']:.0f} % of {proof['pairs']} held-out pairs" in unescape(listed.text)
    assert "Verifier of iteration 1" in visitor.get("/adapters").text
    for place in ("", "/test-time", "/review", "/rationales"):
        assert visitor.get(f"/jobs/{job}{place}").status_code == 200, place
    assert "best of k by the verifier" in unescape(visitor.get(f"/jobs/{job}/test-time").text)
    for form in ("json", "markdown", "html"):
        report = api.client.get(f"/v1/jobs/{job}/report", params={"format": form})
        assert report.status_code == 200, form
