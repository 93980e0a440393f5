"""The coach: every rule speaks in its case with its figures, and is silent where they are not enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from star_engine.config.presets import laid_over
from star_engine.config.star import StarConfig
from star_engine.diagnostics.advice import RULES, Advice, Facts, advise
from star_engine.tasks.kind import Kind

NUMERIC = StarConfig(kind=Kind.NUMERIC)
CHOICE = StarConfig(kind=Kind.CHOICE)
ROWS = {"kept": {"generated": 60, "rationalized": 0}}  # enough of them, so that no other rule speaks


def sampled(dropped: Mapping[str, int] | None = None, **verdicts: int) -> dict[str, Any]:
    return {**ROWS, "sampled": {"generated": verdicts}, "dropped": {"generated": dict(dropped or {})}}


def evaluated(right: int, n: int, **more: int) -> dict[str, Any]:
    return {"accuracy": right / n, "evaluated": {"n": n, "unparsed": 0, "truncated": 0, **more}}


def baseline(n: int, unparsed: int) -> Facts:
    tally = {"n": n, "unparsed": unparsed, "ambiguous": 0}
    return Facts(NUMERIC, 0, {"baselines": {"few_shot_cot": tally}})


def of(metrics: Mapping[str, Any], config: StarConfig = NUMERIC, **more: Any) -> Facts:
    return Facts(config, 1, metrics, **more)


def changed(config: StarConfig, **changes: Any) -> StarConfig:
    return StarConfig.model_validate(laid_over(config.model_dump(mode="json"), changes))


HINT_FREE = changed(NUMERIC, training_set={"checks": ["hint_free"]})
TURNED = changed(CHOICE, training_set={"checks": ["permuted_choices"]})
HOT = changed(NUMERIC, generation={"temperature": 1.0})
MANY = changed(NUMERIC, generation={"samples_per_example": 8, "temperature": 0.7})
LONGEST = changed(NUMERIC, generation={"max_tokens": 32768})
LIMITED = changed(NUMERIC, evaluation={"max_examples": 60})
OF_46 = {"letter_and_text_disagree": 27, "answers_disagree": 19}
DISAGREEING = of(sampled(correct=54, ambiguous=46), CHOICE, ambiguous=OF_46)
LUCK = {"kept": 50, "expected_lucky": 20.0, "chance": 0.5}
FEW = {"kept": {"generated": 3, "rationalized": 0}, "sampled": {"generated": {"correct": 3, "wrong": 37}}}
HINTED = {"kept": {"generated": 20, "rationalized": 40}}
DOUBTED = {"checked": 100, "agreed": 70, "undecided": 10}

# code, the case in which it speaks, words of what it says, the settings, and cases in which it is silent
CASES: list[tuple[str, Facts, list[str], Mapping[str, Any], list[Facts]]] = [
    ("answers_unread", baseline(40, 16), ["16 of", "40 texts"], {}, [baseline(40, 8), baseline(8, 4)]),
    (
        "letter_and_text_disagree",
        DISAGREEING,
        ["27 of 46 ambiguous"],
        {},
        [
            of(sampled(correct=96, ambiguous=4), CHOICE, ambiguous={"letter_and_text_disagree": 4}),
            of(sampled(correct=994, ambiguous=6), CHOICE, ambiguous={"letter_and_text_disagree": 6}),
        ],
    ),
    (
        "several_answers",
        of(sampled(correct=80, ambiguous=20), ambiguous={"answers_disagree": 20}),
        ["20 of 100 tries"],
        {},
        [of(sampled(correct=98, ambiguous=2)), DISAGREEING],
    ),
    (
        "no_answer_found",
        of(sampled({"unparsed": 30}, correct=70, unparsed=30)),
        ["In 30 of 100"],
        {},
        [of(sampled({"unparsed": 5}, correct=95, unparsed=5))],
    ),
    (
        "cut_off",
        of(sampled({"truncated": 12}, correct=88, unparsed=12)),
        ["12 of 100 tries", "256 tokens", "512"],
        {"generation": {"max_tokens": 512}},
        [
            of(sampled({"truncated": 9}, correct=91, unparsed=9)),
            of(sampled({"truncated": 12}, correct=88, unparsed=12), LONGEST),
        ],
    ),
    (
        "cut_off",
        of({**sampled(correct=100), **evaluated(150, 200, truncated=40)}),
        ["40 of 200 held-out answers"],
        {"generation": {"max_tokens": 512}},
        [of({**sampled(correct=100), **evaluated(150, 200, truncated=10)})],
    ),
    (
        "few_rows",
        of(FEW),
        ["Only 3 rows", "3 of 40", "8 tries", "0.7"],
        {"generation": {"samples_per_example": 8, "temperature": 0.7}},
        [
            of(FEW, MANY),
            of({**FEW, **ROWS}),
            of({**FEW, "sampled": {"generated": {"wrong": 40}}}),
            of({**FEW, "sampled": {"generated": {"correct": 16}}}),
        ],
    ),
    (
        "below_few_shot",
        of({**ROWS, **evaluated(60, 200)}, first={"accuracy": 0.5}),
        ["30.0 % of 200", "50.0 %"],
        {"training": {"learning_rate": 3e-5}},
        [
            of({**ROWS, **evaluated(95, 200)}, first={"accuracy": 0.5}),  # chance explains it
            of({**ROWS, **evaluated(120, 200)}, first={"accuracy": 0.5}),
            of({**ROWS, **evaluated(60, 200)}),
        ],
    ),
    (
        "mostly_hinted",
        of(HINTED),
        ["40 of 60 rows", "40 greedy"],
        {"training_set": {"checks": ["hint_free"]}},
        [of(HINTED, HINT_FREE), of({"kept": {"generated": 40, "rationalized": 20}})],
    ),
    (
        "speaks_of_hints",
        of({**ROWS, "audits": {"hint_talk": {"generated": 40, "speaking": 6}}}),
        ["6 of 40"],
        {"training_set": {"checks": ["hint_free"]}},
        [
            of({**ROWS, "audits": {"hint_talk": {"generated": 80, "speaking": 6}}}),
            of({**ROWS, "audits": {"hint_talk": None}}),
            of({**ROWS, "audits": {"hint_talk": {"generated": 40, "speaking": 6}}}, HINT_FREE),
        ],
    ),
    (
        "right_by_luck",
        of({**ROWS, "audits": {"luck": LUCK}}, CHOICE),
        ["About 20 of 50", "50 %"],
        {"training_set": {"checks": ["permuted_choices"]}},
        [
            of({**ROWS, "audits": {"luck": {**LUCK, "expected_lucky": 5.0}}}, CHOICE),
            of({**ROWS, "audits": {"luck": LUCK}}, TURNED),
        ],
    ),
    (
        "tries_repeat",
        of(sampled({"duplicate": 40}, correct=100)),
        ["40 of 100", "0.7 in place of 0"],
        {"generation": {"temperature": 0.7}},
        [of(sampled({"duplicate": 20}, correct=100)), of(sampled({"duplicate": 40}, correct=100), HOT)],
    ),
    (
        "verdicts_doubted",
        of({**ROWS, "audits": {"verdicts": DOUBTED}}),
        ["20 of 90"],
        {},
        [
            of({**ROWS, "audits": {"verdicts": {**DOUBTED, "agreed": 85}}}),
            of({**ROWS, "audits": {"verdicts": {"checked": 0, "agreed": 0, "undecided": 0}}}),
        ],
    ),
    ("train_is_solved", of({**ROWS, "solve_rate": 0.97}), ["97.0 %"], {}, [of({**ROWS, "solve_rate": 0.9})]),
    (
        "few_held_out",
        of({**ROWS, **evaluated(30, 60)}, LIMITED),
        ["60 questions", "37 to 63 %"],
        {"evaluation": {"max_examples": None}},
        [of({**ROWS, **evaluated(60, 120)}, LIMITED), of(ROWS)],
    ),
]


@pytest.mark.parametrize(("code", "facts", "words", "settings", "silent"), CASES)
def test_a_rule_speaks_in_its_case_and_is_silent_elsewhere(
    code: str, facts: Facts, words: list[str], settings: Mapping[str, Any], silent: list[Facts]
) -> None:
    one = said(facts, code)
    assert one is not None
    assert all(word in f"{one.saw} {one.do}" for word in words), one
    assert one.settings == settings
    assert bool(one.settings) is (one.change == "settings")
    for other in silent:
        assert said(other, code) is None, other


@pytest.mark.parametrize(("code", "facts", "words", "settings", "silent"), CASES)
def test_a_proposed_change_is_valid_and_ends_the_advice(
    code: str, facts: Facts, words: list[str], settings: Mapping[str, Any], silent: list[Facts]
) -> None:
    """What was followed once is not proposed for the same figures again, save what can be raised further."""
    if settings:
        config = changed(facts.config, **settings)
        again = said(Facts(config, 1, facts.metrics, facts.first, facts.ambiguous), code)
        assert again is None or again.settings != settings


def test_every_rule_has_a_case() -> None:
    spoken = {code for code, *_ in CASES}
    assert len(spoken) == len(RULES)
    assert all(said(facts, code) for code, facts, *_ in CASES)


def test_an_iteration_without_fault_is_not_commented() -> None:
    well = {**sampled(correct=150, wrong=50), **evaluated(150, 200), "solve_rate": 0.75}
    assert advise(of(well, first={"accuracy": 0.5})) == ()
    assert advise(of({})) == ()
    assert advise(Facts(NUMERIC, 0, {})) == ()


def said(facts: Facts, code: str) -> Advice | None:
    return next((one for one in advise(facts) if one.code == code), None)
