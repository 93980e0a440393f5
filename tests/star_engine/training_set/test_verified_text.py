"""A text that was asked for anyhow is read by a verifier as an evaluation lets it read a candidate."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.data.chat import pinned, with_chat
from star_engine.data.chat_template import read_chat_template
from star_engine.data.prompts import render_completion, render_prompt
from star_engine.protocols import Completion, TrainingText
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.training_set.rows import training_prompt
from star_engine.training_set.verified_text import bare_conversation, bare_prompt, verified_text
from tests.star_engine.chat.families import FAMILIES, write_model

SHOWN = (
    FewShotExample("1 + 1?", "1 + 1 = 2. The answer is 2.", "2"),
    FewShotExample("10 + 10?", "10 + 10 = 20. The answer is 20.", "20", group="large"),
)
PLAIN = PromptSet(Kind.NUMERIC, SHOWN)
SMALL, LARGE = Example("s", "2 + 3?", "5"), Example("l", "20 + 30?", "50", group="large")


def config(**settings: Any) -> StarConfig:
    return StarConfig.model_validate({"kind": "numeric", **settings})


def read(settings: StarConfig, prompt_set: PromptSet, prompt: str, text: str) -> TrainingText | None:
    return verified_text(settings, prompt_set, prompt, Completion("0", text, 9, 9, "stop"))


@pytest.mark.parametrize("asked", [SMALL, LARGE])
def test_few_shot_examples_of_the_job_are_left_out_of_a_prompt(asked: Example) -> None:
    settings = config()
    prompt = render_prompt(Kind.NUMERIC, PLAIN, asked)
    assert prompt.count("Q:") == 2
    assert bare_prompt(settings, PLAIN, prompt) == training_prompt(settings, PLAIN, asked)


def test_prompt_stays_as_it_is_where_rows_show_the_examples_or_it_is_not_the_jobs() -> None:
    prompt = render_prompt(Kind.NUMERIC, PLAIN, SMALL)
    assert bare_prompt(config(training_set={"few_shot_in_prompt": True}), PLAIN, prompt) == prompt
    for own in ("Add two and three:", "Q: What else?\nA: Nothing.\n\nQ: 2 + 3?\nA:"):
        assert bare_prompt(config(), PLAIN, own) == own


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("few_shot", ["turns", "block"])
def test_conversation_of_every_template_is_read_as_its_row(
    family: Any, few_shot: str, tmp_path: Path
) -> None:
    template = read_chat_template(write_model(family, tmp_path))
    settings = pinned(config(layout="chat", chat={"few_shot": few_shot}), template, date(2026, 11, 29))
    prompt_set = with_chat(settings, PLAIN, template)
    trained = training_prompt(settings, prompt_set, SMALL)
    assert bare_conversation(settings, prompt_set, [("user", SMALL.question)]) == trained
    assert bare_prompt(settings, prompt_set, render_prompt(Kind.NUMERIC, prompt_set, SMALL)) == trained
    said = f"{family.thought}The answer is 5. \n"
    written = render_completion(Kind.NUMERIC, said.rstrip(), prompt_set.chat)
    assert read(settings, prompt_set, trained, said) == TrainingText(trained, written, end=prompt_set.end)


def test_text_is_read_up_to_where_it_is_judged_and_laid_out_as_a_row() -> None:
    prompt = training_prompt(config(), PLAIN, SMALL)
    read_as = TrainingText(prompt, " 2 + 3 = 5.")
    for said in (" 2 + 3 = 5.", "2 + 3 = 5.\n", " 2 + 3 = 5.\nQ: And 3 + 3?\nA: 6."):
        assert read(config(), PLAIN, prompt, said) == read_as


def test_text_behind_a_prompt_of_ones_own_is_read_as_it_was_written() -> None:
    assert read(config(), PLAIN, "Two and three are", " 5. ") == TrainingText("Two and three are", " 5.")
    assert read(config(), PLAIN, "Two and 3", "0 are 32.") == TrainingText("Two and 3", "0 are 32.")


def test_text_that_says_nothing_is_not_read() -> None:
    assert read(config(), PLAIN, "Q: 2 + 3?\nA:", " \n") is None
