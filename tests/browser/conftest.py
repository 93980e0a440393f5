"""A real Chromium before the real application. What it logs, asks of other hosts or breaks fails the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.star_client.recorded_platform import Platform, platform

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [  # a browser that asks nobody anything by itself
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Per module: Playwright keeps an event loop in this thread, which tests of others must not find."""
    path = chromium_path()
    if path is None:
        missing = "There is no Chromium: install the package chromium, or run `make test` as root on Debian."
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page of a browser that has signed in, and everything that went wrong on it."""

    page: Page
    server: Platform
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.server.url}/dashboard/{path}")

    def sign_in(self, key: str) -> None:
        self.open("sign-in")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/dashboard/jobs")

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text}")

    def on_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme in ("http", "https") and not request.url.startswith(self.server.url):
            self.problems.append(f"asked another host: {request.url}")


@contextmanager
def visiting(
    chromium: Browser, server: Platform, key: str | None = None, **options: object
) -> Iterator[Visit]:
    """Signed in with the operator's key, or with another. Fails in the end if anything went wrong."""
    context: BrowserContext = chromium.new_context(accept_downloads=True, **options)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    visit = Visit(context.new_page(), server)
    visit.page.on("console", visit.on_console)
    visit.page.on("pageerror", lambda error: visit.problems.append(f"script: {error}"))
    visit.page.on("request", visit.on_request)
    visit.sign_in(key or server.key)
    try:
        yield visit
    finally:
        context.close()
    assert visit.problems == []


@pytest.fixture
def visit(chromium: Browser, server: Platform) -> Iterator[Visit]:
    with visiting(chromium, server) as there:
        yield there


@pytest.fixture
def server(sqlite_database_url: str, tmp_path: Path) -> Iterator[Platform]:
    """A platform of this test alone, without jobs."""
    home = tmp_path / "home"
    home.mkdir()
    with platform(sqlite_database_url, home) as running:
        yield running
