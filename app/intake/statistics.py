"""What a dataset holds, counted at upload. Streamed from the scratch file: memory does not grow with it."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any

from app.intake.lines import question_of
from app.intake.overlap import MAX_NAMED, exact_overlap
from app.intake.tally import Tally, summary
from star_engine.data.overlap import NGRAM, SHARE, ngram_hashes, seen_hashes, share_seen

MAX_NGRAMS = 1_000_000  # that are looked for at once: some 200 long documents, or 10,000 questions
MAX_HELD_OUT = 10_000  # held-out questions whose n-grams are looked for: they take 25 MB


def statistics(rows: Connection, tally: Tally) -> dict[str, Any]:
    """JSON for the dataset's row, from a finished and carved Scratch."""
    count = sum(tally.question.values())
    rows.execute("CREATE INDEX held_out ON rows (line) WHERE split <> 'train'")
    distinct = rows.execute("SELECT count(DISTINCT answer) FROM rows").fetchone()[0]
    return {
        "characters": {
            "question": summary(tally.question),
            "answer": summary(tally.answer),
            "solution": summary(tally.solution),
        },
        "longest_bytes": dict(tally.longest),
        "conversations": _conversations(tally),
        "answers": {
            "kinds": dict(tally.kinds.most_common()),
            "distinct": distinct,
            "most_common": [
                {"answer": answer[:100], "count": times, "share": round(times / count, 4)}
                for answer, times in _most_common(rows, "answer")
            ],
        },
        "choices": {str(options): times for options, times in sorted(tally.choices.items())} or None,
        "groups": [{"group": group, "count": times} for group, times in _most_common(rows, "grp")],
        "duplicates": _duplicates(rows),
        "overlap": {"exact": exact_overlap(rows), "ngrams": _ngram_overlap(rows)},
    }


def _conversations(tally: Tally) -> dict[str, int] | None:
    """Examples with turns before their question, and the exchanges of the longest; None: there are none."""
    if not tally.exchanges:
        return None
    return {"examples": sum(tally.exchanges.values()), "longest": max(tally.exchanges)}


def _most_common(rows: Connection, column: str) -> list[tuple[str, int]]:
    return rows.execute(
        f"SELECT {column}, count(*) AS times FROM rows WHERE {column} IS NOT NULL"  # noqa: S608 - our own name
        f" GROUP BY {column} ORDER BY times DESC, {column} LIMIT ?",
        (MAX_NAMED,),
    ).fetchall()


_REPEATED = """CREATE TEMP TABLE repeated AS
    SELECT key, min(line) AS line, count(*) AS times, count(DISTINCT CASE WHEN choices IS NULL THEN answer
    ELSE json_extract(choices, '$[' || (unicode(answer) - unicode('a')) || ']') END) AS answers
    FROM rows WHERE key IN (SELECT key FROM rows GROUP BY key HAVING count(*) > 1) GROUP BY key"""
_REPEATED_IDS = """SELECT rows.id, (SELECT again.id FROM rows AS again WHERE again.key = rows.key
    AND again.line > rows.line ORDER BY again.line LIMIT 1), repeated.answers > 1
    FROM repeated JOIN rows USING (line) ORDER BY repeated.answers > 1 DESC, line LIMIT ?"""


def _duplicates(rows: Connection) -> dict[str, Any]:
    """Questions that stand there more than once, and those of them whose answers differ."""
    rows.execute(_REPEATED)
    query = "SELECT count(*), coalesce(sum(times), 0), coalesce(sum(answers > 1), 0) FROM repeated"
    questions, examples, differ = rows.execute(query).fetchone()
    named = rows.execute(_REPEATED_IDS, (MAX_NAMED,))
    found = [{"id": one, "same_as": other, "answers_differ": bool(d)} for one, other, d in named]
    return {"questions": questions, "examples": examples, "answers_differ": differ, "named": found}


def _ngram_overlap(rows: Connection) -> dict[str, Any]:
    """Held-out examples at least half of whose n-grams stand in questions that are trained on."""
    query = "SELECT id, split, tail FROM rows WHERE split <> 'train' ORDER BY line LIMIT ?"
    asked: set[int] = set()
    taken = 0
    for _, _, tail in rows.execute(query, (MAX_HELD_OUT,)):
        asked |= ngram_hashes(question_of(tail))
        taken += 1
        if len(asked) > MAX_NGRAMS:
            break
    trained = rows.execute("SELECT tail FROM rows WHERE split = 'train'") if asked else []
    seen = seen_hashes(asked, (question_of(tail) for (tail,) in trained))
    checked, found = 0, []
    for name, split, tail in rows.execute(query, (taken,)):
        share = share_seen(question_of(tail), seen)
        checked += share is not None
        if share is not None and share >= SHARE:
            found.append({"id": name, "split": split, "share": round(share, 3)})
    return {"n": NGRAM, "checked": checked, "examples": len(found), "named": found[:MAX_NAMED]}
