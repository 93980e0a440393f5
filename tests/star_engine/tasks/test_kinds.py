"""The kinds that the paper does not have: exact, math and pattern, through prompts, data and whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.presets import PRESETS
from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.prompts import hint_text, render_prompt
from star_engine.data.readers import read_example
from star_engine.data.row_errors import BadRows
from star_engine.data.validation import Unfit, check_answers
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from tests.star_engine.capitals import PATTERN, config, examples, few_shot, pupil, reasons

KINDS = [Kind.EXACT, Kind.MATH, Kind.PATTERN]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_run_learns_from_the_answers_that_its_kind_reads(kind: Kind, tmp_path: Path) -> None:
    script = pupil(kind)
    sampler, trainer = ScriptedSampler(script), RecordingTrainer(script)
    train, held_out = examples()[:4], examples()[4:]
    events = list(run_star(config(kind), train, held_out, few_shot(kind), sampler, trainer, tmp_path))
    assert events[-1].facts["reason"] == "completed_iterations"
    record = RunDirectory(tmp_path)
    routes = {row.key.example_id: str(row.key.route) for row in record.training_set(1)}
    assert routes == {
        "France": "generated",
        "Norway": "generated",
        "Japan": "rationalized",
        "Kenya": "rationalized",
    }
    assert {(known.number, known.accuracy) for known in record.history()} == {(0, 0.5), (1, 1.0)}
    assert all("(Tokyo)" not in row.prompt for row in trainer.runs[0].rows)


@pytest.mark.parametrize("kind", KINDS)
def test_questions_are_laid_out_as_the_numeric_ones_with_the_hint_behind_them(kind: Kind) -> None:
    asked = Example("x", "Capital of Peru?", "Lima")
    prompt_set = PromptSet(kind, (FewShotExample("Capital of Chile?", "It is Santiago.", "Santiago"),))
    shown = "\nA: It is Santiago.\n\nQ: Capital of Peru?"
    assert render_prompt(kind, prompt_set, asked) == f"Q: Capital of Chile?{shown}\nA:"
    hinted = render_prompt(kind, prompt_set, asked, hint=True)
    assert hinted == f"Q: Capital of Chile? (Santiago){shown} (Lima)\nA:"
    assert hint_text(kind, asked) == "(Lima)"
    assert render_prompt(kind, prompt_set, asked, direct=True).startswith(
        "Q: Capital of Chile?\nA: Santiago\n\n"
    )


def test_a_text_is_read_as_the_kind_that_it_is_said_to_be() -> None:
    exact = read_prompt_set("Q: Capital of Peru?\nA: I know. #### Lima", Kind.EXACT)
    assert (exact.kind, exact.examples[0].answer) == (Kind.EXACT, "Lima")
    halves = read_prompt_set("Q: Half?\nA: One of two: \\boxed{\\frac{1}{2}}", Kind.MATH)
    assert (halves.kind, halves.examples[0].answer) == (Kind.MATH, "\\frac{1}{2}")
    with pytest.raises(BadRows, match="only the job's pattern"):
        read_prompt_set("Q: Capital of Peru?\nA: Final answer: Lima", Kind.PATTERN)


def test_what_the_pattern_will_find_is_left_to_the_job() -> None:
    row = {"question": "Capital of Peru?", "rationale": "Final answer: Lima", "answer": "Lima"}
    prompt_set = read_prompt_set({"kind": "pattern", "examples": [row]})
    assert read_example({"question": "Capital of Cuba?", "answer": "Havana"}, Kind.PATTERN).answer == "Havana"
    check_answers(config(Kind.PATTERN), prompt_set, examples())
    with pytest.raises(Unfit, match=r"Does not lead to its own answer 'Lima': no answer"):
        check_answers(config(Kind.PATTERN, verifier={"pattern": r"= (\w+)"}), prompt_set, [])


def test_a_gold_that_the_pattern_reads_as_something_else_is_refused_with_its_row() -> None:
    golds = [*examples(), Example("row-7", "Capital of Chad?", "Final answer: N Djamena")]
    with pytest.raises(
        Unfit, match=r"of example 'row-7' does not verify against itself .* Shorten it"
    ) as bad:
        check_answers(config(Kind.PATTERN), few_shot(Kind.PATTERN), golds)
    assert (bad.value.field, [error.line for error in bad.value.errors]) == ("config.verifier.pattern", [7])


def test_a_kind_that_does_not_fit_the_answers_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    sampler = ScriptedSampler({})
    numeric = StarConfig(kind=Kind.NUMERIC)
    shown = PromptSet(Kind.NUMERIC, (FewShotExample("How many?", "Two. #### 2", "2"),))
    with pytest.raises(Unfit, match=r"config.kind: The answer 'Paris' of example 'France' is not one number"):
        list(run_star(numeric, examples(), examples(), shown, sampler, RecordingTrainer(), tmp_path / "run"))
    assert not sampler.requests
    assert not (tmp_path / "run").exists()


def test_the_kind_pattern_needs_a_pattern() -> None:
    with pytest.raises(Unfit, match="needs the option pattern, a regular expression like"):
        check_answers(StarConfig(kind=Kind.PATTERN), few_shot(Kind.PATTERN), examples())


@pytest.mark.parametrize(
    ("kind", "verifier", "fix"),
    [
        ("pattern", {"pattern": "(a+)+\\1"}, "no look-ahead, look-behind or back-references; put the answer"),
        ("pattern", {"pattern": "("}, "is refused by RE2"),
        ("pattern", {"pattern": ".*"}, "require at least one character"),
        ("pattern", {"pattern": "(a)(b)"}, r"name the one that holds the answer \(\?P<answer>"),
        ("numeric", {"pattern": PATTERN}, "the kind numeric has no option 'pattern'; its options: fallback"),
        ("exact", {"fallback": "last_number"}, "the kind exact has no option 'fallback'; its options: none"),
        ("numeric", {"fallback": "first_number"}, "last_number"),
        ("math", {"timeout_s": 0}, "greater than 0"),
    ],
)
def test_a_verifier_option_that_cannot_work_is_refused_with_the_mend(
    kind: str, verifier: dict[str, Any], fix: str
) -> None:
    with pytest.raises(ValidationError, match=fix):
        StarConfig.model_validate({"kind": kind, "verifier": verifier})


def test_the_last_number_counts_only_where_the_job_says_so(tmp_path: Path) -> None:
    shown = PromptSet(Kind.NUMERIC, (FewShotExample("Two and two?", "Add them. #### 4", "4"),))
    asked = [Example(str(n), f"{n} and {n}?", str(2 * n)) for n in (3, 5)]
    script = {f"Q: {n} and {n}?": f" numbers like {n}, {n}, {2 * n}" for n in (3, 5)}

    def answer(request: Any, adapter: Path | None) -> str:
        return next(text for asks, text in script.items() if asks in request.prompt) + " ." * bool(adapter)

    found = {}
    for fallback in (None, "last_number"):
        settings = config(Kind.NUMERIC, verifier={"fallback": fallback}, training_set={"filters": ()})
        run = run_star(
            settings,
            asked,
            asked,
            shown,
            ScriptedSampler(answer),
            RecordingTrainer(answer),
            tmp_path / f"{fallback}",
        )
        last = list(run)[-1]
        found[fallback] = last.facts["reason"], last.facts.get("diagnosis", "")[:20]
    assert found[None] == ("insufficient_kept", "0 of 4 rationales we")
    assert found["last_number"] == ("completed_iterations", "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_preset_takes_the_kind(kind: Kind) -> None:
    assert all(preset(kind).kind is kind for preset in PRESETS.values())


def test_a_right_text_is_read_by_each_kind() -> None:
    assert reasons("Peru", "Lima", Kind.EXACT).endswith("The answer is Lima.")
