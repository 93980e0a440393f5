"""Reviews, blind studies, probes and readings by SDK and `star`, each on a real server with a worker."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from math import exp
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading
from app.tables.rationales import Rationale
from star_client.job_request import JobRequest
from tests.star_client.conftest import Result, Run
from tests.star_client.recorded_platform import Platform, platform

Typed = Callable[..., None]
PAIRS = 3  # of the held-out questions asked for, those to which the two write different texts


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """What a person types, line by line."""
    return lambda *lines: monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))


def finished_job(server: Platform, folder: Path, **config: object) -> str:
    job_id = server.submit(folder, **{"iterations": 1, **config})
    server.work()
    return job_id


def ids(found: Result) -> list[str]:
    return [one["id"] for one in found.objects]


def test_the_review_queue_is_read_and_walked_through(
    run: Run, server: Platform, tmp_path: Path, typed: Typed
) -> None:
    job = finished_job(server, tmp_path)
    queue = run(server, "review", "list", job, "--json")
    risks = [one["risk"]["risk"] for one in queue.objects]
    assert len(risks) > 4
    assert risks == sorted(risks, reverse=True)
    first, second, third, *_ = ids(queue)
    shown = run(server, "review", "list", job, "--limit", 2)
    assert first in shown.out
    assert third not in shown.out

    typed("a", "d", "It skips a carry.", "s", "q")
    walked = run(server, "review", "walk", job)
    assert walked.status == 0
    assert all(f"{one}, iteration 1" in walked.out for one in (first, second, third))
    assert ids(run(server, "review", "list", job, "--json")) == ids(queue)[2:]  # the skipped one still waits
    with server.client() as star:
        said = {one: star.rationales.overrides(job, one) for one in (first, second, third)}
        assert [(one.verdict, one.reason) for one in said[first]] == [("correct", "Read and accepted.")]
        assert [(one.verdict, one.reason) for one in said[second]] == [("wrong", "It skips a carry.")]
        assert list(said[third]) == []
        left = star.reviews.queue(job, iteration=1, limit=1)
        assert (left.data[0].id, left.has_more) == (third, True)
        star.reviews.drop(job, third)
        assert star.reviews.queue(job, limit=1).data[0].id != third


def test_a_walk_through_everything_ends_by_itself(
    run: Run, server: Platform, tmp_path: Path, typed: Typed
) -> None:
    job = finished_job(server, tmp_path)
    count = len(ids(run(server, "review", "list", job, "--limit", 100, "--json")))
    typed(*["a"] * count)
    walked = run(server, "review", "walk", job)
    assert walked.out.endswith("Nothing waits for you.\n")
    assert run(server, "review", "list", job, "--json").objects == []


def test_a_study_is_made_rated_blindly_and_counted(
    run: Run, server: Platform, tmp_path: Path, typed: Typed
) -> None:
    job = finished_job(server, tmp_path)
    words = ("--arm", "few_shot", "--arm", "star", "--questions", 6, "--wrong-too", "--seed", 3)
    [made] = run(server, "studies", "create", job, *words, "--name", "blind", "--json").objects
    assert (made["arms"], made["pairs"], made["only_right"]) == (["few_shot", "star"], PAIRS, False)
    assert ids(run(server, "studies", "list", "--job", job, "--json")) == [made["id"]]

    typed("a", "what?", "t", "q")
    rated = run(server, "studies", "rate", made["id"], "--rater", "Ann")
    assert f"{PAIRS} left. Question" in rated.out
    assert f"{PAIRS - 2} left. Question" in rated.out
    assert not any(arm in rated.out for arm in ("few_shot", "few-shot", "star"))  # nothing says who wrote it
    with server.client() as star:
        turn = star.studies.next(made["id"], rater="Ann")
        assert (turn.left, turn.pair is None) == (PAIRS - 2, False)
        for left in range(PAIRS, 0, -1):
            turn = star.studies.next(made["id"], rater="Bob")
            assert turn.left == left
            assert turn.pair is not None
            star.studies.rate(made["id"], turn.pair.number, "first", rater="Bob")
        assert star.studies.next(made["id"], rater="Bob").pair is None
        result = star.studies.get(made["id"]).result
    assert (result.ratings, result.raters, result.agreement.pairs) == (PAIRS + 2, 2, 2)
    [rate] = result.win_rates
    assert rate.wins + rate.losses + rate.ties == PAIRS
    shown = run(server, "studies", "get", made["id"])
    assert {"preferred", "kappa"} <= set(shown.out.split())
    assert run(server, "studies", "delete", made["id"]).status == 0
    assert run(server, "studies", "list", "--json").objects == []


def test_a_study_without_two_arms_says_what_is_missing(run: Run, server: Platform, tmp_path: Path) -> None:
    job = finished_job(server, tmp_path)
    refused = run(server, "studies", "create", job, "--arm", "star", "--arm", "human")
    assert refused.status != 0
    assert "the column solution" in " ".join(refused.err.split())


def test_a_probe_shows_how_hard_the_questions_are_and_the_job_uses_its_tries(
    run: Run, server: Platform, tmp_path: Path
) -> None:
    with server.client() as star:
        first = star.jobs.get(server.submit(tmp_path))
        star.jobs.cancel(first.id)
        rows = tmp_path / "more.jsonl"
        rows.write_text((tmp_path / "addition.jsonl").read_text())
        dataset = star.datasets.upload(rows, kind="scratchpad", validation=2)
        words = ["--model", first.model, "--dataset", dataset.id, "--prompt-set", first.prompt_set]
        words += ["--set", "iterations=1", "--set", "generation.max_tokens=100"]
        words += ["--set", "generation.temperature=0.7", "--set", "generation.samples_per_example=2"]
        with server.attending():
            shown = run(server, "jobs", "create", *words, "--dry-run", "--probe", 20)
            assert shown.status == 0, shown.err
            assert "What would help" in shown.out
            assert "20 of 22" in shown.out
            [job] = run(server, "jobs", "create", *words, "--json").objects
            star.jobs.wait(job["id"])
        begun = re.search(r"(\S+) has begun", shown.err)
        assert begun is not None
        [found] = run(server, "jobs", "probe", begun[1], "--json").objects
        assert (found["id"], found["reused"]) == (begun[1], 0)
        assert found["recorded"] > 160  # eight tries at each, and those with a hint
        parts = [found["difficulty"][name]["count"] for name in ("all_wrong", "mixed", "all_right")]
        assert sum(parts) == 20
        assert reused(server, job["id"]) == (44, 40)  # of its two tries at each of 22, those at the probed 20
        again = star.jobs.probe(20, **_wanted(first.model, dataset.id, first.prompt_set))
        server.work()
        assert star.jobs.wait_for_probe(again.probe.id).reused == found["recorded"]  # the SDK asks the same


def reused(server: Platform, job: str) -> tuple[int, int]:
    """The job's tries without a hint, and those of them that were found on record."""
    with reading(server.engine) as session:
        tries = select(Rationale).where(Rationale.job_id == job, Rationale.route == "generated")
        found = session.scalars(tries).all()
        return len(found), sum(one.reused for one in found)


