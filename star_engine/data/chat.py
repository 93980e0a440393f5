"""The chat layout: questions as a conversation in the model's own template, and what is learned of a turn.

A prompt holds every special token that the template writes, BOS included, and ends with the generation
prompt. A question stands in a user turn without the marks of the completion layout ("Q: ", "A:"), the hint
in the last one. A row's completion is what was sampled, to the byte: the trainer appends the token that ends
the turn. Nothing that a model wrote goes through the template again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from star_engine.config.chat import Chat
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.data.chat_template import ChatTemplate, Message, UnfitTemplate
from star_engine.tasks.examples import PromptSet
from star_engine.tasks.reading.final_part import final_part, opened_thinking, thinking_in

_ASKED, _SAID = "QUESTIONOFTHEUSER", "ANSWEROFTHEASSISTANT"


@dataclass(frozen=True, slots=True)
class ChatLayout:
    """A template with a job's settings: what `PromptSet.chat` holds."""

    template: ChatTemplate
    settings: Chat
    merges_system: bool = False  # the template knows no system role: the first user turn begins with it
    opening: str = ""  # see ChatForm
    lead: str | None = (
        ""  # stands before an assistant's text that no model wrote; None: it cannot stand there
    )

    @property
    def end(self) -> str:
        return self.template.end

    @property
    def block(self) -> bool:
        return self.settings.few_shot == "block"

    def prompt(self, shown: Sequence[tuple[str, str]], asked: str) -> str:
        return self._render(self.messages(shown, asked), prompt=True)

    def conversation(self, shown: Sequence[tuple[str, str]], turns: Sequence[tuple[str, str]]) -> str:
        before: list[Message] = []
        for question, answer in shown:
            before += [_turn("user", question), _turn("assistant", answer)]
        return self.render([*before, *(_turn(role, text) for role, text in turns)])

    def messages(self, shown: Sequence[tuple[str, str]], asked: str) -> list[Message]:
        """The conversation that `prompt` renders, in roles that the template knows."""
        turns: list[Message] = []
        for question, answer in shown:
            turns += [_turn("user", question), _turn("assistant", answer)]
        return self._with_system([*turns, _turn("user", asked)])

    def answered(self, messages: Sequence[Message], prompt: str, completion: str) -> tuple[Message, bool]:
        """The assistant's message of a training row, and whether the template makes the row of it.

        The thinking stands in the field that the template reads it from; where it reads none or rewrites
        it, as templates do that leave the thinking of past turns out, in `reasoning_content`.
        """
        trained = prompt + completion + self.end
        said = _said(self.opening + completion)
        for message in said:
            if self._is_rendered([*messages, message], trained):
                return message, True
        return said[0], False

    def _is_rendered(self, messages: Sequence[Message], trained: str) -> bool:
        try:
            return self._render(messages, prompt=False).startswith(trained)
        except UnfitTemplate:  # it refuses channels in a content, for example
            return False

    def completion(self, text: str, *, given: bool) -> str:
        """Raises UnfitTemplate for a given text behind a thinking that the template begins."""
        if given:
            if self.lead is None:
                raise UnfitTemplate(_GIVEN)
            return self.lead + text
        begin = len(self.opening) if text.startswith(self.opening) else 0
        if self.settings.train_thinking == "drop":
            begin = max(begin, _behind_thinking(text))
        return text[begin:]

    def render(self, turns: list[Message], *, prompt: bool = True) -> str:
        """The turns behind the system prompt; `prompt`: up to where the assistant answers."""
        return self._render(self._with_system(turns), prompt=prompt)

    def _with_system(self, turns: list[Message]) -> list[Message]:
        system = self.settings.system
        if system is None:
            return turns
        if self.merges_system:
            first = turns[0]
            return [_turn(first["role"], f"{system}\n\n{first['content']}"), *turns[1:]]
        return [_turn("system", system), *turns]

    def _render(self, messages: Sequence[Message], *, prompt: bool) -> str:
        return self.template.render(
            messages,
            prompt=prompt,
            today=self.settings.date,
            variables=_switches(self.template, self.settings),
        )


_GIVEN = (
    "The chat template begins every answer with the model's thinking, which texts of a dataset do not have: "
    "train on rationales and mix no dataset in, or use layout completion."
)


