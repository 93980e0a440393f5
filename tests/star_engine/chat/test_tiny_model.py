"""The real sampler and trainer on a tiny chat model: its turn ends with its own token, which is learned."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from star_engine.config.lora import Lora
from star_engine.config.star import StarConfig, Training
from star_engine.data.chat import with_chat
from star_engine.data.chat_template import read_chat_template
from star_engine.data.prompts import render_prompt
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import SampleRequest, ScoreRequest, TrainingJob, TrainingText
from star_engine.sampling.rationales import sampling_params
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from tests.star_engine.chat.families import FAMILIES, Family, write_model

# Gemma's turn ends with another token than its tokenizer's EOS; gpt-oss writes special tokens in its turn.
TRIED = [family for family in FAMILIES if family.name in ("gemma2", "gpt-oss")]


def _model(family: Family, folder: Path) -> Path:
    write_model(family, folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ends = (folder / "generation_config.json").read_text()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.3,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "generation_config.json").write_text(ends)
    return folder


@pytest.mark.parametrize("family", TRIED, ids=lambda family: family.name)
def test_a_trained_turn_is_written_again_to_its_last_token(family: Family, tmp_path: Path) -> None:
    folder = _model(family, tmp_path / "model")
    settings: dict[str, Any] = {"kind": "numeric", "layout": "chat", "chat": {"date": "2026-11-28"}}
    config = StarConfig.model_validate(settings)
    prompt_set = with_chat(config, PromptSet(Kind.NUMERIC, ()), read_chat_template(folder))
    assert prompt_set.end == family.end
    prompt = render_prompt(Kind.NUMERIC, prompt_set, Example("1", "1 + 1?", "2"))
    turn = f"{family.thought}It is 2."
    text = TrainingText(prompt, turn, end=prompt_set.end)
    training = Training(learning_rate=1e-2, batch_size=1, lora=Lora(rank=16, alpha=32))
    job = TrainingJob((text,), training, 60, 0, tmp_path / "adapter", tmp_path / "checkpoints")
    assert list(LoraTrainer(folder, threads=1).train(job))[-1].loss < 0.1
    sampler = TransformersSampler(folder, threads=1)
    sampler.use(tmp_path / "adapter")
    [written] = sampler.stream(deque([SampleRequest("1", prompt)]), sampling_params(config))
    assert (written.text, written.finish_reason, written.stopped_by) == (turn, "stop", None)
    [score] = sampler.score([ScoreRequest("1", text)])
    assert len(score.logprobs) == written.tokens, "the end of the turn is scored as it was sampled"
