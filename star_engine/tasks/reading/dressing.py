"""Takes Markdown, HTML and LaTeX dressing off a text, and keeps for every character where it came from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from star_engine.tasks.reading.box_context import value_around

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plain:
    """`text` without dressing. Spans are offsets into it; `original()` gives those into the text as given."""

    text: str
    starts: tuple[int, ...]  # where each kept piece begins in `text`
    origins: tuple[int, ...]  # and where the same piece begins in the original
    boxes: tuple[Span, ...]  # contents of the outermost \\boxed{}
    bold: tuple[Span, ...]
    maths: tuple[Span, ...]  # contents of $..$ and \\(..\\)
    raw_boxes: tuple[Span, ...]  # the same boxes as offsets into the original
    raw_maths: tuple[Span, ...]
    values: tuple[Span, ...]  # of each box: what it stands for together with what stands around it
    raw_values: tuple[Span, ...]

    def original(self, begin: int, end: int) -> Span:
        """The span of the original text that text[begin:end] was, dressing at its two ends left out."""
        start = self._origin(begin)
        return start, max(start, self._origin(end - 1) + 1 if end > begin else start)

    def _origin(self, position: int) -> int:
        piece = max(0, bisect_right(self.starts, position) - 1)
        return self.origins[piece] + position - self.starts[piece]


# One alternative per kind of dressing. A group `first` is the only part of its match that goes.
_DRESSING = re.compile(
    r"""
    <<[^<>\n]{0,200}>>                                       # GSM8K's calculator marks
    | </?(?:b|strong|i|em|u|p|br|span|div|center)[ ]?/?>
    | [\u200b-\u200f\u2060\ufeff\u00ad]                       # zero width, soft hyphen
    | `+
    | (?<![A-Za-z0-9])\*{2,3}(?=\S) | (?<=\S)\*{2,3}(?![A-Za-z0-9])
    | (?<!\w)__(?=\w) | (?<=[\w.!?:])__(?!\w)
    | ^[ \t]*(?:\#{1,3}|\#{5,6})(?=[ \t])                     # four are GSM8K's answer mark
    | ^[ \t]*(?:>[ \t]?)+
    | ^[ \t]*[-•*+–][ \t]+
    | \\[()\[\]] | \$\$ | \\(?:left|right|displaystyle)(?![a-zA-Z])
    | (?<=\d)(?:\\[,;!]|\{,\}(?!))(?=\d{3})
    | (?<=\s)&(?=\s*=) | \\[;!]
    | (?P<first>\\)[$%,\ ]
    """,
    re.VERBOSE | re.MULTILINE,
)
_ITALIC = re.compile(r"(?<![\w*)\]])\*(?=[^\s*])[^*\n]{1,200}(?<=\S)\*(?![\w*])")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+)\*\*|<(?:b|strong)>([^<\n]+)<")
# As pandoc reads dollars: math has no blank inside its ends, and no digit behind: "$5 and $3" is money.
_DOLLARS = re.compile(r"(?<![\\$])\$(?=[^\s$])((?:\\.|[^$\\\n])*)(?<=\S)\$(?![0-9$])")
_PARENTHESES = re.compile(r"\\\((.{0,300}?)\\\)")
_BRACES = re.compile(
    r"(?P<box>\\(?:boxed|fbox)\s*\{)|(?P<bare>\\boxed(?:\s+|(?=\d))(?P<token>-?\d[\d.,]*(?<![.,])|[A-Za-z]\b))|(?P<wrap>\\(?:text|textbf|textit|mathrm|mathbf|boldsymbol|mbox)\s*\{)"
    r"|(?P<comma>\{,\})|\\[{}]|(?P<open>\{)|(?P<close>\})"
)


def undress(text: str, begin: int = 0, end: int | None = None) -> Plain:
    """text[begin:end] without dressing."""
    part = text[begin:end]
    gone: list[Span] = []
    commands: list[Span] = []
    boxes = list(_unbrace(part, gone, commands)) if "\\" in part else []
    around = [value_around(part, command) for command in commands]
    values = [
        box if all_of == it else all_of for box, it, all_of in zip(boxes, commands, around, strict=True)
    ]
    gone += [found.span("first") if found["first"] else found.span() for found in _DRESSING.finditer(part)]
    for italic in _ITALIC.finditer(part) if "*" in part else ():
        gone += [(italic.start(), italic.start() + 1), (italic.end() - 1, italic.end())]
    maths = [found.span(1) for found in _DOLLARS.finditer(part)] if "$" in part else []
    gone += [(edge, edge + 1) for first, last in maths for edge in (first - 1, last)]
    maths += [found.span(1) for found in _PARENTHESES.finditer(part)] if "\\(" in part else []
    bold = [found.span(found.lastindex or 0) for found in _BOLD.finditer(part)]
    return _kept(part, begin, sorted(gone), (boxes, bold, sorted(maths), values))


def _unbrace(part: str, gone: list[Span], commands: list[Span]) -> Iterator[Span]:
    """Contents of outermost boxes with balanced braces, in one pass; wrappers and boxes are taken off.

    An unclosed box is no statement and stays as it is: a text of open boxes must not cost n squared.
    """
    stack: list[tuple[str, int, int]] = []
    open_boxes = 0
    for brace in _BRACES.finditer(part):
        name = brace.lastgroup
        if name == "comma":
            gone += [(brace.start(), brace.start() + 1), (brace.end() - 1, brace.end())]
        elif name == "bare":
            gone.append((brace.start(), brace.start("token")))
            if not open_boxes:
                commands.append(brace.span())
                yield brace.span("token")
        elif name in ("box", "wrap", "open"):
            stack.append((name, brace.start(), brace.end()))
            open_boxes += name == "box"
        elif name == "close" and stack:
            opened, start, inner = stack.pop()
            open_boxes -= opened == "box"
            if opened != "open":
                gone += [(start, inner), brace.span()]
            if opened == "box" and not open_boxes:
                commands.append((start, brace.end()))
                yield inner, brace.start()


def _kept(part: str, begin: int, gone: list[Span], found: tuple[list[Span], ...]) -> Plain:
    """The text without what is gone. `found`: spans of boxes, bold text, math and the values of boxes."""
    pieces: list[str] = []
    starts: list[int] = []
    origins: list[int] = []
    length = position = 0
    for first, last in [*gone, (len(part), len(part))]:
        if first > position:
            pieces.append(part[position:first])
            starts.append(length)
            origins.append(begin + position)
            length += first - position
        position = max(position, last)
    if not starts:
        starts, origins = [0], [begin]
    to_plain = _PlainPosition(starts, origins, begin, length)
    plain = [tuple((to_plain(a), to_plain(b)) for a, b in spans) for spans in found]
    raw = [tuple((begin + a, begin + b) for a, b in spans) for spans in found]
    return Plain(
        "".join(pieces),
        tuple(starts),
        tuple(origins),
        boxes=plain[0],
        bold=plain[1],
        maths=plain[2],
        values=plain[3],
        raw_boxes=raw[0],
        raw_maths=raw[2],
        raw_values=raw[3],
    )


class _PlainPosition:
    """From an offset into the part to one into the plain text; dressing counts as the next kept character."""

    def __init__(self, starts: list[int], origins: list[int], begin: int, length: int) -> None:
        self._starts, self._origins, self._begin, self._length = starts, origins, begin, length

    def __call__(self, position: int) -> int:
        piece = bisect_right(self._origins, position + self._begin) - 1
        if piece < 0:
            return 0
        ends = self._starts[piece + 1] if piece + 1 < len(self._starts) else self._length
        return min(self._starts[piece] + position + self._begin - self._origins[piece], ends)