def _wanted(model: str, dataset: str, prompt_set: str) -> JobRequest:
    sampled = {"max_tokens": 100, "temperature": 0.7, "samples_per_example": 2}
    return {
        "model": model,
        "dataset": dataset,
        "prompt_set": prompt_set,
        "config": {"iterations": 1, "generation": sampled},
    }


def test_a_rationale_is_read_sentence_by_sentence(run: Run, server: Platform, tmp_path: Path) -> None:
    job = finished_job(server, tmp_path, audits={"sentences": 3})
    with server.client() as star:
        every = [star.rationales.get(job, one.id) for one in star.rationales.every(job, limit=100)]
    read = [one for one in every if one.reading is not None]
    assert len(read) == 3 < len(every)
    one = read[0]
    assert one.reading is not None
    assert one.reading[0].end == 0
    assert all(place.logprob < 0 for place in one.reading)
    shown = run(server, "rationales", job, "--show", one.id)
    assert "probability of the answer after each sentence" in shown.out
    assert f"{100 * exp(one.reading[0].logprob):.1f} %  (no rationale)" in shown.out
    assert "<scratch>" in shown.out.partition("(no rationale)")[2].splitlines()[1]


def test_a_receipt_decides_whether_an_adapter_is_promoted(run: Run, server: Platform, tmp_path: Path) -> None:
    job = finished_job(server, tmp_path)
    [found] = run(server, "adapters", "receipt", f"{job}:last", "--json").objects
    passed = {name: found["collapse"][name]["passed"] for name in ("base", "adapter")}
    assert [point["k"] for point in passed["base"]] == [1, 2]
    shown = run(server, "adapters", "receipt", f"{job}:last").out
    for name in passed:
        assert f"{100 * passed[name][-1]['value']:.1f} % (" in shown
    assert "pass@2" in shown
    assert "distinct solutions" in shown
    assert found["gain"]["difference"]["interval"]["low"] <= 0  # of eight questions

    refused = run(server, "adapters", "promote", f"{job}:last", "--name", "sums")
    assert refused.status != 0
    assert "covers 0" in " ".join(refused.err.split())
    assert run(server, "adapters", "promotions", "--json").objects == []
    unsaid = run(server, "adapters", "promote", f"{job}:last", "--name", "sums", "--force")
    assert unsaid.status != 0  # it takes a reason
    words = ("--name", "sums", "--stage", "test", "--force", "--reason", "A trial.")
    [made] = run(server, "adapters", "promote", f"{job}:last", *words, "--json").objects
    assert (made["forced"], made["reason"], made["adapter"]) == (True, "A trial.", found["adapter"])
    assert made["id"] in run(server, "adapters", "promotions", "--name", "sums").out
    assert run(server, "adapters", "demote", made["id"]).status == 0
    assert run(server, "adapters", "promotions", "--json").objects == []
    [ended] = run(server, "adapters", "promotions", "--all", "--json").objects
    assert ended["ended_at"] is not None


def test_a_verifier_is_told_from_a_generator(run: Run, sqlite_database_url: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    script = "tests.app.quality.sampled_pupil:pupil"  # with right and wrong tries at one question
    with platform(sqlite_database_url, tmp_path / "home", script=script) as server, server.client() as star:
        tries = {"max_tokens": 400, "temperature": 0.7, "samples_per_example": 4}
        job = finished_job(
            server, tmp_path, generation=tries, rationalization={"enabled": False}, trained_verifier={}
        )
        roles = {one.id: one.role for one in star.adapters.list(job)}
        assert sorted(roles.values()) == ["generator", "verifier"]
        listed = run(server, "adapters", "list", job).out.splitlines()
        for adapter, role in roles.items():
            [line] = [line for line in listed if adapter in line]
            assert role in line
