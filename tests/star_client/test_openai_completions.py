"""The unmodified `openai` package talks to base models and adapters: API, serving process, fake GPU."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from app.database import reading, transaction
from app.ledger.platform.keys import Scope, create_key, create_project
from app.ledger.platform.servers import announce_server, live_servers
from app.tables.platform import Server
from star_client.objects_platform import TextUsage
from star_engine.testing.fakes import count_words
from tests.app.api_harness import MODEL
from tests.databases import PROJECT
from tests.star_client.conftest import Finished, Run
from tests.star_client.recorded_platform import Platform, wait_until

QUESTION = "Input:\n4 7 + 3 6\nTarget:"
RIGHT = "8 3"  # what a model says that carries


@contextmanager
def server_of_models(
    platform: Platform, script: str | None = None, model: str = MODEL, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m worker.serving` on the platform's ledger and storage; `more`: of its environment."""
    settings = platform.settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
    environment |= {
        "STAR_HOME": str(settings.home),
        "STAR_DATABASE_URL": settings.resolved_database_url(),
        "STAR_SAMPLER": "scripted",
        "STAR_SAMPLER_SCRIPT": script or settings.sampler_script or "",
        "STAR_SERVING_QUEUE": "16",
        **more,
    }
    command = [sys.executable, "-m", "worker.serving"]
    with subprocess.Popen(command, cwd=PROJECT, env=environment) as process:
        try:
            wait_until(
                lambda: bool(servers(platform, model)) or process.poll() is not None, "it does not start"
            )
            yield process
        finally:
            process.terminate()
    assert process.returncode == -signal.SIGKILL or not servers(platform, model)


def servers(platform: Platform, model: str = MODEL) -> list[Server]:
    with reading(platform.engine) as session:
        return live_servers(session, model)


@pytest.fixture(scope="module")
def served(finished_job: Finished) -> Iterator[Finished]:
    with server_of_models(finished_job.server):
        yield finished_job


@pytest.fixture
def client(served: Finished) -> Iterator[openai.OpenAI]:
    served.server.wire.faults.clear()
    with openai.OpenAI(
        base_url=f"{served.server.url}/v1", api_key=served.server.key, max_retries=0
    ) as client:
        yield client


def ask(client: openai.OpenAI, model: str = MODEL, prompt: str = QUESTION) -> str:
    answer = client.completions.create(model=model, prompt=prompt, max_tokens=100, temperature=0)
    return answer.choices[0].text


def test_base_model_answers_with_its_usage(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=QUESTION, max_tokens=100, temperature=0)
    assert (answer.object, answer.model, answer.choices[0].finish_reason) == (
        "text_completion",
        MODEL,
        "stop",
    )
    assert "<scratch>" in answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == count_words(QUESTION)
    assert answer.usage.completion_tokens == count_words(answer.choices[0].text)


def test_adapter_answers_by_its_id_its_alias_and_its_fine_tuned_name(
    client: openai.OpenAI, served: Finished
) -> None:
    best = served.star.adapters.get(f"{served.job_id}:best").id
    tuned = client.fine_tuning.jobs.retrieve(served.job_id).fine_tuned_model
    assert tuned is not None
    answers = {ask(client, name) for name in (best, f"{served.job_id}:best", tuned)}
    assert len(answers) == 1
    assert RIGHT in answers.pop()
    assert RIGHT not in ask(client)  # the base model, again after the adapter


def test_streamed_text_is_the_same_word_by_word(client: openai.OpenAI) -> None:
    whole = ask(client)
    stream = client.completions.create(
        model=MODEL,
        prompt=QUESTION,
        max_tokens=100,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    *pieces, last = list(stream)
    assert "".join(piece.choices[0].text for piece in pieces) == whole
    assert len(pieces) > 5
    assert [piece.choices[0].finish_reason for piece in pieces[-2:]] == [None, "stop"]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == count_words(whole)


def test_many_async_streams_at_once_each_get_their_own(served: Finished) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        prompt = f"Input:\n{number} + 1\nTarget:"
        stream = await client.completions.create(model=MODEL, prompt=prompt, max_tokens=50, stream=True)
        return "".join([piece.choices[0].text async for piece in stream])

    async def all_of_them() -> list[str]:
        url, key = f"{served.server.url}/v1", served.server.key
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(8)))

    for number, text in enumerate(asyncio.run(all_of_them())):
        assert f"{number} + 1" in text


