"""POST /v1/jobs with seeds: the same job several times, and the spread over them in the report."""

from __future__ import annotations

from typing import Any

import pytest

from app.jobs.settings import JobIn
from tests.app.api_harness import Api
from tests.app.jobs.test_comparison import write
from tests.app.jobs.test_report import get


def test_seeds_make_the_same_job_again_with_nothing_but_the_seed_changed(api: Api) -> None:
    job = api.job(name="mine", seeds=[3, 5, 8])
    assert (job["config"]["seed"], job["baselines"], job["replicate_of"]) == (3, [], None)
    assert [one["seed"] for one in job["replicates"]] == [5, 8]
    for one in job["replicates"]:
        other = api.client.get(f"/v1/jobs/{one['job']}").json()
        assert other["config"] == job["config"] | {"seed": one["seed"]}
        assert (other["replicate_of"], other["baseline_of"], other["name"]) == (
            job["id"], None, f"mine: seed {one['seed']}"
        )  # fmt: skip


def test_baselines_and_seeds_are_told_apart(api: Api) -> None:
    job = api.job(seeds=[0, 1], baselines=["direct-fine-tune"])
    assert [one["preset"] for one in job["baselines"]] == ["direct-fine-tune"]
    assert [one["seed"] for one in job["replicates"]] == [1]


@pytest.mark.parametrize("first", [True, False])
def test_the_report_of_every_member_has_the_spread(api: Api, first: bool) -> None:
    job = api.job(name="mine", seeds=[0, 1, 2])
    family = [job["id"], *(one["job"] for one in job["replicates"])]
    for job_id, right in zip(family, ([0, 1, 2], [0, 1], [0, 1, 2, 3]), strict=True):
        write(api, job_id, right)
    asked = job if first else {"id": family[1]}
    found = get(api, asked).json()["over_seeds"]
    assert [(one["seed"], one["accuracy"]) for one in found["replicates"]] == [(0, 0.75), (1, 0.5), (2, 1.0)]
    assert (found["accuracy"]["n"], found["accuracy"]["mean"], found["accuracy"]["sd"]) == (3, 0.75, 0.25)
    assert found["points"]["mean"] == 0.5
    text = get(api, asked, format="markdown").text
    assert "Mean accuracy over 3 seeds 75.0 %, standard deviation 25.0 points" in text
    roles = [one["role"] for one in get(api, asked).json()["relatives"]]
    assert roles == (["replicate, seed 1", "replicate, seed 2"] if first else ["replicate of"])


def test_a_job_with_one_seed_has_no_spread(api: Api) -> None:
    assert get(api, api.job(seeds=[4])).json()["over_seeds"] is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"seeds": [1, 1]}, "seeds_repeated"),
        ({"seeds": [1, 2], "config": {"seed": 3, "generation": {"max_tokens": 100}}}, "seeds_differ"),
        ({"seeds": [-1]}, None),
        ({"seeds": list(range(17))}, None),
    ],
)
def test_seeds_that_make_no_sense_are_refused(api: Api, changes: dict[str, Any], code: str | None) -> None:
    answer = api.client.post("/v1/jobs", json=api.job_body(**changes))
    assert answer.status_code in (400, 422)
    assert code is None or answer.json()["code"] == code
    assert api.client.get("/v1/jobs").json()["data"] == []


def test_cancelling_the_family_takes_the_replicates_along(api: Api) -> None:
    job = api.job(seeds=[0, 1])
    answer = api.client.post(f"/v1/jobs/{job['id']}/cancel", params={"baselines": True}).json()
    assert (answer["status"], answer["replicates"][0]["status"]) == ("cancelled", "cancelled")


def test_the_request_field_is_of_the_family_alone() -> None:
    """A replicate's own request would else make replicates."""
    assert "seeds" not in JobIn.model_fields
