"""Dashboards and alert rules name metrics that there are, with labels that they have."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from sqlalchemy import update

from app.database import clock, transaction
from app.ledger.platform.counters import count
from app.ledger.queue.capacity import Capacity, note_sandbox, saw_worker
from app.tables.data import Model
from app.tables.jobs import Step
from tests.app.api_harness import Api, serve
from tests.databases import PROJECT

ALERTS = PROJECT / "deploy" / "prometheus" / "star-alerts.yaml"
BOARD = PROJECT / "deploy" / "grafana" / "star.json"
METRIC = re.compile(r"\bstar_[a-z_]+")
SELECTED = re.compile(r"(star_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([^)]*)\) \([^)]*?(star_[a-z_]+)")
LINE = re.compile(r"(star_[a-z_]+)(?:\{(.*)\})? \S+")


@pytest.fixture
def api(sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve(sqlite_database_url, tmp_path / "home") as api:
        yield api


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads(BOARD.read_text())["panels"]
    return [rule["expr"] for rule in rules()] + [one["expr"] for panel in panels for one in panel["targets"]]


def scraped(api: Api) -> dict[str, set[str]]:
    """The labels of each metric that a deployment at work reports."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in api.client.get("/metrics").text.splitlines():
        if line.startswith("# TYPE"):
            found[line.split()[2]]
        elif (sample := LINE.fullmatch(line)) is not None:
            found[sample[1]] |= set(re.findall(r'(\w+)="', sample[2] or ""))
    return found


def at_work(api: Api) -> None:
    api.job()
    with transaction(api.engine) as session:
        saw_worker(session, "host:1", Capacity(gpus=1, gpu_memory_gib=80, gpu_class="h100"))
        note_sandbox(session, "host:1", "No Landlock.")
        count(session, "fence_rejections")


def test_every_metric_and_label_that_a_rule_or_a_panel_names_is_reported(api: Api) -> None:
    at_work(api)
    known = scraped(api)
    labelled = {
        "star_gpu_seconds_total": {"phase", "model", "gpu_class"},
        "star_steps_done_total": {"phase"},
    }  # none has ended yet
    labelled |= {"star_executions_total": {"project"}, "star_sandbox_seconds_total": {"project"}}
    for expression in expressions():
        names = set(METRIC.findall(expression))
        assert names, expression
        assert names <= known.keys(), expression
        used = [
            (name, set(re.findall(r"(\w+)[=!]", inside))) for name, inside in SELECTED.findall(expression)
        ]
        used += [(name, set(inside.split(", "))) for inside, name in GROUPED.findall(expression)]
        for name, labels in used:
            assert labels <= known[name] | labelled.get(name, set()), expression
        promql_parser.parse(expression)


def test_every_rule_says_how_urgent_it_is_and_what_to_do() -> None:
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found) > 5
    for rule in found:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]


def test_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads(BOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


def test_what_workers_are_wanted_for_is_told_by_model_and_class(api: Api) -> None:
    at_work(api)
    with transaction(api.engine) as session:
        session.execute(update(Model).values(gpu_class="h100"))
        session.execute(update(Step).values(created_at=clock(-60)))
    text = api.client.get("/metrics").text
    assert 'star_queued_steps{model="tiny",gpu_class="h100"} 2' in text
    age = re.search(r'star_queued_steps_age_seconds\{model="tiny",gpu_class="h100"\} (\S+)', text)
    assert age is not None
    assert 60 <= float(age[1]) < 600
    assert 'star_workers{gpu_class="h100",state="idle"} 1' in text
    assert "star_workers_without_sandbox 1" in text
    with transaction(api.engine) as session:
        session.execute(update(Step).values(not_before=clock(600)))
    text = api.client.get("/metrics").text
    assert "star_queued_steps{" not in text
    assert "star_steps_waiting_out 2" in text


def test_the_name_of_a_model_cannot_break_the_format(api: Api) -> None:
    at_work(api)
    with transaction(api.engine) as session:
        session.execute(update(Model).values(gpu_class='a"b\nc\\'))
    text = api.client.get("/metrics").text
    assert 'gpu_class="a\\"b\\nc\\\\"' in text
    assert all(line.startswith(("#", "star_")) for line in text.splitlines())
