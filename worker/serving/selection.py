"""Chooses one of several texts behind a prompt: by their answers' votes, or by a verifier's scores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.ledger.platform.text_usage import Written
from star_engine.protocols import Completion
from star_engine.writing import TokenScore, WriteRequest
from worker.serving.answers import Answer, Choice, JsonObject
from worker.serving.service import UNKNOWN, Layouts, Refused, Service, Who, pieces_of, unready
from worker.serving.waiting import Target


async def choose(service: Service, answer: Answer, who: Who, request: Request) -> None:
    """Leave the chosen one of the texts behind each prompt. Raises Refused."""
    adapter, verifier = who.target.adapter_id, who.verifier_id
    try:
        if answer.sent.select == "majority" and adapter is not None:
            await run_in_threadpool(answer.choose, partial(_elected, service.layouts, adapter))
        elif answer.sent.select == "verifier" and verifier is not None:
            scores = await run_in_threadpool(
                _scored, service, answer, who, verifier, request, asyncio.get_running_loop()
            )
            answer.choose(partial(_best, verifier, scores))
    except ValueError as problem:
        raise Refused(422, "invalid", str(problem)) from problem
    except UNKNOWN as problem:
        raise unready(verifier or adapter or who.target.model_id, problem) from problem


def _elected(layouts: Layouts, adapter: str, texts: Sequence[Completion]) -> tuple[int, JsonObject]:
    won = layouts.elect(adapter, texts)
    return won.index, {"by": "majority", "answer": won.answer, "votes": won.votes, "of": len(texts)}


def _best(verifier: str, scores: Mapping[str, float], texts: Sequence[Completion]) -> tuple[int, JsonObject]:
    """The first of those with the highest score; what could not be read comes last."""
    told = [scores.get(one.key) for one in texts]
    ranked = [float("-inf") if score is None else score for score in told]
    best = ranked.index(max(ranked))
    return best, {
        "by": "verifier",
        "verifier": verifier,
        "score": told[best],
        "scores": told,
        "of": len(told),
    }


def _scored(
    service: Service,
    answer: Answer,
    who: Who,
    verifier: str,
    request: Request,
    loop: asyncio.AbstractEventLoop,
) -> dict[str, float]:
    """Scores by the texts' keys. In a thread of its own: the loop has the texts read meanwhile."""
    reader = Who(Target(who.target.model_id, verifier), who.project_id)
    at_once = len(answer.requests)  # as many as the queue has had room for

    def ask(requests: Sequence[WriteRequest]) -> dict[str, Sequence[TokenScore]]:
        found: dict[str, Sequence[TokenScore]] = {}
        for first in range(0, len(requests), at_once):
            reading = _read(service, reader, requests[first : first + at_once], request)
            found |= asyncio.run_coroutine_threadsafe(reading, loop).result()
        return found

    texts = answer.completions()
    scores = service.verifiers.scores(answer, who.target, verifier, texts, ask)
    return {texts[place].key: score for place, score in scores.items()}


async def _read(
    service: Service, who: Who, requests: Sequence[WriteRequest], request: Request
) -> dict[str, Sequence[TokenScore]]:
    """The probabilities of each text's tokens, counted as prompts of the verifier's."""
    read = {one.key: Choice(place) for place, one in enumerate(requests)}
    try:
        async with aclosing(pieces_of(service, who, requests, request)) as pieces:
            async for piece in pieces:
                read[piece.key].add(piece)
    finally:
        ended = [one for one in read.values() if one.finish_reason]
        told = Written(texts=len(ended), prompt_tokens=sum(one.prompt_tokens for one in ended))
        service.meter.add(who.project_id, who.target, told)
    return {key: one.scores for key, one in read.items()}
