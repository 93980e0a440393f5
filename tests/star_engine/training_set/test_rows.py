from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.star import Rationalization, StarConfig
from star_engine.config.training_set import TrainingSetOptions
from star_engine.data.prompts import render_prompt
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.hints import HINT_MARK
from star_engine.tasks.kind import Kind
from star_engine.training_set.diagnosis import diagnose
from star_engine.training_set.rows import (
    Coverage,
    Decision,
    HintLeak,
    TrainingExample,
    audit_hints,
    build,
    coverage,
    decide,
    training_line,
    training_set_sha256,
)
from star_engine.training_set.window import in_window, window

CHOICE = PromptSet(
    Kind.CHOICE,
    (
        FewShotExample(
            "What requires cable?",
            "Cable carries channels to televisions. Therefore, the answer is television (b).",
            "b",
            ("desk", "television"),
        ),
    ),
)
INK = Example("ink", "What absorbs ink?", "b", ("inkwell", "blotter", "pocket"))
FOX = Example("fox", "Where does a fox sleep?", "a", ("den", "city", "desk"))
EXAMPLES = [INK, FOX]
GOOD = "Blotters are made to take up liquids such as ink. Therefore, the answer is blotter (b)."
GOOD_FOX = "Foxes dig dens and sleep in them by day. Therefore, the answer is den (a)."


def tried(
    example: Example,
    text: str,
    verdict: str = "correct",
    route: Route = Route.GENERATED,
    sample: int = 0,
    **fields: Any,
) -> Rationale:
    key = RationaleKey(example.id, route, sample)
    rationale = Rationale(key, text, verdict, None, "answer_is", 10, 20, "stop")
    return replace(rationale, **fields)


def config(**options: Any) -> StarConfig:
    return StarConfig(kind=Kind.CHOICE, training_set=TrainingSetOptions(**options))


def reasons(settings: StarConfig, *rationales: Rationale) -> list[str]:
    return [decision.reason for decision in decide(settings, CHOICE, EXAMPLES, rationales)]


def built(settings: StarConfig, *rationales: Rationale) -> tuple[TrainingExample, ...]:
    decisions = decide(settings, CHOICE, EXAMPLES, rationales)
    return build(settings, CHOICE, EXAMPLES, rationales, decisions)


def test_only_correct_rationales_are_kept_and_the_others_say_why() -> None:
    found = reasons(
        config(),
        tried(INK, GOOD),
        tried(INK, "So (a).", "wrong", sample=1),
        tried(INK, "Hm.", "unparsed", sample=2),
        tried(INK, "Hm and hm and", "unparsed", sample=3, finish_reason="length"),
        tried(INK, "(a) or (b).", "ambiguous", sample=4),
        tried(INK, "", "error", sample=5),
    )
    assert found == ["kept", "wrong", "unparsed", "truncated", "ambiguous", "error"]


def test_every_rationale_gets_exactly_one_decision_in_a_fixed_order() -> None:
    rationales = [
        tried(FOX, GOOD_FOX),
        tried(INK, GOOD, route=Route.RATIONALIZED),
        tried(INK, "So (a).", "wrong", sample=1),
        tried(INK, "So (c).", "wrong"),
    ]
    forwards = decide(config(), CHOICE, EXAMPLES, rationales)
    backwards = decide(config(), CHOICE, EXAMPLES, rationales[::-1])
    assert forwards == backwards
    order = [(d.key.example_id, str(d.key.route), d.key.sample) for d in forwards]
    assert order == [
        ("ink", "generated", 0),
        ("ink", "generated", 1),
        ("ink", "rationalized", 0),
        ("fox", "generated", 0),
    ]


def test_filters_drop_correct_rationales_with_their_name() -> None:
    leaky = f"The choice marked {HINT_MARK} is blotter. Therefore, the answer is blotter (b)."
    bare = "Therefore, the answer is blotter (b)."
    rationales = (tried(INK, leaky, route=Route.RATIONALIZED), tried(INK, bare))
    assert reasons(config(), *rationales) == ["answer_only", "hint_markers"]
    assert reasons(config(filters=("hint_markers",)), *rationales) == ["kept", "hint_markers"]
    assert reasons(config(filters=()), *rationales) == ["kept", "kept"]


