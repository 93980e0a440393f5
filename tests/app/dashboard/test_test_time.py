"""The tab of test time shows the curves and the answers that the API has."""

from __future__ import annotations

import json
import re

from tests.app.dashboard.conftest import Finished, Visitor

PLACE = "/test-time"


def shown(text: str) -> list[str]:
    return re.findall(r'<article class="card" id="(cand_\d+)"', text)


def test_the_tab_lists_the_candidates_of_the_api_under_the_same_filters(finished: Finished) -> None:
    for filters in ({}, {"iteration": "2"}, {"iteration": "0", "verdict": "wrong"}):
        found = finished.api("/candidates", **filters, limit=25)
        assert shown(finished.get(PLACE, **filters).text) == [row["id"] for row in found["data"]]
        assert found["data"]


def test_every_page_of_candidates_follows_the_one_before(finished: Finished) -> None:
    every = [row["id"] for row in finished.api("/candidates", limit=100)["data"]]
    paged, after = list[str](), None
    while True:
        found = finished.api("/candidates", limit=7, **({"after": after} if after else {}))
        paged += [row["id"] for row in found["data"]]
        after = found["last_id"]
        if not found["has_more"]:
            break
    assert paged == every
    assert len(every) == 2 * 3 * finished.api(PLACE)["data"][0]["n"]


def test_the_chart_has_the_last_adapter_in_full_and_the_base_model_dashed(finished: Finished) -> None:
    base, last = finished.api(PLACE)["data"]
    page = finished.get(PLACE).text
    spec = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])  # type: ignore[index]
    lines = {one["label"]: one for one in spec["series"]}
    assert spec["x"] == last["ks"] == [1, 2, 3]
    voted = lines["maj@k: majority vote"]
    assert voted["values"] == [point["value"] for point in last["curves"]["majority"]]
    assert voted["low"] == [point["low"] for point in last["curves"]["majority"]]
    beside = lines["pass@k: any is right, base model"]
    assert (beside["dashed"], beside["values"]) == (True, [one["value"] for one in base["curves"]["pass"]])


def test_the_report_has_the_same_numbers_and_a_chart(finished: Finished) -> None:
    answer = finished.visitor.api.client.get(f"/v1/jobs/{finished.job}/report", params={"format": "html"})
    assert "<h2>Many answers to a question</h2>" in answer.text
    assert "answers (k)" in answer.text
    last = finished.api(PLACE)["data"][-1]["curves"]["pass"][-1]["value"]
    markdown = finished.visitor.api.client.get(
        f"/v1/jobs/{finished.job}/report", params={"format": "markdown"}
    ).text
    row = next(line for line in markdown.splitlines() if line.startswith("| iteration 2 | pass@k"))
    assert f"{100 * last:.1f} %" in row


def test_the_reports_answer_holds_the_adapter_against_the_base_models_vote(finished: Finished) -> None:
    answer = finished.api("/report", format="json")["answer"]
    [voted] = [one for one in answer["comparisons"] if "majority vote of 3" in one["against"]]
    base = finished.api(PLACE)["data"][0]
    assert voted["accuracy"] == base["curves"]["majority"][-1]["value"]
    assert voted["difference"]["n"] == base["n"]
    assert "a majority vote of 3" in answer["sentence"]


def test_a_job_without_the_setting_has_no_such_tab_and_its_page_says_which_setting(visitor: Visitor) -> None:
    job = visitor.api.job()["id"]
    assert "/test-time" not in visitor.get(f"/jobs/{job}").text
    assert "evaluation.test_time" in visitor.get(f"/jobs/{job}/test-time").text


def test_an_id_that_is_none_and_an_iteration_that_is_not_there_are_refused(finished: Finished) -> None:
    client, path = finished.visitor.api.client, f"/v1/jobs/{finished.job}"
    assert client.get(f"{path}/candidates", params={"after": "ans_1"}).status_code == 400
    assert client.get(f"{path}/iterations/9/candidates").status_code == 404
