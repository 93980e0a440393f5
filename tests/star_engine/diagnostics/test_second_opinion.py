"""The second method agrees with the verifiers where they are right, and finds them out where not."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from star_engine.config.star import Audits, StarConfig
from star_engine.diagnostics.second_opinion import SHOWN, audit_verdicts
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of
from star_engine.tasks.verify import verify

OPTIONS = ("inkwell", "blotter", "pocket")

LABELLED = Path(__file__).parent.parent / "filters" / "labelled.jsonl"


def second_opinion(kind: str, text: str, answer: str, choices: Sequence[str] | None) -> bool | None:
    example = Example("", "", answer, None if choices is None else tuple(choices))
    return task_of(kind).second_opinion(example, text)


@pytest.mark.parametrize(
    ("kind", "text", "answer", "choices", "opinion"),
    [
        ("numeric", "Half is 24, so 48 + 24 = 72.\n#### 72", "72", None, True),
        ("numeric", "The answer is 1,072.00 dollars.", "1072", None, True),
        ("numeric", "It is 1/2 in all", "0.5", None, True),
        ("numeric", "#### 71", "72", None, False),
        ("numeric", "Nobody knows", "72", None, False),
        ("choice", "Therefore, the answer is blotter (b).", "b", OPTIONS, True),
        ("choice", "Therefore, the answer is (a).", "b", OPTIONS, False),
        ("choice", "It must be the blotter", "b", OPTIONS, True),
        ("choice", "Nobody knows", "b", OPTIONS, False),
        ("scratchpad", "<scratch>\n</scratch>\n8 8 3", "8 8 3", None, True),
        ("scratchpad", "<scratch>\n8 8 3", "8 8 3", None, False),
        ("exact", "So the answer is  The Seine.", "the seine", None, True),
        ("exact", "So the answer is the Rhine.", "the seine", None, False),
        ("math", r"Thus \boxed{x + 1}", "x+1", None, True),
        ("math", r"Thus \boxed{7}", "8", None, False),
        ("math", r"Thus \boxed{1 + x}", "x+1", None, None),
        ("pattern", "anything", "x", None, None),
    ],
)
def test_a_text_is_judged_by_how_it_ends(
    kind: str, text: str, answer: str, choices: tuple[str, ...] | None, opinion: bool | None
) -> None:
    assert second_opinion(kind, text, answer, choices) is opinion


def test_the_two_methods_agree_on_the_labelled_rationales_but_for_those_that_answer_first() -> None:
    rows = [json.loads(line) for line in LABELLED.read_text().splitlines()]
    doubted = [
        row
        for row in rows
        if not second_opinion(row["kind"], row["completion"], row["answer"], row.get("choices"))
    ]
    assert len(doubted) <= 6
    assert all("answer_first" in row["reject_by"] or row["kind"] == "exact" for row in doubted), doubted


def test_the_two_methods_agree_on_the_human_solutions_of_gsm8k() -> None:
    folder = os.environ.get("STAR_TEST_DATA")
    if not folder:
        pytest.skip("STAR_TEST_DATA does not name the folder with gsm8k_train.jsonl")
    lines = (Path(folder) / "gsm8k_train.jsonl").read_text().splitlines()[::20]
    for solution in (json.loads(line)["answer"] for line in lines):
        gold = solution.split("####")[1].strip()
        assert second_opinion("numeric", solution, gold, None) is True
        assert verify("numeric", solution, gold).is_correct


def tried(number: int, text: str, verdict: str) -> Rationale:
    key = RationaleKey(f"e{number}", Route.GENERATED, 0)
    return Rationale(key, text, verdict, "72", "anchor", 1, 1, "stop")


def test_an_audit_counts_both_sides_and_shows_some_of_them() -> None:
    config = StarConfig(kind=Kind.NUMERIC, audits=Audits(verdicts=100))
    tries = [tried(n, "#### 72", "correct") for n in range(10)]
    tries += [tried(n, "#### 71", "correct") for n in range(10, 17)]
    tries += [tried(17, "#### 72", "unparsed")]
    examples = {f"e{n}": Example(f"e{n}", "?", "72") for n in range(18)}
    found = audit_verdicts(config, 1, examples, tries)
    counts = {name: found[name] for name in ("checked", "agreed", "accepted", "refused", "undecided")}
    assert counts == {"checked": 18, "agreed": 10, "accepted": 7, "refused": 1, "undecided": 0}
    assert len(found["disagreements"]) == SHOWN
    assert {row["answer"] for row in found["disagreements"]} == {"72"}


def test_the_draw_depends_on_seed_and_iteration_and_on_no_order() -> None:
    tries = [tried(n, "#### 71", "correct") for n in range(60)]
    examples = {f"e{n}": Example(f"e{n}", "?", "72") for n in range(60)}
    config = StarConfig(kind=Kind.NUMERIC, audits=Audits(verdicts=5))
    first = audit_verdicts(config, 1, examples, tries)
    assert first == audit_verdicts(config, 1, examples, tries[::-1])
    assert first != audit_verdicts(config, 2, examples, tries)
    off = StarConfig(kind=Kind.NUMERIC, audits=Audits(verdicts=0))
    assert audit_verdicts(off, 1, examples, tries)["checked"] == 0
