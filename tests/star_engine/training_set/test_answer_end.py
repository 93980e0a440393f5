"""A row ends where its answer ends, by one rule for all kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.config.training_set import TrainingSetOptions
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.answer_end import RUN_ON, TRUNCATED, ending
from star_engine.training_set.rows import HintLeak, audit_hints, build, decide

EXAMPLES = {
    Kind.NUMERIC: Example("clips", "How many clips?", "72"),
    Kind.CHOICE: Example("ink", "What absorbs ink?", "b", ("inkwell", "blotter")),
    Kind.EXACT: Example("capital", "Capital of Australia?", "Canberra"),
    Kind.MATH: Example("half", "Half of 25?", "\\frac{25}{2}"),
    Kind.SCRATCHPAD: Example("sum", "1 + 1", "2"),
}
SHOWN = PromptSet(Kind.NUMERIC, (FewShotExample("How many?", "1 + 1 = 2.\n#### 2", "2"),))


def tried(kind: Kind, text: str, **fields: Any) -> Rationale:
    key = RationaleKey(EXAMPLES[kind].id, Route.GENERATED, 0)
    return replace(Rationale(key, text, "correct", None, "rule", 10, 20, "stop"), **fields)


def trained(kind: Kind, text: str, **fields: Any) -> str | None:
    found = ending(StarConfig(kind=kind), EXAMPLES[kind], tried(kind, text, **fields))
    return None if found.dropped else text[: found.end]


@pytest.mark.parametrize(
    ("kind", "kept", "cut"),
    [
        (Kind.NUMERIC, "48 + 24 = 72.\n#### 72", ""),
        (Kind.NUMERIC, "48 + 24 = 72.\n#### 72", "\n\nI hope that this helps!"),
        (Kind.NUMERIC, "48 + 24 = 72. The answer is 72.", " Next we look at another sum: 1 + 1."),
        (Kind.NUMERIC, "48 + 24 = 72. The answer is 72 sq. ft. of clips.", " Then it rains."),
        (Kind.NUMERIC, "48 + 24 = 72.\n**The answer is 72.**", "\n\nLet me know if more is wanted."),
        (
            Kind.CHOICE,
            "It takes up liquids. Therefore, the answer is blotter (b).",
            "\n\nQuestion: What is wet?",
        ),
        (Kind.EXACT, "It was built as a compromise. The answer is Canberra.", "\nSydney is larger."),
        (Kind.MATH, "Halve it:\n\\[\n\\boxed{\\frac{25}{2}}\n\\]", "\n\nThat was easy."),
        (Kind.SCRATCHPAD, "<scratch>\n1 + 1 , C: 0\n0 2\n</scratch>\n2", ""),
    ],
)
def test_what_stands_behind_the_answer_is_cut_and_its_clause_kept(kind: Kind, kept: str, cut: str) -> None:
    assert trained(kind, kept + cut) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("48 + 24 = 72.\n#### 7", None),  # may have become 72 or 75
        ("48 + 24 = 72. The answer is 72.", None),  # may have become 72.5
        ("48 + 24 = 72. The answer is $\\boxed{72}", "48 + 24 = 72. The answer is $\\boxed{72}"),
        ("48 + 24 = 72.\n#### 72\n\nNow let us", "48 + 24 = 72.\n#### 72"),
        ("48 + 24 = 72. The answer is 72. Now let us", "48 + 24 = 72. The answer is 72."),
    ],
)
def test_a_text_at_the_token_limit_trains_only_with_an_answer_complete_before(
    text: str, kept: str | None
) -> None:
    assert trained(Kind.NUMERIC, text, finish_reason="length") == kept


@pytest.mark.parametrize(("end", "whole"), [("(b).", True), ("(b)", True), (".", True), ("", False)])
def test_a_choice_at_the_token_limit_is_complete_with_its_label_or_sentence(end: str, whole: bool) -> None:
    text = f"It takes up liquids. Therefore, the answer is blotter {end}".replace(" .", ".").rstrip()
    assert trained(Kind.CHOICE, text, finish_reason="length") == (text if whole else None)


def test_what_people_wrote_is_not_cut() -> None:
    for route in (Route.GIVEN, Route.MIXED):
        key = RationaleKey("clips", route, 0)
        one = replace(tried(Kind.NUMERIC, "#### 72\nSo it is."), key=key, finish_reason="length")
        assert ending(StarConfig(kind=Kind.NUMERIC), EXAMPLES[Kind.NUMERIC], one).end is None


def test_a_reviewers_correct_text_stays_whole_unless_the_limit_cut_it() -> None:
    unread = tried(Kind.NUMERIC, "Seventy-two of them, I would say, and more words")
    config = StarConfig(kind=Kind.NUMERIC)
    assert ending(config, EXAMPLES[Kind.NUMERIC], unread).end is None
    cut_off = replace(unread, finish_reason="length")
    assert ending(config, EXAMPLES[Kind.NUMERIC], cut_off).dropped == TRUNCATED


def test_a_text_that_is_not_correct_when_it_is_cut_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """With today's verifiers the cut text is correct whenever the whole is; the rule does not rely on it."""
    from star_engine.sampling import answers
    from star_engine.training_set import answer_end

    def only_whole(config: StarConfig, example: Example, text: str) -> Any:
        found = answers.read_answer(config, example, text)
        return found if "helps" in text else replace(found, verdict=VerdictCode.UNPARSED)

    monkeypatch.setattr(answer_end, "read_answer", only_whole)
    found = ending(
        StarConfig(kind=Kind.NUMERIC),
        EXAMPLES[Kind.NUMERIC],
        tried(Kind.NUMERIC, "48 + 24 = 72.\n#### 72\nThis helps."),
    )
    assert found.dropped == RUN_ON


def test_rows_are_cut_texts_and_the_audit_takes_no_other() -> None:
    config = StarConfig(kind=Kind.NUMERIC, training_set=TrainingSetOptions(filters=()))
    clips = [EXAMPLES[Kind.NUMERIC]]
    key = RationaleKey("clips", Route.GENERATED, 1)
    tries = [
        tried(Kind.NUMERIC, "48 + 24 = 72.\n#### 72\n\nThanks for asking!"),
        replace(tried(Kind.NUMERIC, "48 + 24 = 72.\n#### 72"), key=key),  # the same once both are cut
    ]
    decisions = decide(config, SHOWN, clips, tries)
    assert [decision.reason for decision in decisions] == ["kept", "duplicate"]
    rows = build(config, SHOWN, clips, tries, decisions)
    assert [row.completion for row in rows] == [" 48 + 24 = 72.\n#### 72"]
    audit_hints(config, SHOWN, clips, tries, rows)
    whole = replace(rows[0], completion=f" {tries[0].text}")
    with pytest.raises(HintLeak, match="up to its answer's end"):
        audit_hints(config, SHOWN, clips, tries, [whole])