def test_several_prompts_and_texts_per_prompt_come_in_order(client: openai.OpenAI) -> None:
    prompts = [f"Input:\n{number} + 2\nTarget:" for number in (1, 5)]
    answer = client.completions.create(model=MODEL, prompt=prompts, n=2, max_tokens=50, stop=[" , C"])
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert ["5 + 2" in choice.text for choice in answer.choices] == [False, False, True, True]
    assert not any("C:" in choice.text for choice in answer.choices)


def test_prompt_is_scored_without_a_token_written(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=QUESTION, max_tokens=0, echo=True, logprobs=1)
    (choice,) = answer.choices
    assert choice.text == QUESTION
    assert choice.logprobs is not None
    tokens, offsets = choice.logprobs.tokens or [], choice.logprobs.text_offset or []
    assert "".join(tokens) == QUESTION
    assert [QUESTION[at:].startswith(token) for at, token in zip(offsets, tokens, strict=True)] == [True] * 7
    assert (choice.logprobs.token_logprobs or [])[:2] == [None, -0.5]
    assert (choice.logprobs.top_logprobs or [])[1] == {tokens[1]: -0.5}


def test_multiple_choice_of_lm_eval_is_scored(client: openai.OpenAI, served: Finished) -> None:
    """The body that lm-eval 0.4.13 (local-completions) sends for a batch, and what it reads of the answer."""
    contexts, endings = ["Input:\n1 + 1\nTarget:", "Input:\n2 + 2\nTarget:"], [" yes", " surely not"]
    body = {
        "model": MODEL,
        "prompt": [list(map(ord, one + end)) for one, end in zip(contexts, endings, strict=True)],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    answer = httpx2.post(
        f"{served.server.url}/v1/completions",
        json=body,
        headers={"Authorization": f"Bearer {served.server.key}"},
    ).json()
    for choice, context, end in zip(answer["choices"], contexts, endings, strict=True):
        begin, told = count_words(context), choice["logprobs"]
        tokens, logprobs = told["tokens"][begin:-1], told["token_logprobs"][begin:-1]
        assert "".join(tokens) == end
        assert sum(logprobs) == -0.5 * count_words(end)
        assert all(token in top for token, top in zip(tokens, told["top_logprobs"][begin:-1], strict=True))


def test_prompt_of_tokens_is_continued(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=[ord(character) for character in QUESTION], max_tokens=100, temperature=0
    )
    assert answer.choices[0].text == ask(client)


def test_conversation_is_answered_and_streamed(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Add."},
        {"role": "user", "content": "What is 1 + 1?"},
    ]
    answer = client.chat.completions.create(model=MODEL, messages=messages, logprobs=True, top_logprobs=1)
    assert answer.choices[0].message.content == "\nI only add."
    assert answer.choices[0].logprobs is not None
    assert [one.token for one in answer.choices[0].logprobs.content or []] == ["\nI", " only", " add."]
    stream = client.chat.completions.create(model=MODEL, messages=messages, stream=True)
    deltas = [piece.choices[0].delta for piece in stream]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "\nI only add."


def test_conversation_with_an_adapter_is_asked_as_its_job_asked(
    client: openai.OpenAI, served: Finished
) -> None:
    name = f"{served.job_id}:best"
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "4 7 + 3 6"}]
    answer = client.chat.completions.create(model=name, messages=question, temperature=0)
    content = answer.choices[0].message.content or ""
    assert RIGHT in content
    assert ask(client, name, "Input:\n4 7 + 3 6\nTarget:").startswith(content)
    assert "Input:" not in content, "the job's stops hold"
    own: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Add."}, *question]
    answer = client.chat.completions.create(model=name, messages=own, temperature=0)
    assert answer.choices[0].message.content == "\nI only add.", "the caller's own prompt"
    more: list[ChatCompletionMessageParam] = [
        *question,
        {"role": "assistant", "content": "8 3"},
        {"role": "user", "content": "1 + 1"},
    ]
    with pytest.raises(openai.UnprocessableEntityError, match="single questions"):
        client.chat.completions.create(model=name, messages=more)


def test_promoted_adapter_answers_by_its_name_and_stage(client: openai.OpenAI, served: Finished) -> None:
    best = f"{served.job_id}:best"
    made = served.star.adapters.promote(best, name="sums", stage="test", force=True, reason="a trial")
    assert ask(client, "sums@test") == ask(client, best)
    assert client.models.retrieve("sums@test").id == served.star.adapters.get(best).id
    served.star.promotions.end(made.id)
    with pytest.raises(openai.NotFoundError, match="sums@test"):
        ask(client, "sums@test")


