"""Worked examples of each kind, for a model that is to draft others when nobody has written any yet.

They show how a rationale of the kind looks and ends; what they ask is general, and no published dataset's.
"""

from __future__ import annotations

from star_engine.tasks.examples import FewShotExample, PromptSet
from star_engine.tasks.kind import Kind

_EXAMPLES: dict[Kind, tuple[FewShotExample, ...]] = {
    Kind.NUMERIC: (
        FewShotExample(
            "A box holds 12 pencils. A teacher opens 3 boxes and hands out 20 pencils. How many are left?",
            "Three boxes of 12 pencils are 3 * 12 = 36 pencils. After 20 are handed out, 36 - 20 = 16 "
            "are left. "
            "#### 16",
            "16",
        ),
        FewShotExample(
            "A train travels 150 miles in 2.5 hours. What is its average speed in miles per hour?",
            "Average speed is distance divided by time. 150 miles divided by 2.5 hours is 150 / 2.5 = "
            "60. #### 60",
            "60",
        ),
    ),
    Kind.CHOICE: (
        FewShotExample(
            "Where would you put milk so that it stays fresh for a week?",
            "Milk spoils quickly when it is warm, so the place must be cold. Of these places only a "
            "refrigerator "
            "is kept cold. Therefore, the answer is refrigerator (b).",
            "b",
            ("cupboard", "refrigerator", "window sill", "bookshelf"),
        ),
        FewShotExample(
            "What does a person do when they are thirsty?",
            "A thirsty person needs liquid. Sleeping, running and reading give none, while drinking does. "
            "Therefore, the answer is drink (c).",
            "c",
            ("sleep", "run", "drink", "read"),
        ),
    ),
    Kind.EXACT: (
        FewShotExample(
            "Which month comes two months after the month that follows January?",
            "The month that follows January is February. One month after February is March, two months "
            "after it "
            "is April. #### April",
            "April",
        ),
        FewShotExample(
            "Ann is taller than Bob, and Bob is taller than Cid. Who is the shortest?",
            "Ann is taller than Bob, so Ann is not the shortest. Bob is taller than Cid, so Bob is not "
            "either. "
            "That leaves Cid. #### Cid",
            "Cid",
        ),
    ),
    Kind.MATH: (
        FewShotExample(
            "Simplify $\\frac{6}{8}$.",
            "Numerator and denominator share the factor 2: $6 = 2 \\cdot 3$ and $8 = 2 \\cdot 4$. "
            "Dividing both "
            "by 2 gives \\boxed{\\frac{3}{4}}.",
            "\\frac{3}{4}",
        ),
        FewShotExample(
            "Solve $2x + 3 = 11$ for $x$.",
            "Subtracting 3 from both sides gives $2x = 8$. Dividing both sides by 2 gives $x = 4$, so "
            "the answer "
            "is \\boxed{4}.",
            "4",
        ),
    ),
    Kind.DATE: (
        FewShotExample(
            "A loan of 10 days begins on 25 March 2024. On which date does it end?",
            "March has 31 days, so 6 days after 25 March it is 31 March. Four of the 10 days remain, "
            "which leads "
            "to 4 April 2024. #### 2024-04-04",
            "2024-04-04",
        ),
        FewShotExample(
            "Today is the last day of February 2023. What is the date tomorrow?",
            "2023 is no leap year, so February ends on the 28th. The day after it is the first of March. "
            "#### 2023-03-01",
            "2023-03-01",
        ),
    ),
    Kind.SCRATCHPAD: (
        FewShotExample("2 + 5", "<scratch>\n2 + 5 , C: 0\n, 7 C: 0\n0 7\n</scratch>\n7", "7"),
        FewShotExample(
            "6 2 + 2 5",
            "<scratch>\n6 2 + 2 5 , C: 0\n6 + 2 , 7 C: 0\n, 8 7 C: 0\n0 8 7\n</scratch>\n8 7",
            "8 7",
        ),
    ),
}


def seed_prompts(kind: Kind) -> PromptSet | None:
    """The examples of a kind; None for kinds whose answers only a job's own settings can tell."""
    examples = _EXAMPLES.get(kind)
    return None if examples is None else PromptSet(kind, examples)
