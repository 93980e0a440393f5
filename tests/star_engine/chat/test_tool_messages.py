"""Texts with a tool as messages: no trainer that learns what the assistant says learns what a tool said."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from star_engine.config.star import StarConfig
from star_engine.data.chat import with_chat
from star_engine.data.chat_template import read_chat_template
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.tool_use import Span
from star_engine.training_set.messages import training_messages
from star_engine.training_set.rows import TrainingExample, training_prompt
from star_engine.training_set.tool_messages import turns_of
from tests.star_engine.chat.families import FAMILIES, write_model

ASKED = Example("1", "What is 17 * 23?", "391", context=(("Hello.", "Hello!"),))
SHOWN = PromptSet(Kind.NUMERIC, (FewShotExample("What is 1 + 1?", "1 + 1 = 2. The answer is 2.", "2"),))
HINT = "Maybe Python helps here.\n```python\n"
OUTPUT = "```output\n391\n```\n"


def _text(*parts: str) -> tuple[str, list[Span]]:
    """Parts as one text; those of HINT and OUTPUT are masked."""
    text = ""
    masked: list[Span] = []
    for part in parts:
        if part in (HINT, OUTPUT):
            masked.append((len(text), len(text + part), "hint" if part == HINT else "output"))
        text += part
    return text, masked


def _shape(turns: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in turns]


def test_an_output_is_a_turn_of_the_tool_behind_its_call() -> None:
    text, masked = _text("It is long.\n```python\nprint(17 * 23)\n```\n", OUTPUT, "So it is 391.")
    turns = turns_of(text, masked, "python")
    assert _shape(turns) == [("assistant", "It is long."), ("tool", "391"), ("assistant", "So it is 391.")]
    [call] = turns[0]["tool_calls"]
    assert call["function"] == {"name": "python", "arguments": {"code": "print(17 * 23)\n"}}
    assert turns[1]["tool_call_id"] == call["id"]


def test_the_line_feed_that_closes_a_call_belongs_to_its_output() -> None:
    text = "It is long.\n```python\nprint(1)\n```" + "\n" + OUTPUT + "One."
    end = len(text) - len("One.")
    fed: list[Span] = [
        (end - len(OUTPUT) - 1, end - len(OUTPUT), "output"),
        (end - len(OUTPUT), end, "output"),
    ]
    assert _shape(turns_of(text, fed, "python"))[1:] == [("tool", "391"), ("assistant", "One.")]


def test_a_hint_is_a_turn_of_the_user_and_its_fence_opens_the_call() -> None:
    text, masked = _text("It is long.\n", HINT, "print(17 * 23)\n```\n", OUTPUT, "So it is 391.")
    turns = turns_of(text, masked, "python")
    assert _shape(turns) == [
        ("assistant", "It is long."),
        ("user", "Maybe Python helps here."),
        ("assistant", ""),
        ("tool", "391"),
        ("assistant", "So it is 391."),
    ]
    assert turns[2]["tool_calls"][0]["function"]["arguments"] == {"code": "print(17 * 23)\n"}


def test_calls_within_the_thinking_are_thinking() -> None:
    call = "```python\nprint(17 * 23)\n```\n"
    text, masked = _text(f"<think>\nIt is long.\n{call}", OUTPUT, "Good.\n</think>\n\nSo it is 391.")
    turns = turns_of(text, masked, "python")
    assert (turns[0]["content"], turns[0]["reasoning_content"]) == ("", "It is long.")
    assert (turns[2]["content"], turns[2]["reasoning_content"]) == ("So it is 391.", "Good.")


def _row(folder: Path, *parts: str) -> dict[str, Any]:
    [family] = [one for one in FAMILIES if one.name == "qwen2.5"]
    template = read_chat_template(write_model(family, folder))
    chosen = {"kind": "numeric", "layout": "chat", "training_set": {"few_shot_in_prompt": True}}
    config = StarConfig.model_validate({**chosen, "tools": {"python": {}}})
    prompt_set = with_chat(config, SHOWN, template)
    text, masked = _text(*parts)
    prompt = training_prompt(config, prompt_set, ASKED)
    row = TrainingExample(RationaleKey("1", Route.HINTED, 0), prompt, text, masked=tuple(masked))
    return training_messages(config, prompt_set, ASKED, row)


def test_a_trainer_that_learns_assistants_turns_learns_nothing_of_a_tool_or_a_hint(tmp_path: Path) -> None:
    """By transformers' own mask, in the template that TRL trains with, split as its rows are."""
    found = _row(tmp_path, "It is long.\n", HINT, "print(17 * 23)\n```\n", OUTPUT, "So the answer is 391.")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    trained_by = files("trl").joinpath("chat_templates", "qwen2_5_training.jinja").read_text(encoding="utf-8")
    rendered = tokenizer.apply_chat_template(
        found["messages"],
        tools=found["tools"],
        chat_template=trained_by,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    pairs = list(zip(rendered["input_ids"], rendered["assistant_masks"], strict=True))
    before = tokenizer.apply_chat_template(
        found["messages"][: found["trained_from"]],
        tools=found["tools"],
        chat_template=trained_by,
        tokenize=True,
        return_dict=False,
    )
    learned = tokenizer.decode([token for token, learns in pairs[len(before) :] if learns])
    assert "print(17 * 23)" in learned
    assert learned.count("391") == 1
    assert "Maybe Python helps" not in learned
    assert "Hello!" not in learned


def test_a_hint_at_the_start_joins_the_question(tmp_path: Path) -> None:
    found = _row(tmp_path, HINT, "print(17 * 23)\n```\n", OUTPUT, "So the answer is 391.")
    assert found["trained_from"] == 4
    assert _shape(found["messages"])[4:] == [
        ("user", "What is 17 * 23?\n\nMaybe Python helps here."),
        ("assistant", ""),
        ("tool", "391"),
        ("assistant", "So the answer is 391."),
    ]
    assert found["as_trained"] is False


def test_a_text_without_a_tool_describes_none(tmp_path: Path) -> None:
    found = _row(tmp_path, "17 * 23 = 391. So the answer is 391.")
    assert "tools" not in found
    assert found["as_trained"] is True
    roles = ["user", "assistant", "user", "assistant", "user", "assistant"]
    assert [turn["role"] for turn in found["messages"][-6:]] == roles
