"""The pages of a job whose model thinks between tokens, of its adapter, and of what it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser

from tests import databases
from tests.browser.conftest import Visit, visiting
from tests.browser.whole_page import is_whole
from tests.star_client.conftest import Run, run
from tests.star_client.recorded_platform import Platform, platform
from tests.worker.test_quiet_star import METHOD, MODEL, documents, lines, sums

TEXT = "Input:\n2 7 + 3 5\nTarget:"
PAGES = (
    "jobs/{job}",
    "jobs/{job}/thoughts",
    "jobs/{job}/thoughts?iteration=1&drawn=true",
    "jobs/{job}/answers?dataset={questions}",
    "jobs/{job}/iterations/1/curve",
    "jobs/{job}/adapters",
    "adapters/{adapter}",
    "adapters/{adapter}?trial={trial}",
    "jobs/{evaluation}",
)

__all__ = ["run"]  # a fixture


@dataclass(frozen=True)
class Site:
    server: Platform
    ids: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A finished job on documents, measured on questions too; a trial and an evaluation of its adapter."""
    home = tmp_path_factory.mktemp("thoughts")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    models = home / "models.yaml"
    models.write_text(yaml.safe_dump([{"id": "tiny", "location": str(MODEL), "license": "mit"}]))
    texts, asked = home / "documents.jsonl", home / "questions.jsonl"
    texts.write_text(documents())
    asked.write_text(lines([{"question": q, "answer": a} for q, a in sums(8, 1)]))
    with platform(url, home, models_file=models, sampler="transformers", threads=1) as server:
        yield Site(server, made(server, texts, asked))


def made(server: Platform, texts: Path, asked: Path) -> dict[str, str]:
    with server.client() as star:
        dataset = star.datasets.upload(texts, kind="documents", validation=10).id
        questions = star.datasets.upload(asked, kind="scratchpad", validation=4).id
        job = star.jobs.create(
            model="tiny",
            dataset=dataset,
            preset="quiet-star",
            config={"quiet_star": METHOD, "evaluation": {"also": [questions]}},
            name="thoughts",
        ).id
        server.work()
        assert star.jobs.get(job).status == "succeeded"
        adapter = star.adapters.list(job)[0].id
        trial = star.adapters.generate(
            adapter, ["Input:\n2 7 + 3 5\nTarget:"], beside_base=True, max_tokens=8
        ).id
        evaluation = star.adapters.evaluate(adapter, questions, split="validation", max_examples=2).id
        server.work()
        ids = {"job": job, "questions": questions, "adapter": adapter}
        return {**ids, "trial": trial, "evaluation": evaluation}


@pytest.fixture(scope="module", params=["light", "dark"])
def visit(request: pytest.FixtureRequest, chromium: Browser, site: Site) -> Iterator[Visit]:
    with visiting(chromium, site.server, color_scheme=request.param) as there:
        yield there


@pytest.mark.parametrize("path", PAGES)
def test_page_of_what_thinks_is_accessible_light_and_whole(visit: Visit, site: Site, path: str) -> None:
    is_whole(visit, path.format(**site.ids))
    assert visit.problems == []


def test_thoughts_before_each_token_of_an_answer_are_unfolded(visit: Visit, site: Site) -> None:
    visit.open("adapters/{adapter}?trial={trial}".format(**site.ids))
    folded = visit.page.get_by_text("What it thought before each token")
    table = visit.page.locator("#answers table")
    assert not table.is_visible()
    folded.click()
    table.wait_for()
    assert table.locator("tbody tr").count() > 0
    is_whole(visit, "jobs/{job}/thoughts".format(**site.ids))
    words = visit.page.get_by_text("Answers that it wrote")
    words.wait_for()
    assert visit.problems == []


def test_the_command_shows_the_thoughts_that_the_page_shows(visit: Visit, site: Site, run: Run) -> None:
    limit = ("--max-tokens", "8")
    with site.server.attending():
        asked = run(site.server, "adapters", "ask", site.ids["adapter"], TEXT, *limit, "--thoughts")
    assert asked.status == 0, asked.err
    visit.open("adapters/{adapter}?trial={trial}".format(**site.ids))
    visit.page.get_by_text("What it thought before each token").click()
    rows = visit.page.locator("#answers table tbody tr")
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    assert cells
    printed = asked.out.rpartition("token")[2].split()
    assert sorted(printed) == sorted(word for row in cells for cell in row for word in cell.split())
