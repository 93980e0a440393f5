"""Texts as a verifier reads them: behind the prompt that verifiers are trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion, render_conversation
from star_engine.protocols import Completion, TrainingText
from star_engine.sampling.answers import judged_part
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.registry import task_of
from star_engine.training_set.rows import few_shot_trained

_ANY = Example("", "", "")
_ASKED = "QUESTIONOFTHEUSER"


def bare_conversation(config: StarConfig, prompt_set: PromptSet, turns: Sequence[tuple[str, str]]) -> str:
    """The prompt of a row of training, with what the user says in place of its question."""
    shown = few_shot_trained(config, _ANY)
    return render_conversation(config.kind, prompt_set, turns, few_shot=shown)


def bare_prompt(config: StarConfig, prompt_set: PromptSet, prompt: str) -> str:
    """A prompt without the job's few-shot examples, where it is laid out with them and rows are not."""
    if few_shot_trained(config, _ANY):
        return prompt
    for shown, bare in _layouts(config, prompt_set):
        if shown != bare and prompt.startswith(shown[0]) and prompt.endswith(shown[1]):
            asked = prompt.removeprefix(shown[0]).removesuffix(shown[1])
            return bare[0] + asked + bare[1]
    return prompt


def _layouts(config: StarConfig, prompt_set: PromptSet) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """What stands around a question of each group, with few-shot examples and without."""
    for group in dict.fromkeys([None, *(one.group for one in prompt_set.examples)]):
        examples = tuple(replace(one, group=None) for one in prompt_set.for_group(group))
        own = replace(prompt_set, examples=examples)
        yield _around(config, own, few_shot=True), _around(config, own, few_shot=False)


def _around(config: StarConfig, prompt_set: PromptSet, *, few_shot: bool) -> tuple[str, str]:
    text = render_conversation(config.kind, prompt_set, [("user", _ASKED)], few_shot=few_shot)
    before, _, behind = text.rpartition(_ASKED)
    return before, behind


def verified_text(
    config: StarConfig, prompt_set: PromptSet, prompt: str, completion: Completion
) -> TrainingText | None:
    """The completion behind this prompt, up to where it is judged; None where it says nothing.

    Behind a prompt that ends as the job's do it is laid out as its rows are, else as it was written.
    """
    text, start, _ = judged_part(config, completion, prompt_set.opening)
    if not text.strip():
        return None
    if prompt_set.chat is None and not prompt.endswith(task_of(config.kind).layout.cue):
        return TrainingText(prompt, completion.text[: start + len(text)])
    written = render_completion(config.kind, text, prompt_set.chat)
    return TrainingText(prompt, written, end=prompt_set.end)
