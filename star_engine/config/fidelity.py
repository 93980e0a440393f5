"""Where the preset `star` departs from the paper; used by docs/fidelity.md and every adapter's card."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deviation:
    what: str
    paper: str  # arXiv 2203.14465
    code: str  # its released code, by default
    ours: str  # the preset `star`


DEVIATIONS = (
    Deviation(
        "weights that learn", "all of GPT-J 6B", "all of GPT-J 6B", "a LoRA adapter of rank 16 on any model"
    ),
    Deviation(
        "optimizer",
        "Adam at 1e-6, with GPT-J's moments",
        "the same",
        "AdamW at 1e-4, fresh in every iteration",
    ),
    Deviation("tokens learned", "of the rationale", "all", "of the completion"),
    Deviation(
        "step",
        "8 packed sequences of 1,024 tokens",
        "8 of 1,536",
        "up to 8,192 tokens in whole rows, each read by itself",
    ),
    Deviation(
        "length of an iteration",
        "40 x 1.2^(n-1) steps; addition 300 + 20 (n-1)",
        "1 + 0.2 (n-1) epochs",
        "as the paper",
    ),
    Deviation("warm-up", "100 steps, then constant", "the same", "the same"),
    Deviation(
        "rationalization of GSM8K",
        "36 iterations without, then 12 with",
        "off",
        "36 iterations with it from the first",
    ),
    Deviation("hint of GSM8K", "the answer", "the whole human solution", "the answer"),
    Deviation("decoding", "greedy", "temperature 0.01, top-p 0.9, 96 tokens", "greedy, 256 tokens"),
    Deviation(
        "few-shot examples",
        "10 (CommonsenseQA), 10 a digit count (addition)",
        "7; 9 drawn from a pool of 50",
        "the prompt set's, without one that asks the same question",
    ),
    Deviation(
        "what is kept",
        "every right answer",
        "every right answer",
        "right answers that pass dedupe, hint_markers, answer_only; for scratchpads step_arithmetic",
    ),
    Deviation(
        "text behind the answer",
        "not said",
        "cut behind the answer's line",
        "cut behind the answer's sentence or line",
    ),
    Deviation(
        "verdict of a choice",
        "the letter",
        "the third character from the end of the line",
        "the letter, which must agree with the text beside it",
    ),
    Deviation(
        "iteration that is reported",
        "the best on the reported split",
        "the last; dev is the test split",
        "the best on a validation split",
    ),
)


def deviation_table(*, code: bool = True) -> str:
    """Render the table as Markdown; without `code`, only the paper's and our values."""
    names = ("what", "paper", "released code", "ours") if code else ("what", "paper", "ours")
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for one in DEVIATIONS:
        cells = (one.what, one.paper, *((one.code,) if code else ()), one.ours)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
