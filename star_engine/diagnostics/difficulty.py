"""How hard a sample of the train questions is for the base model, and what a job would get out of it.

A question that is always answered right teaches nothing new; one that is never answered right gives no row
without a hint. What self-training lives on are the questions between.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import outcome
from star_engine.evaluation.collapse import PassPoint
from star_engine.evaluation.intervals import Interval, accuracy_interval, share_interval
from star_engine.evaluation.report import percent
from star_engine.evaluation.test_time import pass_at
from star_engine.sampling.labels import labelled
from star_engine.sampling.probe import GREEDY_TEMPERATURE, TRIES, counted
from star_engine.sampling.rationales import WITH_HINT, Rationale, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import decide, in_order

KS = (1, 2, 4, TRIES)
MUCH, MOST, SOME = 0.8, 0.9, 0.1  # shares from which something is said
WORTH_IT = 0.1  # by how much sampling has to solve more than one greedy try


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the probed questions, with the exact interval of their share."""

    count: int
    share: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that one iteration is expected to keep; low and high: as far as the probed questions can tell."""

    low: int
    expected: int
    high: int


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that the tries speak for, or that they warn of."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What a probe found. Shares are of questions, `truncated` and `unparsed` of tries."""

    questions: int
    tries: int  # to each question, of which shares and pass@k are counted
    temperature: float  # of these
    all_wrong: Part
    mixed: Part
    all_right: Part
    passed: tuple[PassPoint, ...]  # pass@k
    solved: Part  # by the tries that the job itself makes in an iteration
    rationalized: Part | None  # of those not solved so: right with a hint; null where none was tried
    truncated: float
    unparsed: float
    kept: Mapping[str, int]  # rows of the probed questions that a training set would keep, by route
    rows: Rows
    advice: tuple[Advice, ...]


def difficulty(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    tries: Sequence[Rationale],
    asked: int,
) -> Difficulty:
    """`tries`: of a finished probe, at these examples. asked: train questions of one iteration of the job.

    Kept rows are counted by the job's own filters, without the checks that cost samples.
    """
    numbers = counted(config)
    right: dict[str, list[bool]] = {example.id: [] for example in examples}
    for one in tries:
        if one.key.route is Route.GENERATED and one.key.sample in numbers:
            right[one.key.example_id].append(one.verdict == VerdictCode.CORRECT)
    whole = {name: sum(found) for name, found in right.items() if len(found) == TRIES}
    n = len(whole)
    if not n:
        raise ValueError("no question has all its tries yet")
    kept = _kept(config, prompt_set, examples, tries)
    found = Difficulty(
        questions=n,
        tries=TRIES,
        temperature=config.generation.temperature or GREEDY_TEMPERATURE,
        all_wrong=_part(sum(count == 0 for count in whole.values()), n),
        mixed=_part(sum(0 < count < TRIES for count in whole.values()), n),
        all_right=_part(sum(count == TRIES for count in whole.values()), n),
        passed=tuple(_passed(list(whole.values()), k) for k in KS),
        solved=_part(len(_solved(config, tries) & whole.keys()), n),
        rationalized=_rationalized(tries),
        truncated=_share_of_tries(tries, "truncated"),
        unparsed=_share_of_tries(tries, "unparsed"),
        kept=dict(sum(kept.values(), Counter[str]())),
        rows=_rows([sum(kept[name].values()) for name in whole], asked),
        advice=(),
    )
    return _advised(config, found)


def _solved(config: StarConfig, tries: Sequence[Rationale]) -> set[str]:
    own = range(config.generation.samples_per_example)
    return {
        one.key.example_id
        for one in tries
        if one.key.route is Route.GENERATED and one.key.sample in own and one.verdict == VerdictCode.CORRECT
    }


def _rationalized(tries: Sequence[Rationale]) -> Part | None:
    """Of the questions tried with a hint: those with a right try so."""
    hinted: dict[str, bool] = {}
    for one in tries:
        if one.key.route in WITH_HINT:
            known = hinted.get(one.key.example_id, False)
            hinted[one.key.example_id] = known or one.verdict == VerdictCode.CORRECT
    return _part(sum(hinted.values()), len(hinted)) if hinted else None


def _kept(
    config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example], tries: Sequence[Rationale]
) -> dict[str, Counter[str]]:
    """Rows of each example by route, of the tries that the job itself makes."""
    own = range(config.generation.samples_per_example)
    made = [one for one in tries if one.key.route in WITH_HINT or one.key.sample in own]
    options = config.training_set.model_copy(update={"checks": ()})
    settings = config.model_copy(update={"training_set": options})
    seen = labelled(settings, examples, in_order(examples, made))
    kept: dict[str, Counter[str]] = defaultdict(Counter)
    for one in decide(settings, prompt_set, seen.examples, seen.rationales):
        if one.kept:
            kept[one.key.example_id][str(one.key.route)] += 1
    return kept


