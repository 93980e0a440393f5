"""The length check is exact where it matters, with a byte-level BPE tokenizer like those of real models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from app.errors import Invalid
from app.intake.tally import Tally
from app.jobs.prompt_lengths import MAX_REPORTED, all_fit, check_prompt_lengths
from star_engine.config.star import Generation, Rationalization, StarConfig
from star_engine.sampling.rationales import Route, rationale_prompt
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.hints import HintForm
from star_engine.tasks.kind import Kind

SHOTS = PromptSet(
    Kind.CHOICE,
    tuple(
        FewShotExample(
            question=f"What do {word} use to absorb extra ink from a fountain pen?",
            rationale=f"It is used by {word}. Blotters absorb liquids. Therefore, blotter (b).",
            answer="b",
            choices=("inkwell", "blotter", "desk drawer"),
        )
        for word in ("people", "writers", "clerks", "children")
    ),
)
CONTEXT = 2000


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Byte-level BPE with a BOS token, trained on the prompts themselves: most words are one token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<bos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([prompt(example("x", 30), Route.RATIONALIZED)], trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", bpe.token_to_id("<bos>"))]
    )
    return bpe


def config(max_tokens: int, *, rationalization: bool = True) -> StarConfig:
    return StarConfig(
        kind=Kind.CHOICE,
        generation=Generation(max_tokens=max_tokens),
        rationalization=Rationalization(enabled=rationalization),
    )


def example(name: str, words: int, split: str = "train") -> Example:
    """Questions of about `words` tokens, some of them of several bytes a character."""
    question = " ".join(
        ("writers", "use", "ink", "extra", "naïve", "Stift", "インク")[n % 7] for n in range(words)
    )
    return Example(name, f"{question}?", "a", ("inkwell", "blotter"), split=split)  # type: ignore[arg-type]


def prompt(asked: Example, route: Route) -> str:
    return rationale_prompt(config(1), SHOTS, asked, route, iteration=1)


def refused(tokenizer: Tokenizer, settings: StarConfig, examples: Iterable[Example]) -> set[str]:
    """Names of the examples that the check refuses."""
    try:
        check_prompt_lengths(tokenizer, CONTEXT, settings, SHOTS, examples)
    except Invalid as problem:
        return {error.reason.split("'")[1] for error in problem.errors}
    return set()


@pytest.mark.parametrize("rationalization", [True, False])
def test_check_refuses_exactly_the_prompts_that_do_not_fit(
    tokenizer: Tokenizer, rationalization: bool
) -> None:
    asked = [example(f"e{words}", words) for words in range(60)]
    routes = [Route.GENERATED, Route.RATIONALIZED][: 1 + rationalization]
    lengths = {e.id: max(len(tokenizer.encode(prompt(e, r)).ids) for r in routes) for e in asked}
    seen = set()
    for room in range(min(lengths.values()) - 1, max(lengths.values()) + 2, 5):
        settings = config(CONTEXT - room, rationalization=rationalization)
        too_long = [e for e in asked if lengths[e.id] > room]
        for e in asked:
            assert refused(tokenizer, settings, [e]) == ({e.id} if e in too_long else set()), (room, e.id)
        seen.add(len(too_long))
    assert min(seen) == 0
    assert max(seen) == len(asked)


@pytest.mark.parametrize(
    "settings",
    [
        Rationalization(enabled=False),
        Rationalization(),
        Rationalization(hint_template="{question} Hint: it is {answer}, isn't it?"),
        Rationalization(hint=HintForm.FULL_SOLUTION),
    ],
)
def test_no_prompt_of_a_dataset_is_longer_than_what_was_counted_at_upload_allows(
    tokenizer: Tokenizer, settings: Rationalization
) -> None:
    asked = [replace(example(f"e{words}", words), solution="Ünd " * (60 - words)) for words in range(1, 60)]
    tally = Tally()
    for one in asked:
        tally.add(one, Kind.CHOICE)
    rooms = {True: set(), False: set()}  # type: dict[bool, set[int]]
    for room in range(100, CONTEXT, 20):
        chosen = config(CONTEXT - room).model_copy(update={"rationalization": settings})
        sure = all_fit(tokenizer, CONTEXT, chosen, SHOTS, tally.longest)
        assert not (sure and refused(tokenizer, chosen, asked)), room
        rooms[sure].add(room)
    assert max(rooms[False]) < min(rooms[True])  # so it is sure of something


def test_held_out_example_is_never_asked_with_a_hint(tokenizer: Tokenizer) -> None:
    train, held_out = example("e", 20), example("e", 20, split="validation")
    room = len(tokenizer.encode(prompt(train, Route.GENERATED)).ids)
    assert len(tokenizer.encode(prompt(train, Route.RATIONALIZED)).ids) > room
    assert refused(tokenizer, config(CONTEXT - room), [train]) == {"e"}
    assert refused(tokenizer, config(CONTEXT - room), [held_out]) == set()


def test_no_more_than_a_handful_of_examples_is_reported(tokenizer: Tokenizer) -> None:
    asked = (example(f"e{number}", 60) for number in range(10**9))  # endless, as far as a test is concerned
    assert len(refused(tokenizer, config(CONTEXT - 10), asked)) == MAX_REPORTED


@pytest.mark.parametrize("kind", list(Kind))
def test_prompts_of_every_kind_are_measured_with_their_hint(tokenizer: Tokenizer, kind: Kind) -> None:
    """The finding: a job of kind code was answered with 500, since what is measured has no tests."""
    options = {Kind.PATTERN: {"pattern": "(.+)"}, Kind.PROGRAM: {"program": "def grade(e, a): return True"}}
    options[Kind.REMOTE] = {"grader_url": "https://grader.example.com/grade"}
    settings = StarConfig.model_validate({"kind": kind, "verifier": options.get(kind, {})})
    assert settings.rationalization.enabled
    answer = "assert f(1) == 2" if kind is Kind.CODE else "1"
    asked = Example("e", "What?", answer, ("1", "2"), split="train")
    check_prompt_lengths(tokenizer, CONTEXT, settings, PromptSet(kind, ()), [asked])
