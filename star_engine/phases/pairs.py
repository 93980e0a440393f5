"""Pairs: right and wrong tries at each question, and how likely the reference model finds both texts.

The reference's log-probabilities are computed once and recorded: the training then holds one model only, and
goes on from where it was killed with the same numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from star_engine.config.pairs import TrainedVerifier
from star_engine.config.star import Labels, StarConfig
from star_engine.data.prompts import render_completion
from star_engine.data.selection import chance
from star_engine.evaluation.candidates import IMPOSSIBLE, Scored, scores_that_fit
from star_engine.loop import PhaseName
from star_engine.phases.phase import Alone, Context, Phase, Progress, Work
from star_engine.protocols import PreferencePair, Scorer, ScoreRequest, TrainingText
from star_engine.record import PairRecord
from star_engine.sampling.labels import labelled
from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.examples import Example
from star_engine.training_set.pairs import (
    DrawnPairs,
    PairRow,
    Tried,
    draw_pairs,
    draw_voted,
    pairs_sha256,
    without_unkept,
)
from star_engine.training_set.rows import training_prompt

PAIRS_PER_CALL = 32  # of the scorer, recorded together: a resumed phase asks for the same ones together

_NO_PAIRS = (
    "No question has both a right and a wrong try ({right} have right ones alone, {wrong} wrong ones alone), "
    "so there is nothing to learn from pairs. Raise generation.samples_per_example or its temperature."
)


def verifier_of(config: StarConfig) -> TrainedVerifier:
    """The settings of a run that has the phases of a verifier."""
    if config.trained_verifier is None:
        raise ValueError("trained_verifier is not set: the run trains no verifier")
    return config.trained_verifier


def _run(context: Context) -> Work:
    config, prompt_set = context.config, context.prompt_set
    yield Alone()
    record = context.record.pairs()
    rows = record.recorded()
    if not rows:
        examples = record.examples()
        drawn = _draw(context, examples, record)
        rows = _rows(context, examples, drawn)
        record.add(rows, facts(rows, drawn))
    if config.preference is not None or verifier_of(config).method == "dpo":
        open_ = [row for row in rows if not row.is_scored]
        yield Progress(len(rows) - len(open_), len(rows), "pairs")
        if open_:
            yield from _score(context.gpu.scorer(_reference(context)), rows, prompt_set.end, record)
    record.finish()


def _reference(context: Context) -> Path | None:
    """The adapter of the reference model; None: the base model. It is what the training starts from."""
    config = context.config
    if config.preference is None:
        first = verifier_of(config).reference == "first_iteration"
        return context.record.adapter(1) if first else None
    return context.record.adapter(context.iteration - 1) if config.training.start_from == "previous" else None


def _draw(context: Context, examples: Sequence[Example], record: PairRecord) -> DrawnPairs:
    """The pairs, their tries judged as what is trained on: by gold answers or by votes.

    A verifier learns from the tries of all iterations so far. A generator learns from those of its own, and
    of the right ones only those that have passed the filters into its training set.
    """
    config, judged = context.config, judged_tries(context, examples, record)
    names = [one.id for one in examples]
    if config.preference is None:
        return draw_pairs(names, judged, verifier_of(config).pairs, config.seed)
    kept, rules = _kept(context), config.preference.pairs
    if config.labels is Labels.MAJORITY_VOTE:
        return draw_voted(names, judged, kept, rules, config.seed)
    return draw_pairs(names, without_unkept(judged, kept), rules, config.seed)


def judged_tries(context: Context, examples: Sequence[Example], record: PairRecord) -> list[Tried]:
    """The tries that pairs are drawn from, in the order of their iterations, judged by gold or by vote."""
    config = context.config
    by_iteration: dict[int, list[Rationale]] = defaultdict(list)
    for one in record.tries():
        if config.preference is None or one.iteration == context.iteration:
            by_iteration[one.iteration].append(one.rationale)
    judged = []
    for number, tries in sorted(by_iteration.items()):
        found = labelled(config, examples, tries)
        pairs = zip_longest(found.rationales, found.answers)  # of answers by gold there are none
        judged += [Tried(number, one, answer) for one, answer in pairs]
    return judged


def _kept(context: Context) -> dict[RationaleKey, str]:
    """The completions of the iteration's training set."""
    _, rows = context.record.training_sets()[-1]
    return {row.key: row.completion for row in rows}