def test_rows_of_an_example_with_the_same_calculations_are_capped_by_solution() -> None:
    texts = [
        "Two drops and three: 2 + 3 = 5, all drunk up. Therefore, the answer is blotter (b).",
        "Of 2+3=5 drops a blotter leaves none. Therefore, the answer is blotter (b).",
        "Of five drops 5 - 3 = 2 are left elsewhere. Therefore, the answer is blotter (b).",
        "Here 2 + 3 = 5 drops are gone at once. Therefore, the answer is blotter (b).",
    ]
    tries = [tried(INK, text, sample=n) for n, text in enumerate(texts)]
    assert reasons(config(), *tries) == ["kept"] * 4
    assert reasons(config(max_per_solution=1), *tries) == ["kept", "same_solution", "kept", "same_solution"]
    assert reasons(config(max_per_solution=2), *tries) == ["kept", "kept", "kept", "same_solution"]
    both = config(max_per_solution=1, max_per_example=2)
    assert reasons(both, *tries) == ["kept", "same_solution", "kept", "same_solution"], "two distinct ones"
    other = tried(FOX, "A den holds 2 + 3 = 5 foxes. Therefore, the answer is den (a).")
    assert reasons(config(max_per_solution=1), tries[0], other) == ["kept", "kept"]


def test_duplicates_are_counted_before_the_filters_and_the_cap_after_them() -> None:
    other = "Ink spreads, and blotters drink it up. Therefore, the answer is blotter (b)."
    third = "Wet pages are pressed under a sheet until dry. Therefore, the answer is blotter (b)."
    tries = [tried(INK, text, sample=n) for n, text in enumerate([GOOD, GOOD, other, third])]
    assert reasons(config(), *tries) == ["kept", "duplicate", "kept", "kept"]
    assert reasons(config(dedupe=False), *tries) == ["kept"] * 4
    assert reasons(config(max_per_example=2), *tries) == ["kept", "duplicate", "kept", "cap"]
    bare = [tried(INK, "So the answer is blotter (b).", sample=n) for n in range(2)]
    assert reasons(config(max_per_example=1), *bare, tried(INK, GOOD, sample=2)) == [
        "answer_only",
        "duplicate",
        "kept",
    ]


def test_the_same_text_for_two_examples_is_no_duplicate() -> None:
    twin = replace(INK, id="twin", question="What takes up ink?")
    rationales = [tried(INK, GOOD), tried(twin, GOOD)]
    assert [d.reason for d in decide(config(), CHOICE, [INK, twin], rationales)] == ["kept", "kept"]


def test_hint_never_reaches_the_training_set() -> None:
    (row,) = built(config(), tried(INK, GOOD, route=Route.RATIONALIZED))
    assert row.prompt == "Q: What absorbs ink?\nAnswer Choices:\n(a) inkwell\n(b) blotter\n(c) pocket\nA:"
    assert row.completion == f" {GOOD}"
    assert row.prompt == render_prompt(Kind.CHOICE, CHOICE, INK, few_shot=False)


def test_few_shot_examples_enter_the_training_prompt_only_where_asked_and_unhinted() -> None:
    (row,) = built(config(few_shot_in_prompt=True), tried(INK, GOOD, route=Route.RATIONALIZED))
    assert row.prompt.startswith("Q: What requires cable?")
    assert HINT_MARK not in row.prompt


def test_few_shot_examples_enter_the_training_prompts_of_a_share_of_the_examples() -> None:
    many = [replace(INK, id=f"ink-{n}") for n in range(200)]
    rationales = [tried(example, GOOD) for example in many]

    def shown(share: float, seed: int = 0) -> set[str]:
        settings = config(few_shot_in_prompt=share).model_copy(update={"seed": seed})
        rows = build(settings, CHOICE, many, rationales, decide(settings, CHOICE, many, rationales))
        audit_hints(settings, CHOICE, many, rationales, rows)
        return {row.key.example_id for row in rows if "What requires cable?" in row.prompt}

    assert shown(0.0) == set()
    assert len(shown(1.0)) == 200
    assert 35 <= len(shown(0.3)) <= 85
    assert shown(0.3) < shown(0.6)
    assert shown(0.3) != shown(0.3, seed=1)
    assert config(few_shot_in_prompt=True).training_set.few_shot_in_prompt is True


def test_a_row_whose_few_shot_examples_the_dice_did_not_ask_for_stops_the_job() -> None:
    with pytest.raises(HintLeak, match="not rendered from its example"):
        audit(built(config(few_shot_in_prompt=True), *RATIONALES), RATIONALES, config())


def test_a_rationale_of_an_unknown_example_is_refused() -> None:
    stranger = tried(replace(INK, id="stranger"), GOOD)
    with pytest.raises(ValueError, match="stranger"):
        decide(config(), CHOICE, EXAMPLES, [stranger])


