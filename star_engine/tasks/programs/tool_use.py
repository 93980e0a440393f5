"""What a text that calls a tool consists of: its model's own words, and what others have put into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Origin = Literal["hint", "output"]
Span = tuple[int, int, Origin]  # [start, end) of the text's characters, and who put them there
# Where in a text a part begins that is tokens by itself; and these, as its model has sampled them, where they
# are others than a tokenizer makes of it. The first part begins below 0 where its beginning was cut off.
Turn = tuple[int, tuple[int, ...] | None]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The calls of one text, and the parts of it that its model did not write, in order."""

    calls: int = 0
    failed: int = 0  # of the calls: their program raised, ran out of time or the like
    limit: bool = False  # it asked for one call more than it has, and ended there
    hint: str | None = None  # by its name in star_engine/sampling/hint_library.py
    library: int | None = None  # version of the library
    spans: tuple[Span, ...] = ()
    turns: tuple[Turn, ...] = ()  # in order; none: the text is tokens as a whole

    def as_json(self) -> dict[str, Any]:
        """What `tool_use_from` reads: what is recorded of a try."""
        turns = turns_as_json(self.turns)
        known = {name: value for name, value in asdict(self).items() if name != "turns"}
        return {**known, "spans": [list(span) for span in self.spans]} | ({"turns": turns} if turns else {})

    def moved(self, start: int, end: int) -> ToolUse:
        """The same of the text's part [start, end)."""
        kept = (
            (max(begin, start) - start, min(stop, end) - start, origin)
            for begin, stop, origin in self.spans
            if max(begin, start) < min(stop, end)
        )
        before = [turn for turn in self.turns if turn[0] <= start]
        inside = [*before[-1:], *(turn for turn in self.turns if start < turn[0] < end)]
        turns = tuple((at - start, ids) for at, ids in inside if start < end)
        return replace(self, spans=tuple(kept), turns=turns)

    def of(self, origin: Origin) -> list[tuple[int, int]]:
        return [(begin, end) for begin, end, known in self.spans if known == origin]

    def own(self, text: str) -> str:
        """The words of the model itself, a line feed in place of each other part."""
        at, parts = 0, []
        for begin, end, _ in self.spans:
            parts.append(text[at:begin])
            at = end
        return "\n".join([*parts, text[at:]])


def tool_use_from(value: Mapping[str, Any] | None) -> ToolUse | None:
    """The use of `ToolUse.as_json`."""
    if value is None:
        return None
    spans = tuple((int(begin), int(end), origin) for begin, end, origin in value["spans"])
    return ToolUse(**{**value, "spans": spans, "turns": turns_from(value.get("turns", ()))})


def turns_as_json(turns: Sequence[Turn]) -> list[list[Any]]:
    """What `turns_from` reads."""
    return [[at, None if ids is None else list(ids)] for at, ids in turns]


def turns_from(written: Iterable[Sequence[Any]]) -> tuple[Turn, ...]:
    return tuple((int(at), None if ids is None else tuple(map(int, ids))) for at, ids in written)


@dataclass(frozen=True, slots=True)
class ToolCounts:
    """How the tries of a route, or answers, use their tool."""

    texts: int = 0
    using: int = 0  # with one call at least
    calls: int = 0
    failed: int = 0
    limit: int = 0  # ended by the limit of calls

    @property
    def rate(self) -> float:
        """Share of the texts that call the tool; 0 where there are none."""
        return self.using / self.texts if self.texts else 0.0

    def as_json(self) -> dict[str, int | float]:
        return {**asdict(self), "rate": round(self.rate, 6)}


def count_uses(uses: Sequence[ToolUse | None]) -> ToolCounts:
    known = [one for one in uses if one is not None]
    return ToolCounts(
        texts=len(uses),
        using=sum(one.calls > 0 for one in known),
        calls=sum(one.calls for one in known),
        failed=sum(one.failed for one in known),
        limit=sum(one.limit for one in known),
    )
