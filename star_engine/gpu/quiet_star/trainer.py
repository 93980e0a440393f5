"""Trains a base model to think between tokens: LoRA, two soft tokens and a mixing head."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from star_engine.adapters.layout import WEIGHTS, file_sha256
from star_engine.config.quiet_star import QuietStar, Thoughts
from star_engine.gpu.causal_lm import context_length, load_model, load_tokenizer
from star_engine.gpu.peft_alone import peft
from star_engine.gpu.quiet_star.files import load_into, write_quiet_adapter
from star_engine.gpu.quiet_star.memory import must_checkpoint
from star_engine.gpu.quiet_star.objective import Counts, Loss, loss_of
from star_engine.gpu.quiet_star.thinking import Policy, Thinker
from star_engine.gpu.quiet_star.thought_head import ThoughtHead
from star_engine.gpu.quiet_star.windows import packed
from star_engine.gpu.training.train_checkpoint import Checkpoints, ResumePoint
from star_engine.protocols import is_out_of_memory
from star_engine.thoughts import QuietStep


class QuietTrainer:
    """A base model that is never written to, and what is learned beside it."""

    def __init__(self, base_model: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        kind = torch.device(device).type
        dtype = torch.float32 if kind == "cpu" else torch.bfloat16
        self.base: Any = load_model(base_model, dtype=dtype, device=device)
        self._folder = base_model
        self.context = context_length(base_model, None)
        self._device = torch.device(device)
        self._threads = threads or torch.get_num_threads()
        # Ids that no thought holds.
        self.banned = torch.tensor(sorted(set(load_tokenizer(base_model).all_special_ids)), device=device)

    def train(
        self,
        windows: Sequence[Sequence[int]] | torch.Tensor,
        settings: QuietStar,
        *,
        steps: int,
        seed: int,
        out: Path,
        checkpoints: Path,
        start: Path | None = None,
        skip: int = 0,
        checkpointed: bool | None = None,
    ) -> Iterator[QuietStep]:
        """Train on windows of `settings.window` token ids each and write the adapter to `out`.

        `start`: the folder of an adapter that is gone on from, with a fresh optimizer; `skip`: windows that
        were read before, by the trainings behind it; `checkpointed`: as of a Thinker; None: where the free
        memory asks for it. A run that was interrupted goes on from its last checkpoint and ends in the same
        bytes. Raises ValueError where there is no window or it does not fit the model's context or the
        device's memory with its thoughts, FloatingPointError where the loss is no longer finite, and
        BadAdapter for a start that does not fit.
        """
        self._check(settings)
        windows = packed(windows, settings.window)
        if not len(windows):
            raise ValueError(
                f"The documents fill no window of {settings.window} tokens: lower window, or give more."
            )
        if checkpointed is None:
            checkpointed = must_checkpoint(self._folder, settings, self._device)
        torch.set_num_threads(self._threads)
        facts = [
            steps,
            seed,
            str(self._device),
            skip,
            None if start is None else file_sha256(start / WEIGHTS),
        ]
        saved = Checkpoints(checkpoints, _input_hash(windows, settings, facts))
        with self.adapted(settings, seed) as (model, head):
            if start is not None:
                load_into(model, head, start)
            thinker = Thinker(model, head, settings, checkpointed=checkpointed)
            run = _Run(thinker, model, seed, self.banned, skip)
            run.resume(saved.newest())
            while run.step < steps:
                learned = run.fitting_step(run.batch(windows).to(self._device))
                if run.step % settings.checkpoint_every == 0 and run.step < steps:
                    saved.save(ResumePoint(run.step, 0, run.state()))
                yield QuietStep(run.step, steps, **learned)
            write_quiet_adapter(model, head, settings, self._folder.name, out)

    def _check(self, settings: QuietStar) -> None:
        if settings.longest > self.context:
            raise ValueError(
                f"A window with its thoughts takes {settings.longest} positions, and the base model has "
                f"{self.context}: lower window, thought_tokens or ahead_tokens."
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
            model: Any = peft.get_peft_model(self.base, config)
            embedding = self.base.get_input_embeddings().weight.float().mean(0)
            head = ThoughtHead(
                embedding, initial_weight=settings.initial_weight, embedding_scale=settings.embedding_scale
            )
        try:
            for name, module in model.named_modules():  # dropout of the base model stays off
                module.train("lora_dropout" in name)
            yield model, head.to(self._device)
        finally:
            model.unload()


class _Run:
    """The optimizer's side: batches, steps, and the state needed to resume."""

    def __init__(self, thinker: Thinker, model: Any, seed: int, banned: torch.Tensor, skip: int) -> None:
        self.step = 0  # optimizer steps done
        self._skip = skip
        self._order = (-1, torch.empty(0, dtype=torch.long))  # of the windows, and in which pass over them
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

    def batch(self, windows: torch.Tensor) -> torch.Tensor:
        """The windows of the next step, of shape (windows, length): all are read once, in an order of the
        seed's, before one is again.
        """
        wanted = self._settings.batch_windows
        first = self._skip + self.step * wanted
        places = [divmod(place, len(windows)) for place in range(first, first + wanted)]
        taken = [windows[self._in_order(epoch, len(windows))[number]] for epoch, number in places]
        return torch.stack(taken).long()

    def _in_order(self, epoch: int, count: int) -> torch.Tensor:
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
            self._order = epoch, torch.randperm(count, generator=generator)
        return self._order[1]

    def fitting_step(self, ids: torch.Tensor) -> dict[str, Any]:
        """As `learn`, with passes that are computed twice from now on if the device runs out of memory."""
        thinker = self._thinker
        try:
            return self.learn(ids)
        except RuntimeError as error:
            only_pass = self._settings.thoughts is Thoughts.OFF
            if not is_out_of_memory(error) or thinker.checkpointed or only_pass:
                raise
        torch.cuda.empty_cache()
        thinker.checkpointed = True
        return self.learn(ids)

    def learn(self, ids: torch.Tensor) -> dict[str, Any]:
        """Take one optimizer step on windows of shape (windows, length); the numbers of a QuietStep."""
        settings, seed = self._settings, self._seed * 1_000_003 + self.step
        self._optimizer.zero_grad(set_to_none=True)
        policy = Policy(settings, self._banned, torch.Generator(ids.device).manual_seed(seed))
        counts = Counts.of(ids.shape[0] * settings.rationales, ids.shape[1], settings.ahead_tokens)
        with torch.random.fork_rng(devices=[ids.device] if ids.is_cuda else []):
            torch.manual_seed(seed)  # dropout is a function of the step, too
            learn = self._read if settings.thoughts is Thoughts.OFF else partial(self._think, policy, counts)
            parts = [learn(part) for part in torch.split(ids, settings.micro_batch)]
        total = sum(part.total.item() for part in parts)
        more = {"grad_norm": self._update(total), "loss": total, "tokens": ids.numel()}
        return self._numbers(parts, counts, ids.shape[0]) | more

    def _think(self, policy: Policy, counts: Counts, ids: torch.Tensor) -> Loss:
        """Quiet-STaR, and its controls that think."""
        repeated = ids.repeat(self._settings.rationales, 1)
        loss = loss_of(self._thinker, repeated, self._thinker.think(repeated, policy), counts)
        loss.total.backward()  # type: ignore[no-untyped-call]
        return loss

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
            "checkpointed": self._thinker.checkpointed,
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


def _input_hash(windows: torch.Tensor, settings: QuietStar, more: Sequence[object]) -> str:
    """Hash everything that decides the resulting weights but the base model: a folder belongs to one."""
    facts = [settings.model_dump(mode="json", exclude={"checkpoint_every"}), *more, torch.__version__]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(windows.numpy().tobytes())
    return digest.hexdigest()
