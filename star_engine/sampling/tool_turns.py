"""Texts in turns: text, fenced code, its output, text, until the end (START, arXiv 2503.04625, section 3.1).

A turn ends where a fence closes. If it closes a block of the tool's, the code is executed and its output put
behind it as a block of its own, and the model is asked to go on from there. A hint is put in before the first
turn, or where the first turn's text says a word or ends. Calls follow one another as the cells of a notebook:
each is executed in a new process, behind those before it that worked, whose output is dropped.

The limit on tokens is one for the whole text: what others put in counts, since the model reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from star_engine.config.star import StarConfig
from star_engine.config.tools import PythonTool
from star_engine.protocols import Completion, SampleRequest, parts_of
from star_engine.sampling.hint_library import VERSION, Hint
from star_engine.tasks.programs.execution import Execution, Limits, Program, Status, execute
from star_engine.tasks.programs.tool_use import Origin, Span, ToolUse

FENCE = "```\n"
OUTPUT = "```output\n"
EndOf = Callable[[str], int]  # where in a text that has ended a hint is put in


@dataclass(frozen=True, slots=True)
class Inserted:
    """A hint, and where it is put in. word: where the text first says it; else, or never said, `end`."""

    hint: Hint
    at_start: bool = False
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A text that has ended: as if it had come in one turn. Positions of `use` are those of its text."""

    completion: Completion
    use: ToolUse


@dataclass(slots=True)
class _Open:
    """A text in the making."""

    request: SampleRequest  # as it would be asked without a tool
    inserted: Inserted | None  # until it is put in
    use: ToolUse
    text: str = ""
    turn: int = 0
    tokens: int = 0  # of the model's own
    prompt_tokens: int = 0
    used: int = 0  # tokens behind the prompt: counted up to the last turn, of what was put in since its bytes
    lead: int = 0  # of them those that `prompt_tokens` has counted: a hint at the start
    cells: list[str] = field(default_factory=list)

    def put(self, text: str, origin: Origin | None = None, ids: tuple[int, ...] | None = None) -> None:
        """Add a part: by the model, with its tokens, or by somebody else."""
        if not text:
            return
        self.use = replace(self.use, turns=(*self.use.turns, (len(self.text), ids)))
        if origin is not None:
            span: Span = (len(self.text), len(self.text) + len(text), origin)
            self.use = replace(self.use, spans=(*self.use.spans, span))
            self.used += len(text.encode())  # no tokenizer makes more tokens of it
        self.text += text


