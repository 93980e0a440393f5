"""Diversity, length and likeness of rationales, on texts whose numbers can be counted by hand."""

from star_engine.diagnostics.texts import diversity, few_shot_similarity, length
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind


def tried(name: str, text: str, sample: int = 0, tokens: int = 4) -> Rationale:
    key = RationaleKey(name, Route.GENERATED, sample)
    return Rationale(key, text, "correct", None, "", 1, tokens, "stop")


def test_distinct_ngrams_fall_where_texts_repeat_each_other() -> None:
    same = [tried("x", "a b c d"), tried("y", "a b c d")]
    assert diversity(same, same)["distinct_1"] == 0.5
    assert diversity(same, same)["distinct_3"] == 0.5
    other = [tried("x", "a b c d"), tried("y", "e f g h")]
    assert diversity(other, other)["distinct_2"] == 1.0
    assert diversity([], [])["distinct_1"] is None


def test_solutions_are_unique_per_example_and_case_does_not_make_another() -> None:
    correct = [tried("x", "a b"), tried("x", "A  b", 1), tried("x", "c", 2), tried("y", "a b")]
    assert diversity(correct, correct)["solutions_per_example"] == 1.5
    assert diversity([], [])["solutions_per_example"] is None


def test_length_drifts_against_the_iteration_before() -> None:
    kept = [tried("x", "", tokens=10), tried("y", "", tokens=20), tried("z", "", tokens=60)]
    assert length(kept, None) == {"mean": 30.0, "median": 20.0, "drift": None}
    assert length(kept, 20.0)["drift"] == 0.5
    assert length([], 20.0) == {"mean": None, "median": None, "drift": None}


def test_likeness_is_to_the_few_shot_examples_that_the_example_was_shown() -> None:
    shown = FewShotExample("?", "one two three four five", "5", group="1")
    other = FewShotExample("?", "six seven eight nine ten", "10", group="2")
    prompt_set = PromptSet(Kind.NUMERIC, (shown, other))
    examples = {name: Example(name, "?", "5", group="1") for name in "xy"}
    copied, own = tried("x", "one two three four five"), tried("y", "six seven eight nine ten")
    assert few_shot_similarity(prompt_set, examples, [copied]) == 1.0
    assert few_shot_similarity(prompt_set, examples, [own]) == 0.0
    assert few_shot_similarity(prompt_set, examples, [copied, own]) == 0.5
    assert few_shot_similarity(prompt_set, examples, []) is None
