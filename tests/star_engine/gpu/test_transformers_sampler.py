"""The transformers sampler against transformers' own generate(), one prompt at a time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer, LlamaForCausalLM

from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import BadAdapter, Completion, SampleRequest, SamplingParams
from tests.star_engine.gpu.requests import few_shot_requests


@pytest.fixture(scope="module")
def sampler(tiny_model: Path) -> TransformersSampler:
    return TransformersSampler(tiny_model, max_length=400, batch_size=8)


def run(
    sampler: TransformersSampler, requests: Sequence[SampleRequest], params: SamplingParams
) -> dict[str, Completion]:
    return {completion.key: completion for completion in sampler.stream(deque(requests), params)}


def generate(model: Path, adapter: Path | None, prompt: str, tokens: int) -> list[int]:
    """The reference: transformers' greedy search, the adapter applied by PEFT."""
    base = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    network = PeftModel.from_pretrained(base, str(adapter)) if adapter else base
    ids = AutoTokenizer.from_pretrained(model)(prompt, return_tensors="pt").input_ids
    out = network.generate(input_ids=ids, max_new_tokens=tokens, do_sample=False)
    generated: list[int] = out[0, ids.shape[1] :].tolist()
    return generated


@pytest.mark.parametrize("with_adapter", [False, True])
def test_greedy_text_is_that_of_generate(
    sampler: TransformersSampler, tiny_model: Path, tiny_adapter: Path, with_adapter: bool
) -> None:
    adapter = tiny_adapter if with_adapter else None
    requests = few_shot_requests(12)
    sampler.use(adapter)
    got = run(sampler, requests, SamplingParams(max_tokens=20))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for request in requests:
        ids = generate(tiny_model, adapter, request.prompt, 20)
        assert got[request.key].text == tokenizer.decode(ids, skip_special_tokens=True)
        assert got[request.key].tokens == len(ids)
        assert got[request.key].prompt_tokens == len(request.prompt)


def test_an_adapter_is_merged_and_taken_out_exactly(sampler: TransformersSampler, tiny_adapter: Path) -> None:
    sampler.use(None)
    before = {name: weight.clone() for name, weight in sampler._model.state_dict().items()}
    sampler.use(tiny_adapter)
    merged = sampler._model.state_dict()
    assert any(not torch.equal(before[name], merged[name]) for name in before)
    sampler.use(None)
    assert all(torch.equal(before[name], weight) for name, weight in sampler._model.state_dict().items())


def test_prompts_of_any_batch_size_and_order_get_the_same_text(tiny_model: Path) -> None:
    requests = few_shot_requests(30)
    params = SamplingParams(max_tokens=15)
    alone = run(TransformersSampler(tiny_model, batch_size=1), requests[:6], params)
    together = run(TransformersSampler(tiny_model, batch_size=64), requests[::-1], params)
    assert {key: together[key] for key in alone} == alone


def test_prompts_without_a_common_prefix_run_as_well(tiny_model: Path) -> None:
    source = random.Random(3)
    prompts = ["".join(source.choices("abcxyz", k=source.randint(1, 60))) for _ in range(20)]
    requests = [SampleRequest(str(n), prompt) for n, prompt in enumerate(prompts)]
    got = run(TransformersSampler(tiny_model, batch_size=8), requests, SamplingParams(max_tokens=10))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for request in requests[:5]:
        ids = generate(tiny_model, None, request.prompt, 10)
        assert got[request.key].text == tokenizer.decode(ids, skip_special_tokens=True)


def test_requests_appended_while_it_runs_are_completed(sampler: TransformersSampler) -> None:
    requests = few_shot_requests(10)
    queue = deque(requests[:5])
    later = requests[5:]
    keys = []
    for completion in sampler.stream(queue, SamplingParams(max_tokens=5)):
        keys.append(completion.key)
        if later:
            queue.append(later.pop())
    assert sorted(keys) == sorted(request.key for request in requests)


def test_a_stop_string_ends_the_row_and_stays_out_of_the_text(sampler: TransformersSampler) -> None:
    sampler.use(None)
    requests = few_shot_requests(12)
    whole = run(sampler, requests, SamplingParams(max_tokens=30))
    text = whole["0"].text
    stop = (text[4:6], "never there")
    cut = run(sampler, requests, SamplingParams(max_tokens=30, stop=stop))
    for key, completion in whole.items():
        at = completion.text.find(stop[0])
        expected = completion.text if at < 0 else completion.text[:at]
        assert cut[key].text == expected
        if at >= 0:
            assert (cut[key].finish_reason, cut[key].stopped_by) == ("stop", stop[0])
            assert cut[key].tokens == at + len(stop[0])
    assert cut["0"].text == text[: text.find(stop[0])]


