"""Texts that call their job's tool, in turns as in the job, through the queue of a server.

Each turn is a text of its own to the engine; between two of them the code is executed, and no row of a batch
waits for it. With the client ends what waits for its execution; a program that runs ends at its limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import structlog
from starlette.requests import Request

from app.ledger.platform.text_usage import Written
from star_engine.protocols import Completion, SampleRequest
from star_engine.sampling.tool_turns import FENCE, Finished, ToolTurns
from star_engine.tasks.programs.execution import Execution, Program, SandboxFailed
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.writing import Piece, WriteRequest
from worker.serving.answers import Answer, Tooled
from worker.serving.service import Refused, Service, Who, gone_while, pieces_of
from worker.serving.tools import NoSandbox
from worker.serving.waiting import Full

log = structlog.get_logger()

PAUSE_SECONDS = 0.2  # before a later turn asks a full queue again


async def pieces_with_tool(
    service: Service, who: Who, answer: Answer, tooled: Tooled, request: Request
) -> AsyncGenerator[Piece]:
    """The pieces of an answer's texts, with what the tool says between those of the model. Raises Refused."""
    try:
        service.tools.check(tooled.tool)
        with service.tools.room(who.project_id, len(answer.requests)):
            texts = [_Text(service, who, answer, one, tooled, request) for one in answer.requests]
            async with aclosing(_side_by_side([text.pieces() for text in texts])) as pieces:
                async for piece in pieces:
                    yield piece
    except Full as full:
        raise Refused(429, "serving_queue_full", f"{full} Send it again in a moment.") from full
    except NoSandbox as problem:
        raise Refused(503, "no_sandbox", str(problem)) from problem


