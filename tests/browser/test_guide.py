"""The documentation as a site: built as `make docs` does, served by the API, searched in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from app.dashboard import documentation
from tests.browser.conftest import visiting
from tests.databases import PROJECT
from tests.star_client.recorded_platform import platform

LOADED = re.compile(r'<(?:script|link rel="(?:stylesheet|icon)")[^>]*? (?:src|href)="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout. The build is strict: a link or an anchor that leads nowhere ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_guide_is_a_page_and_llms_txt_names_it(site: Path) -> None:
    named = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text())
    assert all((site / name / "index.html").exists() for name in named)
    guides = {path.stem for path in (PROJECT / "docs").glob("*.md")} - {"index"}
    assert guides <= {name.strip("/") for name in named}
    assert "Create a prompt set" not in (site / "llms-full.txt").read_text()[:200]
    assert "# Recipes" in (site / "llms-full.txt").read_text()


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        loaded = LOADED.findall(page.read_text())
        assert loaded
        assert [url for url in loaded if url.startswith(("http:", "https:", "//"))] == [], page


def test_the_client_is_documented_from_its_docstrings(site: Path) -> None:
    page = (site / "sdk" / "index.html").read_text()
    for name in ("StarClient", "PromptSets.create", "Jobs.wait", "Adapters.download"):
        assert f'.{name}"' in page, name


def test_a_reader_searches_and_reads_under_the_policy(
    site: Path, chromium: Browser, sqlite_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documentation, "FOLDER", site)
    (tmp_path / "home").mkdir()
    with platform(sqlite_database_url, tmp_path / "home") as server, visiting(chromium, server) as visit:
        page = visit.page
        answer = page.goto(f"{server.url}/docs/guide/")
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self' 'sha256-" in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        page.get_by_role("textbox", name="Search").fill("no_spark")
        found = page.locator(".md-search-result__link", has_text="Why is nothing kept?").first
        found.click()
        expect(page.get_by_role("heading", name="Why is nothing kept?").first).to_be_visible()
        page.goto(f"{server.url}/docs/guide/notebooks/engine/")
        expect(page.get_by_text("run_star").first).to_be_visible()


def test_a_platform_without_the_site_has_no_such_page(
    server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi import FastAPI

    monkeypatch.setattr(documentation, "FOLDER", Path("nowhere"))
    bare = FastAPI()
    documentation.add_guide(bare)
    assert documentation.GUIDE not in [getattr(route, "path", "") for route in bare.routes]
