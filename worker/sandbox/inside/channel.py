"""The code as the tests see it: functions that can be called, and compared with nothing."""

from __future__ import annotations

import builtins
import json
from typing import Any

try:
    from _sha256 import sha256  # type: ignore[import-not-found]  # hashlib takes long to import
except ImportError:  # pragma: no cover - of other versions of Python
    from hashlib import sha256

from worker.sandbox.inside.frames import read_frame, write_frame
from worker.sandbox.inside.plain_data import pack, unpack


class Ended(BaseException):
    """The program's process is gone, or does not keep to the protocol."""


class Channel:
    """Asks the program's process; notes a digest of all that it answered."""

    def __init__(self, asking: int, answering: int) -> None:
        self.asking, self.answering = asking, answering
        self.digest = sha256()

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            write_frame(self.asking, asked)
        except OSError:
            raise Ended from None
        answer = self.answer()
        self.digest.update(json.dumps(answer, sort_keys=True).encode())
        return self.unless_raised(answer)

    def answer(self) -> dict[str, Any]:
        try:
            answer = read_frame(self.answering)
        except (EOFError, OSError, ValueError, RecursionError):
            raise Ended from None
        if not isinstance(answer, dict):
            raise Ended
        return answer

    def unless_raised(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer; or what the program raised, as the builtin of its name where there is one."""
        if "raised" not in answer:
            return answer
        name, text = map(str, answer["raised"])
        kind: Any = getattr(builtins, name, None)
        try:
            problem = kind(text) if issubclass(kind, Exception) else RuntimeError(text)
        except TypeError:  # no class, or one that wants more than a text
            problem = RuntimeError(text)
        raise problem


class Remote:
    """A function, class or object of the program's. It can be called, and compared with nothing."""

    def __init__(self, channel: Channel, number: int, name: str | None = None) -> None:
        self.__dict__.update(_channel=channel, _number=number, _name=name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        channel = self._channel
        asked = {"of": self._number, "name": self._name}
        asked["args"] = pack(list(args), given)
        asked["kwargs"] = pack(kwargs, given)
        answer = channel.ask(asked)
        for own, after in zip(args, answer["args"][1:], strict=False):
            update(own, unpack(after, lambda number: Remote(channel, number)))
        return unpack(answer["value"], lambda number: Remote(channel, number))

    def __eq__(self, other: object) -> bool:
        raise TypeError("only plain data (numbers, texts, lists, dicts ...) can be compared")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("only plain data is true or false")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        channel = self._channel
        answer = channel.ask({"of": self._number, "name": name})
        return unpack(answer["value"], lambda number: Remote(channel, number))


def given(value: Any) -> int:
    if isinstance(value, Remote) and value.__dict__["_name"] is None:
        return int(value.__dict__["_number"])
    raise TypeError(f"tests can hand plain data to a program, and not a {type(value).__name__}")


def update(own: Any, after: Any) -> None:
    """What a function did to a list, dict or set that it was given."""
    if type(own) is type(after) is list and own != after:
        own[:] = after
    elif type(own) is type(after) in (dict, set) and own != after:
        own.clear()
        own.update(after)