RATIONALES = [tried(INK, GOOD, route=Route.RATIONALIZED), tried(FOX, GOOD_FOX)]
ROWS = built(config(), *RATIONALES)


def audit(rows: tuple[TrainingExample, ...], rationales: list[Rationale], settings: StarConfig) -> None:
    audit_hints(settings, CHOICE, EXAMPLES, rationales, rows)


@pytest.mark.parametrize("few_shot", [False, True])
def test_a_clean_training_set_passes_the_audit(few_shot: bool) -> None:
    settings = config(few_shot_in_prompt=few_shot)
    audit(built(settings, *RATIONALES), RATIONALES, settings)


def _hinted(row: TrainingExample) -> TrainingExample:
    return replace(row, prompt=render_prompt(Kind.CHOICE, CHOICE, INK, hint=True, few_shot=False))


def keeping(share: float) -> StarConfig:
    return StarConfig(kind=Kind.CHOICE, rationalization=Rationalization(p_keep_hint=share))


def test_hints_are_kept_in_the_training_prompts_of_a_share_of_the_rationalized_and_recorded() -> None:
    many = [replace(INK, id=f"ink-{n}") for n in range(200)]
    routes = [Route.RATIONALIZED if n < 150 else Route.GENERATED for n in range(200)]
    rationales = [tried(example, GOOD, route=route) for example, route in zip(many, routes, strict=True)]
    settings = keeping(0.4)
    rows = build(settings, CHOICE, many, rationales, decide(settings, CHOICE, many, rationales))
    hinted = [row for row in rows if row.hinted]
    assert 35 <= len(hinted) <= 85
    assert {row.key.route for row in hinted} == {Route.RATIONALIZED}
    assert [row for row in rows if HINT_MARK in row.prompt] == hinted
    audit_hints(settings, CHOICE, many, rationales, rows)
    assert training_line(hinted[0]).endswith('"hinted": true}')
    assert not any("hinted" in training_line(row) for row in rows if not row.hinted)


def test_a_hint_that_stays_without_being_recorded_or_allowed_stops_the_job() -> None:
    kept, dropped = built(keeping(1.0), *RATIONALES), built(keeping(0.0), *RATIONALES)
    assert [row.hinted for row in kept] == [True, False]
    audit(kept, RATIONALES, keeping(1.0))
    unrecorded = (replace(kept[0], hinted=False), kept[1])
    invented = (kept[0], replace(_hinted(kept[1]), hinted=True))
    stripped = (replace(dropped[0], hinted=True), dropped[1])
    for rows, settings in (
        (kept, keeping(0.0)),
        (dropped, keeping(1.0)),
        (unrecorded, keeping(1.0)),
        (unrecorded, keeping(0.0)),
        (invented, keeping(1.0)),
        (stripped, keeping(1.0)),
    ):
        with pytest.raises(HintLeak):
            audit(rows, RATIONALES, settings)


def _spaced(row: TrainingExample) -> TrainingExample:
    return replace(row, prompt=f"{row.prompt} ")


def _edited(row: TrainingExample) -> TrainingExample:
    return replace(row, completion=row.completion.replace("(b)", "(a)"))


def _other_key(row: TrainingExample) -> TrainingExample:
    return replace(row, key=replace(row.key, sample=7))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_hinted, "not rendered from its example"),
        (_spaced, "not rendered from its example"),
        (_edited, "not its rationale"),
        (_other_key, "exactly one correct rationale"),
    ],
)
def test_a_row_that_is_not_its_rationale_rendered_anew_stops_the_job(
    damage: Callable[[TrainingExample], TrainingExample], reason: str
) -> None:
    with pytest.raises(HintLeak, match=reason):
        audit((damage(ROWS[0]), *ROWS[1:]), RATIONALES, config())


def test_a_row_of_a_wrong_rationale_or_a_repeated_row_stops_the_job() -> None:
    wrong = [replace(RATIONALES[0], verdict="wrong"), RATIONALES[1]]
    with pytest.raises(HintLeak, match="exactly one correct"):
        audit(ROWS, wrong, config())
    with pytest.raises(HintLeak, match="exactly one correct"):
        audit((ROWS[0], *ROWS), RATIONALES, config())


