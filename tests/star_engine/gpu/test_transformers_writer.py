"""What the writer gives out piece by piece is what the sampler completes, with each token's probability."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.gpu.transformers_writer import TransformersWriter
from star_engine.protocols import SampleRequest, SamplingParams
from star_engine.writing import Piece, WriteRequest

GREEDY = SamplingParams(max_tokens=24)
PROMPT = "Q: What is 17 + 25?\nA:"


@pytest.fixture(scope="module")
def sampler(tiny_model: Path) -> TransformersSampler:
    return TransformersSampler(tiny_model, max_length=400, batch_size=8)


@pytest.fixture
def writer(sampler: TransformersSampler, tiny_model: Path) -> TransformersWriter:
    sampler.use(None)
    return TransformersWriter(sampler, tiny_model, 400)


def write(writer: TransformersWriter, *requests: WriteRequest) -> dict[str, list[Piece]]:
    found: dict[str, list[Piece]] = {request.key: [] for request in requests}
    for piece in writer.write(deque(requests), set()):
        found[piece.key].append(piece)
    return found


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def completed(sampler: TransformersSampler, params: SamplingParams, seed: int | None = None) -> str:
    (done,) = sampler.stream(deque([SampleRequest("one", PROMPT, seed)]), params)
    return done.text


def test_streamed_text_is_what_the_sampler_completes(
    sampler: TransformersSampler, writer: TransformersWriter
) -> None:
    wanted = completed(sampler, GREEDY)
    (pieces,) = write(writer, WriteRequest("one", PROMPT, GREEDY, stream=True)).values()
    assert text_of(pieces) == wanted
    assert len(pieces) > 10
    assert [piece.ends for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (pieces[-1].prompt_tokens, pieces[-1].tokens) == (len(PROMPT), 24)


def test_text_that_nobody_reads_along_comes_in_one_piece(writer: TransformersWriter) -> None:
    (pieces,) = write(writer, WriteRequest("one", PROMPT, GREEDY)).values()
    assert len(pieces) == 1


def test_texts_of_different_settings_run_beside_each_other_and_stay_themselves(
    sampler: TransformersSampler, writer: TransformersWriter
) -> None:
    warm, hot = (
        SamplingParams(temperature=0.7, top_p=0.9, max_tokens=12),
        SamplingParams(temperature=1.5, top_k=5, max_tokens=20),
    )
    wanted = [completed(sampler, GREEDY), completed(sampler, warm, 3), completed(sampler, hot, 4)]
    requests = [
        WriteRequest("greedy", PROMPT, GREEDY),
        WriteRequest("warm", PROMPT, warm, seed=3, stream=True),
        WriteRequest("hot", PROMPT, hot, seed=4),
    ]
    assert [text_of(pieces) for pieces in write(writer, *requests).values()] == wanted


@pytest.mark.parametrize("length", [1, 3])
def test_stop_string_is_never_shown_not_even_its_beginning(
    sampler: TransformersSampler, writer: TransformersWriter, length: int
) -> None:
    whole = completed(sampler, GREEDY)
    stop = whole[8 : 8 + length]
    params = SamplingParams(max_tokens=24, stop=(stop,))
    (pieces,) = write(writer, WriteRequest("one", PROMPT, params, stream=True)).values()
    assert text_of(pieces) == whole[: whole.index(stop)]
    assert pieces[-1].finish_reason == "stop"


def test_logprobs_of_prompt_and_text_are_those_of_the_model(
    writer: TransformersWriter, tiny_model: Path
) -> None:
    request = WriteRequest("one", PROMPT, SamplingParams(max_tokens=5), logprobs=2, echo=True)
    (pieces,) = write(writer, request).values()
    scores = [score for piece in pieces for score in piece.scores]
    text = text_of(pieces)
    assert text.startswith(PROMPT)
    ids = AutoTokenizer.from_pretrained(tiny_model)(text, return_tensors="pt").input_ids
    logits = LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)(ids).logits[0].detach()
    expected = logits.log_softmax(-1)
    assert "".join(score.text for score in scores) == text
    assert scores[0].logprob is None
    for at, score in enumerate(scores[1:], start=1):
        assert score.logprob == pytest.approx(float(expected[at - 1, ids[0, at]]), abs=1e-4)
        assert [value for _, value in score.top] == pytest.approx(
            expected[at - 1].topk(2).values.tolist(), abs=1e-4
        )
    assert scores[-1].logprob == scores[-1].top[0][1]  # greedy: what it wrote was the likeliest


def test_prompt_alone_is_scored_without_a_token_written(writer: TransformersWriter) -> None:
    request = WriteRequest("one", PROMPT, SamplingParams(max_tokens=0), logprobs=1, echo=True)
    (pieces,) = write(writer, request).values()
    assert (text_of(pieces), pieces[-1].tokens) == (PROMPT, 0)
    assert len(pieces[-1].scores) == len(PROMPT)


def test_prompt_of_tokens_is_continued_as_the_same_text_is(
    writer: TransformersWriter, tiny_model: Path
) -> None:
    ids = tuple(AutoTokenizer.from_pretrained(tiny_model)(PROMPT).input_ids)
    found = write(writer, WriteRequest("text", PROMPT, GREEDY), WriteRequest("ids", ids, GREEDY))
    assert text_of(found["ids"]) == text_of(found["text"])


def test_prompt_that_does_not_fit_is_told_and_stops_no_other(writer: TransformersWriter) -> None:
    found = write(
        writer,
        WriteRequest("long", "x" * 500, GREEDY),
        WriteRequest("fits", PROMPT, GREEDY),
        WriteRequest("strange", (99_999,), GREEDY),
    )
    assert "500 tokens; 1 to 399 fit" in (found["long"][0].error or "")
    assert "99999" in (found["strange"][0].error or "")
    assert found["fits"][-1].finish_reason == "length"


def test_text_that_nobody_wants_any_more_frees_its_place(writer: TransformersWriter) -> None:
    dropped: set[str] = set()
    requests = [WriteRequest(key, PROMPT, GREEDY, stream=True) for key in ("left", "stays")]
    seen = []
    for piece in writer.write(deque(requests), dropped):
        seen.append(piece.key)
        if piece.key == "left":
            dropped.add("left")
    assert seen.count("left") == 1
    assert seen.count("stays") > 10


def test_model_without_a_chat_template_says_what_to_use(writer: TransformersWriter) -> None:
    (pieces,) = write(writer, WriteRequest("one", ({"role": "user", "content": "Hello"},), GREEDY)).values()
    assert "/v1/completions" in (pieces[0].error or "")


def test_conversation_is_rendered_with_the_model_s_own_template(
    sampler: TransformersSampler, tiny_model: Path, tmp_path: Path
) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    template = (
        "{% for m in messages %}Q: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
    )
    (tmp_path / "chat_template.jinja").write_text(template)
    found = write(
        TransformersWriter(sampler, tmp_path, 400),
        WriteRequest("chat", ({"role": "user", "content": "What is 17 + 25?"},), GREEDY),
        WriteRequest("text", PROMPT, GREEDY),
    )
    assert text_of(found["chat"]) == text_of(found["text"])
