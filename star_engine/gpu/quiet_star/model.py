"""A ThoughtModel on transformers: what a service's GPU process holds for jobs on documents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from star_engine.gpu.causal_lm import eos_ids, load_tokenizer, prompt_ids
from star_engine.gpu.peft_alone import peft
from star_engine.gpu.quiet_star.answering import Answering
from star_engine.gpu.quiet_star.files import load_quiet_adapter
from star_engine.gpu.quiet_star.measuring import measuring
from star_engine.gpu.quiet_star.objective import predict
from star_engine.gpu.quiet_star.thinking import Policy, Thinker
from star_engine.gpu.quiet_star.trainer import QuietTrainer
from star_engine.gpu.quiet_star.windows import packed, windows_of
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.thoughts import (
    AskedQuestion,
    QuietStep,
    ScoredQuestion,
    ThoughtProbe,
    ThoughtTraining,
    Worth,
)

PROBED = 12  # tokens of a text that a probe thinks about, one by one and all at once


class QuietModel:
    """See ThoughtModel. Holds one copy of the base model, which is never written to."""

    def __init__(self, base_model: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        self._trainer = QuietTrainer(base_model, threads=threads, device=device)
        self._tokenizer = load_tokenizer(base_model)
        self._device = torch.device(device)
        self._banned = self._trainer.banned
        self._eos = eos_ids(base_model, self._tokenizer)
        self._separator = self._eos[0]

    def train_thoughts(self, training: ThoughtTraining) -> Iterator[QuietStep]:
        settings = training.settings
        found = windows_of(training.documents, self._tokenizer, self._separator, settings.window)
        steps = self._trainer.train(
            packed(found, settings.window),
            settings,
            steps=training.steps,
            seed=training.seed,
            out=training.out,
            checkpoints=training.checkpoints,
            start=training.start,
            skip=training.skip,
        )
        try:
            yield from steps
        except FloatingPointError as diverged:  # with these settings it always will
            raise ValueError(str(diverged)) from diverged

    @torch.inference_mode()
    def probe_thoughts(self, adapter: Path, texts: Sequence[str]) -> ThoughtProbe:
        with self._thinking(adapter) as (thinker, model):
            head = thinker.head
            weights = [weight for name, weight in model.named_parameters() if ".lora_" in name]
            norms = _update_norms(model)
            tensors = [*weights, *head.state_dict().values()]
            apart, delta = 0.0, 0.0
            for ids in prompt_ids(self._tokenizer, list(texts)):
                some = torch.tensor([ids[:PROBED]], device=self._device)
                if some.numel() == 0:
                    continue
                apart = max(apart, self._parallel_difference(thinker, some))
                plain = thinker.unembed(thinker.read(some)).float()
                with model.disable_adapter():
                    base = thinker.unembed(thinker.read(some)).float()
                delta = max(delta, (plain - base).abs().max().item())
            return ThoughtProbe(
                finite=all(bool(tensor.isfinite().all()) for tensor in tensors),
                weight_norm=norms,
                max_logit_delta=delta,
                parallel_difference=apart,
                start_norm=(head.scale * head.start).norm().item(),
                end_norm=(head.scale * head.end).norm().item(),
            )

    def measure_thoughts(
        self,
        adapter: Path,
        documents: Path,
        *,
        windows: int,
        shown: int,
        seed: int,
    ) -> Iterator[tuple[int, int] | Worth]:
        with self._thinking(adapter) as (thinker, model):
            length = thinker.settings.window
            found = windows_of(documents, self._tokenizer, self._separator, length)
            unseen = packed(islice(found, windows), length).to(self._device).long()
            if not len(unseen):
                raise ValueError(
                    f"The held-out documents fill no window of {length} tokens: lower quiet_star.window, "
                    "or hold out more of them."
                )
            measured = measuring(
                thinker,
                unseen,
                self._banned,
                seed=seed,
                decode=self._decode,
                shown=shown - shown // 2,
                drawn=shown // 2,
            )
            with model.disable_adapter():
                base = self._plain(thinker, unseen)
            for item in measured:
                yield replace(item, base=base) if isinstance(item, Worth) else item

    def score_with_thoughts(
        self, adapter: Path, questions: Sequence[AskedQuestion], *, seed: int
    ) -> Iterator[ScoredQuestion]:
        with self._thinking(adapter) as (thinker, _):
            for number, question in enumerate(questions):
                prompt = prompt_ids(self._tokenizer, [question.prompt])[0]
                texts = [question.prompt + answer for answer in question.answers]
                whole = prompt_ids(self._tokenizer, texts)
                room = self._trainer.context - thinker.settings.steps_of_thought - 3
                if any(len(ids) > room for ids in whole):
                    yield ScoredQuestion(question.key, (), ())
                    continue
                scored = [self._scored(thinker, ids, prompt, seed + number) for ids in whole]
                yield ScoredQuestion(
                    question.key, tuple(one[0] for one in scored), tuple(one[1] for one in scored)
                )

    def write_with_thoughts(
        self, adapter: Path, queue: deque[SampleRequest], params: SamplingParams
    ) -> Iterator[Completion]:
        with self._thinking(adapter) as (thinker, _):
            context, eos = self._trainer.context, frozenset(self._eos)
            answering = Answering(thinker, self._tokenizer, self._banned, eos, context)
            while queue:
                yield answering.answer(queue.popleft(), params)

    @torch.inference_mode()
    def _scored(
        self, thinker: Thinker, ids: Sequence[int], prompt: Sequence[int], seed: int
    ) -> tuple[float, float]:
        """Log-probabilities of what stands behind the prompt, without and with thoughts.

        A token that reaches into both counts as the answer's.
        """
        same = next((n for n, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), len(prompt))
        first = min(same, len(ids) - 1)
        text = torch.tensor([list(ids)], device=self._device)
        generator = torch.Generator(self._device).manual_seed(seed)
        thinking = thinker.think(text, Policy(thinker.settings, self._banned, generator))
        found = predict(thinker, thinking, text)
        answer = slice(max(0, first - 1), len(ids) - 1)
        return -found.without[0, answer, 0].sum().item(), -found.mixed[0, answer, 0].sum().item()

    @torch.inference_mode()
    def _plain(self, thinker: Thinker, windows: torch.Tensor) -> float:
        """Mean negative log-likelihood of the next token without any thought."""
        total = 0.0
        for part in torch.split(windows, thinker.settings.micro_batch):
            logits = thinker.unembed(thinker.read(part)).float()[:, :-1]
            wanted = part[:, 1:].unsqueeze(-1)
            total -= logits.log_softmax(-1).gather(-1, wanted).sum().item()
        return total / (windows.numel() - len(windows))

    def _parallel_difference(self, thinker: Thinker, ids: torch.Tensor) -> float:
        """Between hidden states after the most likely thoughts, found at all positions at once and alone."""
        settings = thinker.settings.model_copy(update={"temperature": 0.0, "ahead_tokens": 1})
        greedy = Thinker(thinker.model, thinker.head, settings)
        generator = torch.Generator(self._device)
        policy = Policy(settings, self._banned, generator)
        at_once = greedy.think(ids, policy).after[0][0]
        alone = [
            greedy.think(ids[:, : place + 1], policy, last=True).after[0][0, 0]
            for place in range(ids.shape[1])
        ]
        apart = (at_once - torch.stack(alone)).abs().max() / at_once.abs().max().clamp(min=1e-9)
        return apart.item()

    @contextmanager
    def _thinking(self, adapter: Path) -> Iterator[tuple[Thinker, Any]]:
        """The base model under this adapter; the base model alone again afterwards."""
        model, head, settings = load_quiet_adapter(self._trainer.base, adapter)
        try:
            yield Thinker(model, head, settings), model
        finally:
            model.unload()

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text


def _update_norms(model: Any) -> float:
    """Frobenius norm of the full LoRA update, summed over layers."""
    total = 0.0
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            for name in module.lora_A:
                update = module.get_delta_weight(name)
                total += update.float().norm().item()
    return total
