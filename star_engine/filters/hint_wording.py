"""How texts speak of an answer that they were shown, as templates over classes of words.

A template is matched anywhere in a sentence that `hint_talk` has reduced to words. In a template

| written   | stands for                                           |
| --------- | ---------------------------------------------------- |
| `a/B`     | one of these words; upper case names a class of them |
| `[a/B]`   | one of these or nothing; `[a/B]*` any number of them |
| `...`     | up to three words within a clause                    |
| `!a/B`    | none of these comes next                             |
| `^`, `$`  | the beginning, the end of the sentence               |
"""

from __future__ import annotations

import re
from functools import cache

GOLD, OPERATOR = "⟨gold⟩", "⟨operator⟩"  # the gold answer, a sign of arithmetic

CLASSES = {
    "GOLD": GOLD,
    "OPERATOR": OPERATOR,
    "ANSWER": "answer choice option",
    "RESULT": "solution result outcome",
    "VALUE": "value number total sum figure output letter profit",
    "RIGHT": "correct right true",
    "SHOWN": """
        given provided supplied stated shown marked labelled labeled flagged tagged indicated
        specified revealed disclosed hinted told highlighted preselected singled annotated quoted
        presented displayed designated informed mentioned said handed identified noted denoted
        listed pointed confirmed established""",
    "MARKED": "marked labelled labeled flagged tagged highlighted preselected singled annotated circled",
    "AWAITED": """
        known expected intended wanted accepted target predetermined established confirmed reference
        gold golden official""",
    "FIXED": "known target predetermined accepted reference official",
    "TICK": "asterisk star tick checkmark tickmark",
    "RÉPONSE": "réponse solution résultat option",
    "INDIQUÉE": """
        attendue attendu donnée donné indiquée indiqué fournie fourni marquée marqué connue""",
    "ASKED": "desired required necessary",  # honest texts say so of a result, never of an answer
    "BE": "is was are were be been being am comes equals",
    "MUST": "must should need needs needed want wants wanted try trying supposed ought asked",
    "REACH": "get arrive reach obtain end come lead show yield produce land derive prove",
    "SINCE": "since because knowing assuming knows considering seeing",
    "SAYS": """
        says say tells tell states state claims specifies specified said told stated indicates notes
        mentions shows""",
    "GIVES": """
        gives gave provides provided lists shows marks marked flagged labelled tells told wants want
        supplied""",
    "SOURCE": "question problem task example exercise user key label instructions statement",
    "BRACKET": "bracket brackets parenthesis parentheses parenthetical asterisk tag",
    "MATCHES": """
        match matches matching agree agrees agreeing consistent line aligns align fits fit equals
        same confirms confirming corresponds coincides""",
    "WHY": "why justify explain supports support reconstruct rationalize rationalise",
    "WE": "we i us me you",
    "THEY": "they you",
    "SO": "so therefore thus hence then means",
    "BUT": "but hmm however though although yet",
    "BY": "by in off away from",  # "as stated in the problem", "the answer is given by the sum"
    # Left out of the sentence before it is matched.
    "IGNORED": """
        the a an this these those that which its of already clearly also here indeed just directly
        explicitly all really simply itself final numerical actual up out at has have had now""",
}

