"""Settings of the chat layout, and templates that cannot be used."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.star import StarConfig
from star_engine.data.chat import ChatLayout, chat_layout, pinned, with_chat
from star_engine.data.chat_template import ChatTemplate, UnfitTemplate, read_chat_template
from star_engine.data.prompts import render_prompt
from star_engine.sampling.rationales import Route, rationale_prompt
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from tests.star_engine.chat.families import FAMILIES, THINK, write_model

BARE = PromptSet(Kind.NUMERIC, (FewShotExample("1 + 1?", "1 + 1 = 2. The answer is 2.", "2"),))
ASKED = Example("1", "2 + 3?", "5")
QWEN = next(family for family in FAMILIES if family.name == "qwen2.5")


def _config(**settings: Any) -> StarConfig:
    return StarConfig.model_validate({"kind": "numeric", "layout": "chat", **settings})


def _layout(folder: Path, **chat: Any) -> ChatLayout:
    template = read_chat_template(folder)
    assert template is not None
    return chat_layout(_config(chat={"date": "2026-11-28", **chat}), template)


def test_yaml_that_reads_on_as_true_still_turns_the_thinking_on() -> None:
    assert _config(chat={"thinking": True}).chat.thinking == "on"
    assert _config(chat={"thinking": False}).chat.thinking == "off"


def test_thinking_turned_off_is_what_the_template_makes_of_it(miniatures: dict[str, Path]) -> None:
    off = _layout(miniatures["qwen3"], thinking="off").prompt([], "2 + 3?")
    assert off.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert _layout(miniatures["qwen3"], thinking="on").prompt([], "2 + 3?").endswith("assistant\n")


def test_a_template_without_a_switch_refuses_one(miniatures: dict[str, Path]) -> None:
    with pytest.raises(UnfitTemplate, match="no switch for thinking"):
        _layout(miniatures["qwen2.5"], thinking="off")


def test_rows_without_the_thinking_are_a_part_of_the_sampled_text(miniatures: dict[str, Path]) -> None:
    dropping = _layout(miniatures["qwen3"], train_thinking="drop")
    assert dropping.completion(f"{THINK}The answer is 5.", given=False) == "The answer is 5."
    harmony = "<|channel|>analysis<|message|>Add.<|end|><|start|>assistant"
    dropping = _layout(miniatures["gpt-oss"], train_thinking="drop")
    final = "<|channel|>final<|message|>The answer is 5."
    assert dropping.completion(harmony + final, given=False) == final


def test_a_thinking_that_the_template_begins_cannot_be_dropped(miniatures: dict[str, Path]) -> None:
    with pytest.raises(UnfitTemplate, match="begins the thinking itself"):
        _layout(miniatures["r1-distill"], train_thinking="drop")


def test_texts_of_a_dataset_are_refused_behind_a_thinking_that_the_template_begins(
    miniatures: dict[str, Path],
) -> None:
    template = read_chat_template(miniatures["r1-distill"])
    given = _config(training_set={"source": "solutions"}, iterations=1, rationalization={"enabled": False})
    with pytest.raises(UnfitTemplate, match="texts of a dataset"):
        with_chat(given, BARE, template)


def test_a_template_that_prints_a_date_needs_one(miniatures: dict[str, Path]) -> None:
    template = read_chat_template(miniatures["llama3.2"])
    with pytest.raises(UnfitTemplate, match="prints a date"):
        with_chat(_config(), BARE, template)


def test_a_new_job_records_the_hash_of_its_template_and_the_day_that_it_prints(
    miniatures: dict[str, Path],
) -> None:
    template = read_chat_template(miniatures["llama3.2"])
    assert template is not None
    made = pinned(_config(), template, date(2026, 11, 28))
    assert made.chat.template_sha256 == template.sha256
    assert made.chat.date == date(2026, 11, 28)
    other = read_chat_template(miniatures["qwen2.5"])
    with pytest.raises(UnfitTemplate, match="was made with the chat template"):
        with_chat(made, BARE, other)


def test_few_shot_examples_can_stand_in_one_block(miniatures: dict[str, Path]) -> None:
    template = read_chat_template(miniatures["qwen2.5"])
    prompt_set = with_chat(_config(chat={"few_shot": "block"}), BARE, template)
    shown = render_prompt(Kind.NUMERIC, prompt_set, ASKED)
    assert "user\nQ: 1 + 1?\nA: 1 + 1 = 2. The answer is 2.\n\nQ: 2 + 3?\nA:<|im_end|>" in shown
    assert "user\n2 + 3?<|im_end|>" in render_prompt(Kind.NUMERIC, prompt_set, ASKED, few_shot=False)


def test_choices_stand_in_the_turn_and_the_cue_does_not(miniatures: dict[str, Path]) -> None:
    template = read_chat_template(miniatures["qwen2.5"])
    config = StarConfig.model_validate({"kind": "choice", "layout": "chat"})
    asked = Example("1", "Where?", "b", ("here", "there"))
    prompt = render_prompt(Kind.CHOICE, with_chat(config, PromptSet(Kind.CHOICE, ()), template), asked)
    assert "user\nWhere?\nAnswer Choices:\n(a) here\n(b) there<|im_end|>" in prompt


def test_the_hint_of_a_scratchpad_stands_in_the_last_user_turn(miniatures: dict[str, Path]) -> None:
    template = read_chat_template(miniatures["qwen2.5"])
    config = StarConfig.model_validate({"kind": "scratchpad", "layout": "chat"})
    prompt_set = with_chat(config, PromptSet(Kind.SCRATCHPAD, ()), template)
    asked = Example("1", "6 2 + 2 5", "8 7")
    assert "user\n6 2 + 2 5<|im_end|>" in rationale_prompt(config, prompt_set, asked, Route.GENERATED, 1)
    hinted = rationale_prompt(config, prompt_set, asked, Route.RATIONALIZED, 1)
    assert "user\n6 2 + 2 5\nTarget: 8 7<|im_end|>" in hinted


def test_a_chat_job_refuses_a_prompt_set_that_was_not_made_ready() -> None:
    with pytest.raises(ValueError, match="with_chat"):
        rationale_prompt(_config(), BARE, ASKED, Route.GENERATED, 1)


def test_chat_settings_need_the_chat_layout() -> None:
    with pytest.raises(ValidationError, match="need the chat layout"):
        _config(layout="completion", chat={"system": "Be brief."})
    with pytest.raises(UnfitTemplate, match="need the chat layout"):
        with_chat(_config(layout=None, chat={"system": "Be brief."}), BARE, None)


def test_the_assistants_turn_alone_is_learned() -> None:
    with pytest.raises(ValidationError, match="assistant's turn alone"):
        _config(training={"loss": "all"})


def test_a_line_that_begins_a_question_does_not_end_a_turn() -> None:
    assert "\nQuestion:" in _config(layout="completion").stops
    assert "\nQuestion:" not in _config().stops
    assert "<|im_end|>" in _config().stops


def _changed(folder: Path, made: Path, **files: str) -> Path:
    shutil.copytree(folder, made)
    for name, text in files.items():
        (made / f"{name}.json" if name != "template" else made / "chat_template.jinja").write_text(text)
    return made


def test_a_turn_that_ends_with_no_token_is_refused(miniatures: dict[str, Path], tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(UnfitTemplate, match="no turn would end"):
        read_chat_template(_changed(miniatures["qwen2.5"], tmp_path / "m", template=template))


def test_an_end_of_turn_at_which_the_model_does_not_stop_is_refused(
    miniatures: dict[str, Path], tmp_path: Path
) -> None:
    """Gemma's tokenizer says <eos>; what ends a turn is in generation_config.json alone."""
    folder = _changed(miniatures["gemma2"], tmp_path / "m", generation_config="{}")
    with pytest.raises(UnfitTemplate, match=r"<end_of_turn>.*eos_token_id"):
        read_chat_template(folder)


