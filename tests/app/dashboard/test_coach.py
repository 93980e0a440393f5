"""The coach on a job's page: what the API says of its records, and a new job with the change filled in."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

from tests.app.dashboard.conftest import Finished, sign_in


def test_the_page_says_what_the_api_says(finished: Finished) -> None:
    said = finished.api("/advice")
    assert said["iteration"] == 2
    codes = [one["code"] for one in said["data"]]
    assert {"train_is_solved", "few_held_out"} <= set(codes)  # 16 of 16 train rows, 8 held-out ones
    page = unescape(finished.get("").text)
    assert [code for code in codes if f'id="advice-{code}"' in page] == codes
    for one in said["data"]:
        assert one["saw"] in page
        assert one["do"] in page


def test_advice_is_that_of_the_iteration_that_is_asked_for(finished: Finished) -> None:
    for number in (0, 1, 2):
        said = finished.api("/advice", iteration=number)
        assert said["iteration"] == number
        page = unescape(finished.get("", iteration=str(number)).text)
        assert all(one["saw"] in page for one in said["data"])
    answer = finished.visitor.api.client.get(f"/v1/jobs/{finished.job}/advice", params={"iteration": 9})
    assert answer.status_code == 404


def test_one_click_leads_to_a_new_job_with_the_setting_filled_in(finished: Finished) -> None:
    advice = next(one for one in finished.api("/advice", iteration=1)["data"] if one["code"] == "few_rows")
    link = f"/dashboard/jobs/new?like={finished.job}&amp;advice=few_rows&amp;iteration=1"
    assert f'href="{link}"' in finished.get("", iteration="1").text
    form = finished.visitor.get("/jobs/new", like=finished.job, advice="few_rows", iteration="1").text
    settings = settings_of(form)
    assert settings["generation"] | advice["settings"]["generation"] == settings["generation"]
    same = finished.visitor.get("/jobs/new", like=finished.job, advice="no_such_rule").text
    assert settings_of(same) == settings_of(finished.visitor.get("/jobs/new", like=finished.job).text)
    assert settings_of(same) != settings


def settings_of(form: str) -> dict[str, Any]:
    """What the field of all settings is filled with."""
    filled: dict[str, Any] = json.loads(
        unescape(form.split('name="settings"')[1].split(">", 1)[1].split("<", maxsplit=1)[0])
    )
    return filled


def test_who_may_only_read_is_offered_no_new_job(finished: Finished) -> None:
    reader = sign_in(finished.visitor.api, finished.visitor.api.reader)
    page = reader.get(f"/jobs/{finished.job}", iteration="1").text
    assert 'id="advice-few_rows"' in page
    assert "New job with this change" not in page