def _part(count: int, n: int) -> Part:
    return Part(count, count / n, accuracy_interval(count, n))


def _passed(right: Sequence[int], k: int) -> PassPoint:
    values = [pass_at(TRIES, count, k) for count in right]
    return PassPoint(k, sum(values) / len(values), share_interval(values))


def _share_of_tries(tries: Sequence[Rationale], what: str) -> float:
    found = [outcome(one.verdict, one.finish_reason) for one in tries]
    return found.count(what) / len(found) if found else 0.0


def _rows(rows: Sequence[int], asked: int) -> Rows:
    """Rows of a whole iteration, from those of each probed question."""
    most = max(1, *rows)
    limits = share_interval([count / most for count in rows])
    scale = asked * most
    expected = round(asked * sum(rows) / len(rows))
    return Rows(int(scale * limits.low), expected, round(scale * limits.high))


def _advised(config: StarConfig, found: Difficulty) -> Difficulty:
    values = {name: getattr(found, name) for name in Difficulty.__slots__ if name != "advice"}
    return Difficulty(**values, advice=tuple(_advice(config, found)))


def _advice(config: StarConfig, found: Difficulty) -> Iterator[Advice]:
    """What the figures speak for, each with the figure."""
    yield from _text_advice(config, found)
    yield from _share_advice(config, found)
    yield from _hint_advice(config, found)
    if found.rows.expected < config.training_set.min_kept:
        yield Advice(
            "too_few_rows",
            f"An iteration is expected to keep {found.rows.expected} rows, and the job pauses below "
            f"{config.training_set.min_kept} (training_set.min_kept).",
        )
    if config.training_set.checks:
        names = ", ".join(config.training_set.checks)
        yield Advice(
            "unchecked", f"Fewer rows stay after the checks of the job, which were not made: {names}."
        )


def _text_advice(config: StarConfig, found: Difficulty) -> Iterator[Advice]:
    if found.truncated >= SOME:
        yield Advice(
            "truncated",
            f"{percent(found.truncated)} of the tries ran into the token limit before an answer: raise "
            f"generation.max_tokens above {config.generation.max_tokens}.",
        )
    if found.unparsed >= SOME:
        yield Advice(
            "unparsed",
            f"From {percent(found.unparsed)} of the tries no answer could be read: look at some, and show "
            "the wanted form in the prompt set.",
        )


def _share_advice(config: StarConfig, found: Difficulty) -> Iterator[Advice]:
    wrong, easy, best = found.all_wrong.share, found.all_right.share, found.passed[-1].value
    if wrong >= MOST:
        yield Advice(
            "too_hard",
            f"{percent(wrong)} of the questions were answered right in none of {TRIES} tries: take a "
            "stronger base model, easier questions first (a curriculum), or train on worked solutions.",
        )
    if easy >= MUCH:
        yield Advice(
            "too_easy",
            f"{percent(easy)} of the questions were answered right in all {TRIES} tries: harder questions "
            "would teach more.",
        )
    if config.generation.temperature == 0 and best - found.solved.share >= WORTH_IT:
        yield Advice(
            "sample_more",
            f"One greedy try solves {percent(found.solved.share)}, {TRIES} tries at temperature "
            f"{found.temperature:g} solve {percent(best)}: set generation.temperature to "
            f"{found.temperature:g} and generation.samples_per_example to {TRIES}.",
        )


def _hint_advice(config: StarConfig, found: Difficulty) -> Iterator[Advice]:
    unsolved = 1 - found.solved.share
    if not config.rationalization.enabled and config.hints is None and unsolved >= WORTH_IT:
        yield Advice(
            "rationalize",
            f"{percent(unsolved)} of the questions are not solved by the job's own tries: with "
            "rationalization.enabled they are tried again with the answer as a hint.",
        )
    hinted = found.rationalized
    if hinted is not None and hinted.share < 0.5:
        what, look = "the answer as a hint", "the hint's wording (rationalization.template)"
        if config.hints is not None:
            what, look = "a hint to call the tool", "the hinted texts, and at hints.texts and hints.insert"
        yield Advice(
            "hint_does_not_help",
            f"With {what} only {hinted.count} of the questions tried so come out right "
            f"({percent(hinted.share)}): look at {look}.",
        )