def test_a_template_that_leaves_bos_to_the_tokenizer_is_refused(
    miniatures: dict[str, Path], tmp_path: Path
) -> None:
    template = "{% for m in messages %}[INST]{{ m.content }}</s>{% endfor %}"
    with pytest.raises(UnfitTemplate, match="begins every text with <s>"):
        read_chat_template(_changed(miniatures["mistral"], tmp_path / "m", template=template))


def test_a_template_runs_in_a_sandbox() -> None:
    reaching_out = ChatTemplate("{{ messages.__class__.__base__.__subclasses__() }}", ())
    with pytest.raises(UnfitTemplate, match="unsafe"):
        reaching_out.render([{"role": "user", "content": "Hi"}])
    with pytest.raises(UnfitTemplate):
        ChatTemplate("{{ messages.append(1) }}", ()).render([])


def test_a_template_that_refuses_says_why() -> None:
    refusing = ChatTemplate("{{ raise_exception('no tools here') }}", ())
    with pytest.raises(UnfitTemplate, match="no tools here"):
        refusing.render([])


def test_marks_of_what_is_generated_leave_the_text_as_it_is() -> None:
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert ChatTemplate(marked, ()).render([{"role": "assistant", "content": "So"}]) == "So"


def test_a_model_without_a_template_has_no_chat_layout(tmp_path: Path) -> None:
    folder = write_model(QWEN, tmp_path / "m")
    (folder / "chat_template.jinja").unlink()
    assert read_chat_template(folder) is None
    with pytest.raises(UnfitTemplate, match="no chat template"):
        with_chat(_config(), BARE, None)


def test_a_template_in_the_tokenizers_config_is_found(tmp_path: Path) -> None:
    folder = write_model(QWEN, tmp_path / "m")
    source = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    for written in (source, [{"name": "tool_use", "template": ""}, {"name": "default", "template": source}]):
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": written}))
        found = read_chat_template(folder)
        assert found is not None
        assert found.source == source
