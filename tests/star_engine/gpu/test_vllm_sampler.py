"""vLLM on CPU against the transformers sampler: the same tokens, with adapters and without."""

from __future__ import annotations

import multiprocessing
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.gpu.vllm_sampler import _completion
from star_engine.protocols import (
    BadAdapter,
    Completion,
    Part,
    SampleRequest,
    SamplingParams,
    ScoreRequest,
    TrainingText,
)
from tests.star_engine.gpu import vllm_process
from tests.star_engine.gpu.conftest import make_adapter
from tests.star_engine.gpu.requests import few_shot_requests, texts_to_score

pytestmark = [
    pytest.mark.xdist_group("vllm"),  # the engine starts once
    pytest.mark.timeout(900),  # ... which is half a minute on two idle cores
]


@pytest.fixture(scope="module")
def vllm(tiny_model: Path) -> Iterator[ProcessPoolExecutor]:
    pytest.importorskip("vllm", reason="the worker runs without vLLM where only transformers is installed")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(vllm_process.start, tiny_model).result()
        yield pool


@pytest.fixture(scope="module")
def oracle(tiny_model: Path) -> TransformersSampler:
    return TransformersSampler(tiny_model, max_length=400)


def by_key(completions: list[Completion]) -> dict[str, Completion]:
    return {completion.key: completion for completion in completions}


def test_greedy_completions_agree_with_transformers_there_and_back(
    vllm: ProcessPoolExecutor,
    oracle: TransformersSampler,
    tiny_model: Path,
    tiny_adapter: Path,
    tmp_path: Path,
) -> None:
    requests = few_shot_requests(24)
    params = SamplingParams(max_tokens=30, stop=("12", "a"))
    other = make_adapter(tiny_model, tmp_path / "other", seed=1, rank=8)
    texts = []
    for adapter in (None, tiny_adapter, other, None):
        oracle.use(adapter)
        expected = by_key(list(oracle.stream(deque(requests), params)))
        assert by_key(vllm.submit(vllm_process.sample, adapter, requests, params).result()) == expected
        texts.append(tuple(expected[request.key].text for request in requests))
    assert len(set(texts)) == 3  # each adapter changes the text, and the base model is the same afterwards
    assert texts[0] == texts[3]