def pinned(config: StarConfig, template: ChatTemplate | None, today: date | None) -> StarConfig:
    """The settings with what a chat layout is recorded by: its template's hash and the day that it prints."""
    if not config.is_chat or template is None:
        return config
    day = config.chat.date or (today if template.prints_a_date else None)
    known = {"date": day, "template_sha256": config.chat.template_sha256 or template.sha256}
    return config.model_copy(update={"chat": config.chat.model_copy(update=known)})


def with_chat(config: StarConfig, prompt_set: PromptSet, template: ChatTemplate | None) -> PromptSet:
    """The prompt set as the job asks it: with the chat layout where its settings say so.

    `template`: of the job's base model. Raises UnfitTemplate where they do not go together.
    """
    if not config.is_chat:
        if config.chat != Chat():
            raise UnfitTemplate("The settings under chat need the chat layout: set layout to chat.")
        return replace(prompt_set, chat=None)
    if template is None:
        raise UnfitTemplate("The base model has no chat template: use layout completion, or another model.")
    return replace(prompt_set, chat=chat_layout(config, template))


def chat_layout(config: StarConfig, template: ChatTemplate) -> ChatLayout:
    """Raises UnfitTemplate for settings that this template cannot follow."""
    chat = config.chat
    if chat.template_sha256 not in (None, template.sha256):
        raise UnfitTemplate(
            f"The job was made with the chat template {chat.template_sha256}, and the base model has "
            f"{template.sha256}: restore the model's files, or create a new job."
        )
    if chat.thinking is not None and not template.thinking_switches:
        raise UnfitTemplate("The chat template has no switch for thinking: leave chat.thinking out.")
    if chat.date is None and template.prints_a_date:
        raise UnfitTemplate("The chat template prints a date: set chat.date, or prompts change by the day.")
    layout = ChatLayout(template, chat, merges_system=not _knows_system(template, chat))
    begun = layout.prompt([], _ASKED)
    layout = replace(layout, opening=opened_thinking(begun), lead=_lead(layout, begun))
    if layout.opening and chat.train_thinking == "drop":
        raise UnfitTemplate(
            "The chat template begins the thinking itself, so a row without it would be left open: set "
            "chat.train_thinking to keep."
        )
    given = config.training_set.source is not Source.RATIONALES or config.training_set.mix
    if layout.lead is None and given:
        raise UnfitTemplate(_GIVEN)
    return layout


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _said(text: str) -> list[Message]:
    """An assistant's text as messages: with its thinking in each field that templates know, and whole."""
    whole = _turn("assistant", text)
    part = final_part(text)
    if part is None or not part[0]:
        return [whole]
    thought = thinking_in(text[: part[0]])
    said = _turn("assistant", text[part[0] :].lstrip("\n"))
    return [{**said, "reasoning_content": thought}, {**said, "thinking": thought}, whole]


def _switches(template: ChatTemplate, chat: Chat) -> dict[str, Any]:
    if chat.thinking is None:
        return {}
    return dict.fromkeys(template.thinking_switches, chat.thinking == "on")


def _knows_system(template: ChatTemplate, chat: Chat) -> bool:
    """Gemma's template refuses the role; some others drop it without a word."""
    if chat.system is None:
        return True
    turns = [_turn("system", _SAID), _turn("user", _ASKED)]
    try:
        return _SAID in template.render(turns, today=chat.date or date(2025, 1, 1))
    except UnfitTemplate:
        return False


def _lead(layout: ChatLayout, prompt: str) -> str | None:
    """What the template writes between the generation prompt and an assistant's text."""
    turns = [_turn("user", _ASKED), _turn("assistant", _SAID)]
    before = layout.render(turns, prompt=False).rpartition(_SAID)[0]
    return before[len(prompt) :] if before.startswith(prompt) else None


def _behind_thinking(text: str) -> int:
    """Where the text begins without its thinking: with the last channel, or behind white space."""
    part = final_part(text)
    if part is None:
        return 0
    begin = text.rfind("<|channel|>", 0, part[0])
    if begin >= 0:
        return begin
    return part[0] + len(text[part[0] :]) - len(text[part[0] :].lstrip()) if part[0] else 0
