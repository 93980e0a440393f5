"""A link to a report is made, copied, listed and revoked on the job's page."""

from __future__ import annotations

import re

from tests.app.dashboard.conftest import Finished, Visitor, sign_in


def test_a_link_is_made_shown_once_and_revoked(finished: Finished) -> None:
    place = f"/jobs/{finished.job}/share"
    assert f'href="/dashboard{place}"' in finished.get("").text
    made = finished.visitor.post(place, days="7", note="for Ann")
    [address] = re.findall(r"http://testserver(/shared/[^<\s]+)", made.text)
    assert finished.visitor.api.client.get(address, headers={"Authorization": ""}).status_code == 200
    listed = finished.visitor.get(place).text
    assert "for Ann" in listed
    assert address not in listed
    [share] = set(re.findall(r"shr_[0-9a-z]{26}", listed))
    assert finished.visitor.post(f"{place}/{share}/revoke").status_code == 303
    assert "revoked" in finished.visitor.get(place).text
    refused = finished.visitor.api.client.get(address, headers={"Authorization": ""})
    assert refused.status_code == 404
    assert "ask whoever sent it for another" in refused.text
    assert 'class="top"' not in refused.text


def test_a_project_that_forbids_links_says_so(visitor: Visitor) -> None:
    job = visitor.api.job()["id"]
    assert visitor.post("/platform/sharing", allowed="false").status_code == 303
    assert "forbidden" in visitor.get("/platform").text
    page = visitor.get(f"/jobs/{job}/share").text
    assert "forbids links to reports" in page
    assert "Make a link" not in page
    assert visitor.post(f"/jobs/{job}/share").status_code == 403
    reader = sign_in(visitor.api, visitor.api.reader)
    assert 'action="/dashboard/platform/sharing"' not in reader.get("/platform").text
