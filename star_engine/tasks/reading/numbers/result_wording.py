"""Word lists that tell a sentence with a result from one with a step, a doubt, or a check of the result."""

from __future__ import annotations

import re

from star_engine.tasks.reading.phrases import any_of, words

# At the head of a sentence, or anywhere in front of its number.
_THEREFORE = """therefore, thus, hence, consequently, accordingly, daher, somit, folglich, deshalb, demnach
    donc, par conséquent, por lo tanto, por tanto, entonces, quindi, dunque, pertanto, portanto, dus"""
CONCLUDES = re.compile(
    r"^[\W_]*(?:and\s+)?"
    + any_of(
        f"""so, {_THEREFORE}, finally, altogether, overall, as a result
        in (total|all|conclusion|summary|the end|short), to (conclude|sum up|summarize|summarise), summing up
        this (means|leaves|gives|makes), that (means|leaves|gives|makes|is), that's
        which (means|leaves|gives)
        (it|that) follows that, we (get|find|have|obtain|conclude) that, adding (these|them|it all) up
        also, also insgesamt, insgesamt, zusammen, damit, schließlich, am ende, ainsi, finalement, au total
        en (tout|total), enfin, así, así que, en resumen, in totale, infine, alla fine, no total, logo, assim
        итого, всего, таким образом, значит, следовательно"""
    )
    + r"\b|^[\W_]*(?:因此|所以|一共|总共|總共|よって|したがって|따라서)|^[^\w]*[∴⇒→]|^[^\w\n]*=>"
    r"|\b(?:in\s+total|altogether|in\s+all|all\s+together|together)[\W_]*$"
    r"|^[\W_]*(?:total|result|ergebnis|sum|summe|profit|difference|remaining|resultado|résultat|output"
    r"|final|average(?:\s+[\w\s]{1,30}?)?|mean|change|final\s+\w+|(?:grand\s+)?total\s+[\w\s]{1,30}?)\s*[:=]"
    r"|^[\W_]*(?:conclusion|summary)\s*:|[,;]\s*(?:so|therefore|thus|hence)\s|^[^,;:.]{1,60}?\b"
    + any_of(_THEREFORE)
    + r"\b",
    re.IGNORECASE,
)
# What makes the last sentence something else than a plain conclusion, whatever opens it.
UNCERTAIN = re.compile(
    words(
        r"""not, cannot, never, no, none, neither, nor, if, unless, whether, suppose, assum\w+, might
        (?-i:may), could, perhaps, maybe, possibly, probably, likely, about, approximately, roughly, around
        nearly, almost, at (least|most)
        (more|less|fewer|greater|other|larger|smaller|higher|lower) than(?= [$€£]?\d)
        between, either, or, seems?, appears?, impossible, wrong, incorrect, false, mistake
        half(?! of (that|this|it|[$€£]?\d+)\b), twice(?! (that|this)\b), double[sd]?
        triple[sd]?, thrice, let'?s, let (us|me), next, first, step, we can, we will
        (we|i|you) (now )?(still )?(have|need) to, so far, (some|one) of, out of, except, instead, before
        part of, rest of, estimate\w*, question, mentioned, problem, given, stated, remaining \d+, too
        otherwise, without, taken from, nicht, kein\w*, vielleicht, etwa, ungefähr, oder, wenn, falls
        mindestens, höchstens, jamais, peut-être, environ, ou, si, au moins, moins de, plus de, quizás
        aproximadamente, unos, forse, circa, oppure"""
    )
    + r"|(?<!adds\s)(?<!add\s)(?<!adding\s)(?<!sums\s)\bup\s+to\b|\bne\s+\w+\s+pas\b|n['’]t\b"
    r"|[?≈~±<>≤≥≠…]|\\(?:neq?|leq?|geq?|approx|pm)\b",
    re.IGNORECASE,
)
# The same of a sentence that ends in a calculation, which says more of what it means by itself.
UNCERTAIN_CALCULATION = re.compile(
    words(
        r"""unless, whether, suppose, assum\w+, might, (?-i:may), (could|cannot|not|never) be(?= [$€£(]?\d)
        perhaps, maybe, possibly, probably, about, approximately, roughly, around, nearly, almost
        at (least|most), or (\w+ )?(\w+ )?[$€£]?\d+, seems?
        appears?, (is|are|was|be) (wrong|incorrect|false), mistake, let'?s, let (us|me), we can, we will
        (wrong|incorrect) (answer|result|total|way|approach), so far, instead, estimate, estimates, otherwise
        without, oder, ou, vielleicht, peut-être, wenn, falls, si"""
    )
    + r"|[?≈~±<>≤≥≠…]|\\(?:neq?|leq?|geq?|approx|pm)\b",
    re.IGNORECASE,
)
# What a text that gives up says somewhere: its last number is no result.
GIVES_UP = re.compile(
    r"(?:\b(?:cannot|unable\s+to|not\s+possible\s+to|impossible\s+to)|n['’]t(?:\s+be)?)\s+(?:be\s+)?"
    + any_of("solved?, determined?, answer(ed)?, find, found, comput(e|ed), calculated?")
    + r"\b|\b(?:not\s+enough|insufficient|missing)\s+(?:information|data)\b",
    re.IGNORECASE,
)
# A sentence that stands alone, with nothing worked out before it, gives a result where it says so.
RESULT_ALONE = re.compile(
    words(
        r"""left, remaining, remains?, in total, altogether, in all, total, sum, price, cost of, rate, profit
        average, area, volume, distance, number of, discount, value, result, difference, perimeter, speed
        probability, amount, trip, is, are, will, needs?, takes?, receives?, ends up, now, more, count
        temperature, age
        insgesamt, übrig, beträgt, gesamt\w*, noch, total\w*, totale, prix, donc, reçoit, restent, quedan"""
    ),
    re.IGNORECASE,
)
AT_THE_START = re.compile(
    words("at the (start|beginning), initially, originally, at first, to begin with, to start with, used to"),
    re.IGNORECASE,
)
# Harmless behind a word that concludes; elsewhere they plan or suppose.
PLANS = re.compile(
    r"\b(?:we|you|I|let['’]s)\s+(?:\w+\s+)?" + any_of("would, need, have to, must, should") + r"\b"
    r"|^[\W_]*(?:now|next|then|first)\b[^.\n]*"
    + any_of("would, needs? to, have to, has to, must, should")
    + r"\b",
    re.IGNORECASE,
)
# "The room then seats 16", but not "by 16", "in step 16": words that a result does not follow directly.
OPERAND_BEFORE = re.compile(
    words(
        r"""by, than, from, (?<!left\s)(?<!up\s)with, step, question, of (the|those|these), per, for
        add(ing|ed)?, subtract(ing|ed)?, plus, minus, times, another, other, over, after, within, during
        multipl(y|ied|ying), divid(e|ed|ing), until, since"""
    )
    + r"\s+$|[-+*/×÷−^(]\s*$",
    re.IGNORECASE,
)
# The 20 of "10 cups for 20 people", the 10 % of "after the 10% discount": said beside the result.
ASIDE = re.compile(
    r"(?:\b(?:from\s+[$€£]?\d[\d,.]*\d?%?(?:\s+\w+)?\s+to|"
    r"(?<!left\s)(?<!up\s)(?<!end\s)(?<!finishes\s)(?<!ends\s)with|for|after|by|(?<!result\s)(?<!results\s)(?<!resulted\s)in|from|at"
    r"|over|within|during|per|every|on|among|since|until|across|to\s+(?:the|his|her|their|each|all)"
    r"|of\s+(?:the|his|her|their|its|these|those)|in\s+den|für|nach|pro|bei|pour|après|dans|para|por|per)\s+"
    r"(?:(?:the|a|an|his|her|their|its|all|each|every|last|next|only|just|these|those|other|another|both"
    r"|\w+ing)\s+){0,3})[$€£]?$",
    re.IGNORECASE,
)
VERIFIES = re.compile(
    r"^[\W_]*(?:(?:now|finally|and|as\s+a|a|quick|okay|ok)\b[\s,]*){0,3}"
    + any_of(
        r"""check(ing)?\b(?! (in|out)), verif(y|ying|ication)\b, double-?check(ing)?\b, cross-?check\w*
        proof\b
        (to|let'?s|let me|let us|we can|we)( \w+)? (double-?check|check|verify|confirm)\b, sanity check
        (quick|final) check, probe\b, überprüfung, vérification, comprobación, verifica\b, verificación
        note\b( that)?, \(?note, remark, explanation, here'?s (why|how), this (works|is because|assumes)
        in summary\s*:, summary\s*:, breakdown, key (steps|points|takeaways?)"""
    ),
    re.IGNORECASE,
)
# Behind a conclusion, and without a number: "That is her income from the eggs."
REMARKS = re.compile(
    r"^[\W_]*(?:(?:actually|also|in\s+fact|by\s+the\s+way),?\s+)?"
    + any_of("this, that, it, these, which, great, good, done, easy, nice, q.?e.?d")
    + r"\b",
    re.IGNORECASE,
)
GOES_ON = re.compile(
    words("now, next, then, still, however, but, need, find, let'?s, let, must, should, continue, remaining"),
    re.IGNORECASE,
)
# Words in front of a number that is no result, in sentences without a word that concludes.
NO_RESULT_BEFORE = frozenset(
    """of in on at to by as and or but from with for than per into about around amc aime page pages day days
    step chapter version year since until before after number no the a an this these those which who that all
    other another least most every each some any first last next und oder von mit für auf in an pro et ou de à
    pour par avec en y o con por para di da e com""".split()  # noqa: SIM905 - a list of words, as words
)
RESULT_BEFORE = re.compile(
    r"\b(?:total|sum|profit|loss|average|rate|speed|price|value|amount|area|cost|volume|length|result|rest"
    r"|discount|remainder|number|balance|distance|salary|age|score)\s+of\s+[^\w\s]?$"
    r"|\b(?:amounts?|comes?|adds?\s+up|equal|equals|up|equivalent|rises?|rose|fell|falls?|drops?|dropped"
    r"|increases?|decreases?|increased|decreased|sums?|totals?|sums?\s+up|reduces?|reduced)\s+to\s+[^\w\s]?$"
    r"|\b(?:results?|resulting)\s+in\s+[^\w\s]?$|\b(?:left|ends?(?:\s+up)?|ended\s+up|finish(?:es|ed)?)\s+with\s+[^\w\s]?$"
    r"|\bsich\s+auf\s+[^\w\s]?$|\best\s+(?:donc\s+)?de\s+[^\w\s]?$|\bsoit\s+[^\w\s]?$|\bes\s+(?:de\s+)?[^\w\s]?$"
    r"|\b(?:gives|giving|leaves|leaving)\s+(?:us|her|him|them|me|you|\w+)\s+(?:with\s+)?[^\w\s]?$"
    r"|\bin\s+(?:total|all|the\s+end)\s+[^\w\s]?$|\bau\s+total\s+[^\w\s]?$|\bin\s+totale\s+[^\w\s]?$",
    re.IGNORECASE,
)
