"""Rows of a training set as conversations, for trainers that read `messages`."""

from __future__ import annotations

import json
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.chat import ChatLayout
from star_engine.data.prompts import prompt_turns
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import TrainingExample, few_shot_trained
from star_engine.training_set.tool_messages import TOOLS, Turn, turns_of


def training_messages(
    config: StarConfig, prompt_set: PromptSet, example: Example, row: TrainingExample
) -> dict[str, Any]:
    """`{"messages", "trained_from", "example_id", "route", "sample", "as_trained"}`, and `hinted` where it is
    true.

    `trained_from`: the place of the first message that was learned; those of the assistant before it have
    weight 0. What a tool or a procedural hint has said stands in turns of its own: see tool_messages; then
    `tools` describes the tool.

    `as_trained`: whether the base model's template makes exactly the trained text of these messages. It does
    not in the completion layout, which has no template, and where the template rewrites an answer: Qwen3
    puts an empty thinking in front of one that has none. The row's prompt and completion are exact always.
    """
    messages = _asked(config, prompt_set, example, row)
    said, exact = _answered(config, prompt_set, messages, row)
    if said[0]["role"] == "user":  # a hint at the start: templates refuse two users' turns in a row
        last = messages.pop()
        said[0] = {"role": "user", "content": f"{last['content']}\n\n{said[0]['content']}"}
    earlier = [turn | ({"weight": 0} if turn["role"] == "assistant" else {}) for turn in messages]
    found = {
        "messages": [*earlier, *said],
        "trained_from": len(earlier),
        "example_id": row.key.example_id,
        "route": str(row.key.route),
        "sample": row.key.sample,
        "as_trained": exact,
    }
    tools = {"tools": TOOLS} if any("tool_calls" in turn for turn in said) else {}
    return found | ({"hinted": True} if row.hinted else {}) | tools


def _asked(config: StarConfig, prompt_set: PromptSet, example: Example, row: TrainingExample) -> list[Turn]:
    """The row's prompt as messages."""
    shown, asked = prompt_turns(
        config.kind,
        prompt_set,
        example,
        hint=row.hinted,
        few_shot=few_shot_trained(config, example),
        hint_template=config.rationalization.template,
    )
    if isinstance(prompt_set.chat, ChatLayout):
        return [dict(turn) for turn in prompt_set.chat.messages(shown, asked)]
    turns = [
        {"role": role, "content": text} for pair in shown for role, text in zip(_ROLES, pair, strict=True)
    ]
    return [*turns, {"role": "user", "content": asked}]


def _answered(
    config: StarConfig, prompt_set: PromptSet, messages: list[Turn], row: TrainingExample
) -> tuple[list[Turn], bool]:
    """The row's completion as messages, and whether the template makes the row of them."""
    if row.masked:
        opening = prompt_set.opening
        masked = [(start + len(opening), end + len(opening), origin) for start, end, origin in row.masked]
        return turns_of(opening + row.completion, masked, config.tool_fence), False
    if not isinstance(prompt_set.chat, ChatLayout):
        return [{"role": "assistant", "content": row.completion.strip()}], False
    said, exact = prompt_set.chat.answered(messages, row.prompt, row.completion)
    return [dict(said)], exact


def messages_line(config: StarConfig, prompt_set: PromptSet, example: Example, row: TrainingExample) -> str:
    """One row as a line of JSONL."""
    return json.dumps(training_messages(config, prompt_set, example, row), ensure_ascii=False)


_ROLES = ("user", "assistant")