async def _side_by_side(texts: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[Piece]:
    """The pieces of several texts as they come, until each has ended. Raises what the first one raises."""
    said: asyncio.Queue[Piece | Exception] = asyncio.Queue()

    async def read(text: AsyncGenerator[Piece]) -> None:
        try:
            async with aclosing(text) as pieces:
                async for piece in pieces:
                    said.put_nowait(piece)
        except Exception as problem:  # noqa: BLE001 - raised by whoever reads the queue
            said.put_nowait(problem)

    tasks = [asyncio.ensure_future(read(text)) for text in texts]
    left = len(tasks)
    try:
        while left:
            found = await said.get()
            if isinstance(found, Exception):
                raise found
            left -= found.ends
            yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(slots=True)
class _Turn:
    """What a turn has come to; `ended`: its last piece, None where the context had no room for it."""

    text: str = ""
    ended: Piece | None = None


class _Text:
    """A text in the making."""

    def __init__(
        self,
        service: Service,
        who: Who,
        answer: Answer,
        asked: WriteRequest,
        tooled: Tooled,
        request: Request,
    ) -> None:
        self._service, self._who, self._answer = service, who, answer
        self._asked, self._tooled, self._request = asked, tooled, request
        config, tool = tooled.config, tooled.tool
        self._turns = ToolTurns(config, tool, asked.params.max_tokens, self._run)
        self._told = 0  # characters that have been told
        self._turn = 0
        self._prompt_tokens = self._tokens = 0

    async def pieces(self) -> AsyncGenerator[Piece]:
        """From its first turn to its end. Raises Refused."""
        key = self._asked.key
        first = SampleRequest(key, "", self._asked.seed)
        following: SampleRequest | Finished = self._turns.begin(first)
        while isinstance(following, SampleRequest):
            turn = _Turn()
            async with aclosing(self._written(following, turn)) as pieces:
                async for piece in pieces:
                    yield piece
            if turn.ended is None:
                self._answer.choices[key].use = self._turns.open[key].use
                yield self._last("length")
                return
            following = await self._after(turn.text, turn.ended)
            for piece in self._untold(following):
                yield piece
        self._answer.choices[key].use = following.use
        yield self._last(following.completion.finish_reason)

    async def _written(self, asked: SampleRequest, turn: _Turn) -> AsyncGenerator[Piece]:
        """What the model writes in one turn."""
        own = self._asked.params
        stop = tuple(dict.fromkeys((*(asked.stop or ()), *own.stop)))
        limit = asked.max_tokens or own.max_tokens
        request = replace(
            self._asked,
            key=f"{self._asked.key}/{self._turn}",
            params=replace(own, max_tokens=limit, stop=stop, special=self._tooled.config.is_chat),
            seed=asked.seed,
            parts=asked.parts,
            continued=True,
        )
        async with aclosing(self._patiently(request)) as pieces:
            async for piece in pieces:
                turn.text += piece.text
                self._told += len(piece.text)
                if piece.ends:
                    turn.ended = piece
                if piece.text:
                    yield replace(piece, key=self._asked.key, finish_reason=None, prompt_tokens=0, tokens=0)

    async def _patiently(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """As `pieces_of`; a later turn waits where the queue is full, and ends where the context is."""
        while True:
            try:
                async with aclosing(pieces_of(self._service, self._who, [request], self._request)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except Refused as refused:
                if self._turn == 0 or refused.status not in (422, 429):
                    raise
                if refused.status == 422:
                    return
            if await self._request.is_disconnected():
                raise Refused(499, "gone", "The client has gone.")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _after(self, text: str, ended: Piece) -> SampleRequest | Finished:
        """What follows a turn, once the code that it ends with has been executed."""
        self._turn += 1
        self._prompt_tokens = self._prompt_tokens or ended.prompt_tokens
        self._tokens += ended.tokens
        if self._tooled.context is not None:
            room = self._tooled.context - self._prompt_tokens
            self._turns.max_tokens = min(self._turns.max_tokens, room)
        completion = Completion(
            self._asked.key,
            text,
            ended.prompt_tokens,
            ended.tokens,
            ended.finish_reason or "stop",
            ended.stopped_by,
            ids=ended.ids,
        )
        if completion.stopped_by != FENCE and not text.endswith(FENCE.rstrip()):
            return self._turns.go_on(completion)  # it calls nothing, and waits for nobody's turn
        work = self._service.tools.submit(self._who.project_id, partial(self._turns.go_on, completion))
        try:
            return await gone_while(asyncio.wrap_future(work), self._request)
        except SandboxFailed as failure:
            log.warning("sandbox_failed", project=self._who.project_id, error=str(failure))
            why = "The sandbox failed at a call of this text's tool. Send it again."
            raise Refused(503, "sandbox_failed", why) from failure

    def _run(self, programs: Sequence[Program]) -> list[Execution]:
        found = self._service.tools.run(programs, self._who.project_id)
        spent = Written(executions=len(found), cpu_ms=sum(one.cpu_ms for one in found))
        self._service.meter.add(self._who.project_id, self._who.target, spent)
        return found

    def _untold(self, following: SampleRequest | Finished) -> Iterator[Piece]:
        """What has been added to the text beyond what the model's pieces told: the fence, and an output."""
        if isinstance(following, Finished):
            whole, use = following.completion.text, following.use
        else:
            whole, use = following.prompt, self._turns.open[self._asked.key].use
        counts = (self._prompt_tokens, self._tokens)
        for start, end, origin in _parts(whole, use, self._told):
            yield Piece(self._asked.key, whole[start:end], (), None, *counts, origin=origin)
        self._told = len(whole)

    def _last(self, reason: Literal["stop", "length"]) -> Piece:
        return Piece(self._asked.key, "", (), reason, self._prompt_tokens, self._tokens)


def _parts(text: str, use: ToolUse, start: int) -> Iterator[tuple[int, int, Literal["model", "output"]]]:
    """Text from `start` on in its parts: [start, end) and who said it. None is empty."""
    for begin, end, _ in use.spans:
        if end > start:
            if begin > start:
                yield start, begin, "model"
            yield max(begin, start), end, "output"
            start = end
    if len(text) > start:
        yield start, len(text), "model"
