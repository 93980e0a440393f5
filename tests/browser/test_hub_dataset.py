"""A dataset of a hub, by its name, in the browser."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.app.api_harness import addition_rows
from tests.browser.conftest import visiting
from tests.browser.test_own_data import whole
from tests.hub_server import Repository, running_hub
from tests.star_client.recorded_platform import platform


def test_a_dataset_is_fetched_from_the_hub_by_its_name(
    chromium: Browser, sqlite_database_url: str, tmp_path: Path
) -> None:
    lines = addition_rows(24).splitlines(keepends=True)
    files = {"train.jsonl": "".join(lines[:16]).encode(), "test.jsonl": "".join(lines[16:]).encode()}
    home = tmp_path / "home"
    home.mkdir()
    with running_hub() as hub:
        hub.repositories["datasets/acme/sums"] = Repository(files)
        with (
            platform(sqlite_database_url, home, hub_url=hub.url) as server,
            visiting(chromium, server) as visit,
        ):
            page = visit.page
            visit.open("datasets/new")
            page.get_by_label("Dataset", exact=True).fill("acme/none")
            page.get_by_role("button", name="Look at it").click()
            expect(page.get_by_text("The hub has no public dataset acme/none.").first).to_be_visible()
            page.get_by_label("Dataset", exact=True).fill("acme/sums")
            page.get_by_label("Hold out the split").fill("test")
            page.get_by_role("button", name="Look at it").click()
            expect(page.get_by_role("heading", name="2. What they are")).to_be_visible(timeout=60_000)
            page.get_by_label("Kind").select_option("scratchpad")
            expect(page.locator(".tile", has_text="Train").first).to_contain_text("16")
            expect(page.locator(".tile", has_text="Held out").first).to_contain_text("8")
            assert whole(page) == []
            page.get_by_role("button", name="Save the dataset").click()
            expect(page.get_by_role("heading", name="sums")).to_be_visible()
            visit.problems[:] = [one for one in visit.problems if "422" not in one]  # of acme/none
        assert hub.credentials == []