def test_a_template_that_shows_the_answer_stops_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting reaches the unhinted prompt, so that only a mistake in the code can do this."""

    def leaky(kind: Kind, prompt_set: PromptSet, example: Example, **options: Any) -> str:
        return f"{render_prompt(kind, prompt_set, example, **options)} ({example.answer})"

    monkeypatch.setattr("star_engine.training_set.rows.render_prompt", leaky)
    rows = built(config(), *RATIONALES)
    with pytest.raises(HintLeak, match="depends on the gold answer"):
        audit(rows, RATIONALES, config())


def test_a_question_that_carries_the_hint_mark_stops_the_job() -> None:
    """Rows scraped from hinted prompts: every prompt would show which choice is right, hint strip or not."""
    marked = replace(INK, choices=("inkwell", f"blotter {HINT_MARK}", "pocket"))
    rationales = [tried(marked, GOOD)]
    rows = build(config(), CHOICE, [marked], rationales, decide(config(), CHOICE, [marked], rationales))
    with pytest.raises(HintLeak, match="carries the hint mark"):
        audit_hints(config(), CHOICE, [marked], rationales, rows)


answers = st.integers(0, 10**6).map(str)


@given(st.sampled_from([Kind.NUMERIC, Kind.SCRATCHPAD]), st.text("ab 19+?", min_size=1), answers)
def test_the_training_prompt_is_blind_to_the_answer(kind: Kind, question: str, answer: str) -> None:
    settings = StarConfig(kind=kind, training_set=TrainingSetOptions(filters=()))
    example = Example("x", question, answer)
    rationales = [tried(example, f"Said so.\n#### {answer}", route=Route.RATIONALIZED)]
    decisions = [Decision(rationales[0].key, True, "kept")]
    rows = build(settings, PromptSet(kind, ()), [example], rationales, decisions)
    audit_hints(settings, PromptSet(kind, ()), [example], rationales, rows)
    assert (
        rows[0].prompt
        == build(settings, PromptSet(kind, ()), [replace(example, answer="other")], rationales, decisions)[
            0
        ].prompt
    )


def test_the_sha256_depends_on_the_rows_and_on_nothing_else() -> None:
    again = built(config(), *RATIONALES[::-1])
    assert training_set_sha256(ROWS) == training_set_sha256(again)
    assert training_set_sha256(ROWS) != training_set_sha256(ROWS[:1])
    assert training_set_sha256(()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert '"route": "rationalized"' in training_line(ROWS[0])


def test_the_window_reaches_back_as_far_as_asked() -> None:
    assert [list(window(config(), n)) for n in (1, 2, 5)] == [[1], [2], [5]]
    assert [list(window(config(window=3), n)) for n in (1, 2, 5)] == [[1], [1, 2], [3, 4, 5]]
    assert list(window(config(window="all"), 4)) == [1, 2, 3, 4]


def test_earlier_training_sets_add_what_is_new_and_never_more_than_the_cap() -> None:
    old = built(config(), tried(INK, GOOD), tried(FOX, GOOD_FOX))
    new = built(config(), tried(INK, GOOD), tried(FOX, GOOD_FOX.replace("by day", "all day")))
    assert in_window(config(), [new]) == new
    assert in_window(config(), [old, new]) == (*new, old[1])
    assert in_window(config(dedupe=False), [old, new]) == (*new, *old)
    assert in_window(config(max_per_example=1), [old, new]) == new


def test_coverage_counts_every_example_once() -> None:
    rows = [
        replace(ROWS[0], key=RationaleKey("ink", Route.GENERATED, 0)),
        replace(ROWS[0], key=RationaleKey("ink", Route.GENERATED, 1)),
        replace(ROWS[0], key=RationaleKey("fox", Route.RATIONALIZED, 0)),
    ]
    more = [*EXAMPLES, replace(INK, id="x"), replace(INK, id="y")]
    assert coverage(more, rows) == Coverage(examples=4, generated=1, rationalized=1)
    assert coverage(more, rows).share == 0.5
    assert coverage([], []).share == 0.0


def decisions(*fates: str) -> list[Decision]:
    keys = [RationaleKey(f"e{n}", Route.GENERATED, 0) for n in range(len(fates))]
    return [Decision(key, fate == "kept", fate) for key, fate in zip(keys, fates, strict=True)]


def test_the_diagnosis_counts_every_fate_and_advises_on_the_most_frequent() -> None:
    text = diagnose(decisions("truncated", "wrong", "truncated", "kept"))
    assert text.startswith("1 of 4 rationales were kept; dropped: 2 truncated, 1 wrong. ")
    assert "generation.max_tokens" in text
    assert "'answer_only'" in diagnose(decisions("answer_only", "answer_only"))
    assert "empty" in diagnose([])
    assert "min_kept" in diagnose(decisions("kept"))
