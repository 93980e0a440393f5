"""GPU time in money: bills of jobs and projects, the dry run's estimate, and no number without a price."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select

from app.database import reading, transaction
from app.jobs.dry_run.describe import CostRangeOut, cost_of
from app.ledger.platform.prices import Held, Prices
from app.ledger.queue.capacity import Capacity, fitting_gpus, saw_worker
from app.ledger.queue.estimates import Left, Span, Unknown
from app.ledger.queue.steps import claim_step, finish_step
from app.tables.data import Model
from app.tables.usage import Usage
from star_client.money import commands as cli
from star_client.money.bills import IterationCost, JobBill
from tests.app.api_harness import MODEL, Api, serve
from tests.app.dashboard.conftest import sign_in

PRICES = {"h100": 2.5, "": 0.9}


@pytest.fixture
def priced(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve(sqlite_database_url, tmp_path / "home", gpu_prices=PRICES, currency="EUR") as api:
        yield api


def spend(api: Api, job: dict[str, Any], *rows: tuple[int, float, str | None, int]) -> None:
    """Claims that have ended: iteration, GPU-seconds, class and number of GPUs of the worker."""
    with transaction(api.engine) as session:
        count = session.scalar(select(func.count()).select_from(Usage)) or 0
        for number, (iteration, seconds, gpu_class, gpus) in enumerate(rows, count):
            session.add(
                Usage(
                    project_id=project_of(api),
                    job_id=job["id"],
                    step_id=f"step_{number}",
                    fence=1,
                    attempt=1,
                    iteration_number=iteration,
                    phase="sample",
                    worker_id="worker:1",
                    gpu_seconds=seconds,
                    gpu_class=gpu_class,
                    gpus=gpus,
                    outcome="succeeded",
                )
            )


def project_of(api: Api) -> str:
    return str(api.client.get("/v1/quota").json()["project"])


def test_a_jobs_bill_sums_its_iterations_at_the_price_of_each_class(priced: Api) -> None:
    job = priced.job()
    spend(priced, job, (0, 3600, "h100", 1), (1, 1800, "h100", 2), (1, 7200, None, 1), (2, 0, "h100", 1))
    bill = priced.client.get(f"/v1/jobs/{job['id']}/bill", headers=priced.reader).json()
    assert (bill["currency"], bill["gpu_hours"], bill["amount"]) == ("EUR", 4.0, 6.8)
    assert bill["unavailable"] is None
    assert [(one["iteration"], one["gpu_hours"], one["amount"]) for one in bill["iterations"]] == [
        (0, 1.0, 2.5),
        (1, 3.0, 4.3),
        (2, 0.0, 0.0),
    ]
    assert [(one["gpu_class"], one["price_per_hour"], one["amount"]) for one in bill["by_class"]] == [
        (None, 0.9, 1.8),
        ("h100", 2.5, 5.0),
    ]


def test_a_class_without_a_price_leaves_no_number_and_is_named(priced: Api) -> None:
    job = priced.job()
    spend(priced, job, (0, 3600, "h100", 1), (1, 3600, "b200", 1))
    bill = priced.client.get(f"/v1/jobs/{job['id']}/bill").json()
    assert (bill["amount"], bill["gpu_hours"]) == (None, 2.0)
    assert "b200" in bill["unavailable"]
    assert "STAR_GPU_PRICES" in bill["unavailable"]
    assert [one["amount"] for one in bill["iterations"]] == [2.5, None]
    whole = priced.client.get("/v1/bill").json()
    assert (whole["amount"], whole["jobs"][0]["amount"]) == (None, None)


def test_a_projects_bill_is_by_job_and_by_day_and_nobody_elses(priced: Api) -> None:
    first, second = priced.job(name="one"), priced.job(name="two", config={"iterations": 1})
    spend(priced, first, (1, 3600, "h100", 1))
    spend(priced, second, (1, 3600, None, 1))
    bill = priced.client.get("/v1/bill").json()
    assert bill["amount"] == 3.4
    assert {one["job"]: one["amount"] for one in bill["jobs"]} == {first["id"]: 2.5, second["id"]: 0.9}
    past = priced.client.get("/v1/bill", params={"until": "2020-01-01"}).json()
    assert (past["gpu_hours"], past["amount"], past["jobs"]) == (0, 0, [])
    assert priced.client.get("/v1/bill", headers=priced.other).json()["jobs"] == []
    assert priced.client.get(f"/v1/jobs/{first['id']}/bill", headers=priced.other).status_code == 404


def test_a_claim_is_counted_with_the_gpus_and_the_class_of_its_worker(priced: Api) -> None:
    priced.job(config={"iterations": 1})
    claim = claim_step(priced.engine, "worker:1", 60, capacity=Capacity(2, 80, "h100"))
    assert claim is not None
    with transaction(priced.engine) as session:
        finish_step(session, claim, priced.settings)
    with reading(priced.engine) as session:
        (used,) = session.scalars(select(Usage)).all()
    assert (used.gpus, used.gpu_class) == (2, "h100")


def test_a_dry_run_says_why_it_has_no_cost(priced: Api) -> None:
    estimate = priced.client.post("/v1/jobs", json=priced.job_body(dry_run=True)).json()["estimate"]
    assert estimate["cost"] is None
    assert estimate["unavailable"]["cost"]["code"] == "no_history"


def test_an_estimate_spans_the_prices_of_the_workers_that_may_take_the_job(priced: Api) -> None:
    left = Left(Span(3600, 7200, 10_800), ())
    with transaction(priced.engine) as session:
        new: Any = SimpleNamespace(model=session.get_one(Model, MODEL))
        saw_worker(session, "worker:1", Capacity(2, None, "h100"))
        saw_worker(session, "worker:2")
        found = cost_of(session, new, left, Prices("EUR", PRICES))
        assert isinstance(found, CostRangeOut)
        assert (found.low, found.expected, found.high) == (0.9, 5.9, 15.0)
        saw_worker(session, "worker:3", Capacity(1, None, "b200"))
        unknown = cost_of(session, new, left, Prices("EUR", PRICES))
    assert isinstance(unknown, Unknown)
    assert (unknown.code, "b200" in unknown.message) == ("no_price", True)


def test_the_gpus_of_an_estimate_are_those_of_the_workers_that_fit(priced: Api) -> None:
    with transaction(priced.engine) as session:
        model = session.get_one(Model, MODEL)
        assert fitting_gpus(session, model) == [(1, None)], "nobody is there: what the model needs"
        saw_worker(session, "worker:1", Capacity(2, None, "h100"))
        assert fitting_gpus(session, model) == [(2, "h100")]


def test_the_report_and_the_pages_show_money(priced: Api) -> None:
    job = priced.job()
    spend(priced, job, (1, 3600, "h100", 1))
    report = priced.client.get(f"/v1/jobs/{job['id']}/report", params={"format": "markdown"}).text
    assert "In money" in report
    assert "2.50 EUR" in report
    visitor = sign_in(priced, priced.admin)
    for path in (f"/jobs/{job['id']}", "/platform/usage"):
        shown = visitor.get(path)
        assert (shown.status_code, "2.50 EUR" in shown.text) == (200, True), path


def test_without_prices_nothing_speaks_of_money(sqlite_api: Api) -> None:
    job = sqlite_api.job()
    spend(sqlite_api, job, (1, 3600, "h100", 1))
    report = sqlite_api.client.get(f"/v1/jobs/{job['id']}/report", params={"format": "markdown"}).text
    assert "In money" not in report
    assert sqlite_api.client.get(f"/v1/jobs/{job['id']}/bill").json()["amount"] is None


def test_unpriced_hours_leave_no_sum() -> None:
    held = Held()
    held.add("h100", 3600)
    assert held.cost(Prices("USD", {"h100": 2.0})) == 2.0
    held.add(None, 0)
    assert held.unpriced(Prices("USD", {"h100": 2.0})) == []
    held.add(None, 1)
    assert held.cost(Prices("USD", {"h100": 2.0})) is None


def test_the_command_line_prints_the_cost_of_each_newly_solved_question() -> None:
    turn = IterationCost(currency="EUR", gpu_hours=2, amount=5, iteration=2, newly_solved=10)
    bill = JobBill(
        currency="EUR", gpu_hours=2, amount=5, job="job_1", iterations=(turn,), newly_solved=10,
        amount_per_newly_solved=0.5,
    )  # fmt: skip
    assert cli.in_all(bill) + cli.for_each(bill) == (
        "2.000 GPU-hours in all, 5.00 EUR; 0.5000 EUR for each of 10 questions solved after "
        "the first training"
    )
    unknown = JobBill(currency="EUR", gpu_hours=2, job="job_1", unavailable="No price is set for b200.")
    assert cli.in_all(unknown) == "2.000 GPU-hours in all, no amount: No price is set for b200."
