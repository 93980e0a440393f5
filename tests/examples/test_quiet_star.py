"""What the comparison of Quiet-STaR with its controls measures."""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.quiet_star.compare import MODEL, Found, answers, claims, run, write_documents
from star_engine.config.quiet_star import Thoughts
from star_engine.data.documents import read_documents
from star_engine.gpu.causal_lm import load_tokenizer


def test_only_the_digits_of_answers_are_measured(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents.jsonl", 0)
    document = read_documents(tmp_path / "documents.jsonl")[0]
    tokens = load_tokenizer(MODEL).tokenize(document)
    measured = [token for token, counts in zip(tokens, answers(tokens), strict=True) if counts]
    expected = [line for line in document.splitlines() if "+" not in line and line[:1].isdigit()]
    assert [token.strip() for token in measured] == " ".join(expected).split()
    assert len(expected) == 8


def test_an_arm_is_trained_and_measured(tmp_path: Path) -> None:
    found = run(tmp_path, Thoughts.PAUSE, 0, 1)
    assert (found.entropy, found.seed) == (0.0, 0)
    assert 0 < found.mixed < 20
    shutil.rmtree(tmp_path / "pause-0" / "adapter")
    assert run(tmp_path, Thoughts.PAUSE, 0, 1) == found  # what has ended is not run again


def test_a_claim_holds_only_where_it_holds_at_every_seed() -> None:
    losses = {
        Thoughts.SAMPLED: (1.0, 1.0),
        Thoughts.OFF: (1.1, 1.1),
        Thoughts.RANDOM: (1.2, 1.2),
        Thoughts.PAUSE: (1.1, 0.9),
    }
    found = [
        Found(arm, seed, 2.0, mixed, 0.0, 0.0, 0.0)
        for arm, both in losses.items()
        for seed, mixed in enumerate(both)
    ]
    first, second = claims(found)
    assert "**holds**" in first
    assert "2 of 2 seeds" in first
    assert "**does not hold**" in second
    assert "1 of 2 seeds" in second
