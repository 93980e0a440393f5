"""A trained verifier chooses among texts that are served: real training, sampling and scoring, tiny model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from star_client.candidates import Candidate
from star_client.client import StarClient
from star_engine.data.selection import sample_seed
from tests.app.api_harness import addition_rows, few_shot
from tests.databases import PROJECT
from tests.star_client.recorded_platform import Platform, platform, wait_until
from tests.star_client.test_openai_completions import server_of_models

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

MODEL, OTHER = "addition-tiny", "addition-other"
ADDITION = PROJECT / "examples" / "carry" / "model"
REAL: dict[str, Any] = {"sampler": "transformers", "threads": 1, "sampler_batch": 64, "shard_examples": 64}
CONFIG: dict[str, Any] = {
    "iterations": 1,
    "generation": {
        "max_tokens": 60,
        "few_shot": "first_iteration",
        "temperature": 1.0,
        "samples_per_example": 8,
    },
    "rationalization": {"enabled": False},
    "audits": {"spark_level": None},
    "training": {"schedule": {"kind": "fixed", "steps": 1}, "batch_size": 4, "max_length": 400},
    "trained_verifier": {"schedule": {"kind": "fixed", "steps": 2}, "batch_size": 2, "learning_rate": 1e-3},
    "evaluation": {"test_time": {"samples": 2, "temperature": 1.0, "scorer": "verifier"}},
}


@dataclass(frozen=True)
class Judged:
    """A platform on which a job has trained a verifier, and what it said of its candidates."""

    server: Platform
    star: StarClient
    job_id: str
    generator: str
    verifier: str
    candidates: tuple[Candidate, ...]


@pytest.fixture(scope="module")
def judged(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("judged")
    home, models_file = folder / "home", folder / "models.yaml"
    home.mkdir()
    models_file.write_text(
        yaml.safe_dump([{"id": name, "location": str(ADDITION)} for name in (MODEL, OTHER)])
    )
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'star.db')}"
    with platform(url, home, models_file, **REAL) as running, running.client() as star:
        rows = folder / "sums.jsonl"
        rows.write_text(addition_rows(24))
        dataset = star.datasets.upload(rows, kind="scratchpad", validation=4)
        shown = star.prompt_sets.create(name="few-shot", kind="scratchpad", examples=few_shot())
        job = star.jobs.create(model=MODEL, dataset=dataset.id, prompt_set=shown.id, config=CONFIG, name="v")
        running.work()
        done = star.jobs.get(job.id)
        assert done.status == "succeeded", done.status_reason
        generator, verifier = star.adapters.list(job.id)
        candidates = tuple(star.candidates.every(job.id, iteration=1))
        with server_of_models(running, None, MODEL, STAR_SAMPLER="transformers", STAR_SERVING_NICE="0"):
            yield Judged(running, star, job.id, generator.id, verifier.id, candidates)


@pytest.fixture
def client(judged: Judged) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{judged.server.url}/v1", api_key=judged.server.key, max_retries=0
    ) as client:
        yield client


def ask(client: openai.OpenAI, judged: Judged, one: Candidate, **more: Any) -> tuple[str, dict[str, Any]]:
    """The chosen text of four, the first of which is the candidate again, and why it was chosen."""
    answer = client.chat.completions.create(
        model=judged.generator,
        messages=[{"role": "user", "content": one.example.question}],
        temperature=1.0,
        max_tokens=60,
        seed=sample_seed(0, 1, one.example.id, "test_time", one.sample),
        n=4,
        extra_body={"select": "verifier", **more},
    )
    (choice,) = answer.choices
    assert choice.model_extra is not None
    selection: dict[str, Any] = choice.model_extra["selection"]
    return choice.message.content or "", selection


def test_served_text_has_the_score_that_its_candidate_has_on_record(
    judged: Judged, client: openai.OpenAI
) -> None:
    assert len(judged.candidates) == 8
    for one in judged.candidates:
        text, told = ask(client, judged, one)
        assert (told["by"], told["verifier"], told["of"]) == ("verifier", judged.verifier, 4)
        assert told["scores"][0] == pytest.approx(one.scores["verifier"].logprob, abs=1e-3)
        assert told["score"] == max(told["scores"])
        if told["score"] == told["scores"][0]:
            assert text.strip() == one.text


def test_verifier_may_be_named_for_a_base_model_but_not_for_another_one(
    judged: Judged, client: openai.OpenAI
) -> None:
    asked: dict[str, Any] = {"prompt": "Input:\n1 + 2\nTarget:", "n": 2, "max_tokens": 40, "seed": 1}
    named = {"select": "verifier", "verifier": judged.verifier}
    answer = client.completions.create(model=MODEL, **asked, extra_body=named)
    assert answer.choices[0].model_extra is not None
    assert answer.choices[0].model_extra["selection"]["verifier"] == judged.verifier
    with pytest.raises(openai.UnprocessableEntityError, match=f"Name a verifier of {OTHER}"):
        client.completions.create(model=OTHER, **asked, extra_body=named)


def test_what_the_verifier_read_is_in_the_usage(judged: Judged, client: openai.OpenAI) -> None:
    ask(client, judged, judged.candidates[0])
    wait_until(
        lambda: any(one.model == judged.verifier for one in judged.star.usage.texts()),
        "what it read is not recorded",
    )
    (read,) = (one for one in judged.star.usage.texts() if one.model == judged.verifier)
    assert read.prompt_tokens > read.texts > 0
    assert read.completion_tokens == 0
