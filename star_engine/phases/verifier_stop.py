"""Ends a verifier's training by best of k on train questions whose pairs are not learned.

Pair accuracy is a poor guide: it is high long before a verifier ranks many answers well (V-STaR, arXiv
2402.06457, section 4.6, follows best of 64). The training is cut into parts of `training.checkpoint_every`
steps. Each part continues from the weights and moments of the one before, on the next pairs of a shuffled
order. After each part the adapter ranks the tries at the held-out questions; the adapter that
ranks best is kept. Few questions soon have a right text on top: of states with as many, the one whose best of
2, 4, 8 ... is higher on average ranks better, and the earlier one of equals.

step-00000050/adapter_model.safetensors, adapter_config.json   the adapter after so many steps
             /optimizer.safetensors                            the moments that the next part goes on with
             /best/...                                         the best adapter so far
             /looks.json                                       what was found, and of what
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from star_engine.adapters.layout import CONFIG, OPTIMIZER, WEIGHTS, file_sha256, write_durably
from star_engine.config.pairs import BestOfKStop, TrainedVerifier
from star_engine.data.selection import chance
from star_engine.evaluation.candidates import Scored, score_distinct
from star_engine.evaluation.test_time import best_of
from star_engine.evaluation.yes_no import score_yes_no
from star_engine.phases.pairs import judged_tries, verifier_of
from star_engine.phases.phase import Context
from star_engine.phases.test_time import as_a_verifier_reads
from star_engine.protocols import Score, ScoreRequest, TextScorer, Trainer, TrainingText
from star_engine.sampling.rationales import Route
from star_engine.training_set.pairs import PairRow, pairs_sha256

LOOKS, BEST = "looks.json", "best"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """How the adapter ranks after so many optimizer steps: shares of questions that it answers right."""

    step: int
    best_of_k: float
    best_of_fewer: float  # mean over the powers of two below k
    tokens: int  # seen in all steps so far
    losses: tuple[float | None, float | None] = (None, None)  # of its part's first and last step


@dataclass(slots=True)
class Looks:
    """What has been found so far."""

    found: list[Look] = field(default_factory=list)

    @property
    def best(self) -> Look | None:
        """The highest share; of equals the one with the higher share of fewer tries, then the earlier one."""
        by = lambda one: (one.best_of_k, one.best_of_fewer, -one.step)  # noqa: E731
        return max(self.found, key=by, default=None)

    def ended(self, steps: int, patience: int) -> bool:
        """Whether all steps are done, or so many looks behind the best one were no better."""
        if self.best is None:
            return False
        since = sum(one.step > self.best.step for one in self.found)
        return self.found[-1].step >= steps or since >= patience


@dataclass(frozen=True, slots=True)
class Answer:
    """A try at a held-out question, as a verifier reads it. reference: of its reward alone."""

    text: TrainingText
    right: bool
    reference: float = 0.0


Questions = Mapping[str, Sequence[Answer]]


def validation_questions(context: Context, rows: Sequence[PairRow], stop: BestOfKStop) -> Questions:
    """The tries at the held-out questions, at most `stop.questions` of these in the order of the pairs.

    These questions have both a right and a wrong try: on others every ranking is as good.
    """
    names = list(dict.fromkeys(row.chosen.key.example_id for row in rows if row.held_out))
    wanted = set(names[: stop.questions])
    record = context.record.pairs()
    examples = record.examples()
    by_id = {one.id: one for one in examples if one.id in wanted}
    found: dict[str, list[Answer]] = defaultdict(list)
    for one in judged_tries(context, examples, record):
        tried = one.rationale
        example = by_id.get(tried.key.example_id)
        if example is not None and tried.key.route is Route.GENERATED and tried.text.strip():
            text = as_a_verifier_reads(context, example, tried.text, tried.tools)
            found[example.id].append(Answer(text, tried.verdict == "correct"))
    return found


def with_references(scorer: TextScorer, questions: Questions) -> Questions:
    """The answers with what the reference model says of them: the reward is compared with it."""
    scored = _scores(scorer, questions, "dpo")
    return {
        name: [
            replace(one, reference=scored[name, place].total if (name, place) in scored else 0.0)
            for place, one in enumerate(answers)
        ]
        for name, answers in questions.items()
    }


def rank(
    trainer: Trainer, adapter: Path, questions: Questions, settings: TrainedVerifier, k: int
) -> tuple[float, float]:
    """Mean best of k over the questions by the verifier's own score, as `trained_verifier.score` says, and
    the mean of the same over the powers of two below k.

    A text for which the model has no room ranks last. A question with fewer answers counts with all of them.
    """
    scored = _scores(_AsTrained(trainer, adapter), questions, settings.method)
    ks = [k, *(2**power for power in range(1, k.bit_length()) if 2**power < k)]
    shares: list[list[float]] = []
    for name, answers in questions.items():
        ranked = [_ranked(settings, one, scored.get((name, at))) for at, one in enumerate(answers)]
        right = [one.right for one in answers]
        shares.append([best_of(ranked, right, min(one, len(answers))) for one in ks])
    means = [fmean(column) for column in zip(*shares, strict=True)]
    return round(means[0], 6), round(fmean(means[1:] or means), 6)


def _ranked(settings: TrainedVerifier, answer: Answer, found: Scored | None) -> float:
    if found is None:
        return float("-inf")
    if settings.method == "dpo" and settings.score == "likelihood_per_token":
        return found.total / max(1, found.tokens)
    if settings.method == "dpo" and settings.score == "reward":
        return found.total - answer.reference
    return found.total


@dataclass(frozen=True, slots=True)
class _AsTrained:
    """A TextScorer: the adapter as the trainer reads it, so that no sampler has to be loaded in between."""

    trainer: Trainer
    adapter: Path

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        return iter(self.trainer.score_trained(self.adapter, requests))


def _scores(scorer: TextScorer, questions: Questions, method: str) -> dict[tuple[str, int], Scored]:
    texts = [((name, place), one.text) for name, some in questions.items() for place, one in enumerate(some)]
    if method == "yes_no":
        batches: Iterable[dict[tuple[str, int], Scored]] = score_yes_no(scorer, texts)
    else:
        batches = score_distinct(scorer, [(key, text, True) for key, text in texts])
    return {key: score for batch in batches for key, score in batch.items()}


def input_hash(context: Context, rows: Sequence[PairRow], steps: int) -> str:
    """Of all that the looks depend on: a folder of another training's is not gone on with."""
    config = context.config
    facts = [
        pairs_sha256(rows),
        verifier_of(config).model_dump(mode="json"),
        config.training.model_dump(mode="json"),
        config.seed,
        steps,
    ]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def part_of(rows: Sequence[T], first: int, count: int, seed: int) -> list[T]:
    """`count` rows from place `first` on of an endless order, shuffled again after each pass."""
    found: list[T] = []
    while len(found) < count:
        turn, at = divmod(first + len(found), len(rows))
        order = sorted(range(len(rows)), key=lambda n: chance(seed, turn, "verifier_part", str(n)))
        found += [rows[n] for n in order[at : at + count - len(found)]]
    return found


