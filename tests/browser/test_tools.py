"""The playground with a tool: code, what it printed and how the text goes on, each for itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import visiting
from tests.star_client.recorded_platform import Platform, platform
from tests.star_client.test_openai_completions import server_of_models
from tests.star_client.test_served_tools import SCRIPT, adapter_of


@pytest.fixture(scope="module")
def calling(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Platform, str]]:
    """A platform, and an adapter that calls an interpreter."""
    folder = tmp_path_factory.mktemp("calling")
    home = folder / "home"
    home.mkdir()
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'star.db')}"
    with platform(url, home, script=SCRIPT) as running:
        yield running, adapter_of(running, folder, {})


def test_code_output_and_continuation_are_shown_apart(
    chromium: Browser, calling: tuple[Platform, str]
) -> None:
    server, adapter = calling
    with visiting(chromium, server) as visit, server_of_models(server, SCRIPT):
        page = visit.page
        visit.open(f"adapters/{adapter}/playground")
        page.get_by_label("Question").fill("What is 17 times 23?")
        page.get_by_label("Gold answer").fill("391")
        expect(page.get_by_label("with the tool")).to_be_checked()
        page.get_by_role("button", name="Ask").click()
        columns = page.locator("[data-column]")
        own = columns.nth(0)
        expect(own.locator(".badge")).to_have_text("correct", timeout=60_000)
        parts = own.locator("pre [data-part]")
        assert parts.evaluate_all("all => all.map(one => [one.dataset.part, one.textContent])") == [
            ["text", " Let me compute.\n"],
            ["code", "```python\nprint(17 * 23)\n```\n"],
            ["output", "```output\n391\n```\n"],
            ["text", "So it is 391.\n#### 391"],
        ]
        expect(columns.nth(1).locator(".badge")).to_have_text(
            "wrong", timeout=60_000
        )  # the base model has none
        assert violations(page) == []
        page.get_by_label("with the tool").uncheck()
        page.get_by_role("button", name="Ask").click()
        expect(own.locator("[data-said]")).to_contain_text("unparsed", timeout=60_000)
        expect(own.locator("[data-part=output]")).to_have_count(0)
