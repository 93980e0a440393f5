"""A link to a report: made and copied on the job's page, opened by somebody who has no key."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Visit
from tests.browser.test_own_data import whole


def test_a_report_is_shared_read_without_a_key_and_taken_back(
    chromium: Browser, visit: Visit, tmp_path: Path
) -> None:
    job = visit.server.submit(tmp_path, iterations=1)
    visit.server.work()
    page = visit.page
    visit.open(f"jobs/{job}")
    page.get_by_role("link", name="Share").click()
    page.get_by_label("For whom").fill("Ann")
    page.get_by_role("button", name="Make a link").click()
    expect(page.get_by_text("The link is made.")).to_be_visible()
    assert whole(page) == []
    address = page.locator(".copy code").inner_text()
    assert address.startswith(f"{visit.server.url}/shared/shr_")

    stranger = chromium.new_context(viewport={"width": 1280, "height": 800})
    report = stranger.new_page()
    opened = report.goto(address)
    assert opened is not None
    assert opened.status == 200
    for width in (1280, 390):
        report.set_viewport_size({"width": width, "height": 800})
        assert violations(report) == []
        assert report.evaluate("document.documentElement.scrollWidth") <= width
    assert report.locator("a").count() == 0, "a report leads nowhere else"
    assert stranger.cookies() == []

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("cell", name="revoked")).to_be_visible()
    refused = report.goto(address)
    assert refused is not None
    assert refused.status == 404
    expect(report.get_by_text("This link leads to no report.")).to_be_visible()
    assert violations(report) == []
    stranger.close()