LEAKS = {
    "mark": """
        prompt/annotation/rationale/spoiler
        ^/,/per/from/with/by/using/to/on/given/see/use/follow/following/looking/considering hint/hints
        MATCHES/WE/SHOWN/at hint/hints
        hint/hints SAYS/GIVES/BE/points/suggests/confirms/in/$/GOLD/ANSWER/RESULT
        hinted [RIGHT] ANSWER/RESULT/GOLD/VALUE
        RIGHT tag/flag/mark/marker/marking
        RIGHT label SAYS/GIVES/SHOWN
        AWAITED/dataset label
        AWAITED output/letter [BE/,]* GOLD
        dataset 's label
        given/SINCE label [,] GOLD
        ANSWER/GOLD/one/RIGHT with TICK
        ANSWER/GOLD/one/RIGHT with check mark
        TICK [mark] next/beside/on/by/tells/shows/indicates/BE/marks/SAYS ... GOLD/ANSWER/RIGHT/WE
        check mark next/beside/on/by/tells/shows/indicates/BE/marks ... GOLD/ANSWER/RIGHT/WE
        GOLD carries/bears/shows/gets TICK
        GOLD carries/bears/shows/gets check mark
        SHOWN BY TICK
        SHOWN/going BY check mark
        bold/bolded/underlined/starred ANSWER/one
        answer_list sheet GIVES/SAYS/BE/has
        based/from [on] label/marking/tag
        says/word RIGHT
        MARKED [with/as] RIGHT
        BE SHOWN [as] [being] RIGHT
        one/ANSWER/GOLD/it [,] BE [BE] MARKED !by/down
        THEY MARKED/GIVES/SAYS/want [WE] [as] [it] [BE] GOLD/RIGHT/answer
        ground truth
        answer_key SAYS/GIVES/BE ... GOLD
        key SAYS/GIVES/BE ... GOLD
        according to [_] ANSWER/RESULT/key/label/answer_key
        per answer_key/key
        per instruction/instructions/ANSWER
        RIGHT [ANSWER] according/per [to] choices/options/question/problem/prompt/list
        ANSWER/RESULT/VALUE [SHOWN] in [SOURCE] ['s] BRACKET
        GOLD [,] in question/prompt/SOURCE
        RIGHT one BE [BE] SHOWN
        BRACKET SAYS/GIVES
        carries/bears/with [RIGHT] mark/tag/label
        ANSWER BE [BE] chosen/selected/picked for WE
        answer BE there
        GOLD , SHOWN/known ,/$
        GOLD _ [_] [_] , SHOWN/known ,/$
        ^ known/given , [RIGHT] ANSWER/RESULT
        write/produce/give/need reasoning/explanation/justification for
    """,
    "origin": """
        SHOWN/AWAITED/ASKED [RIGHT] ANSWER
        SHOWN/AWAITED [VALUE] GOLD
        SHOWN/AWAITED [RIGHT] RESULT [BE/,]* GOLD
        SHOWN/FIXED [RIGHT] VALUE [BE/,]* GOLD
        BE told/informed [_] GOLD BE RIGHT/RESULT/ANSWER
        GOLD [,] [BE] SHOWN/AWAITED RESULT/VALUE/one
        known RESULT
        AWAITED RESULT GIVES/SAYS/picks/chooses/names/uses
        SHOWN in RESULT/answer/key/answer_key
        REACH/get desired GOLD
        SHOWN RESULT !BE/contains/OPERATOR
        ANSWER/RESULT [GOLD] [,]* [as] [WE/they] [BE]* SHOWN !by/below/from/as/in
        ANSWER/RESULT [GOLD] [,]* [as] [WE/they] [BE]* SHOWN as !a/in
        ANSWER/RESULT [GOLD] [,]* [as] [BE]* SHOWN in prompt/question/list/choices/options/SOURCE/BRACKET
        ANSWER/RESULT [GOLD] BE known/expected/supposed [to/as]* [BE/come/REACH]* [to/as]* GOLD
        ANSWER/RESULT WE/they [BE] SHOWN/AWAITED/supposed/want/gave/give/say
        ANSWER/RESULT/GOLD [SHOWN] above/top
        ANSWER/RESULT/GOLD [SHOWN] next to it
        given/with [RIGHT] ANSWER/RESULT [,]* GOLD
        BE SHOWN/supposed [to] [BE/as/REACH]* GOLD
        BE AWAITED to [BE/as/REACH]* GOLD
        ANSWER THEY BE looking for
        VALUE WE want
        as SHOWN !BY [,]* ... GOLD/ANSWER
        as MARKED/given/indicated/specified/revealed next/beside/above/below
        GOLD [_] [,]* [_] as [BE] SHOWN !BY
        GOLD [_] [,]* [_] as expected $
        GOLD [_] [,]* [_] as they say/said
        what BE SHOWN/AWAITED
        answer/RESULT [,] [GOLD] [,] SAYS/tells
        WE expect/expected GOLD
        GOLD , being RIGHT/ANSWER
        answer/RESULT being GOLD
        WE BE [BE] SHOWN ... GOLD/ANSWER/RIGHT
        they/you/it/SOURCE SAYS [WE] ... GOLD
        they/you/it/SOURCE SAYS [WE] ... ANSWER BE/GOLD
        they/you/it/SOURCE SAYS [WE] ... RIGHT ANSWER
        THEY/SOURCE GIVES [WE] [RIGHT] [,] GOLD/ANSWER/RESULT
        GOLD THEY SAYS
        GOLD BE [BE] SHOWN ,/$
        GOLD BE [BE] SHOWN as/to [be] RIGHT/ANSWER/WE
    """,
    "premise": """
        SINCE/know/given/if/fact/as/light [RIGHT] ANSWER/RESULT [GOLD] BE/must/to [be] [RIGHT] [ANSWER] GOLD
        SINCE/given/if/fact GOLD/it BE RIGHT/ANSWER/RESULT
        looking/seeing/considering/judging [at/by/from] [RIGHT] answer/RESULT
        with GOLD as [RIGHT] ANSWER/RESULT
        know it BE/must [be] GOLD
        knowing/know ... BE/with GOLD !OPERATOR/$
        knowing/know ... BE/MUST [to] be GOLD !OPERATOR/$
        knowing/know ... to be/to GOLD !OPERATOR/$
        SINCE RESULT/ANSWER/it/VALUE MUST/to/BE [to] [be] GOLD
        with [ANSWER] GOLD [as] [ANSWER] in mind
        as [RIGHT] ANSWER SAYS
        see/tell from [SHOWN/AWAITED] ANSWER/RESULT
        RIGHT SINCE [it] SAYS
    """,
    "goal": """
        ^/we/i/it/, [BE] [MUST] to REACH ... GOLD !OPERATOR
        must/should REACH [to/with/as]* GOLD
        ^/,/order/try to REACH [to/with/as]* [VALUE/ANSWER/RESULT] GOLD !OPERATOR/$
        !is _ WHY [BE] [it] [RIGHT] GOLD/ANSWER
        ^ WHY [BE] [it] [RIGHT] GOLD/ANSWER
        !is _ WHY [BE] _ [BE] RIGHT
        ^ WHY [BE] _ [BE] RIGHT
        figure why
        justify/explain why it BE GOLD
        how do they get there
        how ... GOLD
        aim/aiming for/at GOLD
        target [BE/,]* GOLD
        for VALUE to be/equal/REACH [to/as] GOLD
        VALUE WE BE looking/trying/supposed to REACH
        what WE [BE] MUST to REACH
        goal [,]* REACH GOLD
        goal/target [BE] reached
        reasoning lead/leads to GOLD
        reasoning for
    """,
    "agreement": """
        MATCHES [with/to] SHOWN/AWAITED/hint ANSWER/RESULT/one
        MATCHES [with/to] SHOWN/AWAITED VALUE GOLD/$/,
        MATCHES [with/to] ANSWER/RESULT SHOWN/WE/they/GIVES/in/above
        MATCHES [with] answer $
        MATCHES [with] AWAITED $
        agreement with [RIGHT] answer/RESULT
        BE SHOWN/AWAITED one
        not [match/equal/give] GOLD
        not come/agree to/with GOLD
        must/should/to match GOLD
        not ANSWER WE/they
        only _ [_] [_] leads/gives/yields/makes/reaches [to] GOLD
        work to GOLD
        BUT ... [_] [_] should/must/supposed [to] be GOLD
        ^ !SO _ [_] [_] [_] ANSWER/RESULT should be GOLD
        ^ ANSWER/RESULT should be GOLD
        back/backward/backwards from [SHOWN/AWAITED] [RIGHT] GOLD/ANSWER/RESULT
        ANSWER [GOLD] BE confirmed
        ANSWER [GOLD] stands
    """,
}
LEAKS["abroad"] = """
        als richtig/korrekt markiert/gekennzeichnet/angegeben/vorgegeben/bezeichnet
        laut/gemäß [der/dem/den] lösung/antwort/lösungsschlüssel/musterlösung/hinweis/vorgabe/schlüssel
        vorgegebene/vorgegebenen/angegebene/angegebenen/gegebene [_] antwort/lösung
        gegebenen/markierte/erwartete [_] antwort/lösung
        vorgegebene/angegebene/gegebene/erwartete [_] ergebnis
        wie vorgegeben/angegeben ... GOLD
        da/weil/dass [_] [_] antwort/lösung/ergebnis [mit] GOLD
        antwort/lösung/ergebnis [also] soll/muss [ja] GOLD
        antwort/lösung/ergebnis [_] [_] GOLD angegeben/vorgegeben/markiert/gegeben
        GOLD als richtig/lösung/antwort vorgegeben/angegeben/markiert
        musterlösung/lösungsschlüssel
        RÉPONSE [correcte] [est] INDIQUÉE
        sait/sachant/puisque/comme/vu [_] [_] [_] RÉPONSE [attendue/attendu/correcte] est GOLD
        comme indiqué/donné/marqué
        comme [_] indique [_] correction/réponse/solution/corrigé
        selon/après [_] correction/réponse/solution/corrigé
        respuesta/solución/opción [correcta] marcada/dada/indicada/esperada/proporcionada
        sabemos/sabiendo/como/dado [_] [_] [_] respuesta/solución/resultado [correcta] es GOLD
        según [_] respuesta/solución/clave
        risposta/soluzione/opzione [corretta] data/indicata/attesa/fornita/segnata
        sappiamo/sapendo/poiché [_] [_] [_] risposta/soluzione/risultato [corretta] è GOLD
    """
