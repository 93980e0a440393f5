"""What of a dataset depends on a model or a prompt set: lengths in tokens, overlap with few-shot examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.intake.overlap import MAX_NAMED
from app.intake.tally import summary
from app.tables.data import Dataset, Example
from star_engine.data.overlap import NGRAM, SHARE, ngram_hashes
from star_engine.tasks.examples import PromptSet, folded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_COUNTED = 10_000  # examples whose tokens are counted, evenly spread: a second's work
BATCH = 500  # texts that the tokenizer takes at once
_TEXTS = ("question", "answer", "solution")


def token_lengths(session: Session, dataset: Dataset, tokenizer: Tokenizer) -> dict[str, Any]:
    """Lengths in tokens of each text, without a prompt around it; see summary()."""
    total = sum(dataset.splits.values())
    step = -(-total // MAX_COUNTED)
    query = select(Example.question, Example.answer, Example.solution).where(
        Example.dataset_id == dataset.id, Example.position % step == 0
    )
    rows = session.execute(query.execution_options(yield_per=BATCH))
    lengths: dict[str, Counter[int]] = {name: Counter() for name in _TEXTS}
    examples = 0
    while batch := list(islice(rows, BATCH)):
        examples += len(batch)
        for name, texts in zip(_TEXTS, zip(*batch, strict=True), strict=True):
            given = [text for text in texts if text is not None]
            lengths[name].update(len(one.ids) for one in tokenizer.encode_batch(given))
    return {"examples": examples, **{name: summary(lengths[name]) for name in _TEXTS}}


def few_shot_overlap(session: Session, dataset: Dataset, prompt_set: PromptSet) -> dict[str, Any]:
    """Examples whose question is that of a few-shot example, exactly or by half of its n-grams.

    A prompt leaves out the few-shot example that asks its own question word for word; one that is only much
    alike it shows, answer included.
    """
    shown = [(folded(one.question), ngram_hashes(one.question)) for one in prompt_set.examples]
    exact: list[dict[str, Any]] = []
    alike: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for example_id, split, question in _questions(session, dataset.id):
        same, own = folded(question), ngram_hashes(question)
        for number, (text, ngrams) in enumerate(shown, start=1):
            share = len(own & ngrams) / len(ngrams) if ngrams else 0.0
            found = exact if same == text else alike if share >= SHARE else None
            if found is None:
                continue
            counts["exact" if found is exact else "alike"] += 1
            if len(found) < MAX_NAMED:
                row = {"id": example_id, "split": split, "few_shot_example": number, "share": round(share, 3)}
                found.append(row)
    return {
        "exact": {"examples": counts["exact"], "named": exact},
        "ngrams": {"n": NGRAM, "examples": counts["alike"], "named": alike},
    }


def _questions(session: Session, dataset_id: str) -> Iterator[Any]:
    """External id, split and question of every example."""
    query = select(Example.external_id, Example.split, Example.question)
    query = query.where(Example.dataset_id == dataset_id).order_by(Example.id)
    return iter(session.execute(query.execution_options(yield_per=1000)))
