"""The products of examples/products: documents, a tool that says nonsense, and what arms differ in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from examples.products.start import (
    ARMS,
    LEARNED,
    MASKED,
    NONSENSE,
    PLAIN,
    PLAIN_ALL,
    RANDOM,
    Nonsense,
    settings,
)
from examples.products.task import CALLING, OTHER, build_tokenizer, computed, draw_problem, write_task
from star_engine.load import load_dataset, load_prompt_set
from star_engine.sampling.hint_library import hints_of
from star_engine.tasks.kind import Kind
from star_engine.tasks.numeric import verify_numeric
from star_engine.tasks.programs.execution import Execution, Program, Run, Status
from star_engine.tasks.verdict import VerdictCode


class Printer:
    """A runner whose programs all print one text."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        for _ in programs:
            yield Execution(Status.OK, (Run(Status.OK, self.said, ""),))


def test_nonsense_has_another_digit_in_each_place_and_is_the_same_again() -> None:
    runner, program = Nonsense(Printer("3108\n")), Program("print(37 * 84)", stdins=("",))
    [first], [second] = list(runner.run([program])), list(runner.run([program]))
    assert first == second
    said = first.runs[0].stdout
    assert len(said) == 5
    assert said.endswith("\n")
    assert all(one != other for one, other in zip(said.strip(), "3108", strict=True))


def test_a_text_that_calls_is_judged_by_its_answer_and_not_by_its_working() -> None:
    text = "37 * 84 is 3008.\n" + CALLING[0] + "\n```python\n" + "".join(text for text, _ in computed(37, 84))
    assert verify_numeric(text, "3108").verdict is VerdictCode.CORRECT


def test_documents_are_tokens_of_whole_pieces() -> None:
    tokenizer, rng = build_tokenizer(512), random.Random(0)
    for _ in range(200):
        pieces = [text for text, _ in draw_problem(rng)]
        together = tokenizer("".join(pieces))["input_ids"]
        assert together == [one for piece in pieces for one in tokenizer(piece)["input_ids"]]
        assert tokenizer.unk_token_id not in together
        assert tokenizer.decode(together) == "".join(pieces)


def test_given_sentences_and_outputs_are_not_learned() -> None:
    rng = random.Random(1)
    pieces = [piece for _ in range(3000) for piece in draw_problem(rng)]
    assert not any(learned for text, learned in pieces if "```output" in text or text.strip() in OTHER)
    called = [learned for text, learned in pieces if "```python" in text]
    assert 0 < sum(called) < 0.05 * len(called)


def test_dataset_and_prompt_set_are_read_without_a_mistake(tmp_path: Path) -> None:
    dataset, shown = write_task(tmp_path, train=30, validation=20, seed=1)
    train, held_out = load_dataset(dataset, Kind.NUMERIC)
    asked = {example.question for example in (*train, *held_out)}
    assert (len(train), len(held_out), len(asked)) == (30, 20, 50)
    assert asked.isdisjoint(one.question for one in load_prompt_set(shown, Kind.NUMERIC).examples)


def test_arms_differ_in_temperature_hints_and_one_filter_alone() -> None:
    alike = []
    for arm in ARMS:
        config = settings(arm, 0).model_dump(mode="json")
        del config["hints"], config["generation"]["temperature"], config["generation"]["top_p"]
        filters = config["training_set"].pop("filters")
        assert ("answer_only" in filters) == (arm != PLAIN_ALL)
        alike.append(config)
    assert all(config == alike[0] for config in alike)
    assert settings(NONSENSE, 0) == settings(LEARNED, 0)  # its runner differs
    masked = settings(MASKED, 0).hints
    assert masked is not None
    assert masked.masked
    assert settings(PLAIN, 0).hints is None


def test_the_random_hint_opens_no_block_and_the_others_do() -> None:
    other, calling = settings(RANDOM, 0).hints, settings(LEARNED, 0).hints
    assert other is not None
    assert calling is not None
    assert {one.text for one in hints_of(other, "python")} == set(OTHER)
    assert {one.text for one in hints_of(calling, "python")} == {f"{text}\n```python\n" for text in CALLING}
