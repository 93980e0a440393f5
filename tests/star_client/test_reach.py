"""Every operation of openapi.json, with every query parameter, is within the SDK's reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from star_client.client import StarClient
from star_client.errors import ProblemError
from star_client.job_request import JobRequest
from tests.app.api_harness import addition_rows, few_shot
from tests.star_client.recorded_platform import Platform

CONTRACT = json.loads((Path(__file__).parents[2] / "openapi.json").read_text())
PAGED = {"limit", "after"}  # `every` asks for the second page only where there is one
IN_PLACE_OF_A_BODY = {"source"}

Call = Callable[[StarClient, Path], Any]
NOW = datetime(2026, 1, 31, tzinfo=UTC)
TODAY = date(2026, 1, 31)
FILTERS: dict[str, Any] = {
    "iteration": 1,
    "route": "generated",
    "verdict": "wrong",
    "decision": "kept",
    "reason": "x",
}
WANTED: JobRequest = {
    "model": "m",
    "dataset": "ds_x",
    "prompt_set": "ps_x",
    "budget": {"deadline": NOW},
}

DATA: dict[str, Call] = {
    "datasets_upload": lambda star, folder: star.datasets.upload(
        folder / "rows.jsonl",
        kind="scratchpad",
        format="jsonl",
        map={"question": "question"},
        allow_overlap=True,
        skip_bad_rows=True,
        corrections={1: None},
    ),
    "dataset_previews_preview": lambda star, folder: star.datasets.preview(
        folder / "rows.jsonl",
        kind="scratchpad",
        format="jsonl",
        map={"question": "question"},
        allow_overlap=True,
        skip_bad_rows=True,
        corrections={1: None},
    ),
    "datasets_list": lambda star, _: star.datasets.list(name="x", archived=True),
    "datasets_delete": lambda star, _: star.datasets.delete("ds_x"),
    "datasets_archive": lambda star, _: star.datasets.archive("ds_x"),
    "datasets_unarchive": lambda star, _: star.datasets.archive("ds_x", archived=False),
    "datasets_get": lambda star, _: star.datasets.get("ds_x"),
    "datasets_examples": lambda star, _: list(star.datasets.examples("ds_x", split="train")),
    "dataset_statistics_statistics": lambda star, _: star.datasets.statistics(
        "ds_x", model="m", prompt_set="ps_x"
    ),
    "prompt_sets_list": lambda star, _: star.prompt_sets.list(name="x"),
    "prompt_sets_create": lambda star, _: star.prompt_sets.create(
        name="x", kind="scratchpad", examples=few_shot()
    ),
    "prompt_sets_get": lambda star, _: star.prompt_sets.get("ps_x"),
    "prompt_sets_delete": lambda star, _: star.prompt_sets.delete("ps_x"),
    "prompt_drafts_create": lambda star, _: star.prompt_drafts.create(dataset="ds_x", model="m"),
    "prompt_drafts_get": lambda star, _: star.prompt_drafts.get("job_x", wait=1),
    "prompt_preview_preview": lambda star, _: star.prompt_sets.preview("ps_x", example={"question": "?"}),
    "verifiers_run": lambda star, _: star.verifiers.run(
        [{"kind": "exact", "completion": "x", "answer": "x"}]
    ),
    "verifiers_secret": lambda star, _: star.verifiers.grader_secret(),
    "models_list": lambda star, _: star.models.list(),
    "models_get": lambda star, _: star.models.get("m"),
    "presets_list": lambda star, _: star.presets.list("numeric"),
}
JOBS: dict[str, Call] = {
    "jobs_list": lambda star, _: star.jobs.list(
        status=["queued", "running"],
        model="m",
        dataset="d",
        name="n",
        created_after=NOW,
        created_before=NOW,
        archived=True,
        order="name",
    ),
    "jobs_create": lambda star, _: star.jobs.create(**WANTED),
    "probes_get": lambda star, _: star.jobs.probed("job_x", wait=1),
    "jobs_get": lambda star, _: star.jobs.get("job_x"),
    "jobs_cancel": lambda star, _: star.jobs.cancel("job_x", baselines=True),
    "jobs_pause": lambda star, _: star.jobs.pause("job_x"),
    "jobs_resume": lambda star, _: star.jobs.resume("job_x", "no_spark"),
    "jobs_retry": lambda star, _: star.jobs.retry("job_x"),
    "job_verbs_fork": lambda star, _: star.jobs.fork("job_x", 1, config={"iterations": 3}),
    "job_verbs_delete": lambda star, _: star.jobs.delete("job_x", baselines=True),
    "job_verbs_update": lambda star, _: star.jobs.update("job_x", name="x", metadata={"a": "b", "c": None}),
    "job_verbs_archive": lambda star, _: star.jobs.archive("job_x"),
    "job_verbs_unarchive": lambda star, _: star.jobs.archive("job_x", archived=False),
    "job_verbs_regrade": lambda star, _: star.jobs.regrade("job_x", kind="exact"),
    "retention_put": lambda star, _: star.jobs.retention("job_x", keep_last=1),
    "report_report": lambda star, _: star.jobs.report("job_x", compare=["job_y"]),
    "shares_create": lambda star, _: star.shares.create("job_x", expires_in_days=7, note="for Ann"),
    "shares_list": lambda star, _: star.shares.list(job="job_x"),
    "shares_get": lambda star, _: star.shares.get("shr_x"),
    "shares_revoke": lambda star, _: star.shares.revoke("shr_x"),
    "shares_get_sharing": lambda star, _: star.shares.allowed(project="proj_x"),
    "shares_put_sharing": lambda star, _: star.shares.allow(False, project="proj_x"),
    "advice_get": lambda star, _: star.jobs.advice("job_x", 1),
    "curves_get": lambda star, _: star.jobs.curve_csv("job_x", 1),
    "report_coverage": lambda star, _: star.jobs.coverage("job_x"),
    "iterations_list": lambda star, _: star.jobs.iterations("job_x"),
    "iterations_get": lambda star, _: star.jobs.iteration("job_x", 1),
    "iterations_training_set": lambda star, folder: star.jobs.download_training_set(
        "job_x", 1, folder / "t.parquet", format="parquet"
    ),
    "iterations_pairs": lambda star, folder: star.jobs.download_pairs(
        "job_x", 1, folder / "pairs.jsonl", shape="kto"
    ),
    "events_list": lambda star, _: star.jobs.list_events("job_x", wait=1),
    "logs_list": lambda star, _: list(star.jobs.logs("job_x", level="warning", phase="train", iteration=1)),
    "events_stream": lambda star, _: next(star.jobs.events("job_x")),
    "thoughts_list": lambda star, _: list(star.thoughts.every("job_x", iteration=1, drawn=True)),
    "thoughts_download": lambda star, folder: star.thoughts.download(
        "job_x", 1, folder / "thoughts.parquet", format="parquet"
    ),
    "exports_download": lambda star, folder: star.never_solved.download("job_x", folder / "never.jsonl"),
    "exports_derive": lambda star, _: star.never_solved.derive("job_x", name="x"),
    "answers_list": lambda star, _: star.answers.list(
        "job_x",
        iteration=1,
        mode="adapter",
        verdict="wrong",
        example="e",
        dataset="ds_y",
        changed="lost",
        against="few_shot_cot",
    ),
    "search_list": lambda star, _: star.search.list("carry", found_in="answer", verdict="wrong", job="job_x"),
    "example_progress_list": lambda star, _: next(star.jobs.examples("job_x", state="unsolved")),
    "candidates_list": lambda star, _: star.candidates.list(
        "job_x", iteration=1, verdict="wrong", example="e"
    ),
    "candidates_test_time": lambda star, _: star.jobs.test_time("job_x"),
    "candidates_download": lambda star, folder: star.candidates.download(
        "job_x", 1, folder / "c.parquet", format="parquet"
    ),
    "rationales_list": lambda star, _: star.rationales.list("job_x", **FILTERS, example="e", text="carry"),
    "rationales_get": lambda star, _: star.rationales.get("job_x", "rat_x"),
    "rationales_history": lambda star, _: star.jobs.history("job_x", "row-1"),
    "review_queue_list": lambda star, _: star.reviews.queue("job_x", iteration=1, raters=2),
    "overrides_list": lambda star, _: star.rationales.overrides("job_x", "rat_x"),
    "overrides_create": lambda star, _: star.rationales.override(
        "job_x", "rat_x", verdict="wrong", reason="A lucky guess."
    ),
}
ADAPTERS: dict[str, Call] = {
    "adapters_list": lambda star, _: star.adapters.list("job_x"),
    "adapters_list_all": lambda star, _: star.adapters.list_all(model="m"),
    "adapters_get": lambda star, _: star.adapters.get("job_x:best"),
    "adapters_receipt": lambda star, _: star.adapters.receipt("job_x:best"),
    "studies_create": lambda star, _: star.studies.create("job_x", questions=5),
    "studies_list": lambda star, _: star.studies.list(job="job_x"),
    "studies_get": lambda star, _: star.studies.get("std_x"),
    "studies_delete": lambda star, _: star.studies.delete("std_x"),
    "studies_next": lambda star, _: star.studies.next("std_x", rater="Ann"),
    "studies_rate": lambda star, _: star.studies.rate("std_x", 0, "first"),
    "promotions_create": lambda star, _: star.adapters.promote("adp_x", stage="staging"),
    "promotions_list": lambda star, _: star.promotions.list(
        name="pens", stage="production", adapter="adp_x", current=True
    ),
    "promotions_get": lambda star, _: star.promotions.get("prm_x"),
    "promotions_end": lambda star, _: star.promotions.end("prm_x"),
    "adapters_change": lambda star, _: star.adapters.pin("adp_x"),
    "adapters_delete": lambda star, _: star.adapters.delete("adp_x"),
    "adapters_merged": lambda star, folder: star.adapters.merged(
        "adp_x", folder / "merged.gguf", format="gguf"
    ),
    "adapters_archive": lambda star, folder: star.adapters.archive("adp_x", folder / "adapter.tar"),
    "trials_generate": lambda star, _: star.adapters.generate("adp_x", ["1 + 1"]),
    "trials_trial": lambda star, _: star.adapters.trial("trial_x", wait=1),
    "trials_evaluate": lambda star, _: star.adapters.evaluate("adp_x", "ds_x", split="validation"),
}
TEAM: dict[str, Call] = {
    "webhooks_create": lambda star, _: star.webhooks.create("https://127.0.0.1/", events=["job.failed"]),
    "webhooks_list": lambda star, _: star.webhooks.list(job="job_x"),
    "webhooks_get": lambda star, _: star.webhooks.get("wh_x"),
    "webhooks_update": lambda star, _: star.webhooks.update("wh_x", enabled=False),
    "webhooks_delete": lambda star, _: star.webhooks.delete("wh_x"),
    "webhooks_deliveries": lambda star, _: star.webhooks.deliveries("wh_x", status="failed"),
    "webhooks_redeliver": lambda star, _: star.webhooks.redeliver("wh_x", "msg_x"),
    "webhooks_test": lambda star, _: star.webhooks.test("wh_x"),
    "webhooks_rotate_secret": lambda star, _: star.webhooks.rotate_secret("wh_x", grace_seconds=60),
    "projects_create": lambda star, _: star.projects.create("team"),
    "projects_list": lambda star, _: star.projects.list(),
    "projects_get": lambda star, _: star.projects.get("proj_x"),
    "projects_delete": lambda star, _: star.projects.delete("proj_x", contents=True),
    "base_models_add": lambda star, _: star.base_models.add("acme/tiny"),
    "base_models_check": lambda star, _: star.base_models.check("m", dataset="ds_x", prompt_set="ps_x"),
    "base_models_tasks": lambda star, _: star.base_models.tasks(),
    "quotas_get_of": lambda star, _: star.projects.quota("proj_x"),
    "quotas_put": lambda star, _: star.projects.set_quota("proj_x", running_jobs=2),
    "data_retention_get": lambda star, _: star.data_retention.get(project="proj_x"),
    "data_retention_put": lambda star, _: star.data_retention.set(text_days=30, project="proj_x"),
    "quotas_get": lambda star, _: star.usage.quota(),
    "quotas_usage": lambda star, _: list(
        star.usage.every(job="job_x", phase="train", since=TODAY, until=TODAY, project="proj_x")
    ),
    "quotas_bill": lambda star, _: star.bills.of_project(since=TODAY, until=TODAY, project="proj_x"),
    "quotas_job_bill": lambda star, _: star.bills.of_job("job_x"),
    "quotas_texts": lambda star, _: list(star.usage.texts(since=TODAY, until=TODAY, project="proj_x")),
    "api_keys_create": lambda star, _: star.api_keys.create("ci", scopes=["read"]),
    "api_keys_list": lambda star, _: star.api_keys.list(project="proj_x"),
    "api_keys_get": lambda star, _: star.api_keys.get("key_x"),
    "api_keys_rotate": lambda star, _: star.api_keys.rotate("key_x", grace_seconds=60),
    "api_keys_revoke": lambda star, _: star.api_keys.revoke("key_x"),
    "workers_list": lambda star, _: list(star.workers.every()),
    "workers_release": lambda star, _: star.workers.release("host:1"),
    "audit_list": lambda star, _: star.audit.list(
        since=NOW,
        until=NOW,
        action="POST /v1/jobs",
        change="created",
        target="job_x",
        target_type="jobs",
        key="key_x",
        project="proj_x",
    ),
}
CALLS = DATA | JOBS | ADAPTERS | TEAM
ELSEWHERE = {  # why no method of this name is called here
    "sign_in_get": "says whether there is a provider; star_client.sign_in needs none of it",
    "sign_in_device": "star_client.sign_in: test_login.py",
    "sign_in_token": "star_client.sign_in: test_login.py",
    "health_healthz": "for load balancers",
    "health_readyz": "for load balancers",
    "metrics_metrics": "for Prometheus",
    "adapters_file": "Adapters.download asks for each file of an adapter: test_downloads.py",
}


def operations() -> Iterator[tuple[str, str, str, set[str]]]:
    """Operation id, method, path, names of query parameters."""
    for path, methods in CONTRACT["paths"].items():
        for method, operation in methods.items():
            query = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
            yield operation["operationId"], method.upper(), path, query


def test_there_is_a_call_for_every_operation() -> None:
    offered = {name for name, *_ in operations() if not name.startswith("openai_")}
    assert offered == CALLS.keys() | ELSEWHERE.keys()


def test_every_call_asks_for_its_operation_with_all_its_parameters(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(addition_rows())
    for name, method, path, query in operations():
        if name not in CALLS:
            continue
        server.wire.requests.clear()
        server.wire.queries.clear()
        with suppress(ProblemError):  # most ids name nothing: what is asked for is what counts
            CALLS[name](star, tmp_path)
        sent_method, sent_path, _ = server.wire.requests[-1]
        assert sent_method == method, name
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), sent_path), name
        assert parse_qs(server.wire.queries[-1]).keys() >= query - PAGED - IN_PLACE_OF_A_BODY, name


def test_a_file_in_a_bucket_is_named_and_not_sent(star: StarClient, server: Platform) -> None:
    with pytest.raises(ProblemError, match="does not read from there"):
        star.datasets.upload("s3://bucket/rows.jsonl.gz", kind="numeric")
    asked = parse_qs(server.wire.queries[-1])
    assert (asked["source"], asked["name"]) == (["s3://bucket/rows.jsonl.gz"], ["rows"])


def test_a_dataset_of_a_hub_is_named_and_not_sent(star: StarClient, server: Platform) -> None:
    with pytest.raises(ProblemError, match="is no split of a dataset"):
        star.datasets.upload("hf:acme/sums/train=half", kind="numeric")
    asked = parse_qs(server.wire.queries[-1])
    assert (asked["source"], asked["name"]) == (["hf:acme/sums/train=half"], ["acme/sums/train=half"])
    with pytest.raises(ProblemError, match="is no split of a dataset"):
        star.datasets.preview("hf:acme/sums/train=half")
    assert parse_qs(server.wire.queries[-1])["source"] == ["hf:acme/sums/train=half"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "jobs_create",
            "job_verbs_fork",
            "trials_generate",
            "trials_evaluate",
            "overrides_create",
            "shares_create",
        ),
        *("api_keys_create", "api_keys_rotate", "webhooks_create", "webhooks_rotate_secret", "webhooks_test"),
    ],
)
def test_what_would_make_a_second_object_is_sent_under_a_key(
    star: StarClient, server: Platform, tmp_path: Path, name: str
) -> None:
    with suppress(ProblemError):
        CALLS[name](star, tmp_path)
    assert server.wire.requests[-1][2]["idempotency-key"]
