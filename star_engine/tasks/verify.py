"""The one door to the verifiers: a completion and a gold answer in, a verdict out.

Every kind cuts the completion at the first stop, then looks for an anchor, and fails closed: what is not
certainly right is `unparsed`, `ambiguous` or `wrong`, and none of these trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from star_engine.tasks.choice import gold_label, verify_choice, verify_direct_choice
from star_engine.tasks.exact import gold_text, verify_direct_exact, verify_exact
from star_engine.tasks.math import gold_expression, verify_direct_math, verify_math
from star_engine.tasks.numeric import gold_number, verify_direct_numeric, verify_numeric
from star_engine.tasks.pattern import compile_pattern, verify_direct_pattern, verify_pattern
from star_engine.tasks.reading.anchors import find_anchors
from star_engine.tasks.reading.choice_marks import read_options
from star_engine.tasks.reading.cut import DEFAULT_STOPS, cut_at_first_stop
from star_engine.tasks.scratchpad import gold_digits, verify_direct_scratchpad, verify_scratchpad
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

# A text that states its answer more often is stuck in a loop; reading them all would cost the square of it.
MOST_ANCHORS = 32

_Verifier = Callable[..., Verdict]
_VERIFIERS: Mapping[str, _Verifier] = {
    "numeric": verify_numeric,
    "choice": verify_choice,
    "scratchpad": verify_scratchpad,
    "exact": verify_exact,
    "math": verify_math,
    "pattern": verify_pattern,
}
_DIRECT_VERIFIERS: Mapping[str, _Verifier] = {
    "numeric": verify_direct_numeric,
    "choice": verify_direct_choice,
    "scratchpad": verify_direct_scratchpad,
    "exact": verify_direct_exact,
    "math": verify_direct_math,
    "pattern": verify_direct_pattern,
}
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "numeric": ("fallback",),
    "choice": (),
    "scratchpad": (),
    "exact": (),
    "math": ("timeout_s",),
    "pattern": ("pattern",),
}
KINDS: tuple[str, ...] = tuple(_OPTIONS)


def verify(
    kind: str,
    completion: str,
    answer: str,
    choices: Sequence[str] | None = None,
    *,
    stops: Sequence[str] = DEFAULT_STOPS,
    **options: Any,
) -> Verdict:
    """Judge a rationale with its answer clause.

    `answer` is the gold answer, for `choice` the letter of the right one of `choices`. Options: `fallback`
    ("last_number", numeric), `timeout_s` (math), `pattern` (pattern). A gold answer that its kind cannot read
    gives the verdict `error`; ValueError means a call that fits no kind: unknown kind or option, bad pattern.
    """
    return _judge(_VERIFIERS, kind, completion, answer, choices, stops, options)


def verify_direct(
    kind: str,
    completion: str,
    answer: str,
    choices: Sequence[str] | None = None,
    *,
    stops: Sequence[str] = DEFAULT_STOPS,
    **options: Any,
) -> Verdict:
    """Judge a completion that is only the answer ("72", "(b)", "8 8 3"), as direct prompts ask for it."""
    return _judge(_DIRECT_VERIFIERS, kind, completion, answer, choices, stops, options)


def canonical_answer(kind: str, answer: str, choices: Sequence[str] | None = None) -> str:
    """The normalised form of a gold answer, equal for equal answers. Raises ValueError with the mend."""
    check_options(kind, {})
    if kind == "numeric":
        return gold_number(answer).canonical
    if kind == "choice":
        return gold_label(answer, read_options(choices))
    if kind == "scratchpad":
        return gold_digits(answer)
    if kind == "math":
        return gold_expression(answer)
    return gold_text(answer)


def check_gold(kind: str, answer: str, choices: Sequence[str] | None = None, **options: Any) -> None:
    """Raise ValueError, with the mend, unless the answer verifies against itself."""
    check_options(kind, options)
    canonical_answer(kind, answer, choices)
    written = verify_direct(kind, answer, answer, choices, **options)
    if written.is_correct and kind != "pattern":  # only its author knows what text a pattern finds
        written = verify(kind, _stated(kind, answer, choices), answer, choices, **options)
    if not written.is_correct:
        raise BadGold(
            f"does not verify against itself ({written.verdict}: {written.rule}); "
            "shorten it to the bare answer, or choose another kind"
        )


def _stated(kind: str, answer: str, choices: Sequence[str] | None) -> str:
    """The answer as the end of a right completion would state it."""
    if kind == "scratchpad":
        return f"<scratch>\n</scratch>\n{answer}"
    if kind == "choice":
        label = gold_label(answer, read_options(choices))
        text = (choices or ())[ord(label) - ord("a")]
        return f"Therefore, the answer is {text} ({label})."
    return f"#### {' '.join(answer.split())}"


def _judge(
    verifiers: Mapping[str, _Verifier],
    kind: str,
    completion: str,
    answer: str,
    choices: Sequence[str] | None,
    stops: Sequence[str],
    options: dict[str, Any],
) -> Verdict:
    check_options(kind, options)
    text = cut_at_first_stop(completion, stops)
    if len(find_anchors(text)) > MOST_ANCHORS:
        return no_answer(VerdictCode.AMBIGUOUS, "too_many_anchors")
    more = (choices,) if kind == "choice" else ()
    try:
        return verifiers[kind](text, answer, *more, **options)
    except BadGold:
        return no_answer(VerdictCode.ERROR, "bad_gold")


def check_options(kind: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for an unknown kind, an option that the kind does not have, or a bad value."""
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind!r}; use one of {', '.join(KINDS)}")
    allowed = _OPTIONS[kind]
    for name in options:
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise ValueError(f"the kind {kind} has no option {name!r}; its options: {known}")
    if options.get("fallback") not in (None, "last_number"):
        raise ValueError(f"fallback {options['fallback']!r} is unknown; use last_number or leave it out")
    if "pattern" in options:
        compile_pattern(options["pattern"])
