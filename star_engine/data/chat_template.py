"""A model's own chat template, read from its tokenizer files and rendered without transformers.

Templates come with a model and are programs: they run in Jinja's sandbox, with what transformers gives them
(tojson, raise_exception, strftime_now, generation blocks, loop controls), and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEMPLATE_FILE = "chat_template.jinja"
TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
GENERATION_CONFIG = "generation_config.json"
THINKING_SWITCHES = ("enable_thinking", "thinking")  # Qwen's and most others' name; DeepSeek's and Granite's
_SAID = "ANSWEROFTHEASSISTANT"

Message = Mapping[str, str]  # role and content


class UnfitTemplate(ValueError):
    """A model's chat template cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template with the special tokens that it may name, and the token that ends the assistant's turn."""

    source: str
    tokens: tuple[tuple[str, str], ...]  # bos_token, eos_token ... as tokenizer_config.json has them
    end: str = ""  # ends the assistant's turn
    names: frozenset[str] = field(default_factory=frozenset)  # the variables that the template reads

    @property
    def sha256(self) -> str:
        """Of the template's text."""
        return sha256(self.source.encode()).hexdigest()

    @property
    def prints_a_date(self) -> bool:
        """Whether what it renders may depend on the day."""
        return "strftime_now" in self.names

    @property
    def thinking_switches(self) -> tuple[str, ...]:
        """The variables by which it turns the thinking on and off."""
        return tuple(name for name in THINKING_SWITCHES if name in self.names)

    def render(
        self,
        messages: Sequence[Message],
        *,
        prompt: bool = True,
        today: date | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as text; `prompt`: up to where the assistant answers. Raises UnfitTemplate.

        today: what strftime_now tells; a template that asks for it without one is refused, for its prompts
        would be others tomorrow.
        """

        def strftime_now(form: str) -> str:
            if today is None:
                raise TemplateError("it prints the date of today: set chat.date")
            return datetime.combine(today, time(12)).strftime(form)

        given = {"tools": None, "documents": None, "strftime_now": strftime_now, **(variables or {})}
        try:
            text: str = _compiled(self.source).render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=prompt,
                **dict(self.tokens),
                **given,
            )
            return text
        except Exception as problem:  # a template is foreign code: whatever it raises makes it unfit
            raise UnfitTemplate(f"The chat template fails: {problem}") from problem


def read_chat_template(folder: Path) -> ChatTemplate | None:
    """The template of a model's folder; None where it has none. Raises UnfitTemplate.

    Refused is a template whose prompts would not be the tokens that the model was trained on, or whose turn
    would never end: one that leaves BOS to a tokenizer that adds it, and one that ends the assistant's turn
    with no token, or with one that ends no text.
    """
    config = _json(folder / TOKENIZER_CONFIG)
    source = _source(folder, config)
    if source is None:
        return None
    tokens = _tokens({**_json(folder / SPECIAL_TOKENS), **config})
    try:
        names = meta.find_undeclared_variables(_environment().parse(source))
    except TemplateError as problem:
        raise UnfitTemplate(f"The chat template is no template: {problem}") from problem
    bare = ChatTemplate(source, tokens, names=frozenset(names))
    tokenizer = _tokenizer(folder / TOKENIZER)
    _check_beginning(bare, tokenizer)
    return ChatTemplate(source, tokens, _end_of_turn(bare, folder, tokenizer), bare.names)


def _source(folder: Path, config: Mapping[str, Any]) -> str | None:
    if (folder / TEMPLATE_FILE).is_file():
        return (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several of them by name
        found = next((one.get("template") for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _tokens(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Special tokens by name; each a text, or an object with its text as `content`."""
    found = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in config.items()
        if name.endswith("_token") and not name.startswith("add_")
    }
    return tuple(sorted((name, value) for name, value in found.items() if isinstance(value, str)))


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    if not path.is_file():
        raise UnfitTemplate(f"The model has a chat template, but no {TOKENIZER} to make tokens of it with.")
    return Tokenizer.from_file(str(path))


def _check_beginning(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    added = tokenizer.encode("").tokens
    if added and not sample(template, prompt=True).startswith(added[0]):
        raise UnfitTemplate(
            f"The tokenizer begins every text with {added[0]}, which the chat template does not write: "
            "prompts would not be those that the model is served with. Use layout completion."
        )


def _end_of_turn(template: ChatTemplate, folder: Path, tokenizer: Tokenizer) -> str:
    behind = sample(template, prompt=False).rpartition(_SAID)[2].lstrip()
    known = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    found = max((name for name in known if name and behind.startswith(name)), key=len, default="")
    if not found:
        raise UnfitTemplate(
            "The chat template does not end the assistant's turn with a token of its own, so no turn would "
            "end. Use layout completion."
        )
    listed = _json(folder / GENERATION_CONFIG).get("eos_token_id")
    ends = {known.get(dict(template.tokens).get("eos_token", ""))}
    ends.update(listed if isinstance(listed, list) else [listed])
    if known[found] not in ends:
        raise UnfitTemplate(
            f"The chat template ends a turn with {found}, at which the model does not stop. Add "
            f"{known[found]} to eos_token_id in {GENERATION_CONFIG}, or use layout completion."
        )
    return found


def sample(template: ChatTemplate, *, prompt: bool) -> str:
    """A question and, unless it is a prompt, its answer, as the template lays them out."""
    asked: list[Message] = [{"role": "user", "content": "Question"}]
    said: list[Message] = [{"role": "assistant", "content": _SAID}]
    return template.render(asked if prompt else asked + said, prompt=prompt, today=date(2025, 1, 1))


class _Generation(Extension):
    """{% generation %}: marks what the assistant says; what is in it is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_as_it_is"), [], [], body).set_lineno(line)

    def _as_it_is(self, caller: Macro) -> str:
        return str(caller())


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    return environment


@lru_cache(maxsize=32)
def _compiled(source: str) -> Any:
    return _environment().from_string(source)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> None:
    raise TemplateError(message)
