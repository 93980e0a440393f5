"""Trains a base model to think between tokens: LoRA, two soft tokens and a mixing head."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from torch.nn.functional import cross_entropy

from star_engine.config.quiet_star import QuietStar, Thoughts
from star_engine.gpu.causal_lm import context_length, load_model, load_tokenizer
from star_engine.gpu.quiet_star.files import write_quiet_adapter
from star_engine.gpu.quiet_star.objective import Counts, Loss, loss_of
from star_engine.gpu.quiet_star.thinking import Policy, Thinker
from star_engine.gpu.quiet_star.thought_head import ThoughtHead
from star_engine.gpu.training.train_checkpoint import Checkpoints, ResumePoint


@dataclass(frozen=True, slots=True)
class QuietStep:
    """One optimizer step. Losses are means of a token, in nats, before the step."""

    step: int
    steps: int
    nll_without: float
    nll_mixed: tuple[float, ...]  # by tokens ahead; empty without thoughts
    weight: float  # of the thoughts, 0 to 1, the mean
    positive: float  # share of thoughts that did better than the mean of their position
    policy: float  # mean REINFORCE loss of a thought
    entropy: float  # of the thoughts' tokens, in nats
    grad_norm: float  # before it was clipped
    start_norm: float  # how far the embedding of the start has moved
    end_norm: float


class QuietTrainer:
    """A base model that is never written to, and what is learned beside it."""

    def __init__(self, base_model: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        kind = torch.device(device).type
        dtype = torch.float32 if kind == "cpu" else torch.bfloat16
        self._base: Any = load_model(base_model, dtype=dtype, device=device)
        self._name = base_model.name
        self._context = context_length(base_model, None)
        self._device = torch.device(device)
        self._threads = threads or torch.get_num_threads()
        self._banned = torch.tensor(sorted(set(load_tokenizer(base_model).all_special_ids)), device=device)

    def train(
        self,
        windows: Sequence[Sequence[int]],
        settings: QuietStar,
        *,
        steps: int,
        seed: int,
        out: Path,
        checkpoints: Path,
    ) -> Iterator[QuietStep]:
        """Train on windows of `settings.window` token ids each and write the adapter to `out`.

        A run that was interrupted goes on from its last checkpoint and ends in the same bytes. Raises
        ValueError where there is no window or it does not fit the model's context with its thoughts, and
        FloatingPointError where the loss is no longer finite.
        """
        self._check(windows, settings)
        torch.set_num_threads(self._threads)
        saved = Checkpoints(checkpoints, _input_hash(windows, settings, steps, seed, str(self._device)))
        with self.adapted(settings, seed) as (model, head):
            run = _Run(Thinker(model, head, settings), model, seed, self._banned)
            run.resume(saved.newest())
            while run.step < steps:
                learned = run.learn(torch.tensor(run.batch(windows), device=self._device))
                if run.step % settings.checkpoint_every == 0 and run.step < steps:
                    saved.save(ResumePoint(run.step, 0, run.state()))
                yield QuietStep(run.step, steps, **learned)
            write_quiet_adapter(model, head, settings, self._name, out)

    def _check(self, windows: Sequence[Sequence[int]], settings: QuietStar) -> None:
        if not windows:
            raise ValueError(f"No document has {settings.window} tokens: lower window, or give longer ones.")
        if settings.longest > self._context:
            raise ValueError(
                f"A window with its thoughts takes {settings.longest} positions, and the base model has "
                f"{self._context}: lower window, thought_tokens or ahead_tokens."
            )

    @contextmanager
    def adapted(self, settings: QuietStar, seed: int) -> Iterator[tuple[Any, ThoughtHead]]:
        """The base model under fresh LoRA matrices and a head; the base model alone again afterwards."""
        lora = settings.lora
        targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=targets,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = peft.get_peft_model(self._base, config)
            embedding = self._base.get_input_embeddings().weight.float().mean(0)
            head = ThoughtHead(
                embedding, initial_weight=settings.initial_weight, embedding_scale=settings.embedding_scale
            )
        try:
            model.eval()
            yield model, head.to(self._device)
        finally:
            model.unload()


class _Run:
    """The optimizer's side: batches, steps, and the state needed to resume."""

    def __init__(self, thinker: Thinker, model: Any, seed: int, banned: torch.Tensor) -> None:
        self.step = 0  # optimizer steps done
        self._thinker = thinker
        self._settings = thinker.settings
        self._seed = seed
        self._banned = banned
        named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._weights = named | {f"head.{name}": weight for name, weight in thinker.head.named_parameters()}
        self._optimizer = torch.optim.AdamW(
            self._weights.values(),
            lr=self._settings.learning_rate,
            weight_decay=self._settings.weight_decay,
        )

    def batch(self, windows: Sequence[Sequence[int]]) -> list[list[int]]:
        """The windows of the next step: all are read once, in an order of the seed's, before one is again."""
        wanted = self._settings.batch_windows
        first = self.step * wanted
        taken: list[list[int]] = []
        for place in range(first, first + wanted):
            epoch, number = divmod(place, len(windows))
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
            order = torch.randperm(len(windows), generator=generator)
            taken.append(list(windows[int(order[number])]))
        return taken

    def learn(self, ids: torch.Tensor) -> dict[str, Any]:
        """Take one optimizer step on windows of shape (windows, length); the numbers of a QuietStep."""
        settings = self._settings
        self._optimizer.zero_grad(set_to_none=True)
        generator = torch.Generator(ids.device).manual_seed(self._seed * 1_000_003 + self.step)
        counts = Counts.of(ids.shape[0] * settings.rationales, ids.shape[1], settings.ahead_tokens)
        parts: list[Loss] = []
        for part in torch.split(ids, settings.micro_batch):
            if settings.thoughts is Thoughts.OFF:
                parts.append(self._read(part))
                continue
            policy = Policy(settings, self._banned, generator)
            repeated = part.repeat(settings.rationales, 1)
            loss = loss_of(self._thinker, repeated, self._thinker.think(repeated, policy), counts)
            loss.total.backward()  # type: ignore[no-untyped-call]
            parts.append(loss)
        norm = self._update(sum(part.total.item() for part in parts))
        return self._numbers(parts, counts, ids.shape[0]) | {"grad_norm": norm}

    def _read(self, ids: torch.Tensor) -> Loss:
        """Continued training: the next token, without any thought."""
        logits = self._thinker.unembed(self._thinker.read(ids)).float()[:, :-1]
        summed = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")
        total = summed / (self._settings.batch_windows * (ids.shape[1] - 1))
        total.backward()  # type: ignore[no-untyped-call]
        # Every row counts as often as one with thoughts, so that one mean fits both.
        return Loss(total, summed.item() * self._settings.rationales, (), 0.0, 0.0, 0.0, 0.0)

    def _numbers(self, parts: Sequence[Loss], counts: Counts, windows: int) -> dict[str, Any]:
        head = self._thinker.head
        columns = zip(*(part.mixed for part in parts), strict=True)
        rows = windows * self._settings.rationales
        return {
            "nll_without": sum(part.without for part in parts) / counts.tokens,
            "nll_mixed": tuple(sum(one) / n for one, n in zip(columns, counts.by_ahead, strict=False)),
            "weight": sum(part.weight for part in parts) / counts.ahead,
            "positive": sum(part.positive for part in parts) / counts.thoughts,
            "policy": sum(part.policy for part in parts) / counts.thoughts,
            "entropy": sum(part.entropy for part in parts) / rows,
            "start_norm": (head.scale * head.start).norm().item(),
            "end_norm": (head.scale * head.end).norm().item(),
        }

    def _update(self, total: float) -> float:
        """Let the optimizer take its step; the norm of the gradients before they were clipped."""
        used = [weight for weight in self._weights.values() if weight.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(used, self._settings.max_grad_norm).item()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise FloatingPointError(
                f"The loss of optimizer step {self.step + 1} is {total}, its gradient norm {norm}: the "
                "training diverged. Lower learning_rate or policy_weight."
            )
        warmup = max(1, self._settings.warmup_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * min(1.0, (self.step + 1) / warmup)
        self._optimizer.step()
        self.step += 1
        return norm

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and both moments of the optimizer, by weight name."""
        state: dict[str, torch.Tensor] = {}
        for name, weight in self._weights.items():
            state[f"weight.{name}"] = weight.detach()
            for key in ("exp_avg", "exp_avg_sq"):
                if key in self._optimizer.state[weight]:  # not of what a control never uses
                    state[f"{key}.{name}"] = self._optimizer.state[weight][key]
        return state

    def resume(self, point: ResumePoint | None) -> None:
        if point is None:
            return
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(point.state[f"weight.{name}"])
                if f"exp_avg.{name}" in point.state:
                    moments = {
                        key: point.state[f"{key}.{name}"].to(weight.device)
                        for key in ("exp_avg", "exp_avg_sq")
                    }
                    self._optimizer.state[weight] = {"step": torch.tensor(float(point.step)), **moments}
        self.step = point.step


def _input_hash(
    windows: Sequence[Sequence[int]], settings: QuietStar, steps: int, seed: int, device: str
) -> str:
    """Hash everything that decides the resulting weights but the base model: a folder belongs to one."""
    facts = [
        settings.model_dump(mode="json", exclude={"checkpoint_every"}),
        steps,
        seed,
        device,
        torch.__version__,
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for window in windows:
        digest.update(json.dumps(list(window)).encode())
    return digest.hexdigest()
