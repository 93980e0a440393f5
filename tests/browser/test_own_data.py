"""From an empty project to a started job, on rows of one's own, in the browser alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Visit
from tests.factories import problem, spaced, total

WIDTHS = (1280, 390)


def pasted(count: int = 30) -> str:
    """A table of additions under names that are no fields, with two rows that cannot be used."""
    lines = ["Prompt;Solution value;Digits"]
    for number in range(count):
        a, b = problem(number, 1 + number % 2)
        lines.append(f"{spaced(a)} + {spaced(b)};{total(a, b)};{len(a)}")
    return "\n".join([*lines, "9 + 9;many;1", ";7;1"])


def look(page: Page) -> None:
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="2. What they are")).to_be_visible()


def whole(page: Page) -> list[str]:
    """What is wrong with the page at either width."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        found += [f"{width}: {one}" for one in violations(page)]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{width}: has to be scrolled sideways")
    page.set_viewport_size({"width": 1280, "height": 800})
    return found


def make_dataset(visit: Visit) -> str:
    """Paste rows, correct what was guessed and what is wrong, store them. Returns the dataset's id."""
    page = visit.page
    visit.open("datasets")
    page.get_by_role("link", name="New dataset").click()
    page.get_by_label("Paste rows").fill(pasted())
    page.get_by_label("Name", exact=True).fill("my sums")
    look(page)
    expect(page.get_by_label("Column “Prompt”")).to_have_value("question")
    expect(page.get_by_label("Column “Digits”")).to_have_value("")
    page.get_by_label("Column “Solution value”").select_option("answer")
    expect(page.get_by_label("Kind")).to_have_value("scratchpad")  # which no row told before
    page.get_by_label("Column “Digits”").select_option("group")
    expect(page.get_by_text("2 of the rows are wrong.")).to_be_visible()
    assert whole(page) == []
    page.get_by_label("Answer of row 32").fill("1 8")
    page.get_by_label("Leave row 33 out").check()
    expect(page.get_by_text("Every row was read and its answer verified.")).to_be_visible()
    expect(page.get_by_label("Row 32: answer is now “1 8”")).to_be_checked()
    expect(page.get_by_label("Hold out where no row says so")).to_have_value(
        "6"
    )  # one in five, as soon as all rows can be read
    expect(page.locator(".tile", has_text="Held out").first).to_contain_text("6")
    page.get_by_label("Hold out where no row says so").fill("8")
    page.get_by_label("Hold out where no row says so").blur()
    expect(page.locator(".tile", has_text="Held out").first).to_contain_text("8")
    assert whole(page) == []
    page.get_by_role("button", name="Save the dataset").click()
    expect(page.get_by_role("heading", name="my sums")).to_be_visible()
    with visit.server.client() as star:
        [made] = star.datasets.list().data
        assert dict(made.splits) == {"train": 23, "validation": 8}
        answers = {one.id: one.answer for one in star.datasets.examples(made.id)}
    assert answers["row-32"] == "1 8"
    assert "row-33" not in answers
    return made.id


def draft_prompt_set(visit: Visit) -> None:
    """From the dataset's page: let the model draft, break and correct one example, accept three."""
    page = visit.page
    page.get_by_role("link", name="Draft a prompt set").click()
    page.get_by_label("Examples").fill("4")
    assert whole(page) == []
    page.get_by_role("button", name="Draft them").click()
    expect(page.get_by_role("heading", name="Accept drafted examples")).to_be_visible(timeout=90_000)
    expect(page.locator("fieldset")).to_have_count(4)
    verdicts = page.locator("#checks .badge", has_text="right")
    expect(verdicts).to_have_count(4)
    answer = page.get_by_label("Answer", exact=True).first
    right = answer.input_value()
    answer.fill("9 9 9")
    expect(page.locator("#checks")).to_contain_text("Does not lead to its own answer")
    answer.fill(right)
    expect(verdicts).to_have_count(4)
    assert whole(page) == []
    expect(page.get_by_label("Name")).to_have_value("my sums, drafted")
    page.get_by_label("Name").fill("my examples")
    page.get_by_role("button", name="Save the prompt set").click()
    expect(page.get_by_role("alert")).to_contain_text("No example is accepted yet.")
    for number in (1, 2, 3, 4):
        page.get_by_label(f"Accept example {number}").check()
    page.get_by_label("Accept example 4").uncheck()
    page.get_by_role("button", name="Save the prompt set").click()
    expect(page.get_by_role("heading", name="New job")).to_be_visible()


