"""The browser of rationales: what it shows is what the API answers, and nothing of it is markup."""

from __future__ import annotations

import re
from html import unescape

from tests.app.dashboard.conftest import Finished, sign_in

PLACE = "/rationales"
LISTED = re.compile(r'<a href="([^"]+)" [^>]*data-rationale="(rat_\d+)"')
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}


def listed(text: str) -> list[str]:
    return [found[1] for found in LISTED.findall(text)]


def test_the_list_is_that_of_the_api_under_the_same_filters(finished: Finished) -> None:
    for filters in ({}, {"route": "rationalized"}, {"verdict": "wrong", "iteration": "1"}, {"text": "C: 1"}):
        answer = finished.api(PLACE, **filters, limit=50)
        page = finished.get(PLACE, **filters)
        assert listed(page.text) == [row["id"] for row in answer["data"]]
        assert len(listed(page.text)) > 0


def test_fields_that_were_left_empty_filter_nothing(finished: Finished) -> None:
    page = finished.get(PLACE, iteration="", route="rationalized", verdict="", text="")
    assert page.status_code == 200
    assert listed(page.text) == listed(finished.get(PLACE, route="rationalized").text)


def test_a_rationalized_rationale_shows_its_hint_struck_through(finished: Finished) -> None:
    one = finished.api(PLACE, route="rationalized", decision="kept", limit=1)["data"][0]
    detail = finished.api(f"{PLACE}/{one['id']}")
    page = finished.get(PLACE, rationale=one["id"]).text
    answer = one["example"]["answer"]
    assert f'<mark class="hint"> {answer}</mark>' in page
    assert f"<del> {answer}</del>" in page
    assert f'<mark class="answer">{one["extracted"]}</mark>' in page
    trained = page.split("<h4>Trained on</h4>")[1].split('<pre class="written')[1].split("</pre>")[0]
    row = re.sub(r"<[^>]+>", "", re.sub(r"<del>.*?</del>", "", trained)).partition(">")[2]
    assert unescape(row) == detail["training_row"]["prompt"] + detail["training_row"]["completion"].lstrip()


def test_a_link_to_a_rationale_shows_it_amid_its_neighbours(finished: Finished) -> None:
    ids = [row["id"] for row in finished.api(PLACE, limit=1000)["data"]]
    middle = ids[len(ids) // 2]
    answer = finished.visitor.client.get(f"/dashboard/jobs/{finished.job}{PLACE}/{middle}")
    assert f'<article data-rationale="{middle}">' in answer.text
    for key, neighbour in (("k", ids[len(ids) // 2 - 1]), ("j", ids[len(ids) // 2 + 1])):
        link = re.search(rf'href="([^"]+)"[^>]*data-key="{key} ', answer.text)
        assert link is not None
        assert f"rationale={neighbour}" in link[1]


def test_htmx_gets_the_rationale_alone(finished: Finished) -> None:
    part = finished.visitor.client.get(f"/dashboard/jobs/{finished.job}{PLACE}", headers=PARTIAL).text
    assert "<article" in part
    assert "<html" not in part


def test_what_a_model_or_a_user_wrote_stays_text(finished: Finished) -> None:
    page = finished.get(PLACE).text
    assert "&lt;scratch&gt;" in page
    assert "&lt;b&gt;" in page
    for markup in ("<scratch>", "<b>", "<i>"):
        assert markup not in page


def test_a_reviewer_overrules_a_verdict_and_is_named(finished: Finished) -> None:
    wrong = finished.api(PLACE, verdict="wrong", limit=1)["data"][0]["id"]
    path = f"/jobs/{finished.job}{PLACE}/{wrong}/override"
    sent = {"verdict": "correct", "reason": "<b>It carries</b>"}
    reader = sign_in(finished.visitor.api, finished.visitor.api.reader)
    assert reader.post(path, **sent).status_code == 403
    assert "Overrule the verdict" not in reader.get(f"/jobs/{finished.job}{PLACE}", rationale=wrong).text
    answer = finished.visitor.post(f"{path}?verdict=wrong", **sent)
    assert answer.headers["location"].endswith(f"/rationales?verdict=wrong&rationale={wrong}")
    page = finished.get(PLACE, rationale=wrong).text
    said = finished.api(f"{PLACE}/{wrong}/override")["data"][0]
    assert said["reviewer"] == "admin"
    assert "<q>&lt;b&gt;It carries&lt;/b&gt;</q>" in page
    assert ">admin, <time" in page


def test_another_projects_rationales_are_not_found(finished: Finished) -> None:
    stranger = sign_in(finished.visitor.api, finished.visitor.api.other)
    answer = stranger.get(f"/jobs/{finished.job}{PLACE}")
    assert (answer.status_code, "<h1>Not found</h1>" in answer.text) == (404, True)
