"""Renders prompts and targets, byte for byte as in the paper and its released code.

| kind       | block                                            | hint                                |
| ---------- | ------------------------------------------------ | ----------------------------------- |
| choice     | "Q: ..\\nAnswer Choices:\\n(a) ..\\n(b) ..\\nA:" | " (CORRECT)" after the right choice |
| numeric    | "Q: ..\\nA:"                                     | "Q: .. (72)\\nA:"                   |
| scratchpad | "Input:\\n6 2 4 + 2 5 9\\nTarget:"               | "Target: 8 8 3"                     |

Exact, math and pattern are laid out as numeric. The numeric hint is the paper's; the released code shows the
whole human solution instead: HintForm.FULL_SOLUTION. A hint template replaces the hint of the kind: it is
filled in where the question stands. Blocks are joined by a blank line. A prompt ends without white space; the
completion begins with the separator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from star_engine.config.star import StarConfig
from star_engine.tasks.examples import Asked, ChatForm, Context, Example, FewShotExample, PromptSet, folded
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of


def stops(kind: Kind) -> tuple[str, ...]:
    """Where a completion ends even without EOS: the start of a next block. Verifiers cut at the same."""
    return task_of(kind).layout.stops


def hint_text(kind: Kind, example: Example, template: str | None = None) -> str:
    """The characters that the hint adds to the prompt, outer white space aside."""
    if template is not None:
        return _filled(template, replace(example, question="")).strip()
    return task_of(kind).hint(example)


def render_completion(
    kind: Kind, rationale_text: str, chat: ChatForm | None = None, *, given: bool = False
) -> str:
    """What follows a prompt: the separator (a space; a new line for scratchpads) and the rationale.

    chat: of the prompt set; there it is what the model wrote, or, `given`, what the template makes of a text
    of a person.
    """
    if chat is not None:
        return chat.completion(rationale_text, given=given)
    return task_of(kind).layout.separator + rationale_text


def direct_answer(kind: Kind, example: Asked) -> str:
    """Return the target of a prompt that asks for the answer only, without the separator."""
    return task_of(kind).direct_answer(example)


def render_prompt(
    kind: Kind,
    prompt_set: PromptSet,
    example: Example,
    *,
    hint: bool = False,
    direct: bool = False,
    few_shot: bool = True,
    hint_template: str | None = None,
) -> str:
    """Render the whole prompt for one example.

    hint: with the gold answer shown, in the few-shot examples too (section 3.1), the way of the kind or of
    `hint_template` (see Rationalization.template; without hint it does nothing). direct: few-shot examples
    that answer without a rationale, for the baseline. A few-shot example that asks the example's own question
    is left out: it would show the answer (the published GSM8K few-shot examples are rows of its train split).
    With `prompt_set.chat` the same texts are the turns of a conversation, behind the few-shot examples those
    of `example.context`. Raises ValueError for an example with such turns in the completion layout.
    """
    if hint and direct:
        raise ValueError("a direct prompt has no hint: it would show the answer and ask for nothing else")
    if prompt_set.chat is None and example.context:
        raise ValueError(
            f"The example {example.id!r} has earlier turns, which layout completion cannot show."
        )
    template = hint_template if hint else None
    shown = _shown(kind, prompt_set, example, hint, direct, template) if few_shot else []
    asked = _block(kind, example, hint, template)
    if prompt_set.chat is None:
        return _joined(kind, shown, asked)
    return prompt_set.chat.prompt(*_turns(kind, shown, asked, example.context, block=prompt_set.chat.block))


def prompt_turns(
    kind: Kind,
    prompt_set: PromptSet,
    example: Example,
    *,
    hint: bool = False,
    few_shot: bool = True,
    hint_template: str | None = None,
) -> tuple[list[tuple[str, str]], str]:
    """What `render_prompt` asks as a conversation: the turns before it, and what is asked.

    In the completion layout the same texts without the marks that tell a question from an answer there.
    """
    template = hint_template if hint else None
    shown = _shown(kind, prompt_set, example, hint, False, template) if few_shot else []
    block = prompt_set.chat is not None and prompt_set.chat.block
    return _turns(kind, shown, _block(kind, example, hint, template), example.context, block=block)


def render_conversation(
    kind: Kind,
    prompt_set: PromptSet,
    turns: Sequence[tuple[str, str]],
    *,
    direct: bool = False,
    few_shot: bool = True,
) -> str:
    """The prompt for a conversation, each turn a role and a text, laid out as `render_prompt` lays out a
    question: what the user says stands where its question stands, choices and all.

    Raises ValueError for several turns in the completion layout, which knows one question.
    """
    asked = Example("", turns[-1][1], "")
    shown = _shown(kind, prompt_set, asked, hint=False, direct=direct, template=None) if few_shot else []
    chat = prompt_set.chat
    if chat is not None and (not chat.block or not shown):
        return chat.conversation([(_user_turn(kind, block), text) for block, text in shown], turns)
    if chat is None and len(turns) > 1:
        raise ValueError(
            "The adapter was trained on single questions (layout completion): send one message of the user."
        )
    role, first = turns[0]
    text = _joined(kind, shown, _as_block(kind, first))
    return text if chat is None else chat.conversation([], [(role, text), *turns[1:]])


def check_layout(config: StarConfig, prompt_set: PromptSet) -> None:
    """ValueError where a prompt set was not made ready for a job of this layout: see `chat.with_chat`."""
    if config.is_chat is not (prompt_set.chat is not None):
        raise ValueError(f"layout is {config.layout}, and the prompt set is not: use with_chat of it.")


def _turns(
    kind: Kind,
    shown: list[tuple[str, str]],
    asked: str,
    context: Context,
    *,
    block: bool,
) -> tuple[list[tuple[str, str]], str]:
    if not (block and shown):
        before = [(_user_turn(kind, question), text) for question, text in shown]
        return [*before, *context], _user_turn(kind, asked)
    if not context:
        return [], _joined(kind, shown, asked)
    (first, said), *later = context
    return [(_joined(kind, shown, _as_block(kind, first)), said), *later], _user_turn(kind, asked)


def _as_block(kind: Kind, text: str) -> str:
    """What a user says with the marks of a question, as it stands behind few-shot examples in one turn."""
    layout = task_of(kind).layout
    return f"{layout.head}{text}\n{layout.cue}"


def _joined(kind: Kind, shown: list[tuple[str, str]], asked: str) -> str:
    return "\n\n".join([*(question + render_completion(kind, text) for question, text in shown), asked])


def _user_turn(kind: Kind, block: str) -> str:
    """A block without the marks by which text is told to be a question and an answer."""
    layout = task_of(kind).layout
    text, line, last = block.removeprefix(layout.head).rpartition("\n")
    return text if line and last == layout.cue else text + line + last


def _shown(
    kind: Kind, prompt_set: PromptSet, example: Example, hint: bool, direct: bool, template: str | None
) -> list[tuple[str, str]]:
    asked = folded(example.question)
    others = [shown for shown in prompt_set.for_group(example.group) if folded(shown.question) != asked]
    written = [direct_answer(kind, shown) if direct else shown.rationale for shown in others]
    return [(_block(kind, shown, hint, template), text) for shown, text in zip(others, written, strict=True)]


def _block(kind: Kind, example: Asked, hint: bool, template: str | None) -> str:
    if template is not None:
        example, hint = replace(example, question=_filled(template, example)), False
    return task_of(kind).ask(example, hinted=hint)


def _filled(template: str, example: Asked) -> str:
    """Fill all placeholders in one pass, so that a question containing "{answer}" stays as it is."""
    values = {"{question}": example.question, "{answer}": example.answer, "{solution}": ""}
    if "{solution}" in template:
        values["{solution}"] = _solution(example)
    return re.sub(r"\{question\}|\{answer\}|\{solution\}", lambda place: values[place[0]], template)


def _solution(example: Asked) -> str:
    """Return the solution without blank lines, which separate few-shot examples. For few-shot examples return
    only its answer, as the released code does: a hint shown in full would teach the model to copy it.
    """
    if isinstance(example, FewShotExample):
        return example.answer
    if example.solution is None:
        raise ValueError(f"example {example.id!r} has no worked solution to show as a hint")
    return re.sub(r"\n\s*\n", "\n", example.solution)
