"""A kind is one file: this one registers a kind of its own and takes it through whole runs.

Words are to be written backwards. Whatever fails here for want of a line elsewhere is a ladder on kinds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.presets import PRESETS
from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.prompts import render_prompt, stops
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows
from star_engine.protocols import SampleRequest
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.section import Section
from star_engine.tasks.examples import Asked, Example, PromptSet
from star_engine.tasks.grading import check_against_itself
from star_engine.tasks.hints import ANY_KIND, HintForm
from star_engine.tasks.kind import Kind
from star_engine.tasks.layout import Layout
from star_engine.tasks.registry import TASKS
from star_engine.tasks.task import TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer
from star_engine.tasks.verify import verify
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler

SAYS = re.compile(r"So: (\w+)")
WORDS = ("drawer", "stressed", "parts", "reward", "live", "repaid", "loop", "star")
KNOWN = ("drawer", "parts", "loop")  # to the base model; the others it writes forwards
TEXT = (
    "Word: net\nBackwards: The letters are t, e, n. So: ten\n\nWord: raw\nBackwards: It is w, a, r. So: war"
)


class BackwardsOptions(Section):
    any_case: bool | None = None


class Backwards:
    kind = "backwards"
    options: type[Section] = BackwardsOptions
    required_option: str | None = None
    layout = Layout(
        head="Word: ",
        separator=" ",
        block=re.compile(r"Word: (?P<question>\w+)\nBackwards:(?P<hint>)(?P<rationale>.+)", re.DOTALL),
        sign=re.compile(r"\AWord:"),
    )
    hint_forms: tuple[HintForm, ...] = ANY_KIND
    takes_choices = False
    solution_mark: str | None = None
    slow_gold = False
    closed_answers = True
    runs_programs = False
    needs_sandbox = False
    answer_shapes: tuple[str, ...] | None = None
    how_to_write = '"Word: word" and on the next line "Backwards: rationale So: answer"'
    how_to_end = 'End it with "So: answer"'

    def native(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return row

    def ask(self, example: Asked, *, hinted: bool) -> str:
        return f"Word: {example.question}{' <- ' + example.answer if hinted else ''}\nBackwards:"

    def hint(self, example: Asked) -> str:
        return f"<- {example.answer}"

    def direct_answer(self, example: Asked) -> str:
        return example.answer

    def gold_text(self, example: Asked) -> str:
        return example.answer

    def read_gold(self, example: Example) -> Example:
        return replace(example, answer=example.answer.strip('"'))

    def check_gold(self, example: Asked, options: TaskOptions) -> None:
        check_against_itself(self, example, options, f"So: {self.canonical_gold(example)}")

    def canonical_gold(self, example: Asked) -> str:
        if not example.answer.isalpha():
            raise BadGold("is not one word; leave out what is no letter")
        return example.answer

    def any_gold(self, example: Example) -> Example:
        return replace(example, answer="word")

    def other_gold(self, example: Example) -> Example:
        return replace(example, answer=f"other{example.answer}")

    def guess_chance(self, example: Asked) -> float | None:
        return 0.0

    def grade(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        said = SAYS.search(text)
        return self._compared(example, said, options) if said else no_answer(VerdictCode.UNPARSED, "no_so")

    def grade_direct(self, example: Asked, text: str, options: TaskOptions) -> Verdict:
        said = re.search(r"(\w+)", text)
        return self._compared(example, said, options) if said else no_answer(VerdictCode.UNPARSED, "no_word")

    def is_answer(self, example: Asked, text: str) -> bool:
        return text.strip() == example.answer

    def asserted_at(self, example: Asked, text: str) -> int | None:
        return 0 if text.startswith(example.answer) else None

    def second_opinion(self, example: Asked, text: str) -> bool | None:
        return text.endswith(example.answer)

    def _compared(self, example: Asked, said: re.Match[str], options: TaskOptions) -> Verdict:
        gold, word = self.canonical_gold(example), said[1]
        same = gold.casefold() == word.casefold() if options.get("any_case") else gold == word
        code = VerdictCode.CORRECT if same else VerdictCode.WRONG
        return Verdict(code, word, word, "so", said.span(1))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, Backwards.kind, Backwards())


def prompt_set() -> PromptSet:
    return read_prompt_set(TEXT)


def examples() -> list[Example]:
    rows = [{"id": word, "question": word, "answer": word[::-1]} for word in WORDS]
    return [read_example(row, Kind(Backwards.kind)) for row in rows]


def config(**settings: object) -> StarConfig:
    defaults = {
        "kind": Backwards.kind,
        "iterations": 1,
        "training": {"schedule": {"kind": "fixed", "steps": 2}, "lora": {"rank": 2}},
        "training_set": {"filters": ["hint_markers", "answer_only", "answer_first", "fewshot_copy"]},
    }
    return StarConfig.model_validate({**defaults, **settings})


def pupil(request: SampleRequest, adapter: Path | None) -> str:
    block = request.prompt.rpartition("Word: ")[2]
    word = block.partition("\n")[0].split()[0]
    able = adapter is not None or word in KNOWN or "<-" in block
    said = word[::-1] if able else word
    return f" Its letters from the last to the first are {', '.join(word[::-1])}. So: {said}\n\nWord: on\n"


def run(settings: StarConfig, folder: Path) -> RunDirectory:
    asked = examples()
    sampler, trainer = ScriptedSampler(pupil), RecordingTrainer(pupil)
    events = list(run_star(settings, asked[:4], asked[4:], prompt_set(), sampler, trainer, folder))
    assert events[-1].facts["reason"] == "completed_iterations"
    return RunDirectory(folder)


def test_its_few_shot_examples_are_read_from_a_text_in_its_own_layout() -> None:
    found = prompt_set()
    assert found.kind == Backwards.kind
    assert [(one.question, one.answer) for one in found.examples] == [("net", "ten"), ("raw", "war")]
    with pytest.raises(BadRows, match=r'No answer can be read .* End it with "So: answer"'):
        read_prompt_set("Word: net\nBackwards: Who knows?")


def test_its_prompts_are_laid_out_with_its_own_hint_or_with_that_of_a_template() -> None:
    example, kind = examples()[0], Kind(Backwards.kind)
    assert render_prompt(kind, prompt_set(), example) == f"{TEXT}\n\nWord: drawer\nBackwards:"
    hinted = render_prompt(kind, prompt_set(), example, hint=True, few_shot=False)
    assert hinted == "Word: drawer <- reward\nBackwards:"
    own = render_prompt(
        kind, prompt_set(), example, hint=True, few_shot=False, hint_template="{question}:{answer}"
    )
    assert own == "Word: drawer:reward\nBackwards:"
    assert stops(kind)[0] == "\nWord:"


def test_its_golds_are_checked_and_stored_in_its_own_way() -> None:
    kind = Kind(Backwards.kind)
    assert read_example({"question": "net", "answer": '"ten"'}, kind).answer == "ten"
    with pytest.raises(BadRows, match=r"is not one word\. Leave out what is no letter\."):
        read_example({"question": "net", "answer": "t e n"}, kind)


def test_its_options_are_its_own_to_know() -> None:
    assert verify(Backwards.kind, "So: TEN", "ten").verdict == "wrong"
    assert verify(Backwards.kind, "So: TEN", "ten", any_case=True).verdict == "correct"
    settings = config(verifier={"any_case": True})
    assert settings.verifier.options == {"any_case": True}
    assert StarConfig.model_validate(settings.model_dump(mode="json")) == settings
    with pytest.raises(
        ValidationError, match="kind backwards has no option 'pattern'; its options: any_case"
    ):
        config(verifier={"pattern": "x"})
    with pytest.raises(ValidationError, match="valid boolean"):
        config(verifier={"any_case": "perhaps"})


def test_a_whole_run_learns_from_its_verdicts_and_strips_its_hint(tmp_path: Path) -> None:
    record = run(config(verifier={"any_case": True}), tmp_path)
    routes = {row.key.example_id: str(row.key.route) for row in record.training_set(1)}
    assert routes == {word: "generated" if word in KNOWN else "rationalized" for word in WORDS[:4]}
    assert all("<-" not in row.prompt for row in record.training_set(1))
    assert [(known.number, known.accuracy) for known in record.history()] == [(0, 0.25), (1, 1.0)]


def test_its_tries_can_vote_in_place_of_its_golds(tmp_path: Path) -> None:
    vote = {
        "labels": "majority_vote",
        "generation": {"samples_per_example": 3, "temperature": 0.7},
        "rationalization": {"enabled": False},
        "training_set": {"dedupe": False},
    }
    record = run(config(**vote), tmp_path)
    answers = {row.key.example_id: row.completion.rpartition(" ")[2] for row in record.training_set(1)}
    assert answers == {word: word[::-1] if word in KNOWN else word for word in WORDS[:4]}


def test_every_preset_takes_it() -> None:
    assert all(preset(Kind(Backwards.kind)).kind == Backwards.kind for preset in PRESETS.values())


def test_once_it_is_gone_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = config()
    monkeypatch.delitem(TASKS, Backwards.kind)
    with pytest.raises(ValidationError, match="Input should be 'scratchpad', 'numeric'"):
        config()
    with pytest.raises(ValueError, match="there is no kind 'backwards'; use one of numeric"):
        verify(kept.kind, "So: ten", "ten")
