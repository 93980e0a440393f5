"""Every page: accessible in light and dark, whole on a phone, light to load, quiet in the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from app.dashboard.application import PAGES as MODULES
from tests import databases
from tests.browser.conftest import Visit, visiting
from tests.browser.furnished import HOOKS, PAGES, furnish
from tests.browser.whole_page import is_whole
from tests.star_client.recorded_platform import Platform, platform


@dataclass(frozen=True)
class Site:
    server: Platform
    ids: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two finished jobs, one of them without rationalization, and what was made of them."""
    home = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    with platform(url, home, webhook_allowed_hosts=[HOOKS]) as server:
        yield Site(server, furnish(server, home))


@pytest.fixture(scope="module", params=["light", "dark"])
def visit(request: pytest.FixtureRequest, chromium: Browser, site: Site) -> Iterator[Visit]:
    with visiting(chromium, site.server, color_scheme=request.param) as there:
        yield there


@pytest.mark.parametrize("path", PAGES.values())
def test_page_is_accessible_light_and_whole(visit: Visit, site: Site, path: str) -> None:
    is_whole(visit, path.format(**site.ids))
    if path == "jobs/job_0":  # the page that says so is itself answered with 404
        assert len(visit.problems) == 1
        visit.problems.clear()
    assert visit.problems == []


def test_every_page_of_the_dashboard_is_among_them() -> None:
    """Parts of pages, streams and files are none; "/" leads to the jobs; the last two are of journeys."""
    parts = re.compile(
        r"/(rows|now|events|results|texts|stream|archive|files/.*)$|^/$|^/oidc/|/(probes|trials)/"
    )
    visited = [f"/{path.partition('?')[0].replace('{', '').replace('}', '')}" for path in PAGES.values()]
    routes = [route for module in MODULES for route in module.router.routes if "GET" in route.methods]
    pages = [route for route in routes if not parts.search(route.path)]
    assert len(pages) > 40
    assert [one.path for one in pages if not any(map(one.path_regex.fullmatch, visited))] == []


def test_reference_of_the_api_is_shown_under_its_policy(chromium: Browser, site: Site) -> None:
    """Everything that the policy refuses would be an error on the console, which fails the visit."""
    with visiting(chromium, site.server) as visit:
        visit.page.goto(f"{site.server.url}/docs")
        visit.page.get_by_role("link", name="webhooks", exact=True).click()
        visit.page.get_by_text("Send a delivery again", exact=True).click()
        visit.page.get_by_role("button", name="Try it out").first.click()
        visit.page.get_by_placeholder("delivery_id").wait_for()