def test_from_pasted_rows_to_a_started_job(visit: Visit) -> None:
    page, dataset = visit.page, make_dataset(visit)
    with visit.server.attending():
        draft_prompt_set(visit)
        with visit.server.client() as star:
            made = next(one for one in star.prompt_sets.list().data if one.name == "my examples")
        assert len(made.examples) == 3
        expect(page.get_by_label("Dataset", exact=True)).to_have_value(dataset)
        expect(page.locator("#f-prompt_set")).to_have_value(made.id)
        page.get_by_label("Tokens per rationale at most").fill("100")
        page.get_by_label("Iterations").first.fill("1")
        page.get_by_role("button", name="Preflight").click()
        expect(page.get_by_text("Rows of an iteration")).to_be_visible(timeout=120_000)
        expect(page.get_by_role("heading", name="What the base model writes")).to_be_visible()
        assert page.locator("#probe article").count() == 6
        expect(page.get_by_role("heading", name="It would run")).to_be_visible()
        assert whole(page) == []
        page.get_by_role("button", name="Start the job as it is").click()
        page.wait_for_url("**/dashboard/jobs/job_*")
    with visit.server.client() as star:
        [job] = star.jobs.list().data
        assert (job.dataset, job.prompt_set) == (dataset, made.id)
    visit.problems[:] = [one for one in visit.problems if "422" not in one]  # nothing was accepted yet


def test_what_is_typed_while_rows_are_looked_at_is_kept(visit: Visit) -> None:
    page = visit.page
    visit.open("datasets/new")
    page.get_by_label("Paste rows").fill("Prompt,Answer\n" + "\n".join(f"{n} + 1,{n + 1}" for n in range(10)))
    look(page)
    held: list[Route] = []
    page.route("**/look", lambda route: held.append(route))  # noqa: PLW0108 - Playwright asks for its parameters
    with page.expect_request("**/look"):
        page.get_by_label("Kind").select_option("exact")
    page.get_by_label("Hold out where no row says so").fill(
        "4"
    )  # before the answer to the other change comes
    with page.expect_request("**/look"):  # again, with what was typed
        held.pop().continue_()
    expect(page.get_by_label("Hold out where no row says so")).to_have_value("4")
    held.pop().continue_()
    page.unroute("**/look")
    expect(page.locator(".tile", has_text="Held out").first).to_contain_text("4")  # still in the field
    expect(page.get_by_label("Hold out where no row says so")).to_be_focused()
    expect(page.get_by_label("Hold out where no row says so")).to_have_value("4")
    expect(page.get_by_label("Kind")).to_have_value("exact")


def test_a_correction_is_taken_back_and_all_bad_rows_are_left_out(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "sums.csv"
    file.write_text(pasted(8).replace("Solution value", "Answer"))
    page = visit.page
    visit.open("datasets/new")
    page.get_by_label("Or choose a file").set_input_files(file)
    look(page)
    expect(page.get_by_text("2 of the rows are wrong.")).to_be_visible()
    page.get_by_label("Leave row 10 out").check()
    expect(page.get_by_text("1 of the rows is wrong.")).to_be_visible()
    page.get_by_label("Row 10: left out").uncheck()
    expect(page.get_by_text("2 of the rows are wrong.")).to_be_visible()
    expect(page.get_by_role("button", name="Save the dataset")).to_be_disabled()
    page.get_by_label("Leave out every row that cannot be used").check()
    page.get_by_role("button", name="Save the dataset").and_(page.locator(":enabled")).click()
    expect(page.get_by_role("heading", name="sums")).to_be_visible()
    expect(page.get_by_text("2 rows of the file were left out")).to_be_visible()


@pytest.mark.parametrize(("text", "said"), [("", "There is nothing yet."), ("a,b", "No row can be read.")])
def test_what_holds_no_rows_is_answered_in_words(visit: Visit, text: str, said: str) -> None:
    visit.open("datasets/new")
    visit.page.get_by_label("Paste rows").fill(text)
    visit.page.get_by_role("button", name="Look at it").click()
    expect(visit.page.get_by_text(said).first).to_be_visible()  # a problem says it twice: whole, and by field
