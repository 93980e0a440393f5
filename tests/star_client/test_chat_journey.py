"""From a model of a hub to its adapter in a conversation: what it answers is what the platform measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from star_engine.config.star import StarConfig
from star_engine.sampling.answers import judge_text
from star_engine.tasks.examples import Example
from star_engine.tasks.verdict import VerdictCode
from tests.app.api_harness import addition_rows, few_shot
from tests.databases import PROJECT
from tests.hub_server import Hub, Repository, running_hub
from tests.star_client.recorded_platform import Platform, platform
from tests.star_client.test_openai_completions import server_of_models
from tests.star_engine.chat.families import FAMILIES, THINK, write_model

NAME = "acme/adder-chat"
PUPIL = "tests.chat_pupil:pupil"
TINY = PROJECT / "examples" / "carry" / "model"
SMOLLM2 = PROJECT / ".star" / "models" / "SmolLM2-135M-Instruct"
CONFIG: dict[str, Any] = {
    "layout": "chat",
    "chat": {"system": "You add numbers."},
    "iterations": 1,
    "generation": {"max_tokens": 300, "few_shot": "first_iteration"},
    "training": {"schedule": {"kind": "linear", "start": 2, "add": 0}, "max_length": 4000},
    "audits": {"spark_level": None},
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def from_hub(sqlite_database_url: str, hub: Hub, tmp_path: Path) -> Iterator[Platform]:
    """A platform whose one model came with `star models add` from a hub."""
    family = next(one for one in FAMILIES if one.name == "qwen3")
    parts = {path.name: path.read_bytes() for path in TINY.iterdir()}
    parts |= {path.name: path.read_bytes() for path in write_model(family, tmp_path / "made").iterdir()}
    models_file, home = tmp_path / "models.yaml", tmp_path / "home"
    home.mkdir()
    hub.repositories[NAME] = Repository(parts, license="apache-2.0")
    scripted = {"STAR_SAMPLER": "scripted", "STAR_SAMPLER_SCRIPT": PUPIL}
    _add(hub, home, models_file, NAME, "--context-length", "4000", **scripted)
    with platform(sqlite_database_url, home, models_file, PUPIL) as running:
        yield running


def _add(hub: Hub, home: Path, models_file: Path, *arguments: str, **settings: str) -> None:
    models_file.write_text("# Only operators write here.\n")
    settings |= {"STAR_HOME": str(home), "STAR_MODELS_FILE": str(models_file)}
    command = [sys.executable, "-m", "worker.hub", "add", *arguments]
    subprocess.run(command, cwd=PROJECT, env=_as_client_of(hub, home) | settings, check=True)


def _as_client_of(hub: Hub, home: Path) -> dict[str, str]:
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_TOKEN": hub.token}
    return os.environ | own | {"HF_HOME": str(home / "hf")}


def as_messages(rows: str) -> str:
    """Rows of a dataset as conversations with their gold answers."""
    made = []
    for line in rows.splitlines():
        row = json.loads(line)
        turns = [{"role": "user", "content": row.pop("question")}]
        made.append(json.dumps({"messages": turns, **row}) + "\n")
    return "".join(made)


def test_adapter_answers_a_conversation_as_well_as_the_platform_measured(
    from_hub: Platform, hub: Hub, tmp_path: Path
) -> None:
    file = tmp_path / "sums.jsonl"
    file.write_text(as_messages(addition_rows(24)))
    with from_hub.client() as star:
        dataset = star.datasets.upload(file, kind="scratchpad", validation=8)
        shown = star.prompt_sets.create(name="few-shot", kind="scratchpad", examples=few_shot())
        job = star.jobs.create(
            model=NAME, dataset=dataset.id, prompt_set=shown.id, config=CONFIG, name="sums"
        )
        from_hub.work()
        assert star.jobs.get(job.id).status == "succeeded"
        measured = star.jobs.iteration(job.id, 1).metrics.accuracy
        held_out = star.datasets.examples(dataset.id, split="validation")
        examples = [Example("", one.question, one.answer) for one in held_out]
    assert len(examples) == 8
    with (
        server_of_models(from_hub, PUPIL, NAME),
        openai.OpenAI(base_url=f"{from_hub.url}/v1", api_key=from_hub.key, max_retries=0) as client,
    ):
        right = sum(is_right(client, f"{job.id}:best", example) for example in examples)
        check_thinking(client, f"{job.id}:best", examples[0])
        base = client.chat.completions.create(
            model=NAME, messages=[{"role": "user", "content": examples[0].question}]
        )
    push = [sys.executable, "-m", "worker.hub.push", "adapter", job.id, "acme/adder"]
    own = {"STAR_URL": from_hub.url, "STAR_API_KEY": from_hub.key}
    subprocess.run(push, cwd=PROJECT, env=_as_client_of(hub, tmp_path) | own, check=True)
    card = hub.repositories["acme/adder"].files["README.md"].decode()
    assert f"base_model: {NAME}\n" in card
    assert 0 < right < len(examples), "some are too hard for it"
    assert measured == right / len(examples)
    assert base.choices[0].message.content == "I was not asked in my template.", "a scripted base model"


def check_thinking(client: openai.OpenAI, model: str, example: Example) -> None:
    """It has a field of its own, whole and streamed."""
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": example.question}],
        "temperature": 0,
    }
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.model_extra is not None
    thought = THINK.replace("<think>", "").replace("</think>", "").strip("\n")
    assert message.model_extra["reasoning_content"] == thought
    assert "think>" not in (message.content or "")
    deltas = [piece.choices[0].delta for piece in client.chat.completions.create(**asked, stream=True)]
    told = [(delta.model_extra or {}).get("reasoning_content", "") for delta in deltas]
    assert "".join(told) == thought
    assert sum(map(bool, told)) > 1, "as it comes"
    assert "".join(delta.content or "" for delta in deltas) == message.content


def is_right(client: openai.OpenAI, model: str, example: Example) -> bool:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": example.question}], temperature=0, max_tokens=300
    )
    text = answer.choices[0].message.content or ""
    judged = judge_text(StarConfig.model_validate({"kind": "scratchpad", **CONFIG}), example, text, "stop")
    return judged.verdict == VerdictCode.CORRECT


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_small_model_of_a_hub_answers_tools_of_others_as_well_as_the_platform_measured(
    hub: Hub, tmp_path: Path
) -> None:
    """SmolLM2-135M-Instruct, as `python -m examples.smollm2.convert` makes it.

    With STAR_TEST_LM_EVAL, the command of an lm-eval in an environment of its own, that asks too.
    """
    if not SMOLLM2.is_dir():
        pytest.skip("the model is not here: python -m examples.smollm2.convert")
    home = tmp_path / "home"
    home.mkdir()
    parts = {path.name: path.read_bytes() for path in SMOLLM2.iterdir() if path.is_file()}
    hub.repositories["acme/smollm2"] = Repository(parts, license="apache-2.0")
    _add(hub, home, home / "models.yaml", "acme/smollm2", "--id", SMOLLM2.name)
    lm_eval = os.environ.get("STAR_TEST_LM_EVAL")
    command = [sys.executable, "-m", "examples.smollm2.served", "--home", str(home), "--push", "acme/sums"]
    command += ["--train", "8", "--held-out", "6", *(["--lm-eval", lm_eval] if lm_eval else [])]
    subprocess.run(command, cwd=PROJECT, env=_as_client_of(hub, home), check=True)
    assert "base_model: acme/smollm2\n" in hub.repositories["acme/sums"].files["README.md"].decode()
