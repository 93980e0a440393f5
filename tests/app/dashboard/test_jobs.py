"""The pages on jobs: what they show is what the API answers, and what is done there is done."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from app.database import transaction
from app.ledger.transitions import move_job
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from star_engine.config.presets import PRESETS
from star_engine.tasks.kind import Kind
from tests.app.api_harness import Api
from tests.app.dashboard.conftest import Finished, Visitor, sign_in


def specifications(page: str) -> dict[str, Any]:
    """Of each chart by its title."""
    chart = r"<figcaption>(.*?)</figcaption>.*?<script type=\"application/json\">(.*?)</script>"
    found = re.findall(chart, page, re.DOTALL)
    return {unescape(title): json.loads(spec) for title, spec in found}


def values(spec: dict[str, Any], label: str) -> list[Any]:
    return next(list(one["values"]) for one in spec["series"] if one["label"] == label)


def test_a_job_is_listed_with_its_curve_and_who_made_it(finished: Finished) -> None:
    page = finished.visitor.get("/jobs").text
    job = finished.api("")
    assert "&lt;i&gt;addition&lt;/i&gt;" in page
    assert "<i>addition" not in page
    curve = ", ".join(f"{100 * one['accuracy']:.1f} %" for one in job["accuracies"])
    assert f'aria-label="Accuracy by iteration: {curve}"' in page
    assert job["created_by"]["name"] == "operator"
    assert "<td>operator</td>" in page
    assert "It ran all its iterations." in page


def test_the_list_is_filtered_by_its_url(finished: Finished) -> None:
    shown = f'href="/dashboard/jobs/{finished.job}"'
    for query in ({"status": "succeeded"}, {"name": "ADDITION"}, {"name": "", "status": ""}):
        assert shown in finished.visitor.get("/jobs", **query).text
    for query in ({"status": "failed"}, {"name": "subtraction"}, {"model": "another"}):
        page = finished.visitor.get("/jobs", **query).text
        assert shown not in page
        assert "No job is like that." in page


def test_a_job_page_shows_its_iterations_phases_and_events(finished: Finished) -> None:
    job, turns = finished.api(""), finished.api("/iterations")["data"]
    page = finished.get("").text
    assert f"{100 * job['best']['accuracy']:.1f} %" in page
    for turn in turns:
        assert f'href="/dashboard/jobs/{finished.job}?iteration={turn["number"]}"' in page
    assert page.count('<li class="done"><b>') == len(turns[-1]["phases_done"])
    events = finished.api("/events")["data"]
    assert page.count('<li id="event-') == len(events)
    assert "Job succeeded: completed iterations" in page
    assert "data-live" not in page  # nothing more can happen


def test_an_iteration_shows_its_funnel_as_the_api_counts_it(finished: Finished) -> None:
    turn = finished.api("/iterations/1")["metrics"]
    page = finished.get("", iteration="1").text
    assert '<h2 id="iteration" class="first">Iteration 1</h2>' in page
    for route, stages in turn["funnel"].items():
        table = page.split(f"<h3>{route.capitalize()}: from sampled to trained</h3>")[1].split("</ul>")[0]
        assert [int(count) for count in re.findall(r"<b>(\d+)</b>", table)] == list(stages.values())
    assert f"{turn['training']['steps']} steps" in page


def test_the_charts_carry_the_figures_of_the_report(finished: Finished) -> None:
    report = finished.api("/report")
    page = finished.get("/results").text
    drawn = specifications(page)
    assert report["answer"]["sentence"] in unescape(page)
    verdict = report["answer"]["verdict"]
    assert f'<span class="badge {verdict}">{verdict.replace("_", " ").capitalize()}</span>' in page
    rows = [row for row in report["accuracies"] if row["mode"] == "adapter"]
    churn = [row["churn"] for row in report["coverage"]]
    for label in ("Newly solved", "Retained", "Forgotten"):
        spec = drawn["Churn: what became of the train examples"]
        assert values(spec, label) == [row[label.lower().replace(" ", "_")] for row in churn]
    coverage = drawn["Coverage: train examples in the training set"]
    for route in ("generated", "rationalized"):
        assert values(coverage, route.capitalize()) == [row["coverage"][route] for row in report["coverage"]]
    by_group = drawn["Held-out accuracy by group"]
    for group in rows[0]["by_group"]:
        assert values(by_group, group)[1:] == [row["by_group"][group]["accuracy"] for row in rows]
        intervals = [row["by_group"][group]["interval"]["low"] for row in rows]
        assert next(one for one in by_group["series"] if one["label"] == group)["low"][1:] == intervals


def test_the_stream_of_a_job_that_has_ended_ends(finished: Finished) -> None:
    text = finished.get("/stream", after="0").text
    told = re.findall(r"^event: (\w+)$", text, re.MULTILINE)
    assert told[-1] == "done"
    assert {"changed", "results"} <= set(told)
    assert "question" not in text  # it tells that something is new, not what


def test_a_queued_job_is_followed_live_paused_resumed_and_cancelled(visitor: Visitor) -> None:
    job = visitor.api.job()["id"]
    page = visitor.get(f"/jobs/{job}").text
    assert f'data-live="/dashboard/jobs/{job}/stream?after=' in page
    assert "No worker is running." in page
    status: list[str] = []
    for verb in ("pause", "resume", "cancel"):
        assert f'action="/dashboard/jobs/{job}/{verb}"' in visitor.get(f"/jobs/{job}").text
        answer = visitor.post(f"/jobs/{job}/{verb}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/dashboard/jobs/{job}")
        status.append(visitor.api.client.get(f"/v1/jobs/{job}").json()["status"])
    assert status == ["paused", "queued", "cancelled"]
    page = visitor.get(f"/jobs/{job}").text
    assert "Somebody cancelled it." in page
    assert f'action="/dashboard/jobs/{job}/cancel"' not in page
    assert "cannot be paused" in visitor.post(f"/jobs/{job}/pause").text


def test_a_job_that_paused_itself_between_two_phases_is_listed(visitor: Visitor) -> None:
    job = visitor.api.job()
    with transaction(visitor.api.engine) as session:
        row = session.get_one(Job, job["id"])
        row.phase, row.status_reason = None, {"code": "no_spark", "message": "Not above chance."}
        move_job(session, row, JobStatus.PAUSED)
    for path in ("/jobs", f"/jobs/{job['id']}"):
        page = visitor.get(path)
        assert page.status_code == 200
        assert "It paused itself" in page.text


def test_who_may_only_read_sees_no_verbs_and_may_use_none(visitor: Visitor) -> None:
    job = visitor.api.job()["id"]
    reader = sign_in(visitor.api, visitor.api.reader)
    page = reader.get(f"/jobs/{job}").text
    assert "<button>Pause" not in page
    assert "New job" not in reader.get("/jobs").text
    for path in (f"/jobs/{job}/cancel", f"/jobs/{job}/fork", "/jobs/new", "/jobs/new/try"):
        assert reader.post(path).status_code == 403, path


def test_a_job_of_another_project_is_not_there(visitor: Visitor) -> None:
    job = visitor.api.job()["id"]
    stranger = sign_in(visitor.api, visitor.api.other)
    for path in ("", "/now", "/results", "/events", "/stream", "/fork"):
        assert stranger.get(f"/jobs/{job}{path}").status_code == 404, path
    assert stranger.get("/compare", job=[job, job + "x"]).status_code == 404  # type: ignore[arg-type]
    assert job not in stranger.get("/jobs").text


def _form(api: Api, **changes: str) -> dict[str, str]:
    ids = {"dataset": api.dataset()["id"], "prompt_set": api.prompt_set()["id"]}
    return {
        "model": "tiny",
        **ids,
        "config.iterations": "2",
        "config.generation.max_tokens": "100",
        **changes,
    }


def test_the_form_shows_why_a_model_cannot_have_the_chosen_layout(visitor: Visitor) -> None:
    chosen = {"config.layout": "chat", "config.chat.system": "You add."}
    refused = visitor.post("/jobs/new/try", **_form(visitor.api, **chosen)).text
    assert "has no chat template" in refused
    assert 'id="f-config-layout-refused"' in refused
    chosen = {"config.layout": "completion"}
    assert "layout-refused" not in visitor.post("/jobs/new/try", **_form(visitor.api, **chosen)).text


def test_a_job_is_named_and_tagged_on_its_page(visitor: Visitor) -> None:
    job = visitor.api.job(metadata={"old": "gone"})["id"]
    page = visitor.get(f"/jobs/{job}").text
    assert "old=gone" in page
    visitor.post(f"/jobs/{job}/describe", name="mine", metadata="team = a\nnote=loss = 0.3 <b>\n\n")
    found = visitor.api.client.get(f"/v1/jobs/{job}").json()
    assert (found["name"], found["metadata"]) == ("mine", {"team": "a", "note": "loss = 0.3 <b>"})
    assert "loss = 0.3 &lt;b&gt;" in visitor.get(f"/jobs/{job}").text
    refused = visitor.post(f"/jobs/{job}/describe", name="mine", metadata="x=" + "y" * 513)
    assert refused.status_code == 422


def test_the_form_offers_prompt_sets_of_the_datasets_kind_alone(visitor: Visitor) -> None:
    form = _form(visitor.api)
    text = "Q: What is 2 plus 5?\nA: 2 + 5 = <<2+5=7>>7\n#### 7\n"
    made = {"name": "other", "kind": "numeric", "text": text}
    other = visitor.api.client.post("/v1/prompt-sets", json=made).json()["id"]
    rows = '{"question": "1 + 1?", "answer": "2"}\n{"question": "2 + 2?", "answer": "4"}'
    numbers = visitor.api.client.post("/v1/datasets", params={"kind": "numeric"}, content=rows).json()["id"]
    page = visitor.get("/jobs/new", dataset=form["dataset"]).text
    assert (form["prompt_set"] in page, other in page) == (True, False)
    changed = visitor.post("/jobs/new/settings", **{**form, "dataset": numbers}).text
    assert (form["prompt_set"] in changed, other in changed) == (False, True)
    exact = visitor.api.client.post("/v1/datasets", params={"kind": "exact"}, content=rows).json()["id"]
    without = visitor.get("/jobs/new", dataset=exact).text
    assert "/dashboard/prompt-sets/new?kind=exact" in without
    assert "<option selected>exact" in visitor.get("/prompt-sets/new", kind="exact").text


def test_the_form_does_not_propose_what_drafts_are_made_with(visitor: Visitor) -> None:
    form = _form(visitor.api)
    ask = visitor.api.client
    asked = ask.post("/v1/prompt-drafts", json={"model": form["model"], "dataset": form["dataset"]})
    assert asked.status_code == 202, asked.text
    with transaction(visitor.api.engine) as session:
        of_draft = session.get_one(Job, asked.json()["id"]).prompt_set_id
    page = visitor.get("/jobs/new", dataset=form["dataset"]).text
    assert (form["prompt_set"] in page, of_draft in page) == (True, False)
    own = {"model": form["model"], "dataset": form["dataset"], "prompt_set": of_draft}
    job = ask.post("/v1/jobs", json=own).json()["id"]
    for named in ({"dataset": form["dataset"], "prompt_set": of_draft}, {"like": job}):
        assert f'value="{of_draft}" selected' in visitor.get("/jobs/new", **named).text
    named = {"dataset": form["dataset"], "prompt_set": "ps_none"}
    assert "ps_none" not in visitor.get("/jobs/new", **named).text


def test_the_form_shows_the_dry_run_and_makes_nothing(visitor: Visitor) -> None:
    form = _form(visitor.api)
    page = visitor.post("/jobs/new/try", **form).text
    body = {"model": form["model"], "dataset": form["dataset"], "prompt_set": form["prompt_set"]}
    config = {"iterations": 2, "generation": {"max_tokens": 100}}
    tried = visitor.api.client.post("/v1/jobs", json={**body, "config": config, "dry_run": True}).json()
    for warning in tried["warnings"]:
        assert warning["message"] in unescape(page)
    for one in tried["preview"]:
        assert one["prompt"]["text"] in unescape(page)
        assert f"{one['prompt']['tokens']} tokens" in page
    assert 'value="2"' in page  # what was typed is still there
    assert visitor.api.client.get("/v1/jobs").json()["data"] == []


WRONG = (
    ("config.iterations", "0", "config-iterations", "greater than or equal to 1"),
    ("config.training.learning_rate", "quick", "config-training-learning_rate", "valid number"),
    ("settings", "{", "settings", "not a JSON object"),
    ("settings", '{"training": {"warmup": 1}}', "settings", "config.training.warmup"),
    ("dataset", "ds_unknown", "dataset", "There is no dataset ds_unknown"),
    ("priority", "1000", "priority", "less than or equal to 100"),
)


def test_what_is_wrong_stands_beside_its_field(visitor: Visitor) -> None:
    form = _form(visitor.api)
    for field, value, place, reason in WRONG:
        page = visitor.post("/jobs/new", **{**form, field: value})
        assert page.status_code == 422
        beside = page.text.split(f'id="f-{place}-refused">')[1].split("</p>")[0]
        assert reason in unescape(beside)
        assert f'aria-describedby="f-{place}-refused"' in page.text
    assert visitor.api.client.get("/v1/jobs").json()["data"] == []


def test_pressing_twice_makes_one_job(visitor: Visitor) -> None:
    key = visitor.get("/jobs/new").text.split('name="key" value="')[1].split('"')[0]
    form = _form(visitor.api, key=key, baselines="direct-fine-tune", name="<b>mine</b>")
    places = {visitor.post("/jobs/new", **form).headers["location"] for _ in range(2)}
    assert len(places) == 1
    made = visitor.api.client.get(places.pop().replace("/dashboard", "/v1")).json()
    assert (made["name"], made["iterations"], made["config"]["generation"]["max_tokens"]) == (
        "<b>mine</b>",
        2,
        100,
    )
    assert [one["preset"] for one in made["baselines"]] == ["direct-fine-tune"]


def test_a_fork_goes_on_with_what_was_changed(finished: Finished) -> None:
    page = finished.get("/fork").text
    assert '<option value="2">iteration 2</option>' in page
    fork = {"from_iteration": "1", "config.iterations": "3", "name": "on"}
    tried = finished.visitor.post(f"/jobs/{finished.job}/fork/try", **fork).text
    assert "It would run" in tried
    assert 'value="on"' in tried  # what was typed is still there
    place = finished.visitor.post(f"/jobs/{finished.job}/fork", **fork).headers["location"]
    job = finished.visitor.api.client.get(place.replace("/dashboard", "/v1")).json()
    assert (job["forked_from"], job["iterations"]) == ({"job": finished.job, "iteration": 1}, 3)
    refused = finished.visitor.post(f"/jobs/{finished.job}/fork", from_iteration="2")
    assert "would end at once" in unescape(refused.text)
    shown = finished.visitor.get("/compare", job=[finished.job, job["id"]])  # type: ignore[arg-type]
    assert '<th scope="row" class="mono">iterations</th><td>2</td><td>3</td>' in shown.text
    assert "generation.temperature" not in shown.text
    curves = specifications(shown.text)["Held-out accuracy"]
    expected = [one["accuracy"] for one in finished.api("")["accuracies"]]
    assert values(curves, "<i>addition</i>") == expected
    assert visitor_cancels(finished.visitor, job["id"]) == "cancelled"


def visitor_cancels(visitor: Visitor, job: str) -> str:
    visitor.post(f"/jobs/{job}/cancel")
    return str(visitor.api.client.get(f"/v1/jobs/{job}").json()["status"])


def test_comparing_less_than_two_jobs_asks_which(finished: Finished) -> None:
    page = finished.visitor.get("/compare", job=finished.job).text
    assert f'value="{finished.job}" checked' in page


def test_the_curves_of_a_training_are_a_page_that_its_iteration_leads_to(finished: Finished) -> None:
    steps = finished.api("/iterations/1/curve")["steps"]
    drawn = specifications(finished.get("/iterations/1/curve").text)
    assert list(drawn) == [
        "Training loss", "Gradient norm, before clipping", "Learning rate", "Tokens per step"
    ]  # fmt: skip
    assert drawn["Training loss"]["x"] == [one["step"] for one in steps]
    assert values(drawn["Learning rate"], "Learning rate") == [one["learning_rate"] for one in steps]
    assert "/iterations/1/curve" in finished.get("", iteration="1").text


def _placeholder(page: str, setting: str) -> str:
    """What an empty field of the form stands for."""
    field = page.partition(f'name="{setting}"')[2].partition(">")[0]
    return str(re.findall(r'placeholder="([^"]*)"', field)[0])


def test_empty_fields_of_the_form_show_the_values_of_the_chosen_preset(visitor: Visitor) -> None:
    visitor.api.dataset()
    for preset in ("star", "few-shot-cot", "rest-em"):
        page = visitor.get("/jobs/new", preset=preset).text
        shown = PRESETS[preset](Kind.SCRATCHPAD)
        assert _placeholder(page, "config.iterations") == str(shown.iterations)
        assert _placeholder(page, "config.training.lora.rank") == str(shown.training.lora.rank)


def test_another_preset_gives_the_form_again_with_its_values_and_what_was_typed(visitor: Visitor) -> None:
    visitor.api.dataset()
    page = visitor.post("/jobs/new/settings", preset="rest-em", name="kept as typed").text
    tries = PRESETS["rest-em"](Kind.SCRATCHPAD).generation.samples_per_example
    assert _placeholder(page, "config.generation.samples_per_example") == str(tries)
    assert 'value="kept as typed"' in page


def test_a_job_is_deleted_from_its_page_once_it_has_ended(visitor: Visitor) -> None:
    job = visitor.api.job()
    page = visitor.get(f"/jobs/{job['id']}").text
    assert f"/dashboard/jobs/{job['id']}/delete" not in page
    refused = visitor.post(f"/jobs/{job['id']}/delete")
    assert refused.status_code == 409
    assert "Cancel it first" in refused.text
    visitor.post(f"/jobs/{job['id']}/cancel")
    page = visitor.get(f"/jobs/{job['id']}").text
    assert f"/dashboard/jobs/{job['id']}/delete" in page
    assert 'data-confirm="Delete ' in page
    assert visitor.post(f"/jobs/{job['id']}/delete").headers["location"] == "/dashboard/jobs"
    assert visitor.get(f"/jobs/{job['id']}").status_code == 404
