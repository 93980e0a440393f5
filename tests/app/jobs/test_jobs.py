"""Jobs over HTTP: made once, refused with a fix, followed, cancelled, paused and resumed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import func, select

from app.database import reading, transaction
from app.ledger.data.base_models import register_models
from app.ledger.queue.steps import Claim, claim_step, heartbeat
from app.tables.data import Model
from app.tables.jobs import Job, Outbox, Step
from tests.app.api_harness import CONTEXT, MODEL, Api, addition_rows, few_shot, serve
from tests.worker.gpu.test_share import write_weights


def jobs(api: Api) -> int:
    with reading(api.engine) as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def claim(api: Api) -> Claim:
    claimed = claim_step(api.engine, "worker", 60)
    assert claimed is not None
    return claimed


def test_job_is_created_with_its_first_steps_and_their_notifications(api: Api) -> None:
    body = api.job_body(name="first", priority=5, metadata={"team": "maths"})
    answer = api.client.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert job["object"] == "job"
    assert job["id"].startswith("job_")
    assert (job["status"], job["is_terminal"], job["phase"]) == ("queued", False, "baselines")
    assert (job["name"], job["priority"], job["metadata"]) == ("first", 5, {"team": "maths"})
    assert (job["model"], job["dataset"], job["prompt_set"]) == (MODEL, body["dataset"], body["prompt_set"])
    assert (job["iteration"], job["iterations"]) == (0, 2)
    assert job["progress"] == {"done": 0, "total": 8, "unit": "examples", "loading_seconds": None}
    assert job["best"] is None
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert api.client.get(answer.headers["location"]).json() == job
    with reading(api.engine) as session:
        steps = session.scalars(select(Step.id)).all()
        assert sorted(session.scalars(select(Outbox.step_id))) == sorted(steps)


def test_configuration_is_the_preset_with_the_overrides_laid_over_it(api: Api) -> None:
    config = {
        "generation": {"max_tokens": 100},
        "training": {"schedule": {"kind": "geometric", "start": 7}, "lora": {"rank": 4}},
    }
    resolved = api.job(config=config)["config"]
    assert resolved["kind"] == "scratchpad"
    assert resolved["iterations"] == 16  # the preset's, for scratchpads
    assert resolved["generation"]["max_tokens"] == 100
    assert resolved["training"]["schedule"] == {
        "kind": "geometric",
        "start": 7,
        "factor": 1.2,
        "max_steps": None,
    }
    assert resolved["training"]["lora"]["rank"] == 4
    assert resolved["training"]["lora"]["alpha"] == 32
    override = {"training": {"schedule": {"factor": 1.1}, "batch_size": 4}}
    plain = api.job(preset="star-without-rationalization", config=override)["config"]
    assert plain["rationalization"]["enabled"] is False
    assert plain["training"]["schedule"] == {
        "kind": "geometric",
        "start": 40,
        "factor": 1.1,
        "max_steps": None,
    }
    assert (plain["training"]["batch_size"], plain["training"]["batch_tokens"]) == (4, None)


BAD_JOBS: list[tuple[str, dict[str, Any], str, str, str]] = [
    # what, change to a good body, code, field, part of the reason or fix
    ("unknown model", {"model": "gpt-j"}, "unknown_model", "model", f"Use one of {MODEL}"),
    ("unknown dataset", {"dataset": "ds_0"}, "unknown_dataset", "dataset", "no dataset ds_0"),
    ("unknown prompt set", {"prompt_set": "ps_0"}, "unknown_prompt_set", "prompt_set", "no prompt set ps_0"),
    ("unknown preset", {"preset": "magic"}, "unknown_preset", "preset", "rest-em"),
    ("misspelt", {"config": {"iteratons": 3}}, "invalid_config", "config.iteratons", "config.iterations?"),
    ("unknown setting", {"config": {"colour": 3}}, "invalid_config", "config.colour", "no such field"),
    (
        "deep mistake",
        {"config": {"generation": {"temperature": -1}}},
        "invalid_config",
        "config.generation.temperature",
        "greater than or equal to 0",
    ),
    (
        "unknown filter",
        {"config": {"training_set": {"filters": ["vibes"]}}},
        "invalid_config",
        "config.training_set.filters",
        "hint_markers",
    ),
    ("not a section", {"config": {"generation": 3}}, "invalid_config", "config.generation", "object"),
    ("another kind", {"config": {"kind": "numeric"}}, "kinds_differ", "config.kind", "Leave it out"),
    (
        "no thoughts to leave out",
        {"config": {"evaluation": {"without_thoughts": True}}},
        "invalid_config",
        "config.evaluation.without_thoughts",
        "an adapter that thinks between tokens",
    ),
    ("no test split", {"config": {"evaluation": {"split": "test"}}}, "no_held_out_split", "dataset", "test"),
    (
        "max_tokens fill the context",
        {"config": {"generation": {"max_tokens": CONTEXT}}},
        "prompt_too_long",
        "config.generation.max_tokens",
        str(CONTEXT),
    ),
    (
        "a rank that no sampler loads",
        {"config": {"training": {"lora": {"rank": 128}}}},
        "rank_too_high",
        "config.training.lora.rank",
        "at most 64",
    ),
    (
        "rows that no prompt fits",
        {"config": {"training": {"max_length": 16}}},
        "max_length_too_short",
        "config.training.max_length",
        "Raise it",
    ),
    ("unknown field", {"modle": MODEL}, "invalid", "modle", "no such field"),
    ("missing field", {"model": None}, "invalid", "model", "string"),
    ("priority", {"priority": 1000}, "invalid", "priority", "100"),
    ("metadata", {"metadata": {"a": 1}}, "invalid", "metadata.a", "string"),
    ("NUL", {"config": {"training": {"lora": {"target_modules": ["\x00"]}}}}, "invalid", "config", "NUL"),
]


def test_bad_job_is_refused_with_the_field_and_the_mend(api: Api) -> None:
    good = api.job_body()
    for what, change, code, field, words in BAD_JOBS:
        answer = api.client.post("/v1/jobs", json={**good, **change})
        assert answer.status_code == 422, (what, answer.text)
        problem = answer.json()
        assert problem["code"] == code, (what, problem)
        error = problem["errors"][0]
        assert error["field"] == field, (what, problem)
        assert words in f"{error['reason']} {error['fix']}", (what, problem)
        assert problem["error"]["param"] == field
    assert jobs(api) == 0


def test_a_model_too_large_to_be_trained_as_it_is_can_be_trained_in_four_bits(api: Api) -> None:
    write_weights(api.settings.home / "model/model.safetensors", shape=[1000, 35 * 10**6], dtype="BF16")
    listed = {"id": MODEL, "location": "model", "requires": {"gpu_memory_gib": 80}}
    api.settings.models_file.write_text(yaml.safe_dump([listed]))
    register_models(api.engine, api.settings.models_file)
    body = api.job_body()
    answer = api.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "model_too_large")
    error = answer.json()["errors"][0]
    assert (error["field"], error["fix"]) == (
        "config.training.quantization",
        'Set training.quantization to "nf4", or use a smaller model.',
    )
    body["config"]["training"] = {"quantization": "nf4"}
    made = api.client.post("/v1/jobs", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["config"]["training"]["quantization"] == "nf4"


def test_pairs_are_not_trained_on_where_they_would_be_scored_on_other_weights(api: Api) -> None:
    with transaction(api.engine) as session:
        session.get_one(Model, MODEL).trained_as = "plain"
        session.add(Model(id="plain", location="nowhere", files={}, context_length=CONTEXT))
    tries = {"samples_per_example": 4, "temperature": 0.7, "max_tokens": 100}
    for more, code in (
        ({"preference": {}}, "quantized_model"),
        ({"trained_verifier": {}}, "quantized_model"),
        ({"preference": {}, "training": {"quantization": "nf4"}}, "invalid_config"),
    ):
        body = api.job_body(config={"generation": tries, "rationalization": {"enabled": False}, **more})
        answer = api.client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_dataset_without_a_held_out_split_is_refused_with_how_to_carve_one(api: Api) -> None:
    dataset = api.dataset(validation=0)
    answer = api.client.post("/v1/jobs", json=api.job_body(dataset=dataset["id"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "no_held_out_split")
    assert "?validation=N" in answer.json()["errors"][0]["fix"]


def test_kinds_that_differ_are_refused(api: Api) -> None:
    shown = {"question": "How many?", "rationale": "One. #### 1", "answer": "1"}
    prompt_set = api.prompt_set(kind="numeric", examples=[shown])
    answer = api.client.post("/v1/jobs", json=api.job_body(prompt_set=prompt_set["id"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "kinds_differ")


def test_pattern_job_is_refused_until_its_expression_reads_every_answer(api: Api) -> None:
    rows = [{"question": f"Capital of country {n}?", "answer": f"Town{n}"} for n in range(6)]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    shown = {"question": "Of Chile?", "rationale": "Long known. Final answer: Santiago", "answer": "Santiago"}
    body = {
        "model": MODEL,
        "dataset": api.dataset(content, kind="pattern", validation=2)["id"],
        "prompt_set": api.prompt_set(kind="pattern", examples=[shown])["id"],
    }
    found = []
    for verifier in ({}, {"pattern": "(?=x)"}, {"pattern": "answer = ([a-z]+)"}, {"pattern": "([A-Za-z]+)"}):
        config = {"generation": {"max_tokens": 100}, "verifier": verifier}
        answer = api.client.post("/v1/jobs", json={**body, "config": config})
        assert answer.status_code == 422, answer.text
        error = answer.json()["errors"][0]
        found.append((answer.json()["code"], error["field"], error["reason"]))
    assert [(code, field) for code, field, _ in found] == [
        ("settings_unfit", "config.verifier.pattern"),
        ("invalid_config", "config.verifier.pattern"),
        ("settings_unfit", "prompt_set"),
        ("settings_unfit", "prompt_set"),
    ]
    assert "needs the option pattern" in found[0][2]
    assert "refused by RE2" in found[1][2]
    assert "no answer can be read" in found[2][2]
    config["verifier"] = {"pattern": "Final answer: ([A-Za-z0-9]+)"}
    answer = api.client.post("/v1/jobs", json={**body, "config": config})
    assert answer.status_code == 201, answer.text
    assert answer.json()["config"]["verifier"]["pattern"] == "Final answer: ([A-Za-z0-9]+)"


def test_job_that_shows_solutions_is_refused_naming_the_rows_without_one(api: Api) -> None:
    rows = [json.loads(line) for line in addition_rows(6).splitlines()]
    for number, row in enumerate(rows):
        row["id"] = f"sum-{number}"
        row["split"] = "train" if number < 4 else "validation"
        if number not in (1, 3, 5):
            row["solution"] = f"Add the digits. {row['answer']}"
    dataset = api.dataset("".join(json.dumps(row) + "\n" for row in rows), validation=0)
    config = {"generation": {"max_tokens": 100}, "rationalization": {"hint": "full_solution"}}
    answer = api.client.post("/v1/jobs", json=api.job_body(dataset=dataset["id"], config=config))
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "settings_unfit"
    assert {error["field"] for error in problem["errors"]} == {"config.rationalization.hint"}
    assert [error["reason"] for error in problem["errors"]] == [
        "Example 'sum-1' has no solution.",
        "Example 'sum-3' has no solution.",
    ]


def test_the_trained_baselines_are_presets(api: Api) -> None:
    config = {"generation": {"max_tokens": 100}}
    direct = api.job(preset="direct-fine-tune", config=config)["config"]
    assert (direct["training_set"]["source"], direct["iterations"]) == ("answers", 1)
    voted = api.job(preset="star-majority-vote", config=config)["config"]
    assert (voted["labels"], voted["rationalization"]["enabled"]) == ("majority_vote", False)
    body = api.job_body(preset="gold-rationale-fine-tune", config=config)
    answer = api.client.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert (error["field"], answer.json()["code"]) == ("config.training_set.source", "settings_unfit")
    assert "has no solution" in error["reason"]


def test_group_that_the_prompt_set_shows_nothing_is_refused(api: Api) -> None:
    prompt_set = api.prompt_set(examples=few_shot()[:1])
    answer = api.client.post("/v1/jobs", json=api.job_body(prompt_set=prompt_set["id"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "groups_without_examples")
    assert "groups: 2" in answer.json()["detail"]


def test_prompt_longer_than_the_context_is_refused_naming_its_row(api: Api) -> None:
    rows = [{"question": f"{n} + 1", "answer": str(n + 1), "group": "1"} for n in range(6)]
    rows[3]["question"] = "1 + " * 300 + "1"
    dataset = api.dataset("".join(json.dumps(row) + "\n" for row in rows), validation=1)
    body = api.job_body(dataset=dataset["id"])
    answer = api.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "prompt_too_long"), answer.text
    [error] = answer.json()["errors"]
    assert "'row-4'" in error["reason"]
    assert f"leaves {CONTEXT - 100}" in error["reason"]
    assert "few-shot" in error["fix"]


def test_hint_counts_for_the_length_of_a_prompt(sqlite_database_url: str, tmp_path: Path) -> None:
    """The longest unhinted prompt fits exactly; with the hint it does not."""
    with serve(sqlite_database_url, tmp_path / "home") as api:
        question, shot = "1 + 1", few_shot()[0]
        block = "Input:\n{}\nTarget:"
        prompt = f"{block.format(shot['question'])}\n{shot['rationale']}\n\n{block.format(question)}"
        rows = [
            {"question": question, "answer": "2"},
            {"question": "1", "answer": "1", "split": "validation"},
        ]
        ids = {
            "dataset": api.dataset("".join(json.dumps(row) + "\n" for row in rows), validation=0)["id"],
            "prompt_set": api.prompt_set(examples=[{**shot, "group": None}])["id"],
        }
        max_tokens = CONTEXT - len(prompt)
        for enabled, status in ((False, 201), (True, 422)):
            config: dict[str, Any] = {
                "generation": {"max_tokens": max_tokens},
                "rationalization": {"enabled": enabled},
            }
            answer = api.client.post("/v1/jobs", json=api.job_body(**ids, config=config))
            assert answer.status_code == status, answer.text
        config["generation"]["max_tokens"] = max_tokens + 1
        config["rationalization"]["enabled"] = False
        assert api.client.post("/v1/jobs", json=api.job_body(**ids, config=config)).status_code == 422


def test_idempotency_key_replays_its_job_and_refuses_another_body(api: Api) -> None:
    body, headers = api.job_body(), {"Idempotency-Key": "monday"}
    first = api.client.post("/v1/jobs", json=body, headers=headers)
    again = api.client.post("/v1/jobs", json=body, headers=headers)
    other = api.client.post("/v1/jobs", json={**body, "priority": 1}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.json()["id"] == first.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert other.json()["code"] == "idempotency_mismatch"
    assert jobs(api) == 1


def test_hundred_posts_at_once_under_one_key_make_one_job(api: Api) -> None:
    body, headers = api.job_body(), {"Idempotency-Key": "at once"}
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: api.client.post("/v1/jobs", json=body, headers=headers), range(100))
        )
    made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    told_to_wait = [answer.json()["code"] for answer in answers if answer.status_code == 409]
    assert len(made) + len(told_to_wait) == 100, {answer.status_code for answer in answers}
    assert made
    assert len(set(made)) == jobs(api) == 1
    assert set(told_to_wait) <= {"idempotency_in_flight"}
    again = api.client.post("/v1/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, made[0])


def test_poller_is_answered_304_until_something_changes(api: Api) -> None:
    url = f"/v1/jobs/{api.job()['id']}"
    first = api.client.get(url)
    seen = {"If-None-Match": first.headers["etag"]}
    unchanged = api.client.get(url, headers=seen)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == first.headers["etag"]
    step = claim(api)
    with transaction(api.engine) as session:
        heartbeat(session, step, {"done": 3, "total": 4}, 60)
    changed = api.client.get(url, headers=seen)
    assert changed.status_code == 200
    assert changed.json()["progress"]["done"] == 3
    assert changed.json()["status"] == "running"


def test_cancelling_twice_is_cancelling_once(api: Api) -> None:
    url = f"/v1/jobs/{api.job()['id']}"
    first, again = (api.client.post(f"{url}/cancel") for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json() == api.client.get(url).json()
    assert (first.json()["status"], first.json()["stop_reason"]) == ("cancelled", "user_cancelled")
    assert first.json()["finished_at"] is not None
    for verb in ("pause", "resume"):
        answer = api.client.post(f"{url}/{verb}")
        assert (answer.status_code, answer.json()["code"]) == (409, "job_is_terminal")


def test_running_job_is_cancelled_once_its_worker_has_let_go(api: Api) -> None:
    url = f"/v1/jobs/{api.job()['id']}"
    step = claim(api)
    assert api.client.post(f"{url}/cancel").json()["status"] == "cancelling"
    with transaction(api.engine) as session:
        assert heartbeat(session, step, {}, 60) == "cancel"


def test_paused_job_gives_no_work_and_goes_on_when_resumed(api: Api) -> None:
    url = f"/v1/jobs/{api.job()['id']}"
    paused = api.client.post(f"{url}/pause")
    assert (paused.status_code, paused.json()["status"]) == (202, "paused")
    assert api.client.post(f"{url}/pause").status_code == 200
    assert claim_step(api.engine, "worker", 60) is None
    resumed = api.client.post(f"{url}/resume")
    assert (resumed.status_code, resumed.json()["status"]) == (202, "queued")
    claim(api)


def test_jobs_are_listed_newest_first_by_status_and_page(api: Api) -> None:
    ids = [api.job()["id"] for _ in range(3)]
    api.client.post(f"/v1/jobs/{ids[1]}/cancel")
    page = api.client.get("/v1/jobs", params={"limit": 2}).json()
    rest = api.client.get("/v1/jobs", params={"limit": 2, "after": page["last_id"]}).json()
    assert [job["id"] for job in page["data"] + rest["data"]] == sorted(ids, reverse=True)
    assert (page["has_more"], rest["has_more"]) == (True, False)
    queued = api.client.get("/v1/jobs", params={"status": "queued"}).json()["data"]
    assert {job["id"] for job in queued} == {ids[0], ids[2]}
    for query in ({"limit": 0}, {"limit": 101}, {"status": "lost"}):
        assert api.client.get("/v1/jobs", params=query).status_code == 422


def test_a_job_is_named_anew_and_its_metadata_are_laid_over(api: Api) -> None:
    made = api.job(metadata={"team": "a", "note": "first try"})
    place = f"/v1/jobs/{made['id']}"
    changed = api.client.patch(place, json={"name": "sums", "metadata": {"note": None, "why": "seeds"}})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["name"], changed.json()["metadata"]) == ("sums", {"team": "a", "why": "seeds"})
    assert api.client.get("/v1/jobs", params={"metadata[why]": "seeds"}).json()["data"][0]["id"] == made["id"]
    entry = api.client.get("/v1/audit", params={"target": made["id"]}).json()["data"][0]
    assert entry["action"] == "PATCH /v1/jobs/{job_id}"
    many = api.client.patch(place, json={"metadata": {f"n{n}": "x" for n in range(15)}})
    assert (many.status_code, many.json()["code"]) == (422, "too_many")
    assert api.client.patch(place, json={"config": {}}).status_code == 422
    assert api.client.get(place).json()["metadata"] == {"team": "a", "why": "seeds"}
