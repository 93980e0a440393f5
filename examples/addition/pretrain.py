"""Pretrains the tiny base model of the addition task from nothing, on CPU.

    python -m examples.addition.pretrain --out examples/addition/model

Same seed, same machine and same thread count give the same weights.
"""

import argparse
import json
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.addition.documents import Mix, draw_document
from examples.addition.muon import Muon
from examples.addition.tokenizer import PATTERN, build_tokenizer, shared_embeddings

CONTEXT = 1024
IGNORED = -100


@dataclass(frozen=True)
class Phase:
    steps: int
    mix: Mix
    batch_tokens: int
    row_tokens: tuple[int, ...]  # taken in turn; attention makes long rows dear


ALL_KINDS = (0.6, 0.34, 0.06)
FEW_OR_ALL_DIGITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9)

# One digit first, and no hints to copy from: the table of sums is then learned within 300 steps. Trials with
# everything at once knew the layout after 400 steps and not one sum after 600. Documents of few digits help,
# since with all ten the last digit of a sum says nothing about either operand alone.
CURRICULUM = (
    Phase(350, Mix((1, 0, 0, 0), (1, 0, 0), FEW_OR_ALL_DIGITS), 1024, (128,)),
    Phase(350, Mix((1, 2, 2, 2), (1, 0, 0), FEW_OR_ALL_DIGITS), 2048, (256,)),
    Phase(1000, Mix((1, 2, 3, 4), ALL_KINDS), 4096, (256, 256, 512, 256, 256, 256, 1024)),
)


@dataclass(frozen=True)
class PretrainConfig:
    seed: int = 0
    threads: int = 2
    curriculum: tuple[Phase, ...] = CURRICULUM
    warmup_steps: int = 30
    decay_share: float = 0.55  # of all steps, at the end
    muon_lr: float = 0.01  # matrices
    adam_lr: float = 3e-3  # embedding and norms
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 384


def build_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(shape)


class PackedRows:
    """Documents back to back, each closed by the end-of-text token, cut into rows of equal length."""

    def __init__(self, config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self._rng = random.Random(config.seed)
        self._ids: dict[str, int] = tokenizer.get_vocab()
        self._eos = self._ids["<eos>"]
        self._split = re.compile(PATTERN)

    def _row(self, mix: Mix, length: int) -> tuple[list[int], list[int]]:
        """Token ids and labels, both `length` long. A row starts with a new document, so that the model also
        knows problems that have nothing in front of them."""
        ids: list[int] = []
        labels: list[int] = []
        while len(ids) < length:
            for text, learned in draw_document(self._rng, mix, length):
                piece = [self._ids[token] for token in self._split.findall(text)]
                ids += piece
                labels += piece if learned else [IGNORED] * len(piece)
            ids.append(self._eos)
            labels.append(self._eos)
        return ids[:length], labels[:length]

    def batch(self, mix: Mix, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = [self._row(mix, length) for _ in range(rows)]
        return torch.tensor([ids for ids, _ in drawn]), torch.tensor([labels for _, labels in drawn])


def batches(
    config: PretrainConfig, tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    source = PackedRows(config, tokenizer)
    for phase in config.curriculum:
        for step in range(phase.steps):
            length = phase.row_tokens[step % len(phase.row_tokens)]
            yield source.batch(phase.mix, phase.batch_tokens // length, length)


def learning_rate_share(config: PretrainConfig, step: int) -> float:
    """Linear warm-up, flat, then linear to zero."""
    steps = sum(phase.steps for phase in config.curriculum)
    warm = (step + 1) / config.warmup_steps
    return min(1.0, warm, (steps - step) / (steps * config.decay_share))


def optimizers(config: PretrainConfig, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    others = [p for p in model.parameters() if p.ndim != 2]
    adam = torch.optim.AdamW([embedding, *others], lr=config.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    return [Muon(matrices, lr=config.muon_lr), adam]


def pretrain(config: PretrainConfig, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Trains `model` in place and prints the loss (nats per learned token) every 50 steps."""
    stepped = optimizers(config, model)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in stepped]
    embedding, shared = model.get_input_embeddings().weight, shared_embeddings(tokenizer)
    started, recent = time.monotonic(), math.nan
    model.train()
    for step, (ids, labels) in enumerate(batches(config, tokenizer)):
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in zip(stepped, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * learning_rate_share(config, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        embedding.data = shared @ embedding.data
        recent = loss.item() if math.isnan(recent) else 0.95 * recent + 0.05 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}  loss {recent:.4f}  {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=PretrainConfig.seed)
    arguments = parser.parse_args()

    config = PretrainConfig(seed=arguments.seed)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    tokenizer = build_tokenizer(CONTEXT)
    model = build_model(config, tokenizer)
    print(json.dumps({**asdict(config), "parameters": model.num_parameters()}), flush=True)
    pretrain(config, model, tokenizer)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
