"""The coach: what an iteration's records say should be changed, each with its evidence and a fix.

Rules over recorded facts, one function each; none asks a model anything. A rule speaks where its counts are
too many for an accident (FEW and SOME below) and the change that it proposes is not made yet. What it
proposes are settings for a new job like this one, or another prompt set: no rule changes anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from star_engine.config.star import MAX_TOKENS, StarConfig
from star_engine.config.training_set import Source
from star_engine.diagnostics.iteration import FEW_ROWS
from star_engine.evaluation.intervals import accuracy_interval
from star_engine.filters.funnel import needed
from star_engine.sampling.rationales import Route
from star_engine.tasks.registry import task_of

FEW = 5  # fewer texts than these may be an accident
SOME = 0.1  # of the tries: a smaller share costs little
MANY_TRIES = 8
WARM = 0.7  # a temperature at which tries differ
LUCKY = 0.3  # of the kept rationales, expected to be right by luck
REPEATED = 0.3  # of the right tries that are dropped as duplicates
AGREED = 0.9  # of the verdicts that the second method can decide
FEW_QUESTIONS = 100  # held out: below, one question is worth more than a point
EASY = 0.95  # a solve rate at which there is little left to learn

Change = Literal["settings", "prompt_set", "dataset", "review"]
Verdicts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Advice:
    """What one rule says. `settings` are merged into the job's; empty where the change is no setting."""

    code: str
    saw: str  # the evidence in a sentence
    do: str  # what to change, and why
    change: Change
    evidence: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is on record of one iteration; `first` are the metrics of iteration 0, where it has been measured.

    ambiguous: tries without a hint whose verdict is ambiguous, by the rule that says why.
    """

    config: StarConfig
    iteration: int
    metrics: Mapping[str, Any]
    first: Mapping[str, Any] = field(default_factory=dict)
    ambiguous: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdicts(self) -> Mapping[str, int]:
        """Of the tries without a hint."""
        found: Verdicts = self.metrics.get("sampled", {})
        return found.get(Route.GENERATED, {})

    @property
    def tries(self) -> int:
        return sum(self.verdicts.values())

    @property
    def dropped(self) -> Mapping[str, int]:
        """Tries without a hint by the reason for which they are not trained on."""
        found: Verdicts = self.metrics.get("dropped", {})
        return found.get(Route.GENERATED, {})

    @property
    def kept(self) -> Mapping[str, int]:
        found: Mapping[str, int] = self.metrics.get("kept", {})
        return found

    @property
    def audits(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.metrics.get("audits", {})
        return found

    @property
    def writes(self) -> bool:
        """Whether the model writes the rationales that it is trained on."""
        return self.config.training_set.source is Source.RATIONALES


def advise(facts: Facts) -> tuple[Advice, ...]:
    """What every rule that speaks says, in the order of RULES: what stops learning comes first."""
    found = (rule(facts) for rule in RULES)
    return tuple(one for one in found if one is not None)


def _base_unread(facts: Facts) -> Advice | None:
    """Baselines whose answers cannot be read: the format is at fault, not the reasoning."""
    for mode, found in facts.metrics.get("baselines", {}).items():
        unread = found["unparsed"] + found["ambiguous"]
        if unread >= FEW and unread >= 0.3 * found["n"]:
            shown = "with rationales" if mode == "few_shot_cot" else "without rationales"
            return Advice(
                "answers_unread",
                f"No answer can be read in {unread} of the base model's {found['n']} texts ({shown}).",
                "Before training, that is a matter of form: let every worked example end in the same words, "
                "as the kind expects them. The model copies what it is shown.",
                "prompt_set",
                {"unread": unread, "asked": found["n"]},
            )
    return None


def _letter_and_text(facts: Facts) -> Advice | None:
    count, ambiguous = facts.ambiguous.get("letter_and_text_disagree", 0), sum(facts.ambiguous.values())
    if not _many(count, facts.tries):
        return None
    return Advice(
        "letter_and_text_disagree",
        f"{count} of {ambiguous} ambiguous tries name one choice by its letter and another by its text.",
        'Let the worked examples end with the letter alone ("Therefore, the answer is (b)."): then '
        "nothing can disagree.",
        "prompt_set",
        {"disagreeing": count, "ambiguous": ambiguous, "tries": facts.tries},
    )


def _several_answers(facts: Facts) -> Advice | None:
    ambiguous = facts.verdicts.get("ambiguous", 0)
    if not _many(ambiguous, facts.tries) or _letter_and_text(facts):
        return None
    return Advice(
        "several_answers",
        f"{ambiguous} of {facts.tries} tries name more than one final answer.",
        "Let every worked example state its answer once, in its last sentence.",
        "prompt_set",
        {"ambiguous": ambiguous, "tries": facts.tries},
    )


def _unread(facts: Facts) -> Advice | None:
    unparsed = facts.dropped.get("unparsed", 0)
    if not _many(unparsed, facts.tries):
        return None
    return Advice(
        "no_answer_found",
        f"In {unparsed} of {facts.tries} tries no final answer can be read.",
        "Let every worked example end in the same words, as the kind expects them.",
        "prompt_set",
        {"unparsed": unparsed, "tries": facts.tries},
    )


def _cut_off(facts: Facts) -> Advice | None:
    """Tries, or held-out answers, that ran into the token limit before their answer."""
    limit = facts.config.generation.max_tokens
    cut, asked, what = facts.dropped.get("truncated", 0), facts.tries, "tries"
    held_out = facts.metrics.get("evaluated", {})
    if not _many(cut, asked):
        cut, asked, what = held_out.get("truncated", 0), held_out.get("n", 0), "held-out answers"
    if not _many(cut, asked) or limit >= MAX_TOKENS:
        return None
    more = min(2 * limit, MAX_TOKENS)
    return Advice(
        "cut_off",
        f"{cut} of {asked} {what} were cut off at {limit} tokens, before their answer.",
        f"Allow {more} tokens, or show shorter worked examples.",
        "settings",
        {"cut_off": cut, "asked": asked, "max_tokens": limit},
        {"generation": {"max_tokens": more}},
    )


def _few_rows(facts: Facts) -> Advice | None:
    rows, generation = sum(facts.kept.values()), facts.config.generation
    fixed = facts.config.controller is not None
    if not facts.kept or rows >= FEW_ROWS or generation.samples_per_example >= MANY_TRIES or fixed:
        return None
    right = facts.verdicts.get("correct", 0)
    if not facts.writes or not right or right >= EASY * facts.tries:
        return None  # more tries of what is never right find nothing, and of what always is, nothing new
    warm = max(generation.temperature, WARM)
    return Advice(
        "few_rows",
        f"Only {rows} rows are trained on: {right} of {facts.tries} tries are right.",
        f"Sample {MANY_TRIES} tries of each question at a temperature of {warm:g}: what is right sometimes "
        "is found more often, and several solutions of a question teach more than one.",
        "settings",
        {"rows": rows, "right": right, "tries": facts.tries},
        {"generation": {"samples_per_example": MANY_TRIES, "temperature": warm}},
    )


def _mostly_hinted(facts: Facts) -> Advice | None:
    rows, hinted = sum(facts.kept.values()), facts.kept.get(Route.RATIONALIZED, 0)
    if hinted < FEW or 2 * hinted <= rows or _checked(facts, "hint_free"):
        return None
    return Advice(
        "mostly_hinted",
        f"{hinted} of {rows} rows come from hints: the model was shown the answer that it explains.",
        "Such a text can follow the hint in place of the question. The check hint_free keeps those that lead "
        f"to the answer when they are read without it; here it costs {hinted} greedy completions.",
        "settings",
        {"hinted": hinted, "rows": rows},
        _with_check(facts, "hint_free"),
    )


def _speaks_of_hints(facts: Facts) -> Advice | None:
    found = facts.audits.get("hint_talk") or {}
    speaking, generated = found.get("speaking", 0), found.get("generated", 0)
    if not _many(speaking, generated) or _checked(facts, "hint_free") or _mostly_hinted(facts):
        return None
    return Advice(
        "speaks_of_hints",
        f"{speaking} of {generated} kept texts speak of a hint that they were not shown.",
        "Rationalized rows have taught that. The check hint_free keeps such rows out.",
        "settings",
        {"speaking": speaking, "generated": generated},
        _with_check(facts, "hint_free"),
    )


def _by_luck(facts: Facts) -> Advice | None:
    found = facts.audits.get("luck") or {}
    kept, lucky = found.get("kept", 0), found.get("expected_lucky", 0)
    fits = task_of(facts.config.kind).takes_choices
    if kept < FEW or lucky < LUCKY * kept or _checked(facts, "permuted_choices"):
        return None
    do = (
        "The check permuted_choices asks each of them again with its choices in another order, and keeps "
        "what finds the answer there too."
        if fits
        else "Questions with open answers, or with more choices, make a right answer better evidence."
    )
    return Advice(
        "right_by_luck",
        f"About {lucky:.0f} of {kept} kept rationales are right by luck: guessing is right on "
        f"{100 * found['chance']:.0f} %.",
        do,
        "settings" if fits else "dataset",
        {"lucky": lucky, "kept": kept, "chance": found["chance"]},
        _with_check(facts, "permuted_choices") if fits else {},
    )


def _repeats(facts: Facts) -> Advice | None:
    generation = facts.config.generation
    same, right = facts.dropped.get("duplicate", 0), facts.verdicts.get("correct", 0)
    if same < FEW or same < REPEATED * right or generation.temperature >= 1 or facts.config.controller:
        return None
    warmer = min(1.0, round(max(generation.temperature + 0.2, WARM), 2))
    return Advice(
        "tries_repeat",
        f"{same} of {right} right tries repeat another one word for word.",
        f"Sample at a temperature of {warmer:g} in place of {generation.temperature:g}: equal tries cost the "
        "same and teach nothing more.",
        "settings",
        {"duplicates": same, "right": right, "temperature": generation.temperature},
        {"generation": {"temperature": warmer}},
    )


def _doubted(facts: Facts) -> Advice | None:
    found = facts.audits.get("verdicts") or {}
    decided = found.get("checked", 0) - found.get("undecided", 0)
    doubted = decided - found.get("agreed", 0)
    if doubted < FEW or found["agreed"] >= AGREED * decided:
        return None
    return Advice(
        "verdicts_doubted",
        f"A second way to read answers disagrees with {doubted} of {decided} verdicts.",
        "Read some of them: either the answers are written in a form that the verifier misreads, or the gold "
        "answers are. Wrong verdicts train.",
        "review",
        {"doubted": doubted, "decided": decided},
    )


def _worse_than_few_shot(facts: Facts) -> Advice | None:
    few_shot = facts.first.get("accuracy")
    asked, training = facts.metrics.get("evaluated", {}).get("n", 0), facts.config.training
    if few_shot is None or not asked or "accuracy" not in facts.metrics:
        return None
    right = round(facts.metrics["accuracy"] * asked)
    if accuracy_interval(right, asked).high >= few_shot:
        return None
    slower = float(f"{training.learning_rate / 3:.1g}")
    return Advice(
        "below_few_shot",
        f"The adapter is right on {100 * right / asked:.1f} % of {asked} held-out questions, few-shot "
        f"prompting on {100 * few_shot:.1f} %: more than chance explains.",
        "Training has taken something away. Read the questions that it lost; a learning rate of "
        f"{slower:g} in place of {training.learning_rate:g} changes the model less.",
        "settings",
        {"accuracy": right / asked, "few_shot": few_shot, "questions": asked},
        {"training": {"learning_rate": slower}},
    )


def _few_questions(facts: Facts) -> Advice | None:
    asked = facts.metrics.get("evaluated", {}).get("n", 0)
    if not 0 < asked < FEW_QUESTIONS:
        return None
    found = accuracy_interval(round(facts.metrics["accuracy"] * asked), asked)
    limit = facts.config.evaluation.max_examples
    do = f"Ask all held-out questions in place of {limit}." if limit else "Hold out more questions."
    return Advice(
        "few_held_out",
        f"The accuracy is measured on {asked} questions: it may be anything from {100 * found.low:.0f} to "
        f"{100 * found.high:.0f} %.",
        f"{do} On so few a real gain looks like chance, and chance like a gain.",
        "settings" if limit else "dataset",
        {"questions": asked, "low": found.low, "high": found.high},
        {"evaluation": {"max_examples": None}} if limit else {},
    )


def _too_easy(facts: Facts) -> Advice | None:
    rate = facts.metrics.get("solve_rate")
    if rate is None or rate < EASY or not facts.writes:
        return None
    return Advice(
        "train_is_solved",
        f"{100 * rate:.1f} % of the train examples are solved without a hint.",
        "There is little left to learn from them: add harder ones.",
        "dataset",
        {"solve_rate": rate},
    )


def _many(count: int, of: int) -> bool:
    return count >= FEW and count >= SOME * of


def _checked(facts: Facts, check: str) -> bool:
    return check in facts.config.training_set.checks


def _with_check(facts: Facts, check: str) -> Mapping[str, Any]:
    fitting: Sequence[str] = needed((check,), facts.config.kind, Route.RATIONALIZED)
    checks = [*facts.config.training_set.checks, *fitting]
    return {"training_set": {"checks": checks}}


RULES: tuple[Callable[[Facts], Advice | None], ...] = (
    _base_unread,
    _letter_and_text,
    _several_answers,
    _unread,
    _cut_off,
    _few_rows,
    _worse_than_few_shot,
    _mostly_hinted,
    _speaks_of_hints,
    _by_luck,
    _repeats,
    _doubted,
    _too_easy,
    _few_questions,
)
