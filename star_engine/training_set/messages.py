"""Rows of a training set as conversations, for trainers that read `messages`."""

from __future__ import annotations

import json
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.chat import ChatLayout
from star_engine.data.prompts import prompt_turns
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import TrainingExample, few_shot_trained


def training_messages(
    config: StarConfig, prompt_set: PromptSet, example: Example, row: TrainingExample
) -> dict[str, Any]:
    """`{"messages": [...], "example_id", "route", "sample", "as_trained"}`, and `hinted` where it is true.

    `as_trained`: whether the base model's template makes exactly the trained text of these messages. It does
    not in the completion layout, which has no template, and where the template rewrites an answer: Qwen3
    puts an empty thinking in front of one that has none. The row's prompt and completion are exact always.
    """
    shown, asked = prompt_turns(
        config.kind,
        prompt_set,
        example,
        hint=row.hinted,
        few_shot=few_shot_trained(config, example),
        hint_template=config.rationalization.template,
    )
    messages: list[Any]
    if isinstance(prompt_set.chat, ChatLayout):
        messages = prompt_set.chat.messages(shown, asked)
        said, exact = prompt_set.chat.answered(messages, row.prompt, row.completion)
    else:
        messages = [_turn(role, text) for pair in shown for role, text in zip(_ROLES, pair, strict=True)]
        messages.append(_turn("user", asked))
        said, exact = _turn("assistant", row.completion.strip()), False
    found = {
        "messages": [*messages, dict(said)],
        "example_id": row.key.example_id,
        "route": str(row.key.route),
        "sample": row.key.sample,
        "as_trained": exact,
    }
    return found | ({"hinted": True} if row.hinted else {})


def messages_line(config: StarConfig, prompt_set: PromptSet, example: Example, row: TrainingExample) -> str:
    """One row as a line of JSONL."""
    return json.dumps(training_messages(config, prompt_set, example, row), ensure_ascii=False)


_ROLES = ("user", "assistant")


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