def test_answer_of_most_texts_is_chosen(client: openai.OpenAI, served: Finished) -> None:
    name, chosen = f"{served.job_id}:best", {"select": "majority"}
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "4 7 + 3 6"}]
    answer = client.chat.completions.create(model=name, messages=asked, n=3, extra_body=chosen)
    (choice,) = answer.choices
    assert choice.model_extra is not None
    assert choice.model_extra["selection"] == {"by": "majority", "answer": "83", "votes": 3, "of": 3}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 * count_words(choice.message.content or "")
    prompts = [f"Input:\n{asked} + 1\nTarget:" for asked in (1, 2)]
    pair = client.completions.create(model=name, prompt=prompts, n=2, max_tokens=50, extra_body=chosen)
    assert [one.index for one in pair.choices] == [0, 1]
    for refused, words in (({"n": 1}, "several"), ({"n": 2, "stream": True}, "once all are there")):
        with pytest.raises(openai.UnprocessableEntityError, match=words):
            client.completions.create(model=name, prompt=QUESTION, extra_body=chosen | refused)
    with pytest.raises(openai.UnprocessableEntityError, match="Name an adapter"):
        client.completions.create(model=MODEL, prompt=QUESTION, n=2, extra_body=chosen)


def test_answer_of_most_texts_is_chosen_from_the_command_line(run: Run, served: Finished) -> None:
    asked = ("adapters", "choose", f"{served.job_id}:best", "4 7 + 3 6", "--of", 3)
    (chosen,) = run(served.server, *asked, "--json").objects
    assert RIGHT in chosen["message"]["content"]
    assert (chosen["selection"]["answer"], chosen["selection"]["votes"]) == ("83", 3)
    refused = run(served.server, *asked, "--by", "verifier")
    assert refused.status != 0
    assert "no trained verifier" in refused.err


def test_verifier_that_cannot_choose_is_refused_with_what_to_do(
    client: openai.OpenAI, served: Finished
) -> None:
    name, unknown = f"{served.job_id}:best", "adp_01m8j6wkfa5tv8f1ka5avy68e3"
    for model, changes, words in (
        (name, {}, "no trained verifier"),
        (MODEL, {}, "is a base model"),
        (name, {"n": 1}, "several"),
        (name, {"stream": True}, "once all are there"),
        (name, {"prompt": [1, 2]}, "reads prompts as text"),
        (name, {"select": None, "verifier": unknown}, "Leave it out, or set select"),
    ):
        body = {"select": "verifier", "n": 2, **changes}
        with pytest.raises(openai.UnprocessableEntityError, match=words):
            client.completions.create(model=model, prompt=QUESTION, extra_body=body)
    generator = served.star.adapters.get(name).id
    for adapter in (unknown, generator):
        body = {"select": "verifier", "n": 2, "verifier": adapter}
        with pytest.raises(openai.NotFoundError, match=adapter):
            client.completions.create(model=name, prompt=QUESTION, extra_body=body)


def test_what_was_written_is_in_the_usage_of_its_project(client: openai.OpenAI, served: Finished) -> None:
    star = served.star
    best, *both = (client.models.retrieve(f"{served.job_id}:{name}").id for name in ("best", 1, 2))
    own = next(name for name in both if name != best)  # others ask the best: its usage comes late
    ask(client, own)
    wait_until(lambda: any(one.model == own for one in star.usage.texts()), "what was asked is not recorded")
    before = {one.model: one for one in star.usage.texts()}
    answer = client.completions.create(model=own, prompt=QUESTION, n=2, max_tokens=50)
    told = answer.usage
    assert told is not None

    def new() -> tuple[int, int, int]:
        (now,) = (one for one in star.usage.texts(since=date(2026, 1, 1)) if one.model == own)
        return _more(now, before[own])

    expected = (2, told.prompt_tokens, told.completion_tokens)
    wait_until(lambda: new() == expected, f"the usage is not {expected}")
    assert next(one for one in star.usage.texts() if one.model == own).base_model == MODEL


def _more(one: TextUsage, before: TextUsage) -> tuple[int, int, int]:
    """What was written since then."""
    return (
        one.texts - before.texts,
        one.prompt_tokens - before.prompt_tokens,
        one.completion_tokens - before.completion_tokens,
    )