def _rows(context: Context, examples: Sequence[Example], drawn: DrawnPairs) -> list[PairRow]:
    config = context.config
    share = 0.0 if config.preference is not None else verifier_of(config).held_out
    kept = {} if config.preference is None else _kept(context)
    prompts = {one.id: training_prompt(config, context.prompt_set, one) for one in examples}

    def text(one: Tried) -> str:
        if one.iteration == context.iteration and one.key.key in kept:
            return kept[one.key.key]
        return render_completion(config.kind, one.rationale.text, context.prompt_set.chat)

    return [
        PairRow(
            position=position,
            chosen=pair.chosen.key,
            rejected=pair.rejected.key,
            prompt=prompts[name],
            chosen_text=text(pair.chosen),
            rejected_text=text(pair.rejected),
            held_out=chance(config.seed, 0, "held_out_pairs", name) < share,
            weight=pair.weight,
        )
        for position, pair in enumerate(drawn.pairs)
        for name in (pair.chosen.key.key.example_id,)
    ]


def facts(rows: Sequence[PairRow], drawn: DrawnPairs) -> dict[str, int | str]:
    """The figures of the pairs, for the metrics of their iteration; without pairs, why there are none."""
    none = {} if rows else {"diagnosis": _NO_PAIRS.format(right=drawn.all_right, wrong=drawn.all_wrong)}
    return {
        "count": len(rows),
        "held_out": sum(row.held_out for row in rows),
        "questions": len({row.chosen.key.example_id for row in rows}),
        "all_right": drawn.all_right,
        "all_wrong": drawn.all_wrong,
        "sha256": pairs_sha256(rows),
        **none,
    }


def _score(
    scorer: Scorer, rows: Sequence[PairRow], end: str | None, record: PairRecord
) -> Iterator[Progress]:
    """What the reference model says of them, in calls that do not depend on what is recorded already."""
    for first in range(0, len(rows), PAIRS_PER_CALL):
        some = rows[first : first + PAIRS_PER_CALL]
        if not all(row.is_scored for row in some):
            found = score_pairs(scorer, some, end)
            record.add_references({place: (one.total, other.total) for place, (one, other) in found.items()})
        yield Progress(first + len(some), len(rows), "pairs")


def score_pairs(scorer: Scorer, rows: Sequence[PairRow], end: str | None) -> dict[int, tuple[Scored, Scored]]:
    """How likely a model finds both texts of each pair, by its position; equal texts are asked for once.

    A pair is left out where the model has no room for a text of it. end: see PromptSet.
    """
    places: dict[TrainingText, int] = {}
    for row in rows:
        for text in pair_texts(row, end):
            places.setdefault(text, len(places))
    requests = [ScoreRequest(str(place), text) for text, place in places.items()]
    scores = {
        score.key: Scored(max(score.total, IMPOSSIBLE), len(score.logprobs))
        for score in scores_that_fit(scorer, requests)
    }
    found = {}
    for row in rows:
        both = [scores.get(str(places[text])) for text in pair_texts(row, end)]
        if both[0] is not None and both[1] is not None:
            found[row.position] = both[0], both[1]
    return found


def pair_texts(row: PairRow, end: str | None) -> tuple[TrainingText, TrainingText]:
    """Both texts of a pair as the trainer and the scorer read them."""
    chosen = TrainingText(row.prompt, row.chosen_text, end=end)
    return chosen, TrainingText(row.prompt, row.rejected_text, end=end)


def preference_pair(row: PairRow, end: str | None) -> PreferencePair:
    """A recorded pair as it is trained on. Raises ValueError where the reference has not been asked."""
    if row.reference_chosen is None or row.reference_rejected is None:
        raise ValueError(f"The reference model has not been asked about pair {row.position}.")
    chosen, rejected = pair_texts(row, end)
    return PreferencePair(chosen, rejected, row.reference_chosen, row.reference_rejected, row.weight)


PAIRS = Phase(PhaseName.PAIRS, _run)
