"""The sums of examples/sums: texts that are right in any order, and a tokenizer that cuts no number."""

from __future__ import annotations

import random
from pathlib import Path

from examples.sums.b_star import ARMS, CONTROLLED, GRID, settings
from examples.sums.task import build_tokenizer, draw_document, rationale, work_out, write_task
from star_engine.evaluation.solution_key import solution_key
from star_engine.load import load_dataset, load_prompt_set
from star_engine.tasks.kind import Kind
from star_engine.tasks.numeric import verify_numeric
from star_engine.tasks.verdict import VerdictCode


def test_right_texts_differ_in_their_order_and_are_judged_right() -> None:
    rng = random.Random(0)
    texts = [rationale(*work_out(rng, [3, 8, 5, 9])) for _ in range(40)]
    assert len({solution_key(text) for text in texts}) > 4
    assert {verify_numeric(text, "25").verdict for text in texts} == {VerdictCode.CORRECT}


def test_text_that_drops_a_ten_is_judged_wrong() -> None:
    text = rationale(*work_out(random.Random(0), [9, 9, 9, 9], forgets=1.0))
    assert verify_numeric(text, "36").verdict is VerdictCode.WRONG


def test_dataset_and_prompt_set_are_read_without_a_mistake(tmp_path: Path) -> None:
    dataset, shown = write_task(tmp_path, train=30, validation=20, seed=1)
    train, held_out = load_dataset(dataset, Kind.NUMERIC)
    asked = {example.question for example in (*train, *held_out)}
    assert (len(train), len(held_out), len(asked)) == (30, 20, 50)
    assert asked.isdisjoint(one.question for one in load_prompt_set(shown, Kind.NUMERIC).examples)


def test_documents_are_tokens_of_whole_numbers() -> None:
    tokenizer = build_tokenizer(512)
    text = draw_document(random.Random(0), 4)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids
    assert len(tokenizer(" 36")["input_ids"]) == 1


def test_arms_differ_in_nothing_but_the_temperature() -> None:
    alike = []
    for arm in ARMS:
        config = settings(arm, 0).model_dump(mode="json")
        controller = config.pop("controller")
        assert (controller is not None) == (arm == CONTROLLED)
        if controller is None:
            assert config["generation"]["temperature"] in GRID
        del config["generation"]["temperature"]
        alike.append(config)
    assert all(config == alike[0] for config in alike)