def test_models_list_what_can_be_asked_of_the_callers_own_project(
    client: openai.OpenAI, served: Finished
) -> None:
    base, *adapters = client.models.list()
    assert (base.id, [one.id[:4] for one in adapters]) == (MODEL, ["adp_"] * len(adapters))
    best = client.models.retrieve(f"{served.job_id}:best")
    assert best.id in [one.id for one in adapters]
    known = {one.id: one for one in served.star.models.list(kind=None).data}
    assert f"{served.job_id}:best" in known[best.id].aliases
    assert known[best.id].base_model == MODEL
    assert ask(client, best.id) == ask(client, known[best.id].aliases[0])
    assert [one.kind for one in served.star.models.list().data] == ["base"]
    paged = served.star.models.list(kind=None, limit=1)
    assert paged.has_more
    following = served.star.models.list(kind=None, limit=1, after=paged.data[0].id).data
    assert [one.id for one in following] == [adapters[0].id]
    for one, after in pairwise(adapters):
        (found,) = served.star.models.list(kind=None, limit=1, after=one.id).data
        assert found.id == after.id
    with transaction(served.server.engine) as session:
        stranger = create_key(session, create_project(session, "strangers"), "reader", [Scope.READ])
    with openai.OpenAI(base_url=f"{served.server.url}/v1", api_key=stranger, max_retries=0) as other:
        assert [one.id for one in other.models.list()] == [MODEL]
        with pytest.raises(openai.NotFoundError):
            other.models.retrieve(best.id)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"presence_penalty": 0.5}, "presence_penalty is not known here"),
        ({"best_of": 3}, "best_of"),
        ({"max_tokens": 0}, "nothing would be written"),
        ({"n": 200}, "n"),
        ({"guided_regex": "a+"}, "guided_regex"),
    ],
)
def test_setting_that_is_not_known_is_refused_and_never_ignored(
    client: openai.OpenAI, extra: dict[str, object], words: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=words):
        client.completions.create(model=MODEL, prompt="Hi", extra_body=extra)


def test_more_texts_than_the_queue_takes_are_refused_for_now(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="half of the queue"):
        client.completions.create(model=MODEL, prompt=QUESTION, n=12)
    assert ask(client)


def test_names_that_nobody_writes_by_are_not_found(client: openai.OpenAI, served: Finished) -> None:
    for name in ("gpt-5", "adp_unknown", "job_unknown:best", f"{served.job_id}:9"):
        with pytest.raises(openai.NotFoundError):
            ask(client, name)


def test_key_that_may_only_read_has_nothing_written(served: Finished) -> None:
    url, key = f"{served.server.url}/v1", served.server.reader_key
    with (
        openai.OpenAI(base_url=url, api_key=key, max_retries=0) as reader,
        pytest.raises(openai.PermissionDeniedError),
    ):
        ask(reader)


def test_server_answers_only_who_knows_its_token(served: Finished) -> None:
    (server,) = servers(served.server)
    body = {"model": MODEL, "prompt": "Hi"}
    wrong = {"Authorization": "Bearer wrong", "X-Star-Model": MODEL}
    assert httpx2.post(f"{server.url}/v1/completions", json=body, headers=wrong).status_code == 401


def test_platform_without_a_server_says_what_to_start(server: Platform) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match=r"python -m worker\.serving"):
            ask(client)
        with transaction(server.engine) as session:
            announce_server(session, "gone:1", "http://127.0.0.1:9", "token", None, None)
        with pytest.raises(openai.InternalServerError, match="cannot be reached"):
            ask(client)


def test_server_whose_model_process_dies_answers_the_next_one(server: Platform) -> None:
    with (
        server_of_models(server, "tests.worker.gpu_scripts:obey"),
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client,
    ):
        with pytest.raises(openai.InternalServerError, match="ended while it wrote this"):
            ask(client, prompt="die now")
        assert ask(client, prompt="echo alive") == "alive"


def test_killed_server_is_said_to_be_out_of_reach(server: Platform) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client,
        server_of_models(server, "tests.worker.gpu_scripts:obey") as process,
    ):
        assert ask(client, prompt="echo one two") == "one two"
        process.kill()
        process.wait()
        with pytest.raises(openai.InternalServerError, match="cannot be reached"):
            ask(client, prompt="echo three")
