"""The report over HTTP, of jobs whose rows are written here: 12 examples, 4 of them held out."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.database import clock, transaction
from app.ledger.jobs.relations import Relative
from app.reports.negotiation import ReportFormat, accepted_format
from app.reports.relatives import relative_rows
from app.tables.data import Example
from app.tables.jobs import Iteration, Job, Step
from app.tables.rationales import Evaluation, Rationale
from star_engine.evaluation.intervals import accuracy_interval, difference_interval, level_for_best_of
from tests.app.api_harness import Api

PHASES = ["sample", "build", "train", "verify_adapter", "evaluate"]


@dataclass(frozen=True)
class Written:
    """Rows of one job; examples are named by their position in their split."""

    session: Session
    job: Job

    def examples(self, split: str) -> list[int]:
        query = (
            select(Example.id)
            .where(Example.dataset_id == self.job.dataset_id, Example.split == split)
            .order_by(Example.position)
        )
        return list(self.session.scalars(query))

    def iteration(self, number: int, phases: list[str], metrics: dict[str, Any]) -> Iteration:
        found = self.session.scalar(
            select(Iteration).where(Iteration.job_id == self.job.id, Iteration.number == number)
        )
        iteration = found or Iteration(job_id=self.job.id, number=number)
        iteration.phases_done, iteration.metrics = phases, metrics
        self.session.add(iteration)
        self.session.flush()
        return iteration

    def evaluate(self, iteration: Iteration, mode: str, correct: Iterable[int]) -> None:
        right = set(correct)
        self.session.add_all(
            Evaluation(
                iteration_id=iteration.id, mode=mode, example_id=example, text="", tokens=1,
                finish_reason="stop", verdict="correct" if position in right else "wrong",
            )
            for position, example in enumerate(self.examples("validation"))
        )  # fmt: skip

    def sample(self, iteration: Iteration, route: str, verdicts: list[str], sample: int = 0) -> None:
        self.session.add_all(
            Rationale(
                job_id=self.job.id, iteration_id=iteration.id, iteration_number=iteration.number,
                example_id=example, route=route, sample=sample, text="", verdict=verdict, rule="",
                prompt_tokens=1, tokens=1, finish_reason="stop",
            )
            for example, verdict in zip(self.examples("train"), verdicts, strict=False)
        )  # fmt: skip


def metrics(rate: float, generated: int, rationalized: int) -> dict[str, Any]:
    shares = {"generated": generated / 8, "rationalized": rationalized / 8}
    return {
        "solve_rate": rate,
        "kept": {"generated": generated, "rationalized": rationalized},
        "coverage": {**shares, "total": sum(shares.values())},
        "training": {"steps": 40},
    }


def write_two_iterations(api: Api, job_id: str) -> None:
    """The second iteration is still being evaluated."""
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, job_id))
        baselines = rows.iteration(0, ["baselines"], {})
        rows.evaluate(baselines, "few_shot_direct", [])
        rows.evaluate(baselines, "few_shot_cot", [0])
        first = rows.iteration(1, PHASES, metrics(0.25, 2, 3))
        rows.sample(first, "generated", ["correct", "correct", "wrong", "unparsed"])
        rows.sample(first, "generated", ["wrong"] * 4, sample=1)
        rows.sample(first, "rationalized", ["wrong", "wrong", "correct", "correct"])
        rows.evaluate(first, "adapter", [0, 1, 2])
        second = rows.iteration(2, PHASES[:-1], metrics(0.5, 4, 0))
        rows.sample(second, "generated", ["correct", "wrong", "correct", "wrong"])
        rows.evaluate(second, "adapter", [0])
        session.execute(
            update(Step)
            .where(Step.job_id == job_id)
            .values(started_at=clock(), finished_at=clock(90), status="succeeded")
        )


@pytest.fixture
def job(api: Api) -> dict[str, Any]:
    job = api.job(name="<b>a|b</b> & co")
    write_two_iterations(api, job["id"])
    return job


def get(api: Api, job: dict[str, Any], **params: Any) -> Any:
    answer = api.client.get(f"/v1/jobs/{job['id']}/report", params=params)
    assert answer.status_code == 200, answer.text
    return answer


def test_report_compares_what_is_complete_with_the_better_baseline(api: Api, job: dict[str, Any]) -> None:
    report = get(api, job).json()
    assert (report["object"], report["job"], report["name"]) == ("report", job["id"], job["name"])
    rows = {(row["mode"], row["iteration"]): row for row in report["accuracies"]}
    assert list(rows) == [("few_shot_direct", 0), ("few_shot_cot", 0), ("adapter", 1)]
    assert rows["few_shot_cot", 0]["difference"] is None
    first = rows["adapter", 1]
    assert (first["n"], first["correct"], first["accuracy"]) == (4, 3, 0.75)
    assert first["interval"] == asdict(accuracy_interval(3, 4))
    assert first["difference"] == {
        "n": 4, "gained": 2, "lost": 0, "points": 0.5, "interval": asdict(difference_interval(2, 0, 4)),
        "p_value": 0.5,
    }  # fmt: skip
    for group in first["by_group"].values():
        assert group["interval"] == asdict(accuracy_interval(group["correct"], group["n"]))


def test_answer_is_corrected_for_the_iterations_that_were_planned(api: Api, job: dict[str, Any]) -> None:
    found = get(api, job).json()["answer"]
    assert (found["verdict"], found["iteration"], found["chosen_from"]) == ("no_difference", 1, 2)
    assert found["sentence"].startswith(
        "STaR is not shown to differ here from few-shot prompting with rationales: iteration 1 gets 75.0 %"
    )
    [few_shot] = found["comparisons"]
    assert few_shot["difference"]["p_value"] == 1.0
    assert few_shot["difference"]["interval"] == asdict(difference_interval(2, 0, 4, level_for_best_of(2)))
    assert found["not_run"] == ["direct fine-tuning"]


def test_report_tells_settings_and_cost(api: Api, job: dict[str, Any]) -> None:
    report = get(api, job).json()
    switches = {switch["name"]: switch for switch in report["switches"]}
    assert switches["iterations"] == {"name": "iterations", "value": 2, "preset": 16}
    with transaction(api.engine) as session:
        steps = session.scalars(select(func.count()).where(Step.job_id == job["id"])).one()
    [cost] = report["cost"]
    assert (cost["phase"], cost["steps"]) == ("baselines", steps)
    assert cost["seconds"] == pytest.approx(90 * steps, abs=1)


def test_coverage_lists_churn_of_every_iteration(api: Api, job: dict[str, Any]) -> None:
    url = f"/v1/jobs/{job['id']}/coverage"
    answer = api.client.get(url).json()
    first, second = answer["data"]
    assert (first["iteration"], second["iteration"], answer["has_more"]) == (1, 2, False)
    assert first["churn"] == {
        "iteration": 1, "asked": 4, "newly_solved": 2, "retained": 0, "forgotten": 0, "never": 2
    }  # fmt: skip
    assert second["churn"] == {
        "iteration": 2, "asked": 4, "newly_solved": 1, "retained": 1, "forgotten": 1, "never": 1
    }  # fmt: skip
    assert first["kept"] == {"generated": 2, "rationalized": 3}
    assert second["coverage"] == {"generated": 0.5, "rationalized": 0.0, "total": 0.5}
    page = api.client.get(url, params={"limit": 1}).json()
    assert (page["data"], page["has_more"]) == ([first], True)
    assert api.client.get(url, params={"after": 1}).json()["data"] == [second]
    assert get(api, job).json()["coverage"][1]["churn"] == second["churn"]


def test_markdown_holds_the_tables_and_no_markup_of_the_user(api: Api, job: dict[str, Any]) -> None:
    answer = get(api, job, format="markdown")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    lines = answer.text.splitlines()
    assert lines[0] == r"# STaR report: \<b\>a\|b\</b\> \& co"
    assert lines[2].startswith("**No difference.** STaR is not shown to differ here from few-shot")
    assert (
        "| STaR, iteration 1 | 3 of 4 | 75.0 % | 19.4 % to 99.4 % | +50.0 | -24.2 to +93.2 | 0.500 | "
        "25.0 % + 37.5 % |"
    ) in lines
    assert "| direct fine-tuning | not run | – | – | – | – | – | – |" in lines
    assert "| 1 | 4 | 25.0 % | 2 | 3 | 62.5 % | 2 | 0 | 0 | 2 | 40 |" in lines
    assert "| rationalization.enabled | true |  |" in lines


def test_hinted_rows_are_counted_where_others_are_rationalized(api: Api) -> None:
    made = api.job()
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, made["id"]))
        rows.evaluate(rows.iteration(0, ["baselines"], {}), "few_shot_cot", [0])
        found = metrics(0.25, 2, 3)
        for name in ("kept", "coverage"):
            found[name]["hinted"] = found[name].pop("rationalized")
        first = rows.iteration(1, PHASES, found)
        rows.sample(first, "generated", ["correct", "correct", "wrong", "wrong"])
        rows.evaluate(first, "adapter", [0])
    lines = get(api, made, format="markdown").text.splitlines()
    [header] = [line for line in lines if "kept, generated" in line]
    assert "| kept, generated | kept, hinted | coverage |" in header
    [row] = [line for line in lines if line.startswith("| 1 | 4 | 25.0 %")]
    assert "| 2 | 3 | 62.5 % |" in row
    interval = accuracy_interval(3, 4)
    assert not [line for line in lines if "With the tool and without it" in line]
    beside = Relative(
        "job_2", "other", "fork", "succeeded", 1, 4, 3, 0.75, interval, found["coverage"], None, (), ()
    )
    assert relative_rows([beside])[0][6] == "25.0 % + 37.5 % hinted"


def test_page_is_whole_and_runs_nothing(api: Api, job: dict[str, Any]) -> None:
    answer = get(api, job, format="html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert '<p class="answer no_difference"><strong>No difference.</strong>' in answer.text
    assert "<h1>STaR report: &lt;b&gt;a|b&lt;/b&gt; &amp; co</h1>" in answer.text
    for loaded in ("<script", "<link", "<img", "src=", "href="):
        assert loaded not in answer.text
    charts = answer.text.split("<svg")[1:]
    drawn = [ET.fromstring("<svg" + chart.split("</svg>")[0] + "</svg>") for chart in charts]  # noqa: S314 - ours
    name = "{http://www.w3.org/2000/svg}"
    assert [chart.findtext(f"{name}title") for chart in drawn] == [
        "Accuracy per group over iterations",
        "Solve rate and coverage over iterations",
    ]
    assert all(chart.findall(f"{name}polyline") for chart in drawn)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "json"),
        ("text/markdown", "markdown"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("text/html;q=0.5, text/markdown;q=0.9", "markdown"),
        ("text/*, application/json;q=0.1", "markdown"),
        ("image/png", "json"),
        ("text/html;q=x", "json"),
        ("", "json"),
    ],
)
def test_form_is_the_one_that_the_client_prefers(accept: str, form: str) -> None:
    assert accepted_format(accept) is ReportFormat(form)


def test_format_goes_before_accept(api: Api, job: dict[str, Any]) -> None:
    url = f"/v1/jobs/{job['id']}/report"
    page = api.client.get(url, headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    text = api.client.get(url, params={"format": "markdown"}, headers={"Accept": "text/html"})
    assert text.headers["content-type"].startswith("text/markdown")
    assert page.headers["vary"] == text.headers["vary"] == "Accept"
    assert api.client.get(url, params={"format": "pdf"}).status_code == 422


def test_job_that_has_not_begun_answers_with_what_there_is(api: Api) -> None:
    job = api.job()
    report = get(api, job).json()
    assert (report["accuracies"], report["coverage"], report["cost"]) == ([], [], [])
    assert report["answer"]["verdict"] == "unknown"
    assert "no iteration has been evaluated" in get(api, job, format="markdown").text
    assert "No evaluation is complete yet." in get(api, job, format="html").text
    assert api.client.get(f"/v1/jobs/{job['id']}/coverage").json()["data"] == []


def test_job_with_baselines_alone_shows_them(api: Api) -> None:
    job = api.job()
    with transaction(api.engine) as session:
        rows = Written(session, session.get_one(Job, job["id"]))
        rows.evaluate(rows.iteration(0, ["baselines"], {}), "few_shot_cot", [0, 1])
    assert "| few-shot with rationales | 2 of 4 | 50.0 % |" in get(api, job, format="markdown").text


def test_another_projects_job_is_404(api: Api, job: dict[str, Any]) -> None:
    for path in ("report", "report?format=html", "coverage"):
        url = f"/v1/jobs/{job['id']}/{path}"
        assert api.client.get(url, headers=api.other).status_code == 404
        assert api.client.get(url, headers=api.reader).status_code == 200
