"""How likely a completion is after its prompt: the scorer against the plain way, and against the trainer."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer, LlamaForCausalLM

from star_engine.config.star import Training
from star_engine.gpu import transformers_sampler
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import SamplingParams, Score, ScoreRequest, TrainingJob, TrainingText
from tests.star_engine.gpu.requests import few_shot_requests, texts_to_score


@pytest.fixture(scope="module")
def sampler(tiny_model: Path) -> TransformersSampler:
    return TransformersSampler(tiny_model, max_length=400)


def reference(model: Path, adapter: Path | None, requests: list[ScoreRequest]) -> dict[str, list[float]]:
    """Every text alone through the whole model. A character is a token."""
    network = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        network = PeftModel.from_pretrained(network, str(adapter))
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = {}
    for request in requests:
        prompt, completion = request.text.prompt, request.text.completion
        ids = tokenizer(prompt + completion).input_ids + [tokenizer.eos_token_id] * request.eos
        with torch.inference_mode():
            logprobs = network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        masked = {at for start, end in request.text.masked for at in range(start, end)}
        asked = [len(prompt) + at for at in range(len(completion) + request.eos) if at not in masked]
        found[request.key] = [logprobs[at - 1, ids[at]].item() for at in asked]
    return found


def by_key(scores: list[Score]) -> dict[str, list[float]]:
    return {score.key: list(score.logprobs) for score in scores}


@pytest.mark.parametrize("pass_numbers", [transformers_sampler.PASS_NUMBERS, 20_000])  # 20,000: one text
@pytest.mark.parametrize("with_adapter", [False, True])
def test_scores_are_the_log_probabilities_of_the_completions_tokens(
    sampler: TransformersSampler,
    tiny_model: Path,
    tiny_adapter: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_adapter: bool,
    pass_numbers: int,
) -> None:
    monkeypatch.setattr(transformers_sampler, "PASS_NUMBERS", pass_numbers)
    adapter = tiny_adapter if with_adapter else None
    requests = texts_to_score(20)
    sampler.use(adapter)
    found = by_key(list(sampler.score(requests)))
    expected = reference(tiny_model, adapter, requests)
    assert found.keys() == expected.keys()
    for key, logprobs in expected.items():
        assert found[key] == pytest.approx(logprobs, abs=1e-4)


def test_the_score_of_a_text_is_the_loss_that_training_on_it_begins_with(
    sampler: TransformersSampler, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    rows = tuple(request.text for request in texts_to_score(6))
    settings = Training(batch_size=6, lora={"rank": 4, "alpha": 8})
    places = (tmp_path / "out", tmp_path / "checkpoints", tiny_adapter)
    [first] = LoraTrainer(tiny_model, threads=1).train(TrainingJob(rows, settings, 1, 0, *places))
    sampler.use(tiny_adapter)
    scores = list(sampler.score([ScoreRequest(str(n), row) for n, row in enumerate(rows)]))
    tokens = sum(len(score.logprobs) for score in scores)
    assert -sum(score.total for score in scores) / tokens == pytest.approx(first.loss, rel=1e-5)


def test_sampling_goes_on_as_before_where_texts_were_scored_in_between(sampler: TransformersSampler) -> None:
    sampler.use(None)
    params = SamplingParams(max_tokens=20)
    before = {one.key: one for one in sampler.stream(deque(few_shot_requests(6)), params)}
    after = {}
    for completion in sampler.stream(deque(few_shot_requests(6)), params):
        after[completion.key] = completion
        list(sampler.score(texts_to_score(3)))
    assert after == before


def test_no_text_has_no_score(sampler: TransformersSampler) -> None:
    assert list(sampler.score([])) == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            ScoreRequest("a", TrainingText("1" * 300, "2" * 99)),
            "Text a has 400 tokens; 2 to 399 fit the model",
        ),
        (ScoreRequest("b", TrainingText("", "2")), "Text b has an empty prompt or completion"),
        (ScoreRequest("c", TrainingText("1", "2", ((0, 1),))), "Text c has no token that is learned"),
    ],
)
def test_a_text_that_cannot_be_scored_is_refused_by_its_key(
    sampler: TransformersSampler, request_: ScoreRequest, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        list(sampler.score([ScoreRequest("fine", TrainingText("1", "2")), request_]))


def test_the_longest_text_that_fits_is_scored(sampler: TransformersSampler) -> None:
    [score] = sampler.score([ScoreRequest("a", TrainingText("1" * 300, "2" * 98))])
    assert len(score.logprobs) == 99
