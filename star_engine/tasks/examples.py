"""Examples (question and answer, no rationale) and prompt sets (the few with a hand-written rationale)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Literal, Protocol

from star_engine.tasks.kind import Kind

Split = Literal["train", "validation", "test"]
Context = tuple[tuple[str, str], ...]  # a user's text with the assistant's, the oldest first


@dataclass(frozen=True, slots=True)
class Example:
    """x and y of the paper. `choices` are texts labelled a, b, c... in order; then `answer` is a letter."""

    id: str
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    group: str | None = None  # accuracy is reported per group: digits, topic
    split: Split | None = None  # None: the row did not say; see `assign_splits`
    # Worked out by a person, its answer at the end. Only what asks for it by name may show it to a model.
    solution: str | None = None
    context: Context = ()  # the turns before it in its conversation: shown with it, never trained on

    @property
    def whole_question(self) -> str:
        """The question behind the earlier turns: two rows that end alike may ask different things."""
        return "\n\n".join([*(text for exchange in self.context for text in exchange), self.question])


@dataclass(frozen=True, slots=True)
class FewShotExample:
    """x, r and y. `group` restricts it to the examples of the same group; None shows it to all.

    `rationale` is all that the model should write, answer clause included, without leading white space:
    "... Therefore, the answer is blotter (e).", "... #### 72", "<scratch>\\n...\\n</scratch>\\n8 8 3".
    """

    question: str
    rationale: str
    answer: str
    choices: tuple[str, ...] | None = None
    group: str | None = None

    @property
    def whole_question(self) -> str:
        """The question: a few-shot example has no earlier turns."""
        return self.question


Asked = Example | FewShotExample  # what a prompt holds blocks of


class ChatForm(Protocol):
    """How a job's questions become conversations with its model: see star_engine.data.chat."""

    @property
    def opening(self) -> str:
        """What the prompt's end has begun for the model, such as "<think>\\n"; texts are recorded with it."""

    @property
    def end(self) -> str:
        """The token that ends the assistant's turn."""

    @property
    def block(self) -> bool:
        """Whether the few-shot examples stand in the user's turn instead of in turns of their own."""

    def prompt(self, shown: Sequence[tuple[str, str]], asked: str) -> str:
        """The prompt: `shown` are the exchanges before it, `asked` is the last user turn."""

    def conversation(self, shown: Sequence[tuple[str, str]], turns: Sequence[tuple[str, str]]) -> str:
        """The prompt behind several turns, each a role and a text; the last one is the user's."""

    def completion(self, text: str, *, given: bool) -> str:
        """What follows the prompt in a training row. `given`: the text is no model's but a person's."""


@dataclass(frozen=True, slots=True)
class PromptSet:
    kind: Kind
    examples: tuple[FewShotExample, ...]
    chat: ChatForm | None = None  # of the job that asks; None: the completion layout

    @property
    def opening(self) -> str:
        """What the end of its prompts has begun for the model: nothing but in some chat templates."""
        return "" if self.chat is None else self.chat.opening

    @property
    def end(self) -> str | None:
        """The token that rows end with; None: the tokenizer's EOS."""
        return None if self.chat is None else self.chat.end

    def for_group(self, group: str | None) -> tuple[FewShotExample, ...]:
        """The few-shot examples to show for an example of this group.

        The paper's addition shows examples of the same digit count only (section 4.3). Where no example
        carries the group, those without a group are shown.
        """
        same = tuple(example for example in self.examples if example.group == group)
        return same or tuple(example for example in self.examples if example.group is None)


def as_data(example: Asked) -> dict[str, Any]:
    """The fields of an example, as a digest of data has them: without turns before it those of ever since, so
    that a run goes on after an upgrade.
    """
    known = asdict(example)
    if not known.get("context"):
        known.pop("context", None)
    return known


def as_turns(context: Context) -> list[dict[str, str]]:
    """Earlier turns as messages."""
    return [
        {"role": role, "content": text}
        for exchange in context
        for role, text in zip(("user", "assistant"), exchange, strict=True)
    ]


def without_gold(example: Example) -> Example:
    """The example as a model without labels may know it."""
    return replace(example, answer="", solution=None)


def choice_letter(position: int) -> str:
    """Label of the choice at this position: a, b, c..."""
    return chr(ord("a") + position)


def folded(text: str) -> str:
    """White space and case folded: two questions that differ in nothing else are the same question."""
    return " ".join(text.split()).casefold()


def assign_splits(examples: Sequence[Example], held_out: int, seed: int) -> list[Example]:
    """Every example with a split: unmarked ones train; where none is marked validation, some are carved out.

    Carving takes at least `held_out` examples from train by a hash of the question, so that it does not
    depend on the order of rows and two rows with the same question land on the same side. A test split is
    never touched: no iteration may be selected on it. About half of train is carved at most.
    """
    marked = [replace(example, split=example.split or "train") for example in examples]
    if any(example.split == "validation" for example in marked) or held_out <= 0:
        return marked
    train = [example for example in marked if example.split == "train"]
    carved = _carve(
        [folded(example.whole_question) for example in train], min(held_out, len(train) // 2), seed
    )
    return [
        replace(example, split="validation")
        if example.split == "train" and folded(example.whole_question) in carved
        else example
        for example in marked
    ]


def _carve(questions: Sequence[str], count: int, seed: int) -> set[str]:
    """Whole questions, in the order of their hash, until they cover at least `count` rows."""
    rows: dict[str, int] = {}
    for question in questions:
        rows[question] = rows.get(question, 0) + 1
    by_hash = sorted(rows, key=lambda q: blake2b(f"{seed}\x1f{q}".encode(), digest_size=16).digest())
    chosen: set[str] = set()
    covered = 0
    for question in by_hash:
        if covered >= count:
            break
        chosen.add(question)
        covered += rows[question]
    return chosen
