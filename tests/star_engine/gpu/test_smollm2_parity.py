"""vLLM on CPU against the transformers sampler on a real model of 135 M parameters."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from examples.addition.generate import draw_addition, draw_prompt_set, prompt_set_examples
from examples.smollm2.convert import MODEL_FOLDER, convert
from star_engine.data.prompts import render_prompt, stops
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import Completion, SampleRequest, SamplingParams, ScoreRequest, TrainingText
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from tests.star_engine.gpu import vllm_process
from tests.star_engine.gpu.conftest import make_adapter

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PARAMS = SamplingParams(max_tokens=48, stop=stops(Kind.SCRATCHPAD))


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted model, where there is one; else it is downloaded and converted (a minute)."""
    folder = Path(os.environ.get("STAR_TEST_SMOLLM2", MODEL_FOLDER))
    if not (folder / "model.safetensors").exists():
        folder = tmp_path_factory.mktemp("smollm2") / "model"
        convert(folder)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["eager", "compiled"])
def vllm(smollm2: Path, request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(vllm_process.start, smollm2, compiled=request.param).result()
        yield pool


def additions(count: int) -> list[SampleRequest]:
    """Addition of 1 and 2 digits behind its few-shot examples, hinted and not."""
    shown = [
        FewShotExample(row["question"], row["rationale"], row["answer"], None, row["group"])
        for row in prompt_set_examples(draw_prompt_set(0, (1, 2), 3))
    ]
    prompt_set, source = PromptSet(Kind.SCRATCHPAD, tuple(shown)), random.Random(0)
    requests = []
    for number in range(count):
        drawn = draw_addition(source, 1 + number % 2)
        example = Example(str(number), drawn.question, drawn.answer, None, str(drawn.digit_count))
        hint = number % 4 > 1
        requests.append(
            SampleRequest(str(number), render_prompt(Kind.SCRATCHPAD, prompt_set, example, hint=hint))
        )
    return requests


def by_key(completions: list[Completion]) -> dict[str, Completion]:
    return {completion.key: completion for completion in completions}


def test_greedy_completions_of_smollm2_agree_with_and_without_an_adapter(
    vllm: ProcessPoolExecutor, smollm2: Path, tmp_path: Path
) -> None:
    requests = additions(16)
    oracle = TransformersSampler(smollm2, max_length=400)
    adapter = make_adapter(smollm2, tmp_path / "adapter")
    texts = []
    for used in (None, adapter, None):
        oracle.use(used)
        expected = by_key(list(oracle.stream(deque(requests), PARAMS)))
        assert by_key(vllm.submit(vllm_process.sample, used, requests, PARAMS).result()) == expected
        texts.append(tuple(expected[request.key].text for request in requests))
    assert texts[0] == texts[2] != texts[1]


def test_scores_of_smollm2_agree_with_and_without_an_adapter(
    vllm: ProcessPoolExecutor, smollm2: Path, tmp_path: Path
) -> None:
    """What the sampler writes with the adapter, scored with it and without it."""
    oracle = TransformersSampler(smollm2, max_length=400)
    adapter = make_adapter(smollm2, tmp_path / "adapter")
    oracle.use(adapter)
    asked = additions(12)
    written = by_key(list(oracle.stream(deque(asked), PARAMS)))
    texts = {one.key: TrainingText(one.prompt, written[one.key].text or " 1") for one in asked}
    requests = [ScoreRequest(key, text) for key, text in texts.items()]
    totals = []
    for used in (None, adapter):
        oracle.use(used)
        expected = {score.key: score for score in oracle.score(requests)}
        found = {score.key: score for score in vllm.submit(vllm_process.score, used, requests).result()}
        for key, score in expected.items():
            assert found[key].logprobs == pytest.approx(score.logprobs, abs=1e-4)
            assert found[key].total == pytest.approx(score.total, rel=1e-4)
        totals.append(sum(score.total for score in expected.values()))
    assert totals[1] > totals[0], "the adapter finds its own texts likelier than the base model does"
