"""Several plans in one call of a sampler: the requests of one fill the rows that another leaves free."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from star_engine.protocols import Completion, Sampler, SampleRequest, SamplingParams
from star_engine.sampling.finishing import finished

T_co = TypeVar("T_co", covariant=True)


class Plan(Protocol[T_co]):
    """Requests to one model, and what becomes of each completion, which may bring more requests."""

    @property
    def queue(self) -> deque[SampleRequest]: ...

    @property
    def params(self) -> SamplingParams: ...

    def finish(self, completion: Completion) -> T_co: ...


def share_call(
    sampler: Sampler, plans: Sequence[Plan[Any]], *, side_by_side: bool = False
) -> Iterator[tuple[int, Any]]:
    """What the plans make of their completions, each with the number of its plan, in the order of finishing.

    The plans ask the model that the sampler holds and decode alike: ValueError otherwise. What each one gets
    is what it would get in a call of its own.

    side_by_side: whether completions are judged by programs, which then run side by side.
    """
    if any(plan.params != plans[0].params for plan in plans):
        raise ValueError("plans that decode differently cannot share a call")
    queue: deque[SampleRequest] = deque()
    send_all(plans, queue)

    def finish(completion: Completion) -> Any:
        number, own = sent_by(completion)
        return plans[number].finish(own)

    with closing(finished(sampler, queue, plans[0].params, finish, side_by_side=side_by_side)) as found:
        for completion, result in found:
            item = result()
            yield sent_by(completion)[0], item
            send_all(plans, queue)


def send_all(plans: Sequence[Plan[Any]], queue: deque[SampleRequest]) -> None:
    """Move what the plans ask to the queue, under keys that tell the plans apart."""
    for number, plan in enumerate(plans):
        while plan.queue:
            queue.append(sent_from(number, plan.queue.popleft()))


def sent_from(number: int, request: SampleRequest) -> SampleRequest:
    return replace(request, key=f"{number}:{request.key}")


def sent_by(completion: Completion) -> tuple[int, Completion]:
    """The number of the plan that it is for, and the completion under the plan's own key."""
    number, _, key = completion.key.partition(":")
    return int(number), replace(completion, key=key)
