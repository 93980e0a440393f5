"""The table of chat templates: each family's prompts, rows and audits, compared with transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import transformers.utils.chat_template_utils as oracle
from transformers import PreTrainedTokenizerFast

from app.data.tokenizers import count_tokens, load_tokenizer
from star_engine.config.star import StarConfig
from star_engine.data.chat import with_chat
from star_engine.data.chat_template import ChatTemplate, read_chat_template
from star_engine.data.prompts import render_conversation
from star_engine.gpu.causal_lm import eos_ids, prompt_ids, text_after
from star_engine.gpu.training.tokenized_rows import tokenize_rows
from star_engine.protocols import Completion, TrainingText
from star_engine.sampling.answers import judge
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, rationale_prompt
from star_engine.tasks.examples import Example, FewShotExample, PromptSet, as_turns
from star_engine.tasks.kind import Kind
from star_engine.training_set.rows import (
    HintLeak,
    TrainingExample,
    audit_hints,
    build,
    decide,
    training_prompt,
)
from tests.star_engine.chat.families import FAMILIES, Family

TODAY = date(2026, 11, 28)
ASKED = Example("1", "Ann has 2 pens and buys 3. How many pens has she?", "5")
SHOWN = FewShotExample("Tom has 1 cup and gets 1. How many cups has he?", "1 + 1 = 2. The answer is 2.", "2")
CONTEXT = (("Ann has 2 pens and buys 3.", "Then she has 5 pens."), ("She loses 1.", "Four are left."))
FOLLOWS = Example("2", "How many has she now?", "4", context=CONTEXT)
CONVERSATIONS = [
    (few_shot, route, hint)
    for few_shot in ("turns", "block")
    for route, hint in ((Route.GENERATED, ""), (Route.RATIONALIZED, " (4)"))
]
LEFT = "She had 5 pens and has lost 1, so 5 - 1 = 4. The answer is 4."
SAID = "She has 2 pens and buys 3 more, so 2 + 3 = 5. The answer is 5."
GOLDEN = Path(__file__).with_name("golden_ids.json")
THINKERS = [family for family in FAMILIES if family.thought]
NOT_OPENED = [family for family in FAMILIES if family.name != "r1-distill"]  # it begins the thinking itself
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def _config(**chat: Any) -> StarConfig:
    return StarConfig.model_validate({"kind": "numeric", "layout": "chat", "chat": {"date": TODAY, **chat}})


def _template(folder: Path) -> ChatTemplate:
    found = read_chat_template(folder)
    assert found is not None
    return found


def _prompt_set(config: StarConfig, folder: Path) -> PromptSet:
    return with_chat(config, PromptSet(Kind.NUMERIC, (SHOWN,)), _template(folder))


def _messages(*, system: str | None, merged: bool, hint: str = "") -> list[dict[str, str]]:
    """What the prompt should hold, written down once more."""
    first = f"{system}\n\n{SHOWN.question}" if system and merged else SHOWN.question
    shown = " (2)" if hint else ""
    head = [{"role": "system", "content": system}] if system and not merged else []
    return [
        *head,
        {"role": "user", "content": first + shown},
        {"role": "assistant", "content": SHOWN.rationale},
        {"role": "user", "content": ASKED.question + hint},
    ]


def _conversation(hint: str, *, block: bool) -> list[dict[str, str]]:
    """What the prompt of FOLLOWS should hold, written down once more."""
    shown = f"{SHOWN.question} (2)" if hint else SHOWN.question
    before: list[dict[str, str]] = []
    first = CONTEXT[0][0]
    if block:
        first = f"Q: {shown}\nA: {SHOWN.rationale}\n\nQ: {first}\nA:"
    else:
        before = [{"role": "user", "content": shown}, {"role": "assistant", "content": SHOWN.rationale}]
    return [
        *before,
        {"role": "user", "content": first},
        *as_turns(CONTEXT)[1:],
        {"role": "user", "content": FOLLOWS.question + hint},
    ]


class FixedDay(datetime):
    """In place of the day on which transformers runs, which it prints."""

    @classmethod
    def now(cls, tz: Any = None) -> FixedDay:
        return cls(TODAY.year, TODAY.month, TODAY.day)


@pytest.fixture(autouse=True)
def _the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "datetime", FixedDay)


@every_family
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_prompt_tokens_are_those_of_transformers(
    family: Family, system: str | None, miniatures: dict[str, Path]
) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = _config(system=system)
    prompt_set = _prompt_set(config, folder)
    for route, hint in ((Route.GENERATED, ""), (Route.RATIONALIZED, " (5)")):
        prompt = rationale_prompt(config, prompt_set, ASKED, route, 1)
        messages = _messages(system=system, merged=family.name in ("gemma2", "mistral"), hint=hint)
        expected = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        assert prompt_ids(tokenizer, [prompt]) == [expected]


@every_family
def test_prompt_tokens_are_the_recorded_ones(family: Family, miniatures: dict[str, Path]) -> None:
    folder = miniatures[family.name]
    config = _config()
    prompt = rationale_prompt(config, _prompt_set(config, folder), ASKED, Route.GENERATED, 1)
    ids = prompt_ids(PreTrainedTokenizerFast.from_pretrained(folder), [prompt])[0]
    assert ids == json.loads(GOLDEN.read_text())[family.name]


@every_family
def test_tokens_of_a_conversation_are_those_of_transformers_and_the_recorded_ones(
    family: Family, miniatures: dict[str, Path]
) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    recorded = json.loads(GOLDEN.read_text())[f"{family.name} conversation"]
    for few_shot, route, hint in CONVERSATIONS:
        config = _config(few_shot=few_shot)
        prompt = rationale_prompt(config, _prompt_set(config, folder), FOLLOWS, route, 1)
        expected = tokenizer.apply_chat_template(
            _conversation(hint, block=few_shot == "block"),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        assert prompt_ids(tokenizer, [prompt]) == [expected]
        assert (expected == recorded) is ((few_shot, hint) == ("turns", ""))


@every_family
@pytest.mark.parametrize("few_shot", ["turns", "block"])
def test_a_conversation_is_served_as_it_was_asked(
    family: Family, few_shot: str, miniatures: dict[str, Path]
) -> None:
    config = _config(few_shot=few_shot)
    prompt_set = _prompt_set(config, miniatures[family.name])
    turns = [(turn["role"], turn["content"]) for turn in as_turns(CONTEXT)]
    served = render_conversation(config.kind, prompt_set, [*turns, ("user", FOLLOWS.question)])
    assert served == rationale_prompt(config, prompt_set, FOLLOWS, Route.GENERATED, 1)


@every_family
def test_a_row_of_a_conversation_learns_its_last_answer_alone(
    family: Family, miniatures: dict[str, Path]
) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = _config(system="Be brief.")
    prompt_set = _prompt_set(config, folder)
    sampled = family.thought + LEFT
    tried = [replace(_rationale(prompt_set.opening + sampled), key=RationaleKey("2", Route.RATIONALIZED, 0))]
    decisions = decide(config, prompt_set, [FOLLOWS], tried)
    rows = build(config, prompt_set, [FOLLOWS], tried, decisions)
    audit_hints(config, prompt_set, [FOLLOWS], tried, rows)
    assert prompt_set.chat is not None
    text = TrainingText(rows[0].prompt, rows[0].completion, end=prompt_set.chat.end)
    tokens = tokenize_rows(tokenizer, [text], 10_000, tokenizer.eos_token_id)[0]
    learned = [token for at, token in enumerate(tokens.ids) if tokens.learns(at)]
    written = tokenizer(sampled, add_special_tokens=False)["input_ids"]
    assert learned == [*written, tokenizer.convert_tokens_to_ids(family.end)]
    assert "Then she has 5 pens." in rows[0].prompt


@every_family
def test_the_hint_audit_refuses_a_conversation_with_its_hint(
    family: Family, miniatures: dict[str, Path]
) -> None:
    config = _config()
    prompt_set = _prompt_set(config, miniatures[family.name])
    tried = replace(
        _rationale(prompt_set.opening + family.thought + LEFT),
        key=RationaleKey("2", Route.RATIONALIZED, 0),
    )
    decisions = decide(config, prompt_set, [FOLLOWS], [tried])
    [row] = build(config, prompt_set, [FOLLOWS], [tried], decisions)
    leaking = replace(row, prompt=training_prompt(config, prompt_set, FOLLOWS, hinted=True))
    assert "(4)" in leaking.prompt
    with pytest.raises(HintLeak):
        audit_hints(config, prompt_set, [FOLLOWS], [tried], [leaking])


@every_family
def test_the_api_counts_the_tokens_that_the_sampler_is_given(
    family: Family, miniatures: dict[str, Path]
) -> None:
    folder = miniatures[family.name]
    config = _config(system="Be brief.")
    prompt = rationale_prompt(config, _prompt_set(config, folder), ASKED, Route.GENERATED, 1)
    counted = count_tokens(load_tokenizer(folder / "tokenizer.json", "of this test"), prompt)
    assert counted == len(prompt_ids(PreTrainedTokenizerFast.from_pretrained(folder), [prompt])[0])


@every_family
def test_bos_stands_once_at_the_beginning(family: Family, miniatures: dict[str, Path]) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = _config()
    prompt_set = _prompt_set(config, folder)
    prompt = rationale_prompt(config, prompt_set, ASKED, Route.GENERATED, 1)
    row = tokenize_rows(tokenizer, [TrainingText(prompt, SAID, end=family.end)], 10_000, 0)[0]
    for ids in (prompt_ids(tokenizer, [prompt])[0], list(row.ids)):
        if family.adds_bos:
            assert ids[0] == tokenizer.bos_token_id
            assert ids.count(tokenizer.bos_token_id) == 1


@every_family
def test_loss_falls_on_what_was_sampled_and_on_the_end_of_the_turn(
    family: Family, miniatures: dict[str, Path]
) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = _config()
    prompt_set = _prompt_set(config, folder)
    assert prompt_set.chat is not None
    sampled = family.thought + SAID
    row = _row(config, prompt_set, sampled)
    text = TrainingText(row.prompt, row.completion, end=prompt_set.chat.end)
    tokens = tokenize_rows(tokenizer, [text], 10_000, tokenizer.eos_token_id)[0]
    learned = [token for at, token in enumerate(tokens.ids) if tokens.learns(at)]
    written = tokenizer(sampled, add_special_tokens=False)["input_ids"]
    assert learned == [*written, tokenizer.convert_tokens_to_ids(family.end)]
    assert list(tokens.ids[: tokens.start]) == prompt_ids(tokenizer, [row.prompt])[0]


@pytest.mark.parametrize("family", NOT_OPENED, ids=lambda family: family.name)
def test_a_row_without_thinking_is_what_transformers_makes_of_the_conversation(
    family: Family, miniatures: dict[str, Path]
) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = _config()
    prompt_set = _prompt_set(config, folder)
    assert prompt_set.chat is not None
    prompt = training_prompt(config, prompt_set, ASKED)
    completion = prompt_set.chat.completion(SAID, given=True)
    row = tokenize_rows(tokenizer, [TrainingText(prompt, completion, end=family.end)], 10_000, 0)[0]
    said = [{"role": "user", "content": ASKED.question}, {"role": "assistant", "content": SAID}]
    whole = tokenizer.apply_chat_template(said, tokenize=True, return_dict=False)
    assert list(row.ids) == whole[: len(row.ids)]
    assert tokenizer.decode(whole[len(row.ids) :]).strip() == ""


@every_family
def test_the_model_stops_at_the_end_of_its_turn(family: Family, miniatures: dict[str, Path]) -> None:
    folder = miniatures[family.name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    template = _template(folder)
    assert template.end == family.end
    assert tokenizer.convert_tokens_to_ids(template.end) in eos_ids(folder, tokenizer)


@every_family
def test_sampled_tokens_are_read_as_the_text_that_is_trained_on(
    family: Family, miniatures: dict[str, Path]
) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(miniatures[family.name])
    sampled = family.thought + SAID
    ids = tokenizer(sampled, add_special_tokens=False)["input_ids"]
    prompt = tokenizer(family.end, add_special_tokens=False)["input_ids"]
    assert text_after(tokenizer, prompt, ids, special=True) == sampled


@every_family
def test_the_answer_is_read_behind_the_thinking(family: Family, miniatures: dict[str, Path]) -> None:
    config = _config()
    prompt_set = _prompt_set(config, miniatures[family.name])
    completion = Completion("1", family.thought.replace("Add", "The answer is 7. Add") + SAID, 9, 9, "stop")
    answer = judge(config, ASKED, completion, opening=prompt_set.opening)
    assert (answer.verdict, answer.extracted) == ("correct", "5")


@pytest.mark.parametrize("family", THINKERS, ids=lambda family: family.name)
def test_an_answer_in_a_thinking_that_does_not_end_is_none(
    family: Family, miniatures: dict[str, Path]
) -> None:
    config = _config()
    prompt_set = _prompt_set(config, miniatures[family.name])
    cut = family.thought.partition("Add")[0] + "The answer is 5."
    answer = judge(config, ASKED, Completion("1", cut, 9, 9, "length"), opening=prompt_set.opening)
    assert answer.verdict == "unparsed"


@every_family
def test_the_hint_audit_passes_rendered_rows_and_refuses_the_hinted_prompt(
    family: Family, miniatures: dict[str, Path]
) -> None:
    config = _config(system="Be brief.")
    prompt_set = _prompt_set(config, miniatures[family.name])
    rationale = _rationale(prompt_set.opening + family.thought + SAID)
    row = _row(config, prompt_set, family.thought + SAID)
    audit_hints(config, prompt_set, [ASKED], [rationale], [row])
    leaking = replace(row, prompt=training_prompt(config, prompt_set, ASKED, hinted=True))
    assert "(5)" in leaking.prompt
    with pytest.raises(HintLeak):
        audit_hints(config, prompt_set, [ASKED], [rationale], [leaking])
    with pytest.raises(HintLeak):
        audit_hints(config, prompt_set, [ASKED], [rationale], [replace(row, completion=row.completion + " ")])


def _rationale(text: str) -> Rationale:
    return Rationale(
        RationaleKey("1", Route.RATIONALIZED, 0), text, "correct", "5", "answer_is", 9, 9, "stop"
    )


def _row(config: StarConfig, prompt_set: PromptSet, sampled: str) -> TrainingExample:
    """The row of a rationalized try that was sampled so."""
    tried = [_rationale(prompt_set.opening + sampled)]
    decisions = decide(config, prompt_set, [ASKED], tried)
    assert [one.reason for one in decisions] == ["kept"]
    return build(config, prompt_set, [ASKED], tried, decisions)[0]
