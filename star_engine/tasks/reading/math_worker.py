"""The process that runs math-verify: one JSON request per line in, one JSON reply per line out.

Run by file name, never imported by the engine. sympy may compute for hours or fill the memory on input
like 9^{9^{9^9}}, and math-verify's own time limit works in a main thread only. So the limits here are the
kernel's: SIGALRM with its default action (death) and RLIMIT_AS. The parent's kill comes first; these hold
when the parent is gone.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from typing import Any

MEMORY = 4 << 30  # address space; importing sympy and numpy reserves 1 to 2 GiB of it
GRACE = 1.0  # seconds that the parent's kill has before the alarm's
ORPHAN_CHECK = 5.0  # seconds between looks at who the parent is, while idle


def main(parent: int) -> None:
    """Answer requests until the input ends or the parent is gone."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not break the protocol
    import math_verify

    _limit_memory()
    requests = sys.stdin.buffer
    _send(replies, {"ready": True})
    while True:
        readable, _, _ = select.select([requests], [], [], ORPHAN_CHECK)
        if not readable and os.getppid() != parent:
            return
        if not readable:
            continue
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["timeout_s"] + GRACE)
        reply = _answer(math_verify, request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(replies, {"id": request["id"], **reply})


def _limit_memory() -> None:
    """To MEMORY, or to what the parent is limited to: only root may raise that."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _answer(library: Any, request: dict[str, Any]) -> dict[str, Any]:
    """{"gold": is it readable, "equal": true, false or null (not readable) per answer}, or {"error"}."""
    try:
        gold = _parse(library, request["gold"])
        parsed = [_parse(library, text) for text in request["answers"]]
        equal = [_equal(library, gold, one) if gold and one else None for one in parsed]
        return {"gold": bool(gold), "equal": equal}
    except (Exception, RecursionError, MemoryError) as problem:  # noqa: BLE001 - sympy raises anything
        return {"error": type(problem).__name__}


def _parse(library: Any, text: str) -> list[Any]:
    """Read as LaTeX in a box and as nothing else: the library's own search for answers is too lenient."""
    config = library.LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False)
    boxed = f"\\boxed{{{text}}}"
    found: list[Any] = library.parse(
        boxed, extraction_config=[config], fallback_mode="no_fallback", parsing_timeout=None
    )
    return found


def _equal(library: Any, gold: list[Any], answer: list[Any]) -> bool:
    exact = _exactly_equal(gold[0], answer[0])
    if exact is not None:
        return exact
    return bool(library.verify(gold, answer, timeout_seconds=None))


def _exactly_equal(gold: Any, answer: Any) -> bool | None:
    """For two constants: whether their difference is 0, decimals read as the fractions they are.

    The library rounds to 6 places, and takes 3.14159265 for pi.
    """
    import sympy  # type: ignore[import-untyped]

    if not all(isinstance(one, sympy.Expr) and not one.free_symbols for one in (gold, answer)):
        return None
    gold, answer = (
        one.xreplace({decimal: sympy.Rational(str(decimal)) for decimal in one.atoms(sympy.Float)})
        for one in (gold, answer)
    )
    difference = (gold.doit() - answer.doit()).equals(0)
    return None if difference is None else bool(difference)


def _send(replies: Any, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
