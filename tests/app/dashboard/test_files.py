"""What a job made is saved from its pages: each link leads to the bytes that the API sends."""

from __future__ import annotations

import re
from html import unescape

import pytest

from tests.app.dashboard.conftest import Finished, sign_in

PAGES = {  # where people look: what is saved there, and what the API calls it
    "?iteration=1": {
        "/files/training-set/1?format=jsonl": "/iterations/1/training-set?format=jsonl",
        "/files/training-set/1?format=messages": "/iterations/1/training-set?format=messages",
        "/files/training-set/1?format=parquet": "/iterations/1/training-set?format=parquet",
        "/files/report": "/report?format=html",
    },
    "/iterations/1/curve": {"/files/curve/1": "/iterations/1/curve?format=csv"},
    "/examples": {"/files/never-solved": "/never-solved"},
    "/share": {
        "/files/report": "/report?format=html",
        "/files/report?format=markdown": "/report?format=markdown",
    },
}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_leads_to_files_as_the_api_sends_them(finished: Finished, path: str) -> None:
    visitor, api = finished.visitor, finished.visitor.api.client
    place = f"/dashboard/jobs/{finished.job}"
    shown = visitor.client.get(place + path).text
    links = [unescape(link) for link in re.findall(r'<a [^>]*download href="([^"]+)"', shown)]
    for link, of_api in PAGES[path].items():
        assert place + link in links
        saved = visitor.client.get(place + link)
        assert saved.status_code == 200
        assert saved.headers["content-disposition"].startswith("attachment; filename=")
        assert saved.content == api.get(f"/v1/jobs/{finished.job}{of_api}").content
        assert len(saved.content) > 100 or link == "/files/never-solved"


def test_another_projects_files_are_not_there(finished: Finished) -> None:
    stranger = sign_in(finished.visitor.api, finished.visitor.api.other)
    for links in PAGES.values():
        for link in links:
            path, _, query = link.partition("?")
            asked = dict(one.split("=") for one in query.split("&")) if query else {}
            assert stranger.get(f"/jobs/{finished.job}{path}", **asked).status_code == 404
