"""Prompts of conversations with an adapter: laid out as its job laid out its questions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock

from app.database import reading
from app.ledger.data.chat_templates import asked_with, chat_template_of
from app.ledger.results.adapters import adapter_by_id
from app.ledger.results.iterations import config_of, get_iteration
from app.results.completion_requests import ChatIn
from app.tables.data import Model, PromptSet
from app.tables.jobs import Job
from star_engine.config.star import StarConfig
from star_engine.data.chat_template import UnfitTemplate
from star_engine.evaluation.accuracy import conversation_prompt
from star_engine.protocols import Completion, TrainingText
from star_engine.sampling.labels import Elected, elect
from star_engine.tasks import examples
from star_engine.tasks.reading.final_part import opened_thinking
from star_engine.training_set.verified_text import bare_conversation, bare_prompt, verified_text
from star_engine.writing import WriteRequest
from worker.base_models import BadModel
from worker.context import WorkerContext
from worker.serving.answers import Answer, Tooled
from worker.serving.waiting import Target

KEPT = 64  # adapters whose layout is known without a look into the ledger


@dataclass(frozen=True, slots=True)
class _Asked:
    """How an adapter's job asks it."""

    config: StarConfig
    prompt_set: examples.PromptSet
    iteration: int
    context: int | None  # tokens of the base model's


class Conversations:
    """Renders them. For several threads."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._known: OrderedDict[str, _Asked] = OrderedDict()
        self._lock = Lock()

    def laid_out(
        self, sent: ChatIn, adapter_id: str, requests: Sequence[WriteRequest]
    ) -> tuple[WriteRequest, ...]:
        """The requests with the prompt as the adapter was trained on such ones, and the job's stops.

        A caller who sends a system prompt wants another one than the job's: the model's own template renders
        it. Raises ValueError (UnfitTemplate is one) for what cannot be asked so, or app.errors.NotFound.
        """
        if sent.has_system:
            return tuple(requests)
        asked = self._asked(adapter_id)
        turns = _turns(sent)
        if turns[-1][0] != "user":
            raise ValueError("The last message must be the user's: the adapter answers it.")
        prompt = conversation_prompt(asked.config, asked.prompt_set, turns, asked.iteration)
        return tuple(
            replace(
                request,
                prompt=prompt,
                params=replace(request.params, stop=(*request.params.stop, *asked.config.stops)),
            )
            for request in requests
        )

    def opening(self, sent: ChatIn, model_id: str, adapter_id: str | None) -> str:
        """What the prompt has begun for the model, such as "<think>\\n": it stands before the text."""
        if adapter_id is not None and not sent.has_system:
            return self._asked(adapter_id).prompt_set.opening
        try:
            return opened_thinking(self._rendered(sent, model_id))
        except (UnfitTemplate, BadModel):  # who writes says what is wrong
            return ""

    def _rendered(self, sent: ChatIn, model_id: str) -> str:
        """The conversation in the model's own template; nothing where it has none."""
        with reading(self._context.engine) as session:
            model = session.get_one(Model, model_id)
        template = chat_template_of(model, self._context.base_models.find(model))
        messages = [message.as_json() for message in sent.messages]
        return "" if template is None else template.render(messages, today=datetime.now(UTC).date())

    def verified(
        self, answer: Answer, target: Target, verifier_id: str, texts: Sequence[Completion]
    ) -> list[TrainingText | None]:
        """Each text as a verifier reads it; None: it says nothing.

        It is laid out as rows of the job are whose adapter wrote it; a base model's as the verifier's job's.

        Raises ValueError, BadModel or app.errors.NotFound.
        """
        asked, sent = self._asked(target.adapter_id or verifier_id), answer.sent
        prompts: list[str]
        if isinstance(sent, ChatIn) and (target.adapter_id is None or sent.has_system):
            prompts = [self._rendered(sent, target.model_id)]
        elif isinstance(sent, ChatIn):
            prompts = [bare_conversation(asked.config, asked.prompt_set, _turns(sent))]
        else:
            prompts = [bare_prompt(asked.config, asked.prompt_set, str(one)) for one in sent.prompts]
        alike = len(texts) // len(prompts)
        return [
            verified_text(asked.config, asked.prompt_set, prompts[place // alike], text)
            for place, text in enumerate(texts)
        ]

    def tooled(self, adapter_id: str) -> Tooled:
        """The tool of the adapter's job. Raises ValueError where it has none, or app.errors.NotFound."""
        asked = self._asked(adapter_id)
        if asked.config.tools.python is None:
            raise ValueError("The adapter's job gave its model no tool.")
        return Tooled(asked.config, asked.config.tools.python, asked.context)

    def elect(self, adapter_id: str, texts: Sequence[Completion]) -> Elected:
        """The text whose answer most of them give, as the adapter's job reads answers.

        Raises ValueError where they cannot be read, or app.errors.NotFound.
        """
        asked = self._asked(adapter_id)
        return elect(asked.config, texts, asked.prompt_set.opening)

    def _asked(self, adapter_id: str) -> _Asked:
        with self._lock:
            if (known := self._known.get(adapter_id)) is not None:
                self._known.move_to_end(adapter_id)
                return known
        found = self._read(adapter_id)
        with self._lock:
            self._known[adapter_id] = found
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found

    def _read(self, adapter_id: str) -> _Asked:
        with reading(self._context.engine) as session:
            adapter = adapter_by_id(session, adapter_id)
            job = session.get_one(Job, adapter.job_id)
            iteration, _ = get_iteration(session, job.id, adapter.iteration_number)
            config = config_of(job, iteration)
            row, model = session.get_one(PromptSet, job.prompt_set_id), session.get_one(Model, job.model_id)
        folder = self._context.base_models.find(model) if config.is_chat else None
        asked = asked_with(config, row, model, folder)
        return _Asked(config, asked, adapter.iteration_number, model.context_length)


def _turns(sent: ChatIn) -> list[tuple[str, str]]:
    return [(message.role, str(message.as_json()["content"])) for message in sent.messages]
