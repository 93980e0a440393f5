"""What another verifier or other filters would have made of recorded tries: nothing is sampled again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.protocols import Completion
from star_engine.sampling.answers import judge, said_itself
from star_engine.sampling.labels import labelled
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import Decision, TrainingExample, build, decide, in_order, training_line


@dataclass(frozen=True, slots=True)
class Grade:
    """What a try was found to be. The decision is "kept" or the reason it was dropped for."""

    verdict: str
    extracted: str | None
    rule: str
    decision: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A try whose verdict or decision is another one now."""

    key: RationaleKey
    before: Grade
    after: Grade


@dataclass(slots=True)
class Regrading:
    """Sums over the parts of an iteration, given in the order of its examples.

    All that decides on a try is within its example (duplicates, the cap) or in `hinted`, so an iteration can
    be regraded a few hundred examples at a time, and the training set's SHA-256 still comes out as of the
    whole. A check that costs samples counts as passed where it was not made.
    """

    judging: StarConfig  # `kind` and `verifier` of it
    building: StarConfig
    prompt_set: PromptSet
    hinted: bool = False  # whether the iteration has tries with procedural hints: then they alone train
    tries: int = 0
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (before, after), where they differ
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)  # rows of the training set by route
    _digest: Any = field(default_factory=sha256)

    def add(
        self, examples: Sequence[Example], tries: Sequence[tuple[Rationale, str | None]]
    ) -> Iterator[Change]:
        """Regrade all tries at these examples, each given with its recorded decision. Yields what changes."""
        by_id = {example.id: example for example in examples}
        before = {made.key: (made, decision) for made, decision in tries}
        judged = [self._judged(by_id[made.key.example_id], made) for made, _ in tries]
        reading = {"kind": self.judging.kind, "verifier": self.judging.verifier}
        seen = labelled(self.building.model_copy(update=reading), examples, judged)
        decisions = decide(self.building, self.prompt_set, seen.examples, seen.rationales, hinted=self.hinted)
        self._count_rows(seen.examples, seen.rationales, decisions)
        decided = {decision.key: decision.reason for decision in decisions}
        for made in in_order(examples, judged):
            old, old_decision = before[made.key]
            change = Change(made.key, _grade(old, old_decision), _grade(made, decided[made.key]))
            self.tries += 1
            if change.before.verdict != change.after.verdict:
                self.verdicts[change.before.verdict, change.after.verdict] += 1
            if change.before.decision != change.after.decision:
                self.decisions[change.before.decision or "", change.after.decision or ""] += 1
            if (change.before.verdict, change.before.decision) != (
                change.after.verdict,
                change.after.decision,
            ):
                yield change

    @property
    def training_set_sha256(self) -> str:
        return str(self._digest.hexdigest())

    def _judged(self, example: Example, made: Rationale) -> Rationale:
        completion = Completion("", made.text, made.prompt_tokens, made.tokens, made.finish_reason)
        direct = made.key.route is Route.GIVEN and self.building.training_set.source is Source.ANSWERS
        answer = said_itself(judge(self.judging, example, completion, direct=direct), made.tools)
        checks: dict[str, bool] = dict.fromkeys(self.building.training_set.checks, True)
        checks |= made.checks or {}
        return replace(
            made,
            checks=checks,
            verdict=str(answer.verdict),
            extracted=answer.extracted,
            rule=answer.rule,
        )

    def _count_rows(
        self, examples: Sequence[Example], judged: Sequence[Rationale], decisions: Sequence[Decision]
    ) -> None:
        self.count(build(self.building, self.prompt_set, examples, judged, decisions))

    def count(self, rows: Iterable[TrainingExample]) -> None:
        """Add rows to the training set; mixed ones come last."""
        for row in rows:
            self.kept[row.key.route.value] += 1
            self._digest.update(f"{training_line(row)}\n".encode())


def _grade(made: Rationale, decision: str | None) -> Grade:
    return Grade(str(made.verdict), made.extracted, made.rule, decision)