def test_generation_ends_at_max_tokens_and_at_the_models_length(tiny_model: Path) -> None:
    sampler = TransformersSampler(tiny_model, max_length=40)
    got = run(
        sampler, [SampleRequest("a", "x" * 30), SampleRequest("b", "x" * 3)], SamplingParams(max_tokens=20)
    )
    assert (got["a"].tokens, got["a"].finish_reason) == (10, "length")
    assert (got["b"].tokens, got["b"].finish_reason) == (20, "length")
    assert {one.stopped_by for one in got.values()} == {None}


def test_limits_and_stops_may_be_those_of_a_request(sampler: TransformersSampler) -> None:
    sampler.use(None)
    prompts = [request.prompt for request in few_shot_requests(3)]
    whole = run(sampler, few_shot_requests(3), SamplingParams(max_tokens=30))
    stop = whole["1"].text[6:8]
    requests = [
        SampleRequest("0", prompts[0], max_tokens=7),
        SampleRequest("1", prompts[1], stop=(stop,)),
        SampleRequest("2", prompts[2], max_tokens=30, stop=()),
    ]
    got = run(sampler, requests, SamplingParams(max_tokens=12, stop=(whole["2"].text[3:5],)))
    assert (got["0"].text, got["0"].finish_reason) == (whole["0"].text[:7], "length")
    assert (got["1"].text, got["1"].stopped_by) == (whole["1"].text.split(stop)[0], stop)
    assert got["2"] == whole["2"]


def test_a_prompt_that_fills_the_context_is_refused_by_its_key(tiny_model: Path) -> None:
    sampler = TransformersSampler(tiny_model, max_length=40)
    with pytest.raises(ValueError, match="Prompt long has 40 tokens; 1 to 39 fit"):
        run(sampler, [SampleRequest("long", "x" * 40)], SamplingParams())


def test_a_row_is_sampled_from_its_seed_whatever_runs_beside_it(tiny_model: Path) -> None:
    params = SamplingParams(temperature=0.8, top_p=0.95, top_k=30, max_tokens=20)
    requests = [SampleRequest(r.key, r.prompt, seed=int(r.key)) for r in few_shot_requests(20)]
    together = run(TransformersSampler(tiny_model, batch_size=16), requests, params)
    alone = run(TransformersSampler(tiny_model, batch_size=1), requests[3:6], params)
    assert {key: together[key].text for key in alone} == {key: alone[key].text for key in alone}


def test_another_seed_gives_another_text(sampler: TransformersSampler) -> None:
    sampler.use(None)
    prompt = few_shot_requests(1)[0].prompt
    requests = [SampleRequest(str(seed), prompt, seed=seed) for seed in range(6)]
    got = run(sampler, requests, SamplingParams(temperature=1.0, max_tokens=20))
    assert len({completion.text for completion in got.values()}) > 1


def test_the_end_token_ends_a_row_and_is_not_text(tiny_model: Path) -> None:
    sampler = TransformersSampler(tiny_model)
    first = run(sampler, [SampleRequest("0", "abc")], SamplingParams(max_tokens=3))["0"].text
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    sampler._eos = frozenset(tokenizer(first[1]).input_ids)
    ended = run(sampler, [SampleRequest("0", "abc")], SamplingParams(max_tokens=3))["0"]
    assert (ended.text, ended.tokens, ended.finish_reason) == (first[: first.find(first[1])], 2, "stop")
    assert ended.stopped_by is None


def test_tokens_are_counted_with_the_models_tokenizer(sampler: TransformersSampler) -> None:
    assert sampler.count_tokens(["abc", "", "12 + 3"]) == [3, 0, 6]
    assert [len(ids) for ids in sampler.token_ids(["abc", "", "12 + 3"])] == [3, 0, 6]


def test_an_adapter_of_another_model_is_refused_and_the_sampler_goes_on(
    sampler: TransformersSampler, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    with pytest.raises(BadAdapter, match=r"adapter_model.safetensors is missing"):
        sampler.use(tmp_path)
    assert run(sampler, few_shot_requests(1), SamplingParams(max_tokens=2))["0"].tokens == 2
