"""Shows the prompt a rationale was sampled from next to the training text, so that readers see the hint is
gone.

Both texts are the API's: the prompt of the rationale, and its row of the training set. Nothing is rendered
here, they are only compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.dashboard.results.segments import Mark, Segment, changes, marked, marked_all
from app.results.rationales import RationaleDetailOut
from star_engine.tasks.layout import Layout


@dataclass(frozen=True, slots=True)
class Shown:
    """A prompt: the few-shot examples in front, folded away, and the example's own block."""

    few_shot: str
    block: Sequence[Segment]
    completion: Sequence[Segment] = ()


@dataclass(frozen=True, slots=True)
class Prompts:
    asked: Shown
    trained: Shown | None
    hint_kept: bool  # on purpose: rationalization.p_keep_hint


def prompts_of(found: RationaleDetailOut, layout: Layout) -> Prompts:
    few_shot, asked = own_block(found.prompt, layout)
    if found.training_row is None:
        return Prompts(Shown(few_shot, _hinted(asked, found.hint)), None, hint_kept=False)
    trained_few_shot, trained = own_block(found.training_row.prompt, layout)
    kept = found.hint is not None and asked == trained
    completion = completion_of(found, layout) or ""
    span = found.span if found.text.startswith(completion) else None
    if kept:
        block: list[Segment] | None = _hinted(trained, found.hint)
        hinted = block
    else:
        block = changes(asked, trained)
        hinted = changes(trained, asked, added="hint")
    lead = len(found.training_row.completion) - len(completion)
    masks: list[tuple[int, int, Mark]] = [
        (max(0, start - lead), end - lead, "hint" if who == "hint" else "tool")
        for start, end, who in found.training_row.masked
    ]
    answer: list[tuple[int, int, Mark]] = [] if span is None else [(*span, "answer")]
    written = marked_all(completion, [*masks, *answer])
    return Prompts(
        asked=Shown(few_shot, hinted or [Segment(asked)]),
        trained=Shown(trained_few_shot, block or [Segment(trained)], written),
        hint_kept=kept,
    )


def completion_of(found: RationaleDetailOut, layout: Layout) -> str | None:
    """What of the text is trained on, without the separator in front of it; None where nothing is."""
    row = found.training_row
    return None if row is None else row.completion.removeprefix(layout.separator)


def own_block(prompt: str, layout: Layout) -> tuple[str, str]:
    """The few-shot examples ("" where there are none), and the block that asks the example itself."""
    before, blank, block = prompt.rpartition(f"\n\n{layout.head}")
    return (before, layout.head + block) if blank else ("", prompt)


def _hinted(block: str, hint: str | None) -> list[Segment]:
    """The hint where it stands last: before it comes the question, which may hold the same characters."""
    start = -1 if hint is None else block.rfind(hint)
    return marked(block, None if hint is None or start < 0 else (start, start + len(hint)), "hint")