@dataclass(slots=True)
class ToolTurns:
    """The texts of one plan that are in the making, by the keys of their requests."""

    config: StarConfig
    tool: PythonTool
    max_tokens: int
    run: Callable[[Sequence[Program]], list[Execution]] = execute
    open: dict[str, _Open] = field(default_factory=dict)

    def begin(
        self, request: SampleRequest, inserted: Inserted | None = None, lead: str = ""
    ) -> SampleRequest:
        """The first turn's request. lead: what stands between the prompt and a text."""
        use = ToolUse() if inserted is None else ToolUse(hint=inserted.hint.name, library=VERSION)
        known = self.open[request.key] = _Open(request, inserted, use)
        if inserted is not None and inserted.at_start:
            known.put(lead + inserted.hint.text, "hint")
            known.inserted, known.lead = None, known.used
        return self._ask(known)

    def go_on(self, completion: Completion, end_of: EndOf = len) -> SampleRequest | Finished:
        """What follows a turn: another one, or the end of the text. Executes the code that it ends with."""
        known = self.open[completion.key]
        known.turn += 1
        known.tokens += completion.tokens
        known.prompt_tokens = known.prompt_tokens or completion.prompt_tokens
        known.used = known.lead + completion.prompt_tokens + completion.tokens - known.prompt_tokens
        closed = completion.stopped_by == FENCE
        known.put(completion.text + (FENCE if closed else ""), ids=completion.ids)
        if completion.finish_reason == "length":
            return self._end(known, "length")
        if known.inserted is not None and self._put_hint(known, completion.stopped_by, end_of):
            return self._next(known)
        if not closed and known.text.endswith("```") and completion.stopped_by is None:
            known.put("\n", "output")  # the text ended with its fence: the line feed is ours
        code = called(known.text, self.config.tool_fence)
        if code is None:
            return self._next(known) if closed else self._end(known, "stop")
        if known.use.calls == self.tool.max_calls:
            known.use = replace(known.use, limit=True)
            return self._end(known, "length")
        self._call(known, code)
        return self._next(known)

    def _put_hint(self, known: _Open, stopped_by: str | None, end_of: EndOf) -> bool:
        """Put the hint in where its place is reached."""
        inserted = known.inserted
        if inserted is None or stopped_by == FENCE:
            return False
        if stopped_by != inserted.word or stopped_by is None:
            cut = end_of(known.text)
            known.use = known.use.moved(0, cut)
            known.text = known.text[:cut]
        own = known.text.rstrip()
        known.use, known.text = known.use.moved(0, len(own)), own
        known.put(("\n" if own else "") + inserted.hint.text, "hint")
        known.inserted = None
        return True

    def _call(self, known: _Open, code: str) -> None:
        program, mark = program_of(self.tool, known.cells, code)
        [found] = self.run([program])
        room = max(20, (self.max_tokens - known.used) // 2)  # that the model is left some to answer
        shown, failed = said(found, mark, min(self.tool.output_chars, room))
        shown = without_stops(shown, self.config.stops)
        known.use = replace(known.use, calls=known.use.calls + 1, failed=known.use.failed + failed)
        if not failed:
            known.cells.append(code)
        known.put(f"{OUTPUT}{shown}\n{FENCE}" if shown else f"{OUTPUT}{FENCE}", "output")

    def _next(self, known: _Open) -> SampleRequest | Finished:
        return self._ask(known) if known.used < self.max_tokens else self._end(known, "length")

    def _ask(self, known: _Open) -> SampleRequest:
        first = known.request
        word = known.inserted and known.inserted.word
        stops = (FENCE, *self.config.stops, *([word] if word else []))
        seed = first.seed if first.seed is None else (first.seed + 0x3C6EF35F * known.turn) % 2**31
        return SampleRequest(
            key=first.key,
            prompt=first.prompt + known.text,
            seed=seed,
            regenerate=True,  # what is on record of a text is all of it, and no turn
            max_tokens=max(1, self.max_tokens - known.used),  # a hint at the start may be longer
            stop=tuple(dict.fromkeys(stops)),
            parts=parts_of(known.text, known.use.turns, [span[:2] for span in known.use.spans]),
            continued=True,
        )

    def _end(self, known: _Open, reason: str) -> Finished:
        del self.open[known.request.key]
        completion = Completion(
            key=known.request.key,
            text=known.text,
            prompt_tokens=known.prompt_tokens,
            tokens=known.tokens,
            finish_reason="length" if reason == "length" else "stop",
        )
        return Finished(completion, known.use)


def called(text: str, fence: str) -> str | None:
    """The code of the tool's block with which the text ends; None where it ends with none."""
    opening = f"```{fence}\n"
    at = text.rfind(opening)
    if at < 0 or not text.endswith(FENCE):
        return None
    code = text[at + len(opening) : -len(FENCE)]
    return None if "```" in code or not code.strip() else code


def program_of(tool: PythonTool, cells: list[str], code: str) -> tuple[Program, str | None]:
    """The program of a call behind earlier ones, and the line behind which its own output begins.

    None: it is the first, and all output is its own.
    """
    mark, body = None, code
    if cells:
        mark = f"--- {sha256(repr([*cells, code]).encode()).hexdigest()[:16]} ---"
        body = "\n".join([*(cell.rstrip("\n") for cell in cells), f"print({mark!r})", code])
    limits = Limits(cpu_s=tool.timeout_s, wall_s=6 * tool.timeout_s, memory_mb=tool.memory_mb)
    return Program(body, stdins=("",), limits=limits, embedded=tool.runtime == "embedded"), mark


def said(found: Execution, mark: str | None, most: int) -> tuple[str, bool]:
    """What the model is shown of an execution, and whether it failed."""
    out = "".join(run.stdout for run in found.runs)
    shown = (out if mark is None else out.partition(f"{mark}\n")[2]).strip("\n")
    failed = found.status is not Status.OK
    if failed:
        why = _complaint(found)
        shown = f"{shown}\n{why}".strip("\n")
    return cut_middle(shown.replace("```", "'''"), most), failed


def without_stops(shown: str, stops: Sequence[str]) -> str:
    """The same with a space in each stop: a text ends where its model says one, and not where a tool does."""
    framed = f"\n{shown}\n"
    for stop in stops:
        while len(stop) > 1 and stop in framed:
            framed = framed.replace(stop, f"{stop[0]} {stop[1:]}")
    return framed[1:-1]


def cut_middle(text: str, most: int) -> str:
    """The head and the tail of a longer text, as CoRT cuts outputs."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]}\n...\n{text[-half:]}"


def _complaint(found: Execution) -> str:
    """The last line of what Python says; where it says nothing, how the execution ended."""
    if found.status is not Status.ERROR:
        return f"Error: {found.status}"
    lines = [line for run in found.runs for line in run.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else found.error.strip() or "Error"