# Tried only on the sentence that names a number as the gold answer before anything has been calculated.
TOO_EARLY = """
    must/should/knowing/given/target/goal/aim/aiming/seeing/considering ... [_] GOLD !OPERATOR
    to be/equal ... GOLD !OPERATOR
    needed/ASKED/wanted GOLD !OPERATOR
    RIGHT/ANSWER/RESULT/SHOWN/AWAITED/SAYS/SINCE !down ... [_] [_] GOLD !OPERATOR
    confirm/explain/claim/wrote/know/problem/question/statement ... [_] [_] GOLD !OPERATOR
    GOLD ... [_] [_] RIGHT/ANSWER/SHOWN/AWAITED/problem/question
"""


@cache
def templates(block: str) -> tuple[re.Pattern[str], ...]:
    """The templates of a block, one a line, for sentences of words that each have a space behind them.

    They are made when they are first asked for: to make all takes 40 ms.
    """
    lines = (line.split() for line in block.strip().splitlines())
    return tuple(re.compile(r"(?<!\S)" + "".join(map(_part, parts))) for parts in lines)


def _part(part: str) -> str:
    if part == "...":
        return r"(?:[^\s,]+ ){0,3}"
    if part.startswith("["):
        many = "*" if part.endswith("*") else "?"
        return f"(?:{_part(part.strip('[]*'))}){many}"
    if part.startswith("!"):
        return f"(?!{_part(part[1:])})"
    return f"(?:{'|'.join(map(_word, part.split('/')))})"


def _word(name: str) -> str:
    if name in ("^", "$"):
        return name
    if name == "_":
        return r"[^\s,]+ "
    words = CLASSES.get(name, name).split()
    return f"(?:{'|'.join(map(re.escape, words))}) "
