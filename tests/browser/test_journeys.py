"""What people come for, from one end to the other, in a real browser before a real platform."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests import databases
from tests.browser.accessibility import violations
from tests.browser.conftest import Visit, visiting
from tests.star_client.recorded_platform import Platform, platform
from tests.star_client.test_openai_completions import server_of_models


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, str]]:
    """A platform with two finished jobs, the second without rationalization; the id of the first."""
    home = tmp_path_factory.mktemp("journeys")
    url = f"sqlite:///{home / 'star.db'}"
    databases.migrate(url)
    with platform(url, home) as server:
        job = server.submit(home)
        server.submit(home, rationalization={"enabled": False})
        server.work()
        yield server, job


@pytest.fixture
def finished(chromium: Browser, site: tuple[Platform, str]) -> Iterator[Visit]:
    with visiting(chromium, site[0]) as there:
        yield there


@pytest.fixture
def job(site: tuple[Platform, str]) -> str:
    return site[1]


def test_a_job_is_watched_live_to_its_end(visit: Visit, tmp_path: Path) -> None:
    """Nothing is reloaded: what changes comes over the stream."""
    job = visit.server.submit(tmp_path)
    visit.open(f"jobs/{job}")
    state = visit.page.locator("header.head .badge").first
    expect(state).to_have_text("queued")
    visit.page.evaluate("window.sameDocument = true")
    with visit.server.working():
        expect(state).to_have_text("succeeded", timeout=90_000)
    expect(visit.page.get_by_text("Job succeeded")).to_be_visible()
    expect(visit.page.locator("#now")).to_contain_text("Iteration 2")
    assert visit.page.evaluate("window.sameDocument") is True


def test_a_job_is_cancelled_after_a_question(visit: Visit, tmp_path: Path) -> None:
    job = visit.server.submit(tmp_path)
    visit.open(f"jobs/{job}")
    questions: list[str] = []

    def agree(dialog: object) -> None:
        questions.append(dialog.message)  # type: ignore[attr-defined]
        dialog.accept()  # type: ignore[attr-defined]

    visit.page.on("dialog", agree)
    visit.page.get_by_role("button", name="Cancel").click()
    expect(visit.page.locator("header.head .badge").first).to_have_text("cancelled")
    assert len(questions) == 1
    with visit.server.client() as star:
        assert star.jobs.get(job).status == "cancelled"


def test_a_rationalized_rationale_is_found_and_its_hint_is_struck_through(finished: Visit, job: str) -> None:
    page = finished.page
    finished.open(f"jobs/{job}")
    page.get_by_role("navigation", name="Job").get_by_role("link", name="Rationales").click()
    page.get_by_label("Route").select_option("rationalized")
    page.get_by_label("Decision").select_option("kept")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**route=rationalized**")
    with finished.server.client() as star:
        wanted = next(star.rationales.every(job, route="rationalized", decision="kept"))
    trained = page.locator("section", has_text="Trained on").last
    expect(trained.locator("del").first).to_contain_text(wanted.example.answer)
    expect(page.locator("mark").first).to_be_visible()


def test_neighbours_are_reached_by_keyboard(finished: Visit, job: str) -> None:
    visit = finished
    visit.open(f"jobs/{job}/rationales")
    with visit.server.client() as star:
        every = star.rationales.every(job)
        first, second = next(every), next(every)
    expect(visit.page.locator(f"a[href*='{first.id}']").first).to_be_visible()
    visit.page.keyboard.press("j")
    visit.page.wait_for_url(f"**{second.id}**")
    visit.page.keyboard.press("k")
    visit.page.wait_for_url(f"**{first.id}**")


def test_two_iterations_of_an_example_are_compared(finished: Visit, job: str) -> None:
    page = finished.page
    with finished.server.client() as star:
        example = next(star.rationales.every(job, route="rationalized")).example.id
        tries = star.jobs.history(job, example)
    finished.open(f"jobs/{job}/examples/{example}")
    expect(page.get_by_role("heading", name="Iteration 1")).to_be_visible()
    expect(page.get_by_role("heading", name="Iteration 2")).to_be_visible()
    expect(page.get_by_text("hint shown").first).to_be_visible()
    assert page.locator("article").count() == len(tries)
    changed = any(a.text != b.text for a, b in pairwise(tries))
    assert changed
    expect(page.locator("article ins, article del").first).to_be_visible()


def test_a_verdict_is_overruled_with_a_reason(finished: Visit, job: str) -> None:
    page = finished.page
    with finished.server.client() as star:
        kept = next(star.rationales.every(job, route="generated", verdict="correct"))
    finished.open(f"jobs/{job}/rationales/{kept.id}")
    page.get_by_text("Overrule the verdict").click()
    review = page.locator("#override")
    review.get_by_label("wrong").check()
    review.get_by_label("Why").fill("It <b>guessed</b>.")
    page.get_by_role("button", name="Overrule").click()
    expect(page.get_by_text("It <b>guessed</b>.")).to_be_visible()
    with finished.server.client() as star:
        assert [one.verdict for one in star.rationales.overrides(job, kept.id)] == ["wrong"]


def test_an_adapter_is_downloaded_and_asked_a_question(finished: Visit, job: str, tmp_path: Path) -> None:
    page = finished.page
    finished.open(f"jobs/{job}/adapters")
    with page.expect_download() as started:
        page.get_by_role("link", name=".tar").first.click()
    archive = tmp_path / "adapter.tar"
    started.value.save_as(archive)
    with tarfile.open(archive) as files:
        names = sorted(Path(name).name for name in files.getnames())
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(names)
    page.get_by_role("link", name="Iteration 2", exact=True).click()
    page.get_by_label("Question").fill("2 + 6")
    with finished.server.attending():
        page.get_by_role("button", name="Ask").click()
        answers = page.locator("#answers")
        expect(answers).to_contain_text("Base model", timeout=60_000)
        expect(answers.locator("pre").nth(1)).to_be_visible(timeout=60_000)


def test_one_question_is_answered_by_three_models_side_by_side(finished: Visit, job: str) -> None:
    page = finished.page
    finished.open(f"adapters/{job}:2/playground")
    page.get_by_label("Question").fill("4 7 + 3 6")
    page.get_by_label("Group").select_option("2")
    page.get_by_label("Gold answer").fill("8 3")
    columns = page.locator("[data-column]")
    assert columns.locator("select").evaluate_all("all => new Set(all.map(one => one.value)).size") == 3
    with server_of_models(finished.server):
        page.get_by_role("button", name="Ask").click()
        expect(columns.nth(0).locator(".badge")).to_have_text("correct", timeout=60_000)
        expect(columns.nth(1).locator(".badge")).to_have_text("wrong", timeout=60_000)  # the base model
        expect(columns.nth(2).locator(".badge")).to_be_visible(timeout=60_000)
    expect(columns.nth(0).locator("pre")).to_contain_text("<scratch>")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert violations(page) == []


def test_a_text_is_stopped_while_it_is_written(finished: Visit, job: str) -> None:
    page = finished.page
    finished.open(f"adapters/{job}:2/playground")
    page.get_by_label("sent as the whole prompt").check()
    for number in (1, 2):
        page.get_by_label(f"Model {number}", exact=True).select_option("")
    page.get_by_label("Question").fill("hang")
    said = page.locator("[data-column]").nth(2).locator("[data-said]")
    with server_of_models(finished.server, "tests.worker.gpu_scripts:obey"):
        page.get_by_role("button", name="Ask").click()
        expect(said).to_have_text("writing")
        page.get_by_role("button", name="Stop").click()
        expect(said).to_have_text("stopped")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def test_two_jobs_are_chosen_and_compared(finished: Visit, job: str) -> None:
    page = finished.page
    finished.open("jobs")
    boxes = page.get_by_role("checkbox")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url("**/compare?**")
    expect(page.locator("main")).to_contain_text("rationalization.enabled")
    expect(page.locator(".uplot").first).to_be_visible()
    values = page.locator(".u-legend .u-series:not(.edge) .u-value")  # until a point is pointed at
    expect(values.nth(1)).to_contain_text("%")


def test_a_job_is_tried_out_and_started_from_the_form(finished: Visit, job: str) -> None:
    page = finished.page
    with finished.server.client() as star:
        before = star.jobs.list(limit=100).data
    finished.open("jobs/new")
    page.get_by_label("Name").fill("from the form")
    page.get_by_label("Iterations").first.fill("1")
    page.get_by_role("button", name="Try it out").click()
    expect(page.get_by_role("heading", name="It would run")).to_be_visible()
    with finished.server.client() as star:
        assert len(star.jobs.list(limit=100).data) == len(before)
    page.get_by_role("button", name="Start the job").click()
    expect(page.get_by_role("heading", name="from the form")).to_be_visible()
    with finished.server.client() as star:
        made = star.jobs.list(limit=1).data[0]
    assert (made.name, made.config["iterations"]) == ("from the form", 1)
