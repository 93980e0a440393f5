"""Training rows as messages: rendered by the model's template they are what was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from star_engine.config.star import StarConfig
from star_engine.data.chat import with_chat
from star_engine.data.chat_template import read_chat_template
from star_engine.data.prompts import render_completion
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.training_set.messages import training_messages
from star_engine.training_set.rows import TrainingExample, training_prompt
from tests.star_engine.chat.families import FAMILIES, Family, write_model

SAID = "2 + 2 = 4.\n\nThe answer is 4."
ASKED = Example("1", "What is 2 + 2?", "4")
SHOWN = PromptSet(Kind.NUMERIC, (FewShotExample("What is 1 + 1?", "1 + 1 = 2. The answer is 2.", "2"),))
# Their templates leave past thinking out, or write a thinking where there is none.
REWORDED = {("qwen3", ""), ("gpt-oss", ""), ("r1-distill", "thought")}


@dataclass(frozen=True)
class Written:
    config: StarConfig
    prompt_set: PromptSet
    row: TrainingExample

    @property
    def messages(self) -> dict[str, Any]:
        return training_messages(self.config, self.prompt_set, ASKED, self.row)


def written(folder: Path, family: Family, thought: str, **changed: Any) -> Written:
    template = read_chat_template(write_model(family, folder))
    chat = {"system": "Be brief.", "date": "2026-01-31"}
    config = StarConfig.model_validate({"kind": "numeric", "layout": "chat", "chat": chat, **changed})
    prompt_set = with_chat(config, SHOWN, template)
    said = prompt_set.opening + thought + SAID
    row = TrainingExample(
        RationaleKey("1", Route.GENERATED, 0),
        training_prompt(config, prompt_set, ASKED),
        render_completion(config.kind, said, prompt_set.chat),
    )
    return Written(config, prompt_set, row)


@pytest.mark.parametrize("thinking", ["", "thought"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_transformers_makes_the_trained_text_of_the_messages(
    tmp_path: Path, family: Family, thinking: str
) -> None:
    if thinking and not family.thought:
        return
    few_shot = {"few_shot_in_prompt": True}
    made = written(tmp_path, family, family.thought if thinking else "", training_set=few_shot)
    found = made.messages
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    rendered = tokenizer.apply_chat_template(found["messages"], tokenize=False)
    trained = made.row.prompt + made.row.completion + str(made.prompt_set.end)
    # A template with a date is asked for today's by transformers: only the end of it is compared
    same = rendered.split("Be brief.")[-1].startswith(trained.split("Be brief.")[-1])
    assert found["as_trained"] is same is ((family.name, thinking) not in REWORDED)
    assert found["messages"][-1]["content"].endswith(SAID)
    assert found["trained_from"] == len(found["messages"]) - 1
    assert [turn.get("weight") for turn in found["messages"] if turn["role"] == "assistant"] == [0, None]
    assert [turn["content"] for turn in found["messages"] if turn["role"] == "user"][-1].endswith(
        ASKED.question
    )


def test_thinking_stands_in_a_field_of_its_own(tmp_path: Path) -> None:
    by_name = {family.name: family for family in FAMILIES}
    qwen = written(tmp_path / "a", by_name["qwen3"], by_name["qwen3"].thought).messages["messages"][-1]
    oss = written(tmp_path / "b", by_name["gpt-oss"], by_name["gpt-oss"].thought).messages["messages"][-1]
    assert qwen == {"role": "assistant", "content": SAID, "reasoning_content": "Add them."}
    assert oss == {"role": "assistant", "content": SAID, "thinking": "Add them."}


def test_rows_of_the_completion_layout_become_a_question_and_an_answer() -> None:
    config = StarConfig.model_validate({"kind": "numeric", "layout": "completion"})
    prompt = training_prompt(config, SHOWN, ASKED)
    row = TrainingExample(RationaleKey("1", Route.RATIONALIZED, 2), prompt, f" {SAID}")
    assert training_messages(config, SHOWN, ASKED, row) == {
        "messages": [
            {"role": "user", "content": "What is 2 + 2?"},
            {"role": "assistant", "content": SAID},
        ],
        "trained_from": 1,
        "example_id": "1",
        "route": "rationalized",
        "sample": 2,
        "as_trained": False,
    }


def test_a_hint_that_was_kept_is_in_the_messages_and_is_said() -> None:
    config = StarConfig.model_validate(
        {"kind": "numeric", "layout": "completion", "rationalization": {"p_keep_hint": 1}}
    )
    prompt = training_prompt(config, SHOWN, ASKED, hinted=True)
    row = TrainingExample(RationaleKey("1", Route.RATIONALIZED, 0), prompt, f" {SAID}", hinted=True)
    found = training_messages(config, SHOWN, ASKED, row)
    assert found["hinted"] is True
    assert found["messages"][-2]["content"] == "What is 2 + 2? (4)"
