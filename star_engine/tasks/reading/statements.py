"""Finds where a text states a final answer: `#### x`, `\\boxed{x}`, `<answer>x</answer>`, "The answer is x",
"**Answer:** x", a heading with x below it, "x is the correct answer".

Only the place is found here. Whether the statement stands is decided in standing.py, and what it states by
the kind of question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from star_engine.tasks.reading.dressing import Plain
from star_engine.tasks.reading.phrases import any_of, words
from star_engine.tasks.reading.sentences import Sentences

Span = tuple[int, int]


class Form(StrEnum):
    """How an answer is stated; the rule that a verdict names."""

    HASHES = "hashes"
    BOXED = "boxed"
    TAG = "answer_tag"
    ANSWER_IS = "answer_is"
    VALUE_FIRST = "is_the_answer"  # "42 is the answer"
    CHOSEN = "chosen"  # "I would go with B"


@dataclass(frozen=True, slots=True)
class Statement:
    """The phrase begins at `start`; what it states stands in text[begin:end], on one line."""

    form: Form
    start: int
    begin: int
    end: int
    is_final: bool = False  # says of itself that it is the final, correct or actual answer


# What may stand between "the" and "answer". Any other word makes it another answer than the one asked for:
# "the first answer", "a wrong answer", "the student's answer", "the least likely answer".
_PRAISE = frozenset(
    """final correct right best actual true real only exact numerical numeric overall complete simplified
    closest appropriate suitable plausible sensible logical likely reasonable accurate most valid proper
    better strongest richtige korrekte endgültige finale correcte bonne correcta final richtig giusta corretta
    esatta certa juiste""".split()  # noqa: SIM905 - a list of 50 quoted words hides the words
)
_FINAL = frozenset(
    """final correct right actual true real richtige endgültige finale correcte correcta corretta
    """.split()  # noqa: SIM905
)
_DETERMINERS = frozenset({"the", "my", "our", "die", "la", "el", "o"})
_OPENERS = frozenset(
    """so therefore thus hence then and but that which is means giving gives now here finally consequently
    also accordingly overall conclusion clearly altogether say think believe conclude get have see because
    since mean with actually indeed again where as be""".split()  # noqa: SIM905
)
_ANSWER = re.compile(
    r"""\b(?:
      (?P<noun>answer|ans|option|choice|letter|statement)\b(?:\s+(?:choice|option|letter|here)\b)?(?:,\s*(?:then|therefore|thus)\b,?)?
      (?:\s+(?:to|of|for)\s+(?:the|this|that|our|your)\s+(?:(?:original|given|whole)\s+)?(?:question|problem|puzzle
        |riddle|equation|exercise|task)\b)?
      \s*(?:(?:is|are|equals|becomes|lautet|(?:should|must|would|will|has\s+to|needs\s+to)\s+be|turns\s+out\s+to\s+be
        |comes?\s+(?:out\s+)?(?:to|as)(?:\s+be)?)\b\s*:?|of\b(?=\s*[^\w\s]?\d)|[:：=]|->|→|\s[-–—]\s(?=[^\w\s]?\d|\(?[A-Z]\b))
    | (?P<foreign>(?:antwort|lösung|ergebnis)\s+(?:ist|lautet|beträgt)\b(?:\s+(?:also|daher|somit)\b)?
      | r[ée]ponse(?:\s+(?:finale|correcte|exacte))?\s+est\b | respuesta(?:\s+(?:final|correcta))?\s+es\b
      | risposta(?:\s+(?:finale|corretta|giusta))?\s+è(?!\w) | resposta(?:\s+(?:final|correta))?\s+é(?!\w)
      | antwoord\s+is\b
      | (?:antwort|lösung|réponse|respuesta|risposta|resposta|antwoord|ответ|odpowiedź|cevap)\s*[:：=])\s*:?
    ) | (?P<east>(?:答案|正解|答え|答|정답|답)\s*(?:应该|應該)?(?:是|为|為|は|은|는|：|:)\s*[:：]?)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HEADING = re.compile(
    r"^[^\w\n]*(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?answer[^\w\n]*\n", re.IGNORECASE | re.MULTILINE
)
_LETTER_LABEL = re.compile(
    r"^A:(?=\s*\S)|^[^\w\n]*(?:[Mm]y\s+)?(?:[Ff]inal\s+|[Ss]elected\s+|[Cc]hosen\s+)?(?:[Oo]ption|[Aa]nswer|[Pp]ick|[Cc]hoice|[Ss]election|[Dd]ecision)\s*:(?=\s*\S)",
    re.MULTILINE,
)
_SECOND_OPTION = re.compile(r"^[^\w\n]*B:\s*\S", re.MULTILINE)
# {"reasoning": "...", "answer": "B"}
_JSON = re.compile(
    r"[{,]\s*\"(?:final[_ ]?|correct[_ ]?)?(?:answer|choice|option|label|result)\"\s*:\s*"
    r"(?:\"([^\"\n]*)\"|([^\s\"\[{][^,}\n]*))",
    re.IGNORECASE,
)
# Exactly four: five are a Markdown heading of level 5. "#### The answer is 72" states 72.
_HASHES = re.compile(r"(?<!#)####(?!#)")
# "#### Step 2: the eggs", "#### Final Answer" and "#### 1. Understand the problem" are headings.
_IS_HEADING = re.compile(
    r"[ \t]*(?:(?:step|part|case|day|question|example)\s*#?[0-9]+\b[^\n]*\n"
    r"|[0-9]{1,2}[.)][ \t]+[^\W\d][^\n]*\n\s*\S"
    r"|[^\n\d]*?"
    + words("answer, explanation, solution, calculation, analysis, conclusion, reasoning, summary")
    + r"[^\w\n]*\n)",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(?:final_)?answer>\s*", re.IGNORECASE)
_TAG_END = re.compile(r"\s*</(?:final_)?answer>", re.IGNORECASE)
_VALUE_FIRST = re.compile(
    r"\b(?:is|are|would\s+be|must\s+be|should\s+be)\s+(?:(?:therefore|thus|clearly|indeed|definitely)\s+)?"
    r"(?:(?:the|our|my)\s+(?:"
    + any_of("most, final, correct, right, best, only, actual, true, likely, appropriate, logical, suitable")
    + r"\s+)*(?:answer|option|choice)\b|(?:correct|right)\b(?=\s*(?:[.!,\n]|$|because|since|as\b)))"
    r"|\bas\s+(?:the|our|my)\s+(?:final\s+)?answer\b",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    r"\bI(?:['’]?d|\s+would|\s+will|['’]ll|\s+therefore)?\s+"
    + any_of("choose, pick, select, go (with|for), opt for, settle on, answer( with)?, say")
    + r"\b:?",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(r"([^\W\d_][\w'’-]*)\s*$")


def find_statements(plain: Plain, sentences: Sentences) -> list[Statement]:
    """All of them by position; the one inside another ("The answer is \\boxed{x}") speaks for both."""
    text = plain.text
    found = [*_boxed(plain), *_tagged(text), *_hashed(text), *_answer_is(text), *_headings(text)]
    found += [*_value_first(text, sentences), *_chosen(text), *_labelled(text), *_keyed(text)]
    found.sort(key=lambda one: (one.begin, one.start))
    kept: list[Statement] = []
    for one in found:
        if kept and one.begin <= kept[-1].begin and one.start == kept[-1].start:
            continue
        if kept and _leads_to(text, kept[-1], one):
            last = kept.pop()
            kept.append(replace(one, start=last.start, is_final=one.is_final or last.is_final))
        else:
            kept.append(one)
    return kept


def _leads_to(text: str, outer: Statement, inner: Statement) -> bool:
    """Whether nothing but dressing stands between two phrases: "Answer: The answer is", "is \\boxed{"."""
    if outer.form is Form.VALUE_FIRST or inner.form is Form.VALUE_FIRST:
        return False
    return outer.begin <= inner.start and not re.search(
        r"\w", text[outer.begin : min(inner.start, outer.begin + 40)]
    )


def _boxed(plain: Plain) -> Iterator[Statement]:
    for begin, end in plain.values:
        yield Statement(Form.BOXED, begin, begin, end)


def _tagged(text: str) -> Iterator[Statement]:
    for tag in _TAG.finditer(text):
        end = _TAG_END.search(text, tag.end())
        yield Statement(Form.TAG, tag.start(), tag.end(), end.start() if end else len(text), is_final=True)
        if end is None:
            return


def _hashed(text: str) -> Iterator[Statement]:
    for hashes in _HASHES.finditer(text):
        if _IS_HEADING.match(text, hashes.end()):
            continue
        begin = _skip_space(text, hashes.end())
        end = _line_end(text, begin)
        following = text.find("####", begin, end)
        yield Statement(Form.HASHES, hashes.start(), begin, end if following < 0 else following, True)


def _answer_is(text: str) -> Iterator[Statement]:
    for phrase in _ANSWER.finditer(text):
        named = _noun_phrase(text, phrase.start()) if phrase["noun"] else (phrase.start(), False)
        if phrase["noun"] and phrase["noun"].lower() in ("option", "choice", "letter", "statement"):
            praised = _words_before(text, phrase.start(), 1)
            named = named if praised and praised[0][0] in _PRAISE else None
        if named is None or (phrase["foreign"] and not _is_praised_abroad(text, phrase.start())):
            continue
        start, is_final = named
        begin = _skip_space(text, phrase.end())
        yield Statement(Form.ANSWER_IS, start, begin, _line_end(text, begin), is_final)


def _noun_phrase(text: str, position: int) -> tuple[int, bool] | None:
    """Where "the final answer" begins and whether it is called final; None for another answer."""
    is_final, start, determined = False, position, False
    for word, where in _words_before(text, position, 5):
        if not determined and word in _PRAISE:
            is_final |= word in _FINAL
            start = where
        elif not determined and (word in _DETERMINERS or (word == "a" and is_final)):
            start, determined = where, True
        elif word in _OPENERS or determined:
            break
        else:
            return None
    return start, is_final


def _words_before(text: str, position: int, most: int) -> list[tuple[str, int]]:
    """The words of the line in front of a position, the nearest first, and where they begin."""
    before = []
    for _ in range(most):
        line = text.rfind("\n", 0, position) + 1
        found = _WORD_BEFORE.search(text, max(line, position - 24), position)
        if not found:
            break
        before.append((found[1].lower(), found.start(1)))
        position = found.start(1)
    return before


def _is_praised_abroad(text: str, position: int) -> bool:
    before = _words_before(text, position, 1)
    return not before or before[0][0] in _PRAISE | _DETERMINERS


def _headings(text: str) -> Iterator[Statement]:
    for heading in _HEADING.finditer(text):
        begin = _skip_space(text, heading.end())
        yield Statement(Form.ANSWER_IS, heading.start(), begin, _line_end(text, begin), True)


def _labelled(text: str) -> Iterator[Statement]:
    listed = _SECOND_OPTION.search(text) is not None
    for label in _LETTER_LABEL.finditer(text):
        if listed and label[0] == "A:":
            continue  # the first of a list of options
        begin = _skip_space(text, label.end())
        yield Statement(Form.ANSWER_IS, label.start(), begin, _line_end(text, begin))


def _keyed(text: str) -> Iterator[Statement]:
    for key in _JSON.finditer(text):
        yield Statement(Form.TAG, key.start(), *key.span(key.lastindex or 0), is_final=True)


def _value_first(text: str, sentences: Sentences) -> Iterator[Statement]:
    for phrase in _VALUE_FIRST.finditer(text):
        begin, _ = sentences.around(phrase.start(), phrase.end())
        begin = _skip_space(text, begin)
        if begin < phrase.start():
            yield Statement(Form.VALUE_FIRST, phrase.start(), begin, phrase.start())


def _chosen(text: str) -> Iterator[Statement]:
    for phrase in _CHOSEN.finditer(text):
        begin = _skip_space(text, phrase.end())
        yield Statement(Form.CHOSEN, phrase.start(), begin, _line_end(text, begin))


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
