"""Reads YAML the way people mean it: settings by the rules of JSON, prompt sets as texts only.

Plain YAML reads `no` as false, `12:30` as 750, a date as a date, and in `2 is 2 #### 2` the end as a comment.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.scanner import ScannerError

from star_client.errors import BadFile

_NULL = (re.compile(r"(?:~|null|)$"), ["~", "n", ""])
_BOOL = (re.compile(r"(?:true|false)$"), list("tf"))
_INT = (re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_FLOAT = (
    re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_ENDS = "\0\r\n\x85\u2028\u2029"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
ANSWER_MARK = "####"  # of GSM8K's solutions


class Settings(yaml.SafeLoader):
    """Knows null, true, false and decimal numbers; everything else is a text. No key may be repeated."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - declared so

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key {key.value!r} stands there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class Texts(Settings):
    """Knows null and texts. `####` begins no comment; another comment behind a plain text is refused."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - declared so

    def scan_to_next_token(self) -> None:
        if self.index == 0 and self.peek() == "\ufeff":
            self.forward()
        while True:
            while self.peek() == " ":
                self.forward()
            if self.peek() == "#":
                if self._is_value():
                    return
                while self.peek() not in _ENDS:
                    self.forward()
            if not self.scan_line_break():  # type: ignore[no-untyped-call]
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def check_plain(self) -> bool:
        return self.prefix(4) == ANSWER_MARK or bool(super().check_plain())

    def scan_plain(self) -> yaml.ScalarToken:
        """Follow yaml.scanner but for the answer mark, which is text, and comments, which are refused."""
        start = end = self.get_mark()
        indent = self.indent + 1
        chunks: list[str] = []
        spaces: list[str] = []
        while not self._is_comment() and (length := self._plain_length()):
            self.allow_simple_key = False
            chunks += [*spaces, self.prefix(length)]
            self.forward(length)
            end = self.get_mark()
            spaces = self.scan_plain_spaces(indent, start) or []
            if self._is_comment() and self.line == end.line:
                problem = (
                    "# begins a comment in YAML: quote the text, or put the comment on a line of its own"
                )
                raise ScannerError(None, None, problem, self.get_mark())
            if not spaces or (not self.flow_level and self.column < indent):
                break
        return yaml.ScalarToken("".join(chunks), True, start, end)

    def _plain_length(self) -> int:
        length = 0
        while (ch := self.peek(length)) not in _ENDS + " \t":
            behind = self.peek(length + 1)
            if ch == ":" and behind in _ENDS + " \t" + (",[]{}" if self.flow_level else ""):
                break
            if self.flow_level and ch in ",?[]{}":
                break
            length += 1
        return length

    def _is_comment(self) -> bool:
        return bool(self.peek() == "#" and self.prefix(4) != ANSWER_MARK)

    def _is_value(self) -> bool:
        """Return whether an answer mark stands behind a key or a dash on this line."""
        before = self.buffer[: self.pointer].rstrip(" ")
        return bool(self.prefix(4) == ANSWER_MARK and before.endswith((":", "-")))


for _tag, _pattern, _first in (("null", *_NULL), ("bool", *_BOOL), ("int", *_INT), ("float", *_FLOAT)):
    Settings.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
Texts.add_implicit_resolver("tag:yaml.org,2002:null", *_NULL)


def read_text(file: Path) -> str:
    """Decode a file in UTF-8, or in UTF-16 with a byte order mark (what PowerShell's > writes)."""
    data = file.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BadFile(f"{file} is not UTF-8 ({problem}). Save it as UTF-8.") from problem


def read_settings(file: Path) -> Any:
    """Parse a YAML or JSON file of settings."""
    return _parsed(read_text(file), str(file), Settings)


def read_texts(file: Path) -> Any:
    """Parse a YAML or JSON file of texts."""
    return _parsed(read_text(file), str(file), Texts)


def read_prompt_set(file: Path) -> dict[str, Any]:
    """What `POST /v1/prompt-sets` takes of a file: its `examples` (.json, .yaml), else its `text`.

    Examples are a list, or stand under the key `examples`; a section with `messages` alone is one example.
    """
    if file.suffix not in (".json", ".yaml", ".yml"):
        return {"text": read_text(file)}
    loaded = read_texts(file)
    examples = loaded.get("examples", [loaded]) if isinstance(loaded, dict) else loaded
    if not isinstance(examples, list):
        raise BadFile(f"{file} holds no list of examples, nor one under the key examples.")
    return {"examples": examples}


def parse_value(text: str) -> Any:
    """Parse the value of --set: a number, true, false, null, a list, a section; else text: `Answer: (.+)`."""
    try:
        value = yaml.load(text, Settings)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as problem:
        if any(text.count(begin) != text.count(end) for begin, end in ("[]", "{}")):
            raise BadFile(f"--set {text}: {problem}") from problem
        return text
    begins = text.lstrip()[:1]
    if isinstance(value, list | dict):
        return value if begins in ("[", "{") else text
    if isinstance(value, str):
        return value if begins in ('"', "'") else text
    return text if value is None and begins == "#" else value


def _parsed(text: str, where: str, loader: type[Settings]) -> Any:
    try:
        return yaml.load(text, loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise BadFile(f"{where} is no valid YAML: {error}") from error
    except (RecursionError, ValueError) as error:
        raise BadFile(f"{where} cannot be read: {error}") from error
