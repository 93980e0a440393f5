"""Every page: accessible in light and dark, whole on a phone, light to load, quiet in the console."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from tests import databases
from tests.browser.conftest import Visit, visiting
from tests.browser.whole_page import is_whole
from tests.star_client.recorded_platform import Platform, platform

PAGES = (
    "sign-in",
    "jobs",
    "jobs?name=nothing+like+this",
    "jobs/new",
    "jobs/{job}",
    "jobs/{job}/fork",
    "jobs/{job}/rationales",
    "jobs/{job}/answers",
    "jobs/{job}/held-out",
    "jobs/{job}/test-time",
    "jobs/{job}/iterations/1/curve",
    "jobs/{job}/answers?iteration=1&changed=gained",
    "jobs/{job}/rationales?rationale={rationale}",
    "jobs/{job}/examples/{example}",
    "jobs/{job}/examples",
    "jobs/{job}/review",
    "jobs/{job}/studies",
    "jobs/{job}/adapters",
    "jobs/{job}/share",
    "adapters",
    "adapters/{adapter}",
    "adapters/{adapter}/playground",
    "compare",
    "compare?job={job}&job={other}",
    "datasets",
    "datasets/new",
    "datasets/{dataset}",
    "prompt-sets",
    "prompt-sets/new",
    "prompt-sets/drafts/new",
    "prompt-sets/{prompt_set}",
    "search",
    "search?text=c%3A",
    "verifiers",
    "platform",
    "platform/usage",
    "platform/keys",
    "platform/audit",
    "platform/base-models",
    "platform/projects",
    "platform/webhooks",
    "jobs/job_0",
)


@dataclass(frozen=True)
class Site:
    server: Platform
    ids: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two finished jobs, one of them without rationalization."""
    home = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    with platform(url, home) as server:
        job = server.submit(home)
        other = server.submit(home, rationalization={"enabled": False})
        server.work()
        yield Site(server, ids_of(server, job, other))


def ids_of(server: Platform, job: str, other: str) -> dict[str, str]:
    """What the templates of PAGES name."""
    with server.client() as star:
        made = star.jobs.get(job)
        assert made.status == "succeeded", made
        rationale = next(star.rationales.every(job, route="rationalized", decision="kept"))
        return {
            "job": job,
            "other": other,
            "dataset": made.dataset,
            "prompt_set": made.prompt_set,
            "rationale": rationale.id,
            "example": rationale.example.id,
            "adapter": next(iter(star.adapters.list(job))).id,
        }


@pytest.fixture(scope="module", params=["light", "dark"])
def visit(request: pytest.FixtureRequest, chromium: Browser, site: Site) -> Iterator[Visit]:
    with visiting(chromium, site.server, color_scheme=request.param) as there:
        yield there


@pytest.mark.parametrize("path", PAGES)
def test_page_is_accessible_light_and_whole(visit: Visit, site: Site, path: str) -> None:
    is_whole(visit, path.format(**site.ids))
    if path == "jobs/job_0":  # the page that says so is itself answered with 404
        assert len(visit.problems) == 1
        visit.problems.clear()
    assert visit.problems == []


def test_reference_of_the_api_is_shown_under_its_policy(chromium: Browser, site: Site) -> None:
    """Everything that the policy refuses would be an error on the console, which fails the visit."""
    with visiting(chromium, site.server) as visit:
        visit.page.goto(f"{site.server.url}/docs")
        visit.page.get_by_role("link", name="webhooks", exact=True).click()
        visit.page.get_by_text("Send a delivery again", exact=True).click()
        visit.page.get_by_role("button", name="Try it out").first.click()
        visit.page.get_by_placeholder("delivery_id").wait_for()