def test_an_adapter_is_known_by_its_files_and_not_by_its_folder(
    vllm: ProcessPoolExecutor, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    requests, params = few_shot_requests(4), SamplingParams(max_tokens=20)

    def texts(adapter: Path) -> list[str]:
        done = by_key(vllm.submit(vllm_process.sample, adapter, requests, params).result())
        return [done[request.key].text for request in requests]

    moved = shutil.copytree(tiny_adapter, tmp_path / "moved")
    first = texts(tiny_adapter)
    assert texts(moved) == first
    shutil.copytree(make_adapter(tiny_model, tmp_path / "other", seed=1, rank=8), moved, dirs_exist_ok=True)
    assert texts(moved) == texts(tmp_path / "other") != first


def test_rows_end_at_stop_strings_which_stay_out_of_the_text(vllm: ProcessPoolExecutor) -> None:
    requests = few_shot_requests(8)
    whole = by_key(vllm.submit(vllm_process.sample, None, requests, SamplingParams(max_tokens=20)).result())
    stop = whole["0"].text[5:7]
    params = SamplingParams(max_tokens=20, stop=(stop,))
    cut = by_key(vllm.submit(vllm_process.sample, None, requests, params).result())
    assert cut["0"].text == whole["0"].text.split(stop)[0]
    assert (cut["0"].finish_reason, cut["0"].stopped_by) == ("stop", stop)
    assert all(stop not in completion.text for completion in cut.values())


def test_limits_and_stops_of_single_requests_act_as_in_transformers(
    vllm: ProcessPoolExecutor, oracle: TransformersSampler
) -> None:
    plain = few_shot_requests(6)
    requests = [
        *(replace(request, max_tokens=3 + n) for n, request in enumerate(plain[:2])),
        *(replace(request, stop=("1", "2", "+")) for request in plain[2:4]),
        *(replace(request, max_tokens=25, stop=()) for request in plain[4:]),
    ]
    params = SamplingParams(max_tokens=12, stop=("a",))
    oracle.use(None)
    expected = by_key(list(oracle.stream(deque(requests), params)))
    assert by_key(vllm.submit(vllm_process.sample, None, requests, params).result()) == expected
    assert [expected[str(n)].tokens for n in (0, 1, 4, 5)] == [3, 4, 25, 25]
    assert {one.stopped_by for one in expected.values()} & {"1", "2", "+"}


def test_texts_go_on_from_their_tokens_as_in_transformers(
    vllm: ProcessPoolExecutor, oracle: TransformersSampler
) -> None:
    params = SamplingParams(max_tokens=12, stop=("1", "a"))
    oracle.use(None)
    begun = [replace(request, continued=True) for request in few_shot_requests(6)]
    first = by_key(list(oracle.stream(deque(begun), params)))
    assert by_key(vllm.submit(vllm_process.sample, None, begun, params).result()) == first
    requests, output = [], "\n<12>\n"
    for one in begun:
        said = first[one.key].text + (first[one.key].stopped_by or "")
        ids = tuple(oracle.token_ids([f"{said}7"])[0])  # of which the last goes beyond the part
        parts = tuple(part for part in (Part(said, ids), Part(output)) if part.text)
        requests.append(replace(one, prompt=one.prompt + said + output, parts=parts))
    expected = by_key(list(oracle.stream(deque(requests), params)))
    assert by_key(vllm.submit(vllm_process.sample, None, requests, params).result()) == expected
    whole = [replace(one, parts=()) for one in requests]  # of characters alike
    assert by_key(list(oracle.stream(deque(whole), params))) == expected


@pytest.mark.parametrize("reason", ["abort", "error", "repetition", None])
def test_a_completion_that_vllm_gave_up_is_an_error_naming_the_request(reason: str | None) -> None:
    ended = SimpleNamespace(text="1 + ", token_ids=[4, 5, 6], finish_reason=reason, stop_reason=None)
    output = SimpleNamespace(outputs=[ended], prompt_token_ids=[1, 2])
    with pytest.raises(RuntimeError, match=f"request try/7 after 3 tokens with {reason!r}"):
        _completion(SampleRequest("try/7", ""), output, None)


def test_scores_agree_with_transformers_with_and_without_an_adapter(
    vllm: ProcessPoolExecutor, oracle: TransformersSampler, tiny_adapter: Path
) -> None:
    requests = texts_to_score(20)
    totals = []
    for adapter in (None, tiny_adapter, None):
        oracle.use(adapter)
        expected = {score.key: score for score in oracle.score(requests)}
        found = {score.key: score for score in vllm.submit(vllm_process.score, adapter, requests).result()}
        assert found.keys() == expected.keys()
        for key, score in expected.items():
            assert found[key].logprobs == pytest.approx(score.logprobs, abs=1e-4)
            assert found[key].total == pytest.approx(score.total, abs=1e-4)
        totals.append([expected[request.key].total for request in requests])
    assert totals[0] == totals[2] != totals[1]


def test_scores_that_were_left_do_not_come_back(vllm: ProcessPoolExecutor) -> None:
    requests = texts_to_score(12)
    vllm.submit(vllm_process.leave_a_score_early, requests).result()
    [again] = vllm.submit(vllm_process.score, None, requests[3:4]).result()
    assert again.key == requests[3].key


def test_a_text_that_fills_the_context_is_refused_by_its_key(vllm: ProcessPoolExecutor) -> None:
    long = ScoreRequest("long", TrainingText("1" * 300, "2" * 99))
    with pytest.raises(ValueError, match="Text long has 400 tokens; 2 to 399 fit"):
        vllm.submit(vllm_process.score, None, [long]).result()


def test_requests_appended_while_it_runs_are_completed(vllm: ProcessPoolExecutor) -> None:
    requests = few_shot_requests(12)
    params = SamplingParams(max_tokens=5)
    done = vllm.submit(vllm_process.sample, None, requests[:6], params, requests[6:]).result()
    assert sorted(completion.key for completion in done) == sorted(request.key for request in requests)


def test_what_runs_when_the_caller_leaves_does_not_come_back(vllm: ProcessPoolExecutor) -> None:
    requests = few_shot_requests(6)
    vllm.submit(vllm_process.leave_early, requests, SamplingParams(max_tokens=10)).result()
    again = [SampleRequest("again", requests[0].prompt)]
    done = vllm.submit(vllm_process.sample, None, again, SamplingParams(max_tokens=10)).result()
    assert [completion.key for completion in done] == ["again"]


def test_what_the_prefix_cache_had_of_a_prompt_is_said(
    vllm: ProcessPoolExecutor, oracle: TransformersSampler
) -> None:
    request, params = few_shot_requests(1)[0], SamplingParams(max_tokens=1)
    [once], [again] = (vllm.submit(vllm_process.sample, None, [request], params).result() for _ in range(2))
    assert once == again
    assert again.cached_tokens is not None
    assert 0 < again.prompt_tokens - again.cached_tokens <= 32  # all but the last block, of 32 tokens on CPU
    [other] = oracle.stream(deque([request]), params)
    assert other.cached_tokens is None


def test_a_seed_draws_the_same_text_again_and_another_seed_another(vllm: ProcessPoolExecutor) -> None:
    prompt = few_shot_requests(1)[0].prompt
    requests = [SampleRequest(f"{seed}-{n}", prompt, seed) for seed in range(4) for n in range(2)]
    params = SamplingParams(temperature=1.0, max_tokens=20)
    done = by_key(vllm.submit(vllm_process.sample, None, requests, params).result())
    assert all(done[f"{seed}-0"].text == done[f"{seed}-1"].text for seed in range(4))
    assert len({completion.text for completion in done.values()}) > 1


def test_a_prompt_that_fills_the_context_is_refused_by_its_key(vllm: ProcessPoolExecutor) -> None:
    requests = [SampleRequest("long", "1" * 400)]
    with pytest.raises(ValueError, match="Prompt long has 400 tokens; 1 to 399 fit"):
        vllm.submit(vllm_process.sample, None, requests, SamplingParams()).result()


def test_a_truncated_adapter_is_refused(
    vllm: ProcessPoolExecutor, tiny_adapter: Path, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_bytes((tiny_adapter / "adapter_config.json").read_bytes())
    weights = (tiny_adapter / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(weights[:-64])
    with pytest.raises(BadAdapter, match="cannot be read"):
        vllm.submit(vllm_process.sample, tmp_path, few_shot_requests(1), SamplingParams()).result()


def test_tokens_are_counted_with_the_models_tokenizer(vllm: ProcessPoolExecutor) -> None:
    assert vllm.submit(vllm_process.count_tokens, ["abc", "12 + 3"]).result() == [3, 6]


def test_a_tokenizer_unlike_the_trainers_is_refused(
    vllm: ProcessPoolExecutor, tiny_model: Path, tmp_path: Path
) -> None:
    reason = vllm.submit(vllm_process.start_with_other_tokenizer, tiny_model, tmp_path / "other").result()
    assert "tokenize" in reason
    assert "differently for base model tiny" in reason