def _look(said: dict[str, Any]) -> Look:
    first, last = said.pop("losses")
    return Look(**said, losses=(first, last))


@dataclass(frozen=True, slots=True)
class Parts:
    """The folder of a training that is cut into parts. `input`: see `input_hash`."""

    folder: Path
    input: str

    def newest(self) -> tuple[Path, Looks] | None:
        """The newest whole part of this training; None: there is none."""
        for folder in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                said = json.loads((folder / LOOKS).read_text(encoding="utf-8"))
                whole = all(file_sha256(folder / name) == sha for name, sha in said["files"].items())
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if whole and said["input"] == self.input:
                return folder, Looks([_look(one) for one in said["looks"]])
        return None

    def draft(self) -> Path:
        """An empty folder for the trainer to write the next part to."""
        shutil.rmtree(self.folder / ".next", ignore_errors=True)
        return self.folder / ".next"

    def keep(self, draft: Path, looks: Looks, before: Path | None) -> Path:
        """Put the part in place, with the best adapter so far, and remove the one before."""
        step = looks.found[-1].step
        if looks.best == looks.found[-1] or before is None:
            (draft / BEST).mkdir()
            for name in (CONFIG, WEIGHTS):
                shutil.copyfile(draft / name, draft / BEST / name)
        else:
            shutil.copytree(before / BEST, draft / BEST)
        names = (CONFIG, WEIGHTS, OPTIMIZER, f"{BEST}/{CONFIG}", f"{BEST}/{WEIGHTS}")
        said: dict[str, Any] = {
            "input": self.input,
            "looks": [asdict(one) for one in looks.found],
            "files": {name: file_sha256(draft / name) for name in names},
        }
        write_durably(draft / LOOKS, json.dumps(said))
        target = self.folder / f"step-{step:08d}"
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        for old in self.folder.glob("step-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
        return target
