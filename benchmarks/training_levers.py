"""Each lever of the trainer switched off in turn: a step with it and without, on the same batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from torch.nn.functional import cross_entropy

from star_engine.config.star import Training
from star_engine.gpu.causal_lm import eos_ids, load_model, load_tokenizer
from star_engine.gpu.training.batch_plan import Group, plan_apart
from star_engine.gpu.training.lean_lora import use_lean_forward
from star_engine.gpu.training.lora_run import LoraRun, Plan, Ranks
from star_engine.gpu.training.packed_rows import start_packing
from star_engine.gpu.training.shared_prefix import SharedPrefix
from star_engine.gpu.training.tokenized_rows import TokenizedRow, tokenize_rows
from star_engine.protocols import TrainingText

Run = Callable[[], float]


class AllLogits(LoraRun):
    """Logits at every position, as a model's own forward pass returns them."""

    def summed_loss(self, rows: Sequence[TokenizedRow], prefix: SharedPrefix | None) -> torch.Tensor:
        assert prefix is None
        longest = max(len(row.ids) for row in rows)
        padded = [[*row.ids, *[0] * (longest - len(row.ids))] for row in rows]
        targets = [
            [-100] * row.start + [*row.ids[row.start :], *[-100] * (longest - len(row.ids))] for row in rows
        ]
        ids, labels = (torch.tensor(both, device=self._device) for both in (padded, targets))
        logits = self._model(input_ids=ids, use_cache=False).logits[:, :-1]
        return cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum")


def one_part(rows: Sequence[TokenizedRow], token_limit: int, device: str, packed: bool) -> list[Group]:
    """The whole batch at once, padded to its longest row."""
    return [Group(0, [list(rows)])]


def row_by_row(rows: Sequence[TokenizedRow], token_limit: int, device: str, packed: bool) -> list[Group]:
    """No padding at all: every row by itself."""
    return [Group(0, [[row] for row in rows])]


class Bench:
    """A model on which steps are timed, one after another, each under an adapter of its own."""

    def __init__(self, model: Path, device: str, asked: Training) -> None:
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self.base: Any = load_model(model, dtype=dtype, device=device)
        self._tokenizer = load_tokenizer(model)
        self._eos = eos_ids(model, self._tokenizer)[0]
        self._device = torch.device(device)
        self._asked = asked
        self.losses: dict[str, float] = {}

    def rows(self, texts: Sequence[TrainingText]) -> list[TokenizedRow]:
        eos = self._tokenizer.eos_token_id
        return tokenize_rows(self._tokenizer, texts, self._asked.max_length, eos)

    def step(
        self,
        name: str,
        rows: Sequence[TokenizedRow],
        token_limit: int,
        *,
        kind: type[LoraRun] = LoraRun,
        plan: Plan | None = None,
        lean: bool = True,
        checkpointing: bool = False,
        packed: bool | None = None,
    ) -> Run:
        """A function that runs one optimizer step and returns its seconds; its loss lands in `losses`.

        packed: rows without padding, or padded; None: as the trainer chooses.
        """

        def run() -> float:
            model = self._adapted(lean=lean, checkpointing=checkpointing)
            try:
                learner = kind(model, self._asked, 0, self._device, Ranks())
                learner.plan = plan or learner.plan
                if packed is not None:
                    learner.packed = packed and start_packing(self.base)
                self._wait()
                began = time.perf_counter()
                self.losses[name] = learner.learn(rows, token_limit).loss
                self._wait()
                return time.perf_counter() - began
            finally:
                model.unload()

        return run

    def _adapted(self, *, lean: bool, checkpointing: bool) -> Any:
        lora = self._asked.lora
        config = peft.LoraConfig(
            task_type="CAUSAL_LM", r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear"
        )
        torch.manual_seed(0)
        model = peft.get_peft_model(self.base, config).eval()
        if lean:
            use_lean_forward(model)
        if checkpointing:
            self.base.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()
        else:
            self.base.gradient_checkpointing_disable()
        return model

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def levers(bench: Bench, rows: Sequence[TokenizedRow], token_limit: int) -> dict[str, Run]:
    """The trainer as it is, and without one of its parts each."""
    return {
        "all levers": bench.step("all levers", rows, token_limit),
        "PEFT's LoRA layers": bench.step("PEFT's LoRA layers", rows, token_limit, lean=False),
        "padded to the longest row": bench.step(
            "padded to the longest row", rows, token_limit, plan=one_part, packed=False
        ),
        "packed, not padded": bench.step("packed, not padded", rows, token_limit, packed=True),
        "at most 512 tokens at once": bench.step("at most 512 tokens at once", rows, 512),
        "row by row": bench.step("row by row", rows, token_limit, plan=row_by_row),
        "logits at every position": bench.step(
            "logits at every position", rows, token_limit, kind=AllLogits, plan=plan_apart
        ),
        "gradient checkpointing": bench.step(
            "gradient checkpointing", rows, token_limit, plan=plan_apart, checkpointing=True
        ),
    }


def prefix_levers(bench: Bench, rows: Sequence[TokenizedRow], token_limit: int) -> dict[str, Run]:
    return {
        "prefix once a batch": bench.step("prefix once a batch", rows, token_limit),
        "prefix with every row": bench.step("prefix with every row", rows, token_limit, plan=plan_apart),
    }
