"""Signing in and out, and the switch between light and dark, as a person does it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Visit


def test_a_wrong_key_is_explained_and_a_right_one_opens_the_page_that_was_asked_for(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    visit.open("datasets")
    page.get_by_label("API key").fill("star_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    page.get_by_label("API key").fill(visit.server.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    assert [problem for problem in visit.problems if "401" not in problem] == []
    visit.problems.clear()


def test_scripts_of_pages_cannot_read_the_key(visit: Visit) -> None:
    assert visit.page.evaluate("document.cookie") == ""
    assert any(cookie.get("value") == visit.server.key for cookie in visit.page.context.cookies())


def test_the_chosen_theme_stays(visit: Visit) -> None:
    scheme = "getComputedStyle(document.documentElement).colorScheme"
    assert visit.page.evaluate(scheme) == "light"
    visit.page.get_by_role("button", name="Switch between light and dark").click()
    visit.open("datasets")
    assert visit.page.evaluate(scheme) == "dark"


def test_every_page_begins_with_a_way_past_the_navigation(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    skip = visit.page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("main")).to_be_focused()
